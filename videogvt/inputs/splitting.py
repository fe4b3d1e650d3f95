"""Which files of a folder belong to which split.

* A file's split follows from a hash of its path. Files of one recording share a split.
* Where that leaves a split without a file, and there are as many recordings as splits, the split gets one from the
  split that has most of them: of the class that has most there, the last by hash.
* Where there are fewer recordings than splits, each is divided by time in the order of the splits, and one clip is left
  out at every border, or as many as it takes that no frame of one split is in the other or next to it. A recording that
  is too short for that goes to the largest split as a whole.

What readable files offer, and the clips of a split as a function from an index to an example.
"""

import bisect
import collections
import dataclasses
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np

from videogvt.inputs.paths import digest, printable


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
class SplitClips:
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


Shares = Sequence[tuple[str, float]]
Files = dict[str, Footage]
Recording = tuple[str, ...]
"""Paths of its files, in order."""


@dataclasses.dataclass(frozen=True)
class Shared:
    """The files of each split by path, and what a user should know of it, a line each."""

    footage: Mapping[str, Files]
    notes: tuple[str, ...] = ()

    @classmethod
    def whole(cls, footage: Files, by_split: Mapping[str, Sequence[Recording]], notes: Sequence[str] = ()) -> Self:
        """Of recordings that are not divided."""
        return cls({split: {path: footage[path] for path in itertools.chain(*recordings)}
                    for split, recordings in by_split.items()}, tuple(notes))


def shared(footage: Files, shares: Shares, same_recording: str) -> Shared:
    """Shares files out by the rules of the module.

    Args:
      footage: what each usable file offers, by path.
      shares: (split, share) pairs that sum to 1; a split of the share 0 is given nothing.
      same_recording: a regular expression of what differs in the names of one recording's files.
    """
    by_split = _by_hash(footage, shares, same_recording)
    wanted = [split for split, share in shares if share > 0]
    empty = [split for split in wanted if not by_split[split]]
    recordings = list(itertools.chain(*by_split.values()))
    if not empty or not recordings:
        return Shared.whole(footage, by_split)
    if len(recordings) < len(wanted):
        return _by_time(footage, sorted(recordings), [pair for pair in shares if pair[1] > 0], list(by_split))
    return Shared.whole(footage, by_split, [_give(by_split, split) for split in empty])


def min_clips(splits: int) -> int:
    """The clips that a recording must have to be divided among so many splits."""
    return 2 * splits - 1


def _by_hash(footage: Files, shares: Shares, same_recording: str) -> dict[str, list[Recording]]:
    """The recordings of each split, in the order of their hashes."""
    names, sizes = zip(*shares)
    bounds = list(itertools.accumulate(sizes))[:-1]
    recordings = collections.defaultdict(list)
    for path in footage:
        stem = pathlib.PurePosixPath(path).with_suffix("").as_posix()
        recordings[digest(re.sub(same_recording, "", stem))].append(path)
    by_split: dict[str, list[Recording]] = {name: [] for name in names}
    for key in sorted(recordings):
        draw = int(key[:16], 16) / 2**64
        by_split[names[bisect.bisect_right(bounds, draw)]].append(tuple(sorted(recordings[key])))
    return by_split


def _give(by_split: dict[str, list[Recording]], split: str) -> str:
    """Moves a recording into an empty split, and says so."""
    donor = max(by_split, key=lambda name: len(by_split[name]))
    count = collections.Counter(_label(recording) for recording in by_split[donor])
    last = max(enumerate(by_split[donor]), key=lambda place: (count[_label(place[1])], place[0]))[0]
    recording = by_split[donor].pop(last)
    by_split[split].append(recording)
    named = f"{printable(recording[0])}{' and the others of its recording' if len(recording) > 1 else ''}"
    return f"By the hashes of their names no file is in {split}; {named} goes there from {donor}."


def _label(recording: Recording) -> str:
    return recording[0].partition("/")[0]


def _by_time(footage: Files, recordings: Sequence[Recording], shares: Shares, splits: Sequence[str]) -> Shared:
    """Divides every recording among the splits."""
    parts: dict[str, Files] = {split: {} for split in splits}
    largest = max(shares, key=lambda pair: pair[1])[0]
    notes = [f"There are fewer recordings ({len(recordings)}) than splits ({len(shares)}): they are divided by time, "
             "with a gap of one clip or more between splits."]
    for recording in recordings:
        files = {path: footage[path] for path in recording}
        divided = _divided(files, shares)
        if divided is None:
            clips = sum(map(len, files.values()))
            notes.append(f"{printable(recording[0])} has {clips} clips, of {min_clips(len(shares))} or more that it "
                         f"takes to divide it; it goes to {largest} as a whole.")
            divided = {largest: files}
        for split, part in divided.items():
            parts[split] |= part
    return Shared(parts, tuple(notes))


def _divided(files: Files, shares: Shares) -> dict[str, Files] | None:
    """The parts of a recording by split; None where it is too short."""
    clips = [(path, number) for path, footage in files.items() for number in range(len(footage))]
    sizes = _sizes(len(clips) - (len(shares) - 1), shares)
    if sizes is None:
        return None
    parts, start = {}, 0
    for place, (split, _) in enumerate(shares):
        stop = start + sizes[split] if place < len(shares) - 1 else len(clips)
        if start >= len(clips):
            return None
        parts[split] = _part(files, clips[start:stop])
        start = stop + 1
        while start < len(clips) and _touch(files, clips[stop - 1], clips[start]):
            start += 1
    return parts


def _sizes(clips: int, shares: Shares) -> dict[str, int] | None:
    """How many of so many clips each split gets: at least one, and the largest what the others leave."""
    largest = max(shares, key=lambda pair: pair[1])[0]
    sizes = {split: max(1, round(share * clips)) for split, share in shares if split != largest}
    sizes[largest] = clips - sum(sizes.values())
    return sizes if sizes[largest] >= 1 else None


def _touch(files: Files, one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two clips of a recording share a frame of a file, or have frames that follow each other."""
    if one[0] != other[0]:
        return False
    frames_NT = files[one[0]].frames_NT
    return frames_NT[other[1]][0] <= frames_NT[one[1]][-1] + 1


def _part(files: Files, clips: Sequence[tuple[str, int]]) -> Files:
    """Consecutive clips as the parts of their files."""
    numbers = collections.defaultdict(list)
    for path, number in clips:
        numbers[path].append(number)
    return {path: files[path].part(own[0], own[-1] + 1) for path, own in numbers.items()}
