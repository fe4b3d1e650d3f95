"""Imports: data sets that TFDS keeps in a form only TensorFlow reads, converted once into clips that need none.

TFDS distributes ``ucf101``, ``moving_mnist`` and ``bair_robot_pushing_small`` with its ``Video`` feature or as
TFRecord. ``import_tfds`` reads them with TensorFlow (the extra ``tf``) and writes them with this package's writer; it
is the only place that imports TensorFlow, and only when it is called.
"""

import bisect
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from videogvt.core.registry import unknown_name
from videogvt.inputs.builders import data_root
from videogvt.inputs.datasets import is_complete, write_dataset
from videogvt.inputs.frames import Framing, on_white

_VERSION = "1.0.0"
_NO_CLASSES = "all"


@dataclasses.dataclass(frozen=True)
class SplitPart:
    """The examples of a split of the original from one fraction of it to another, in the order of its files."""

    split: str
    start: float = 0.0
    stop: float = 1.0

    def bounds(self, examples: int) -> tuple[int, int]:
        """The first example and the one after the last, of so many."""
        return round(self.start * examples), round(self.stop * examples)


@dataclasses.dataclass(frozen=True)
class ImportedLayout:
    """Where the clips are in a TFDS data set.

    Attributes:
      builder: its name and config for ``tfds.builder``.
      frames: feature with the frames, uint8 (T,H,W,C) with C of 1, 3 or 4; "a/b" for nested ones.
      splits: our splits as parts of its own.
      label: feature with the class, or None.
      fps: frames a second; 0 where the data set does not say.
    """

    builder: str
    frames: str
    splits: Mapping[str, SplitPart]
    label: str | None = None
    fps: float = 0.0


TRAIN_TEST = {"train": SplitPart("train"), "test": SplitPart("test")}
IMPORTED_LAYOUTS = {
    # Its first official split at the original size; the config ucf101_1_256 distorts the pictures.
    "ucf101": ImportedLayout("ucf101/ucf101_1", "video", TRAIN_TEST, label="label", fps=25.0),
    # Only its test set is distributed.
    "moving_mnist": ImportedLayout(
        "moving_mnist", "image_sequence",
        {"train": SplitPart("test", 0.0, 0.8), "validation": SplitPart("test", 0.8, 0.9),
         "test": SplitPart("test", 0.9, 1.0)},
    ),
    "bair_robot_pushing_small": ImportedLayout("bair_robot_pushing_small", "image_aux1", TRAIN_TEST),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cut:
    """How videos become clips: every ``stride``-th frame of consecutive stretches, framed (see ``Framing``)."""

    num_frames: int = 16
    stride: int = 1
    height: int = 64
    width: int = 64
    crop: str = "center"
    seed: int = 0

    def __post_init__(self):
        if self.num_frames < 1 or self.stride < 1:
            raise ValueError(f"num_frames={self.num_frames} and stride={self.stride} must be at least 1.")

    @functools.cached_property
    def framing(self) -> Framing:
        """What is done to each frame."""
        return Framing(self.height, self.width, self.crop, self.seed)

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last of a clip."""
        return (self.num_frames - 1) * self.stride + 1

    def __call__(self, frames_THWC: np.ndarray, clip: int, name: str) -> np.ndarray:
        """The clip of that number, uint8 (T,H,W,3)."""
        place = self.framing.place(name)
        chosen_THWC = frames_THWC[clip * self.span : (clip + 1) * self.span : self.stride]
        return np.stack([self.framing(_rgb(frame_HWC), place) for frame_HWC in chosen_THWC])


def import_tfds(
    name: str,
    *,
    layout: ImportedLayout | None = None,
    source: os.PathLike | None = None,
    data_dir: os.PathLike | None = None,
    workers: int | None = None,
    **cut: Any,
) -> pathlib.Path:
    """Converts a TFDS data set into clips of one size and returns their folder.

    Videos are cut into consecutive clips without overlap; shorter ones are left out and counted. A finished import is
    returned as it is.

    Args:
      name: a name in ``IMPORTED_LAYOUTS``, or with ``layout`` any other.
      layout: where the clips are, for other data sets.
      source: folder of the original (it holds ``dataset_info.json``); None for TFDS's own place, where TFDS downloads
        and prepares it first if it is not there.
      data_dir: root of our data sets, see ``builders.data_root``.
      workers: processes to convert in; None for one per core.
      cut: the attributes of ``Cut``.

    Returns:
      ``<data root>/imported/<name>-<T>x<H>x<W>/1.0.0`` (with ``-stride<n>`` for strides above 1).
    """
    if layout is None and name not in IMPORTED_LAYOUTS:
        raise KeyError(unknown_name("import", name, IMPORTED_LAYOUTS) + " For other data sets pass `layout`.")
    layout, cut = layout or IMPORTED_LAYOUTS[name], Cut(**cut)
    directory = _place(name, cut, data_dir)
    if not is_complete(directory):
        _tensorflow()
        original = tfds.builder_from_directory(source) if source else _downloaded(layout.builder)
        clips = {split: _converted(original, layout, split, cut) for split in layout.splits}
        classes = original.info.features[layout.label].names if layout.label else (_NO_CLASSES,)
        left_out = {"too_short": {split: table.clips.count(0) for split, table in clips.items()}}
        write_dataset(
            directory, _features(cut, classes), {split: (len(table), table) for split, table in clips.items()},
            name="imported", config=directory.parent.name, version=_VERSION, citation=original.info.citation,
            description=f"Clips of {original.info.full_name}. {original.info.description}",
            metadata={"settings": _settings(layout, cut), "left_out": left_out}, workers=workers,
        )  # fmt: skip
    return imported(name, layout=layout, data_dir=data_dir, **dataclasses.asdict(cut))


def imported(
    name: str, *, layout: ImportedLayout | None = None, data_dir: os.PathLike | None = None, **cut: Any
) -> pathlib.Path:
    """The folder of a finished import with these settings; needs no TensorFlow. Args are those of ``import_tfds``."""
    layout, cut = layout or IMPORTED_LAYOUTS[name], Cut(**cut)
    directory = _place(name, cut, data_dir)
    if not is_complete(directory):
        raise FileNotFoundError(
            f"{name} has not been imported: there is no {directory}. Import it once, with the extra `tf`: "
            "python run.py --config=... --mode=import."
        )
    found = tfds.builder_from_directory(directory).info.metadata["settings"]
    if found != _settings(layout, cut):
        raise ValueError(
            f"{directory} was imported with other settings:\n  {found}\nnot\n  {_settings(layout, cut)}\n"
            "Remove it, or name another data_dir."
        )
    return directory


def _place(name: str, cut: Cut, data_dir: os.PathLike | None) -> pathlib.Path:
    paced = f"-stride{cut.stride}" if cut.stride > 1 else ""
    config = f"{name}-{cut.num_frames}x{cut.height}x{cut.width}{paced}"
    return data_root(data_dir) / "imported" / config / _VERSION


def _settings(layout: ImportedLayout, cut: Cut) -> dict[str, object]:
    """What determines the clips of an original, ready for JSON."""
    return {"layout": dataclasses.asdict(layout), "cut": dataclasses.asdict(cut)}


@dataclasses.dataclass(frozen=True)
class Reel:
    """The videos of a split of the original, up to number ``last``, in the order of its files."""

    directory: str
    frames: str
    label: str | None
    split: str
    last: int

    def play(self, first: int, decode: bool = True) -> Iterator[tuple[np.ndarray, int]]:
        """The frames and labels from number ``first`` on; without ``decode`` frames may be encoded, to count them."""
        _tensorflow()
        original = tfds.builder_from_directory(self.directory)
        skip = not decode and "/" not in self.frames and isinstance(original.info.features, tfds.features.FeaturesDict)
        dataset = original.as_dataset(
            split=tfds.core.ReadInstruction(self.split, from_=first, to=self.last, unit="abs"), shuffle_files=False,
            decoders={self.frames: tfds.decode.SkipDecoding()} if skip else None,
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),  # one file after the other
        )  # fmt: skip
        for example in tfds.as_numpy(dataset):
            frames = functools.reduce(lambda inner, key: inner[key], self.frames.split("/"), example)
            yield frames, int(example[self.label]) if self.label else 0


class _Player:
    """Shows the videos of a reel; it goes forward, and starts again anywhere else."""

    def __init__(self, reel: Reel):
        self._reel, self._number, self._rest, self._video = reel, -2, iter(()), None

    @staticmethod
    @functools.lru_cache(maxsize=1)  # clips are asked for in order, video after video
    def of(reel: Reel) -> "_Player":
        return _Player(reel)

    def video(self, number: int) -> tuple[np.ndarray, int]:
        """The frames and the label of a video."""
        if number != self._number:
            if number != self._number + 1:
                self._rest = self._reel.play(number)
            self._video, self._number = next(self._rest), number
        return self._video


@dataclasses.dataclass(frozen=True)
class ConvertedClips:
    """The clips of one split: a function from an index to an example. ``clips`` counts those of each video."""

    reel: Reel
    first: int
    clips: tuple[int, ...]
    cut: Cut
    fps: float

    @functools.cached_property
    def _ends(self) -> list[int]:
        return np.cumsum(self.clips).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def __call__(self, index: int) -> dict[str, object]:
        video = bisect.bisect_right(self._ends, index)
        clip = index - self._ends[video] + self.clips[video]
        frames_THWC, label = _Player.of(self.reel).video(self.first + video)
        name = f"{self.reel.split}/{self.first + video:06d}#{clip}"
        fps = np.float32(self.fps / self.cut.stride)
        return {"video": self.cut(frames_THWC, clip, name), "label": label, "id": name, "fps": fps}


def _converted(original, layout: ImportedLayout, split: str, cut: Cut) -> ConvertedClips:
    """The clips of one of our splits; counts the frames of every video that belongs to it."""
    part, own = layout.splits[split], original.info.splits
    if part.split not in own:
        raise KeyError(unknown_name(f"split of {original.info.full_name}", part.split, own))
    first, last = part.bounds(own[part.split].num_examples)
    reel = Reel(os.fspath(original.data_dir), layout.frames, layout.label, part.split, last)
    videos = tqdm(reel.play(first, decode=False), total=last - first, unit=" videos", desc=f"Measuring {split}",
                  mininterval=0.1 if sys.stderr.isatty() else 10.0)  # fmt: skip
    clips = tuple(len(frames) // cut.span for frames, _ in videos)
    if not sum(clips):
        raise ValueError(
            f"Split {split!r} would be empty: none of the {len(clips)} videos of {original.info.full_name} that "
            f"belong to it has {cut.span} frames. Ask for fewer frames or a smaller stride."
        )
    return ConvertedClips(reel, first, clips, cut, layout.fps)


def _features(cut: Cut, class_names: Sequence[str]) -> tfds.features.FeaturesDict:
    shape = (cut.num_frames, cut.height, cut.width, 3)
    return tfds.features.FeaturesDict({
        "video": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes", doc="RGB"),
        "label": tfds.features.ClassLabel(names=class_names),
        "id": tfds.features.Text(doc="split and number in the original, #, number of the clip in the video"),
        "fps": tfds.features.Tensor(shape=(), dtype=np.float32, doc="frames of the clip per second; 0 if unknown"),
    })  # fmt: skip


def _rgb(frame_HWC: np.ndarray) -> np.ndarray:
    """A grey, RGB or RGBA frame as RGB."""
    channels = frame_HWC.shape[-1]
    if frame_HWC.dtype != np.uint8 or channels not in (1, 3, 4):
        raise ValueError(f"Frames are {frame_HWC.dtype} {frame_HWC.shape}; expected uint8 with 1, 3 or 4 channels.")
    return np.repeat(frame_HWC, 3, axis=-1) if channels == 1 else on_white(frame_HWC) if channels == 4 else frame_HWC


def _downloaded(name: str):
    builder = tfds.builder(name)
    builder.download_and_prepare()
    return builder


def _tensorflow() -> ModuleType:
    """TensorFlow, kept off the accelerators that training uses."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError("Importing TFDS data sets needs TensorFlow: pip install 'videogvt[tf]'.") from error
    tf.config.set_visible_devices([], "GPU")
    return tf
