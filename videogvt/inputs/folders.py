"""Folders of files as builder configs: one file, one or more clips; each file belongs to one class and one split.

Classes are the names of the subfolders, or the one class ``all`` where files lie directly in the folder. Files are
examined before anything is written, so that what cannot be used is known by name, and either too much of it stops the
build or it is left out and recorded in the data set's metadata.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from videogvt.inputs import splitting
from videogvt.inputs.builders import ClipBuilder
from videogvt.inputs.frames import Framing, Unusable
from videogvt.inputs.paths import digest, find, printable, printable_name
from videogvt.inputs.shards import Splits
from videogvt.inputs.splitting import Footage, SplitClips

SPLIT_SHARES = (("train", 0.8), ("validation", 0.1), ("test", 0.1))
SAME_RECORDING = r"_c\d+$"  # UCF-101 calls the clips cut from one recording ..._g01_c01, ..._g01_c02
_NO_CLASSES = "all"
NAMED = 20  # files in a message
_NAME = 150  # letters of the folder's name in that of the data set, of 255 that a file system allows


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
    """What all folders of files share; see ``VideoFolderConfig`` and ``ImageFolderConfig``.

    The name of the data set, and so its folder, carries a hash of the settings and of the files' paths and sizes: other
    files or settings never share a data set.

    Attributes:
      folder: of the files; every file below it with a known suffix counts, hidden ones excepted. Links are followed.
      height, width, crop, seed: see ``Framing``.
      shares: (split, share) pairs, or a mapping, that sum to 1. A file's split follows from a hash of its path; how few
        files are shared out is said in ``splitting``.
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
    shares: Mapping[str, float] | tuple[tuple[str, float], ...] = SPLIT_SHARES
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
        self._found = find(self.root, self.suffixes)
        self.paths = self._found.paths
        if not self.paths:
            raise FileNotFoundError(f"{printable(str(self.root))} holds no {self.kind} ({', '.join(self.suffixes)}).")
        self.class_names = self._classes()
        settings = digest(json.dumps(self.metadata(), sort_keys=True))
        plain = re.sub(r"[^A-Za-z0-9]+", "_", self.root.name)[:_NAME]
        self.name = f"{plain}-{self.num_frames}x{self.height}x{self.width}-{settings[:12]}"
        named = printable(self.root.name)
        self.description = self.description or f"{len(self.paths)} {self.kind} of the folder {named}."

    def examiner(self, threads: int) -> contextlib.AbstractContextManager[Callable[[os.PathLike], Footage]]:
        """A context with a function, for so many threads, that reads a whole file to see what it offers.

        It raises ``Unusable``, or an error of its decoder, if the file cannot be read. One that is whole but too short
        has no clips.
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
            "split_lists": {split: _text(path) for split, path in lists.items()},
        }

    def metadata(self) -> dict[str, object]:
        """What determines the examples, ready for JSON."""
        return {"settings": self.settings(), "files_sha256": self._files_sha256}

    @functools.cached_property
    def _files_sha256(self) -> str:
        """SHA-256 of the paths and sizes of the files."""
        return digest("".join(f"{path}\0{_size(self.root / path)}\n" for path in self.paths))

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
        clips = {}
        for split, footage in self._shared.footage.items():
            ordered = sorted(footage, key=digest)  # mixes the classes
            files = tuple((path, self._label(path), footage[path]) for path in ordered)
            clips[split] = SplitClips(self.reader(), os.fspath(self.root), files)
        if empty := [split for split in clips if not len(clips[split])]:
            sizes = ", ".join(f"{split}: {len(table)} clips of {len(table.files)}" for split, table in clips.items())
            raise ValueError(
                f"Nothing is left for {', '.join(empty)} of {printable(str(self.root))} ({sizes} {self.kind}). "
                f"{self._advice()}"
            )
        return {split: (len(table), table) for split, table in clips.items()}

    def _advice(self) -> str:
        """What to do where a split is empty."""
        if self.split_lists:
            return f"Name {self.kind} in `split_lists` that can be read and are long enough, or leave the split out."
        need = len(self.shares)
        longer = f", or fewer that have {splitting.min_clips(need)} clips or more" if self.num_frames > 1 < need else ""
        return (f"Needed are {need} or more {self.kind} that can be read and have a clip{longer}; or name fewer splits "
                "in `shares`, each with a share above 0.")

    @functools.cached_property
    def _shared(self) -> splitting.Shared:
        """The usable files of each split."""
        if self.split_lists:
            return splitting.Shared({split: {path: self.footage[path] for path in paths if path in self.footage}
                                     for split, paths in self._listed_files().items()})
        return splitting.shared(self.footage, self.shares, self.same_recording)

    @functools.cached_property
    def footage(self) -> dict[str, Footage]:
        """What each usable file offers, by path; examines every file, in threads."""
        readable = {path: found for path, found in self._examined.items() if isinstance(found, Footage)}
        return {path: found for path, found in readable.items() if len(found)}

    @property
    def left_out(self) -> dict[str, object]:
        """The files that give no clips: ``unreadable`` with the reasons, and ``too_short``."""
        unreadable = {printable(path): found for path, found in self._examined.items() if isinstance(found, str)}
        too_short = [path for path, found in self._examined.items() if not isinstance(found, str) and not len(found)]
        return {"unreadable": unreadable, "too_short": sorted(map(printable, too_short))}

    @functools.cached_property
    def _examined(self) -> dict[str, Footage | str]:
        def attempt(path: str) -> Footage | str:
            try:
                if not (self.root / path).is_file():
                    return "it is no file, and no link to one"  # a pipe would be waited for
                return examine(self.root / path)
            except (Unusable, OSError, ValueError) as error:
                said = getattr(error, "strerror", None) or str(error) or type(error).__name__
                return printable(said)

        threads = min(os.cpu_count(), len(self.paths))
        with self.examiner(threads) as examine, concurrent.futures.ThreadPoolExecutor(threads) as pool:
            found = tqdm(pool.map(attempt, self.paths), total=len(self.paths), unit=" files", desc="Examining",
                         mininterval=0.1 if sys.stderr.isatty() else 10.0)  # fmt: skip
            return dict(zip(self.paths, found, strict=True))

    def check_files(self) -> None:
        """Names what is not used, and files whose split is not that of their hash; raises where too many are
        unreadable."""
        for line in self._notes():
            print(line, file=sys.stderr)
        unreadable, short = self.left_out["unreadable"], self.left_out["too_short"]
        listed = "".join(f"\n  {path}: {reason}" for path, reason in list(unreadable.items())[:NAMED])
        listed += f"\n  and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        if len(unreadable) > self.max_unreadable * len(self.paths):
            more = math.ceil(100 * len(unreadable) / len(self.paths)) / 100
            raise ValueError(
                f"{len(unreadable)} of {len(self.paths)} {self.kind} in {self.root} cannot be read, which is more than "
                f"max_unreadable = {self.max_unreadable:g} allows:{listed}\nRepair or remove them, or allow more: "
                f"--config.data.options.max_unreadable={more:g}"
            )
        if unreadable:
            print(f"Left out {len(unreadable)} unreadable of {len(self.paths)} {self.kind}:{listed}", file=sys.stderr)
        if short:
            named = ", ".join(short[:NAMED]) + (", ..." if len(short) > NAMED else "")
            print(f"Left out {len(short)} of {len(self.paths)} {self.kind}, shorter than a clip of {self.num_frames} "
                  f"frames: {named}. --config.data.options.short=repeat repeats the last frame, "
                  "--config.data.options.num_frames=N makes shorter clips.", file=sys.stderr)

    def _notes(self) -> Iterator[str]:
        """What a user should know of folders and splits, a line each."""
        for path, why in self._found.skipped:
            yield f"The link {printable(path)} in {printable(str(self.root))} {why}; it is skipped."
        if self._found.barren and self.class_names != (_NO_CLASSES,):
            named = ", ".join(map(printable, self._found.barren[:NAMED]))
            yield f"These subfolders hold no {self.kind} ({', '.join(self.suffixes)}) and are no classes: {named}."
        yield from self._shared.notes

    def _classes(self) -> tuple[str, ...]:
        self._tops = sorted({path.partition("/")[0] if "/" in path else "" for path in self.paths})
        if "" in self._tops and len(self._tops) > 1:
            stray = [path for path in self.paths if "/" not in path]
            raise ValueError(
                f"{printable(str(self.root))} holds {self.kind} in subfolders, which name the classes, and "
                f"{len(stray)} beside them ({printable(stray[0])}, ...). Put every file into a subfolder, or none."
            )
        for kind, names in (("classes", tuple(map(printable_name, self._tops))),
                            (self.kind, tuple(map(printable, self.paths)))):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"Two {kind} in {printable(str(self.root))} are called {twice} when bytes that are "
                                 "not UTF-8 are written as text. Rename one of them.")
        return tuple(map(printable_name, self._tops)) if self._tops != [""] else (_NO_CLASSES,)

    def _label(self, path: str) -> int:
        return self._tops.index(path.partition("/")[0]) if "/" in path else 0

    def _listed_files(self) -> dict[str, list[str]]:
        """The files of each split, by the lists."""
        listed = {split: self._listed(path) for split, path in self.split_lists.items()}
        count = collections.Counter(path for paths in listed.values() for path in paths)
        if twice := sorted(path for path in count if count[path] > 1):
            raise ValueError(f"The split lists name {len(twice)} files twice, such as {printable(twice[0])!r}.")
        return listed

    def _listed(self, path: os.PathLike) -> list[str]:
        """The files that a list names."""
        lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
        known = set(self.paths)
        named = [line if line in known else line.rsplit(maxsplit=1)[0] for line in lines]
        if missing := [name for name in named if name not in known]:
            why = dict(self._found.skipped).get(missing[0])
            raise ValueError(f"{path} names {len(missing)} files that are not in {self.root}, such as "
                             f"{printable(missing[0])!r}{f', which {why}' if why else ''}.")
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


def _size(path: pathlib.Path) -> int:
    """Bytes of a file; -1 where there is none, which is told when it is examined."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _text(path: os.PathLike) -> str:
    """A list of paths, in which bytes that are not UTF-8 are kept as those of paths are."""
    return pathlib.Path(path).expanduser().read_text(encoding="utf-8", errors="surrogateescape")
