"""Folders of files as builder configs: one file, one or more clips; each file belongs to one class and one split.

Classes are the names of the subfolders, or the one class ``all`` where files lie directly in the folder. Files are
examined before anything is written, so that what cannot be used is known by name, and either too much of it stops the
build or it is left out and recorded in the data set's metadata.
"""

import bisect
import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from videogvt.inputs.builders import ClipBuilder
from videogvt.inputs.frames import Framing
from videogvt.inputs.shards import Splits

SHARES = (("train", 0.8), ("validation", 0.1), ("test", 0.1))
SAME_RECORDING = r"_c\d+$"  # UCF-101 calls the clips cut from one recording ..._g01_c01, ..._g01_c02
NO_CLASSES = "all"
NAMED = 20  # files in a message


class Unusable(Exception):
    """Why a file cannot be read."""


@dataclasses.dataclass(frozen=True)
class Footage:
    """What a readable file offers.

    Attributes:
      frames_NT: int32, for each of its N clips the numbers of the T frames that it consists of, never decreasing.
      start_N: float32, when each clip begins, in seconds.
      fps: frames a second of the clips.
    """

    frames_NT: np.ndarray
    start_N: np.ndarray
    fps: float


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
        return np.cumsum([len(footage.start_N) for _, _, footage in self.files]).tolist()

    def __call__(self, index: int) -> dict[str, object]:
        number = bisect.bisect_right(self._ends, index)
        path, label, footage = self.files[number]
        clip = index - self._ends[number] + len(footage.start_N)
        name = f"{path}#{clip}"
        return {
            "video": self.read(os.path.join(self.folder, path), footage.frames_NT[clip], name),
            "label": label,
            "id": name,
            "fps": np.float32(footage.fps),
            "start": np.float32(footage.start_N[clip]),
        }


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
    """What all folders of files share; see ``VideoFolderConfig`` and ``ImageFolderConfig``.

    The name of the data set, and so its folder, carries a hash of the settings and of the files' paths and sizes: other
    files or settings never share a data set.

    Attributes:
      folder: of the files; every file below it with a known suffix counts, hidden ones excepted.
      height, width, crop, seed: see ``Framing``.
      shares: (split, share) pairs, or a mapping, that sum to 1. A file's split follows from a hash of its path.
      same_recording: a regular expression that is removed from the path before hashing (less its suffix), so that files
        that differ only there share a split. The default suits UCF-101.
      split_lists: instead of shares: split to a text file with one path per line, relative to the folder; anything
        after the path (UCF-101's class numbers) is ignored. Files in no list are left out.
      max_unreadable: the largest share of files that may be unreadable; with more, nothing is built.
    """

    folder: os.PathLike
    height: int = 64
    width: int = 64
    crop: str = "center"
    seed: int = 0
    shares: Mapping[str, float] | tuple[tuple[str, float], ...] = SHARES
    same_recording: str = SAME_RECORDING
    split_lists: Mapping[str, os.PathLike] | None = None
    max_unreadable: float = 0.05
    name: str = dataclasses.field(init=False)

    suffixes = ()  # of files that count
    kind = ""  # what they are, in the plural
    num_frames = 1

    def __post_init__(self):
        if not self.folder:
            raise ValueError(f"No folder was named; `folder` must name one that holds {self.kind}: "
                             "--config.data.options.folder=DIR for `run.py`.")
        self.root = pathlib.Path(self.folder).expanduser().absolute()
        if not self.root.is_dir():
            raise FileNotFoundError(f"There is no folder {self.root}; `folder` must name one that holds {self.kind}.")
        self.framing = Framing(self.height, self.width, self.crop, self.seed)
        self.shares = tuple(self.shares.items()) if isinstance(self.shares, Mapping) else tuple(map(tuple, self.shares))
        if abs(sum(share for _, share in self.shares) - 1) > 1e-6:
            raise ValueError(f"The shares of the splits are {self.shares}; they must sum to 1.")
        self.paths = self._find()
        self.class_names = self._classes()
        settings = _digest(json.dumps(self.metadata(), sort_keys=True))
        plain = re.sub(r"[^A-Za-z0-9]+", "_", self.root.name)
        self.name = f"{plain}-{self.num_frames}x{self.height}x{self.width}-{settings[:12]}"
        self.description = self.description or f"{len(self.paths)} {self.kind} of the folder {self.root.name}."

    def examine(self, path: os.PathLike) -> Footage:
        """Reads a whole file to see what it offers; ``Unusable``, or an error of its decoder, if it cannot be read.

        A file that is whole but too short has no clips.
        """
        raise NotImplementedError

    def reader(self) -> Callable[[str, np.ndarray, str], np.ndarray]:
        """A function of (path, numbers of the frames, name of the clip) to a clip, uint8 (T,H,W,3); pickled."""
        raise NotImplementedError

    def settings(self) -> dict[str, object]:
        """What determines the clips, besides the files; ready for JSON."""
        lists = self.split_lists or {}
        return {
            "num_frames": self.num_frames,
            "framing": dataclasses.asdict(self.framing),
            "shares": [list(share) for share in self.shares],
            "same_recording": self.same_recording,
            "split_lists": {split: pathlib.Path(path).expanduser().read_text() for split, path in lists.items()},
        }

    def metadata(self) -> dict[str, object]:
        """What determines the examples, ready for JSON."""
        return {"settings": self.settings(), "files_sha256": self._files_sha256}

    @functools.cached_property
    def _files_sha256(self) -> str:
        """SHA-256 of the paths and sizes of the files."""
        return _digest("".join(f"{path}\0{(self.root / path).stat().st_size}\n" for path in self.paths))

    def features(self) -> tfds.features.FeaturesDict:
        """What an example holds."""
        shape = (self.num_frames, self.height, self.width, 3)
        return tfds.features.FeaturesDict({
            "video": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes", doc="RGB"),
            "label": tfds.features.ClassLabel(names=self.class_names, doc="subfolder of the file"),
            "id": tfds.features.Text(doc="path of the file in the folder, #, number of the clip in the file"),
            "fps": tfds.features.Tensor(shape=(), dtype=np.float32, doc="frames of the clip per second"),
            "start": tfds.features.Tensor(shape=(), dtype=np.float32, doc="when in the file the clip begins, s"),
        })  # fmt: skip

    def splits(self) -> Splits:
        """Split name to (size, example function)."""
        by_split = self._assigned()
        clips = {}
        for split, paths in by_split.items():
            ordered = sorted((path for path in paths if path in self.footage), key=_digest)  # mixes the classes
            files = tuple((path, self._label(path), self.footage[path]) for path in ordered)
            clips[split] = Clips(self.reader(), os.fspath(self.root), files)
        if empty := [split for split in clips if not len(clips[split])]:
            sizes = {split: f"{len(clips[split])} clips of {len(paths)} files" for split, paths in by_split.items()}
            raise ValueError(
                f"Nothing is left for {', '.join(empty)} of {self.root}: {sizes}. Use more or longer {self.kind}, "
                "or other `shares` (a split may be left out) or `split_lists`."
            )
        return {split: (len(table), table) for split, table in clips.items()}

    @functools.cached_property
    def footage(self) -> dict[str, Footage]:
        """What each usable file offers, by path; examines every file, in threads."""
        readable = {path: found for path, found in self._examined.items() if isinstance(found, Footage)}
        return {path: found for path, found in readable.items() if len(found.start_N)}

    @property
    def left_out(self) -> dict[str, object]:
        """The files that give no clips: ``unreadable`` with the reasons, and ``too_short``."""
        unreadable = {path: found for path, found in self._examined.items() if isinstance(found, str)}
        too_short = sorted(set(self._examined) - set(self.footage) - set(unreadable))
        return {"unreadable": unreadable, "too_short": too_short}

    @functools.cached_property
    def _examined(self) -> dict[str, Footage | str]:
        def attempt(path: str) -> Footage | str:
            try:
                return self.examine(self.root / path)
            except (Unusable, OSError, ValueError) as error:
                return str(error) or type(error).__name__

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = tqdm(pool.map(attempt, self.paths), total=len(self.paths), unit=" files", desc="Examining",
                         mininterval=0.1 if sys.stderr.isatty() else 10.0)  # fmt: skip
            return dict(zip(self.paths, found, strict=True))

    def check_files(self) -> None:
        """Names the unreadable files; raises where they are too many."""
        unreadable, short = self.left_out["unreadable"], self.left_out["too_short"]
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(unreadable.items())[:NAMED])
        listed += f"\n  and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        if len(unreadable) > self.max_unreadable * len(self.paths):
            raise ValueError(
                f"{len(unreadable)} of {len(self.paths)} {self.kind} in {self.root} cannot be read, which is more than "
                f"max_unreadable = {self.max_unreadable:g} allows:{listed}\nRepair or remove them, or allow more."
            )
        if unreadable:
            print(f"Left out {len(unreadable)} unreadable of {len(self.paths)} {self.kind}:{listed}", file=sys.stderr)
        if short:
            print(f"Left out {len(short)} of {len(self.paths)} {self.kind}, shorter than a clip.", file=sys.stderr)

    def _find(self) -> tuple[str, ...]:
        files = (path.relative_to(self.root) for path in self.root.rglob("*") if path.suffix.lower() in self.suffixes)
        found = tuple(sorted(path.as_posix() for path in files if not any(part[0] == "." for part in path.parts)))
        if not found:
            raise FileNotFoundError(f"{self.root} holds no {self.kind} ({', '.join(self.suffixes)}).")
        return found

    def _classes(self) -> tuple[str, ...]:
        tops = {path.partition("/")[0] if "/" in path else "" for path in self.paths}
        if "" in tops and len(tops) > 1:
            stray = [path for path in self.paths if "/" not in path]
            raise ValueError(
                f"{self.root} holds {self.kind} in subfolders, which name the classes, and {len(stray)} beside them "
                f"({stray[0]}, ...). Put every file into a subfolder, or none."
            )
        return tuple(sorted(tops)) if tops != {""} else (NO_CLASSES,)

    def _label(self, path: str) -> int:
        return self.class_names.index(path.partition("/")[0]) if "/" in path else 0

    def _assigned(self) -> dict[str, list[str]]:
        """The files of each split."""
        if self.split_lists:
            listed = {split: self._listed(path) for split, path in self.split_lists.items()}
            count = collections.Counter(path for paths in listed.values() for path in paths)
            if twice := sorted(path for path in count if count[path] > 1):
                raise ValueError(f"The split lists name {len(twice)} files twice, such as {twice[0]!r}.")
            return listed
        names, shares = zip(*self.shares)
        bounds = np.cumsum(shares)[:-1].tolist()
        by_split = {name: [] for name in names}
        for path in self.paths:
            stem = pathlib.PurePosixPath(path).with_suffix("").as_posix()
            draw = int(_digest(re.sub(self.same_recording, "", stem))[:16], 16) / 2**64
            by_split[names[bisect.bisect_right(bounds, draw)]].append(path)
        return by_split

    def _listed(self, path: os.PathLike) -> list[str]:
        """The files that a list names."""
        lines = [line.strip() for line in pathlib.Path(path).expanduser().read_text().splitlines() if line.strip()]
        known = set(self.paths)
        named = [line if line in known else line.rsplit(maxsplit=1)[0] for line in lines]
        if missing := [name for name in named if name not in known]:
            raise ValueError(f"{path} names {len(missing)} files that are not in {self.root}, such as {missing[0]!r}.")
        return named


@dataclasses.dataclass(eq=False, kw_only=True)
class NoFolder(tfds.core.BuilderConfig):
    """The config of a builder that was given none: it says what to give. TFDS's command line wants one to be there."""

    example: str
    name: str = "no_folder"
    about = "No folder was named."

    def metadata(self) -> dict[str, object]:
        return {}

    def features(self) -> tfds.features.FeaturesDict:
        raise ValueError(
            f"No folder was named. On the command line: tfds build --config '{{\"folder\": \"{self.example}\"}}'; in "
            f"Python: config=...FolderConfig(folder={self.example!r})."
        )


class FolderBuilder(ClipBuilder, skip_registration=True):
    """A builder whose config is a ``FolderConfig``; files that were left out are named in ``info.metadata``."""

    citation = ""

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        self.builder_config.check_files()
        super()._download_and_prepare(dl_manager, download_config)
        self.info.metadata["left_out"] = self.builder_config.left_out


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
