"""A source seen through transforms."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from videogvt.inputs.sources import ClipSource
from videogvt.inputs.transforms import Transform, transformed

EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class TransformedSource:
    """A ``ClipSource`` whose clips went through transforms, each with the random stream of its index.

    Attributes:
      source: the source.
      transforms: applied in order.
    """

    source: ClipSource
    transforms: tuple[Transform, ...]

    @classmethod
    def of(cls, source: ClipSource, transforms: tuple[Transform, ...]) -> ClipSource:
        """The source itself where there are no transforms."""
        return cls(source, transforms) if transforms else source

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def fields(self) -> tuple[str, ...]:
        return self.source.fields

    @property
    def split_hash(self) -> str:
        """That of the clips before the transforms."""
        return self.source.split_hash

    @property
    def splits(self) -> tuple[str, ...]:
        return self.source.splits

    @property
    def available(self) -> tuple[str, ...]:
        return self.source.available

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        keys = [[EVALUATION_SEED, int(index)] for index in indices]
        return transformed(self.source.read(indices), self.transforms, keys)
