"""What readable files offer, and the clips of a split as a function from an index to an example."""

import bisect
import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from videogvt.inputs.paths import printable


@dataclasses.dataclass(frozen=True)
class Footage:
    """What a readable file offers.

    Attributes:
      frames_NT: int32, for each of its N clips the numbers of the T frames that it consists of, never decreasing.
      start_N: float32, when each clip begins, in seconds.
      fps: frames a second of the clips.
      first: number of the first of these clips among all of the file.
    """

    frames_NT: np.ndarray
    start_N: np.ndarray
    fps: float
    first: int = 0

    def __len__(self) -> int:
        return len(self.start_N)

    def part(self, start: int, stop: int) -> "Footage":
        """Some of the clips."""
        return Footage(self.frames_NT[start:stop], self.start_N[start:stop], self.fps, self.first + start)


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of a split, file after file: a function from an index to an example."""

    read: Callable[[str, np.ndarray, str], np.ndarray]  # path, numbers of the frames, name of the clip
    folder: str
    files: tuple[tuple[str, int, Footage], ...]  # path in the folder, label

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @functools.cached_property
    def _ends(self) -> list[int]:
        return np.cumsum([len(footage) for _, _, footage in self.files]).tolist()

    def __call__(self, index: int) -> dict[str, object]:
        number = bisect.bisect_right(self._ends, index)
        path, label, footage = self.files[number]
        clip = index - self._ends[number] + len(footage)
        name = f"{printable(path)}#{footage.first + clip}"
        return {
            "video": self.read(os.path.join(self.folder, path), footage.frames_NT[clip], name),
            "label": label,
            "id": name,
            "fps": np.float32(footage.fps),
            "start": np.float32(footage.start_N[clip]),
        }
