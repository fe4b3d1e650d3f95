"""The sockets of the inputs: what the pipeline asks of a source of clips and of a transform.

Clips with fewer frames than their data set keeps, for image tokenizers and those that take 1 + 4k frames.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

Batch = dict[str, np.ndarray]
Streams = Sequence[np.random.Generator]


class ClipSource(Protocol):
    """A split that can be read in any order.

    Attributes:
      class_names: names by label; () when the clips have no classes.
      fields: the names that ``read`` returns.
      split_hash: hexadecimal SHA-256 that changes with the examples of the split; "" when they are not on disk.
      splits: names of all splits of the data set.
      available: names of all fields that could be asked for.
    """

    class_names: tuple[str, ...]
    fields: tuple[str, ...]
    split_hash: str
    splits: tuple[str, ...]
    available: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """The examples as stacked rows, one array per field, in the order of ``indices``; safe to call from threads.

        ``video`` is uint8 (B,T,H,W,C), ``label`` int32 (B,), texts are numpy strings, other fields as stored.
        """


@dataclasses.dataclass(frozen=True)
class Derived:
    """A ``ClipSource`` made of another one; what a subclass does not say is the other's.

    Attributes:
      source: the other.
    """

    source: ClipSource

    class_names = property(lambda self: self.source.class_names)
    fields = property(lambda self: self.source.fields)
    split_hash = property(lambda self: self.source.split_hash)
    splits = property(lambda self: self.source.splits)
    available = property(lambda self: self.source.available)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """See ``ClipSource``."""
        return self.source.read(indices)


class Transform(Protocol):
    """A function of a batch (``video`` uint8 (B,T,H,W,C) and other fields) and one random stream per row.

    One that reads more than ``video`` and ``label`` names the fields in a class attribute ``needs``.
    """

    def __call__(self, batch: Batch, streams: Streams) -> Batch: ...


CLIP_FIELDS = ("video", "label", "id", "caption", "equation", "family", "fps")
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

    available = property(lambda self: tuple(name for name in CLIP_FIELDS if name in self.source.available))

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
