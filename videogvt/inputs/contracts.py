"""The sockets of the inputs: what the pipeline asks of a source of clips and of a transform."""

import dataclasses
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
