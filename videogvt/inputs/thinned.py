"""Clips with fewer frames than their data set keeps, for image tokenizers and those that take 1 + 4k frames."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from videogvt.inputs.contracts import Derived

FIELDS = ("video", "label", "id", "caption", "equation", "family", "fps")
"""What does not say something of every frame."""


def thinning(there: int, frames: int) -> int:
    """From one frame that stays to the next, so that so many of those there are span as much of the clip as can be.

    Raises:
      ValueError: there are not so many.
    """
    if not 2 <= frames <= there:
        raise ValueError(f"config.data.options.frames is {frames}; expected 2 to {there}, the frames of a clip.")
    return (there - 1) // (frames - 1)


@dataclasses.dataclass(frozen=True)
class Thinned(Derived):
    """A source whose clips keep every n-th frame from the first on, ``frames`` in all.

    Attributes:
      source: of clips (B, T, H, W, 3).
      frames: so many stay.
      stride: n, see ``thinning``.
    """

    frames: int
    stride: int

    available = property(lambda self: tuple(name for name in FIELDS if name in self.source.available))

    @property
    def split_hash(self) -> str:
        """Of the clips and the frames that stay."""
        return hashlib.sha256(f"{self.source.split_hash} {self.frames} x {self.stride}".encode()).hexdigest()

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        rows = self.source.read(indices)
        if "video" in rows:
            rows["video"] = np.ascontiguousarray(rows["video"][:, :: self.stride][:, : self.frames])
        if "fps" in rows:
            rows["fps"] = rows["fps"] / np.float32(self.stride)
        return rows
