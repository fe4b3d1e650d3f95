"""A source seen through transforms."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from videogvt.inputs.contracts import ClipSource, Derived
from videogvt.inputs.transforms import Transform, transformed

EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class TransformedSource(Derived):
    """A ``ClipSource`` whose clips went through transforms, each with the random stream of its index.

    Attributes:
      source: the source, whose ``split_hash`` stays.
      transforms: applied in order.
    """

    transforms: tuple[Transform, ...]

    @classmethod
    def of(cls, source: ClipSource, transforms: tuple[Transform, ...]) -> ClipSource:
        """The source itself where there are no transforms."""
        return cls(source, transforms) if transforms else source

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        keys = [[EVALUATION_SEED, int(index)] for index in indices]
        return transformed(self.source.read(indices), self.transforms, keys)
