"""Training data of the second stage: clips beside the tokenizer that reads them, or their codes, written once.

Of a source that has codes and no videos, these are the clips.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence

import grain
import numpy as np

from videogvt.inputs.contracts import Derived
from videogvt.inputs.pipeline import TrainingData
from videogvt.inputs.sources import ClipSource, RecordSource
from videogvt.models.tasks import TaskTable
from videogvt.pretrained.codec import holds_videos
from videogvt.pretrained.codes import CodedSource, Tokenizer, most_frequent_code, write_codes
from videogvt.pretrained.tokenizer import VideoTokenizer


@dataclasses.dataclass(frozen=True)
class WithCodes(Derived):
    """Clips, and the codes of the same ones that were written.

    Attributes:
      source: of the clips.
      codes: of their codes, in the same order.
    """

    codes: ClipSource

    @property
    def fields(self) -> tuple[str, ...]:
        return (*self.source.fields, *(name for name in self.codes.fields if name not in self.source.fields))

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        return self.source.read(indices) | self.codes.read(indices)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenData(TrainingData):
    """Clips in batches, or ``codes`` (B, t, h, w) in place of their ``video`` or beside it.

    Attributes:
      tokenizer: reads the clips.
      cached: codes instead of clips. They are written to the data root when training begins, unless they are there:
        ``<data root>/codes/train-<hash of the split>-<hash of the tokenizer>[-<hash of the tasks>]``.
      with_videos: the clips as well as their cached codes, for tasks that are given pixels.
      tasks: whose padded clips are cached as codes too, ``conditions`` (B, n, t, h, w): where the tokenizer lies
        outside, so that a training step cannot ask it for them. None for none.
      data_dir: root of the data sets; None for the environment's.
      (others: see ``TrainingData``)
    """

    tokenizer: Tokenizer
    cached: bool
    with_videos: bool = False
    tasks: TaskTable | None = None
    data_dir: os.PathLike | None = None

    def __post_init__(self):
        if self.cached and (self.transforms or not self.source.split_hash):
            raise ValueError(
                f"The codes of {self.source} cannot be kept: {len(self.transforms)} transforms change its clips, and "
                f"its hash is {self.source.split_hash!r}. A codec outside is asked before training, for clips that "
                "stay as they are: leave out the transforms, and name data that have a hash."
            )

    def train(self) -> grain.DatasetIterator:
        """A new iterator at the beginning; the codes are written first where they are missing."""
        if not self.cached:
            return super().train()
        name = f"train-{self.source.split_hash[:8]}"
        folder = write_codes(self.tokenizer, {"train": self.source}, name, self.data_dir, self.tasks)
        label = ("label",) if "label" in self.source.fields else ()
        fields = ("codes", *label) if self.tasks is None else ("codes", "conditions", *label)
        codes = RecordSource(folder, "train", fields)
        source = WithCodes(self.source, codes) if self.with_videos else codes
        return TrainingData(source, self.batch_size, self.seed).train()

    @functools.cached_property
    def most_frequent_code(self) -> int:
        """See ``codes.most_frequent_code``.

        Raises:
          ValueError: the clips are changed before they are trained on.
        """
        if self.transforms:
            raise ValueError(f"The config asks for the code that is 'most_frequent', and {len(self.transforms)} "
                             "transforms change the training clips; give the number of the code.")
        return most_frequent_code(self.tokenizer, self.source)

    def readable(self, source: ClipSource) -> ClipSource:
        """Another split as a compiled program can take it: as codes, where the tokenizer lies outside."""
        if "video" not in source.fields or isinstance(self.tokenizer, VideoTokenizer):
            return source
        return CodedSource(source, self.tokenizer, self.tasks)

    @property
    def video_shape(self) -> tuple[int, int, int]:
        """(T, H, W) of the clips; of codes alone, that of the videos they stand for."""
        if not holds_videos(self.source):
            return tuple(self.source.metadata["video"])
        return self._first_clips["video"].shape[1:4]

    @functools.cached_property
    def first_batch(self) -> dict[str, np.ndarray]:
        """This host's rows of batch 0, for shapes and dtypes; in place of codes that may not be there yet are zeros."""
        if not self.cached:
            return self._first_clips
        grid = self.tokenizer.network.latent_shape(self.video_shape)
        batch = len(self._first_clips["video"])
        zeros = {"codes": np.zeros((batch, *grid), np.int32)}
        if self.tasks:
            zeros["conditions"] = np.zeros((batch, len(self.tasks.names), *grid), np.int32)
        return zeros | {name: rows for name, rows in self._first_clips.items() if self.with_videos or name == "label"}

    @functools.cached_property
    def _first_clips(self) -> dict[str, np.ndarray]:
        return next(super().train())
