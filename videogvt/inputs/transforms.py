"""What may happen to clips between the disk and the model: crops, resizing, flips, colours, windows of time.

A transform takes a batch and one random stream per row and returns a new batch; videos stay uint8. Several transforms
applied in turn draw from the same streams. Rows are treated alike and independently, so that a row's result does not
depend on its neighbours or on how a batch is divided among hosts.

Clips of the world filmed anew on changed paths, in place of the stored ones.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from videogvt.core.registry import configure, unknown_name
from videogvt.inputs.contracts import Batch, Streams, Transform
from videogvt.inputs.frames import resize_short_side
from videogvt.world.example import augment
from videogvt.world.spec import SPECS, WorldSpec


@dataclasses.dataclass(frozen=True)
class RandomPath:
    """Films clips of ``trajectories`` anew with their paths mirrored, run backwards or turned; it comes first.

    Look, light and noise stay, and every field that is read follows the new path. ``id`` is left out of the batch, for
    the clip is not the stored one any more. A clip that changes costs a core some milliseconds. Reversed and turned
    paths start elsewhere, not equally for all classes; see ``world.example.augment``.

    Attributes:
      mirror: probability of a mirror image, in which left and right change places.
      reverse: probability that the path is run backwards.
      turn: radians by which a path turns about the vertical at most, evenly to both sides; one that would leave the
        picture is not turned.
    """

    needs: ClassVar[tuple[str, ...]] = ("id",)
    mirror: float = 0.5
    reverse: float = 0.0
    turn: float = 0.0

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        if "id" not in batch:
            raise ValueError(f"random_path finds clips by their id, and only {sorted(batch)} are read; read the id, or "
                             "leave it out of config.data.transforms.")
        clips = [self._filmed(str(name), stream) for name, stream in zip(batch["id"], streams, strict=True)]
        for clip in filter(None, clips):
            if clip["video"].shape != batch["video"].shape[1:]:
                raise ValueError(f"random_path films clips of {clip['video'].shape}, but these are of "
                                 f"{batch['video'].shape[1:]}; name it before the transforms that change sizes.")
        return {field: _column(field, rows, clips) for field, rows in batch.items() if field != "id"}

    def _filmed(self, name: str, stream: np.random.Generator) -> dict | None:
        """The example of that ``id`` on a changed path; None where nothing changes."""
        change = {"mirror": stream.random() < self.mirror, "reverse": stream.random() < self.reverse}
        turn = self.turn * stream.uniform(-1, 1)
        spec, split, index = _of_world(name)
        if turn:
            try:
                return augment(spec, split, index, **change, turn=turn)
            except ValueError:
                pass  # it leaves the picture
        return augment(spec, split, index, **change) if any(change.values()) else None


def _of_world(name: str) -> tuple[WorldSpec, str, int]:
    """World, split and index of an ``id`` such as "mono64/train/000012"; of resized worlds the one that ships."""
    world, *rest = name.split("/")
    spec = SPECS.get(world) or SPECS.get(world.rpartition("_train")[0])
    if spec is None or len(rest) != 2 or not rest[1].isdecimal():
        raise ValueError(f"random_path films clips of {', '.join(SPECS)} anew, and knows none of id {name!r}; leave it "
                         "out of config.data.transforms.")
    return spec, rest[0], int(rest[1])


def _column(field: str, rows: np.ndarray, clips: list[dict | None]) -> np.ndarray:
    """A field's rows, those of changed clips from these."""
    column = np.stack([row if clip is None else np.asarray(clip[field]) for row, clip in zip(rows, clips)])
    return column if rows.dtype.kind == "U" else column.astype(rows.dtype)


# Fields that say nothing about where and when something is in the picture, and so stay true.
INVARIANT_FIELDS = frozenset(
    ("video", "label", "id", "fps", "caption", "equation", "family", "parameters", "seed", "version")
)


@dataclasses.dataclass(frozen=True)
class CenterCrop:
    """Cuts the middle ``height`` x ``width`` pixels out of every frame; the rounding favours the top left."""

    height: int
    width: int

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        video_BTHWC = _video(self, batch)
        top, left = (room // 2 for room in _room(self, video_BTHWC))
        return batch | {"video": video_BTHWC[:, :, top : top + self.height, left : left + self.width]}


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """Cuts ``height`` x ``width`` pixels out of every clip, somewhere at random; one place for all its frames."""

    height: int
    width: int

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        video_BTHWC = _video(self, batch)
        down, right = _room(self, video_BTHWC)

        def crop(video_THWC: np.ndarray, stream: np.random.Generator) -> np.ndarray:
            top, left = stream.integers(down + 1), stream.integers(right + 1)
            return video_THWC[:, top : top + self.height, left : left + self.width]

        return batch | {"video": _each(crop, video_BTHWC, streams)}


@dataclasses.dataclass(frozen=True)
class ResizeShortSide:
    """Scales every frame so that its shorter side has ``size`` pixels, keeping the proportions (Pillow, bicubic)."""

    size: int

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        video_BTHWC = _video(self, batch)

        def scale(video_THWC: np.ndarray, stream: np.random.Generator) -> np.ndarray:
            return np.stack([resize_short_side(frame_HWC, self.size) for frame_HWC in video_THWC])

        return batch | {"video": _each(scale, video_BTHWC, streams)}


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """Mirrors a clip left to right with the given probability; all its frames or none."""

    probability: float = 0.5

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        video_BTHWC = _video(self, batch)

        def flip(video_THWC: np.ndarray, stream: np.random.Generator) -> np.ndarray:
            return video_THWC[:, :, ::-1] if stream.random() < self.probability else video_THWC

        return batch | {"video": _each(flip, video_BTHWC, streams)}


@dataclasses.dataclass(frozen=True)
class RandomColours:
    """Changes light and colours of a clip, all its frames alike, so that a few videos show more of them.

    Attributes:
      contrast: differences from the middle grey are multiplied by up to so much more or less, in each colour channel
        by up to half as much on top.
      brightness: each colour channel becomes brighter or darker by up to this share of the range.
    """

    contrast: float = 0.4
    brightness: float = 0.2

    def __post_init__(self):
        if not (0 <= self.contrast < 1 and 0 <= self.brightness < 1):
            raise ValueError(f"contrast is {self.contrast} and brightness {self.brightness}; expected both at least 0 "
                             "and less than 1.")

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        values = np.arange(256, dtype=np.float32) / 255

        def change(video_THWC: np.ndarray, stream: np.random.Generator) -> np.ndarray:
            gain = 1 + self.contrast * (stream.uniform(-1, 1) + stream.uniform(-0.5, 0.5, 3))
            offset = 0.5 + self.brightness * stream.uniform(-1, 1, 3)
            table_3V = np.maximum(gain, 0)[:, None] * (values - 0.5) + offset[:, None]
            table_3V = np.round(255 * np.clip(table_3V, 0, 1)).astype(np.uint8)
            return np.stack([table_V[video_THWC[..., c]] for c, table_V in enumerate(table_3V)], axis=-1)

        return batch | {"video": _each(change, _video(self, batch), streams)}


@dataclasses.dataclass(frozen=True)
class TemporalWindow:
    """Takes ``num_frames`` frames, ``stride`` apart: from a random start, or from the middle. ``fps`` follows."""

    num_frames: int
    stride: int = 1
    random: bool = True

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        video_BTHWC = _video(self, batch)
        span = (self.num_frames - 1) * self.stride + 1
        room = video_BTHWC.shape[1] - span
        if room < 0:
            raise ValueError(
                f"{self} needs clips of at least {span} frames, but these have {video_BTHWC.shape[1]}; "
                "store longer clips, or ask for fewer frames or a smaller stride."
            )

        def window(video_THWC: np.ndarray, stream: np.random.Generator) -> np.ndarray:
            start = stream.integers(room + 1) if self.random else room // 2
            return video_THWC[start : start + span : self.stride]

        changed = {"video": _each(window, video_BTHWC, streams)}
        if "fps" in batch:
            changed["fps"] = batch["fps"] / np.float32(self.stride)
        return batch | changed


@dataclasses.dataclass(frozen=True)
class SampleFrames:
    """Turns clips into pictures: one frame of each (drawn uniformly, or the middle one) as a clip of one frame."""

    random: bool = True

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        return TemporalWindow(num_frames=1, random=self.random)(batch, streams)


def fields_for(transforms: Sequence[Transform], learned: Sequence[str] = ("video", "label")) -> tuple[str, ...]:
    """What to read of training clips: what a network learns from, and what transforms need besides."""
    needed = (field for transform in transforms for field in getattr(transform, "needs", ()))
    return tuple(dict.fromkeys((*learned, *needed)))


def transformed(batch: Batch, transforms: Sequence[Transform], keys: Sequence[Sequence[int]]) -> Batch:
    """A batch through transforms in turn; each row draws from the stream of its key, two whole numbers."""
    if transforms:
        streams = [np.random.Generator(np.random.Philox(key=list(key))) for key in keys]
        for transform in transforms:
            batch = transform(batch, streams)
    return batch


def _each(change: Callable, video_BTHWC: np.ndarray, streams: Streams) -> np.ndarray:
    """The results of ``change(video_THWC, stream)`` over the rows, in one contiguous array."""
    return np.stack([change(video_THWC, stream) for video_THWC, stream in zip(video_BTHWC, streams, strict=True)])


def _video(transform: Transform, batch: Batch) -> np.ndarray:
    """The batch's video, once it is sure that no other field would be made false."""
    if bound := sorted(set(batch) - INVARIANT_FIELDS):
        raise ValueError(
            f"{transform} would change the video but not {bound}, which speak of its pixels or frames; "
            "ask the source for fewer fields, or drop the transform."
        )
    return batch["video"]


def _room(transform: CenterCrop | RandomCrop, video_BTHWC: np.ndarray) -> tuple[int, int]:
    """By how many pixels a crop can move down and right."""
    height, width = video_BTHWC.shape[2:4]
    if transform.height > height or transform.width > width:
        raise ValueError(
            f"{transform} does not fit into frames of {height}x{width} pixels; resize them first, or crop less."
        )
    return height - transform.height, width - transform.width


TRANSFORMS: Mapping[str, type[Transform]] = {
    "center_crop": CenterCrop, "random_colours": RandomColours, "random_crop": RandomCrop, "random_flip": RandomFlip,
    "random_path": RandomPath,
    "resize_short_side": ResizeShortSide, "sample_frames": SampleFrames, "temporal_window": TemporalWindow,
}


def make_transforms(name: str, section: Mapping[str, Any]) -> tuple[Transform, ...]:
    """The entry ``transforms`` of a config's section as transforms, in order; none where it has no such entry.

    Args:
      name: of the section, for messages.
      section: with ``{"transforms": {"random_flip": {"probability": 0.5}, ...}}``.
    """
    steps = []
    for kind, fields in section["transforms"].items() if "transforms" in section else ():
        if kind not in TRANSFORMS:
            raise ValueError(unknown_name(f"transform in config.{name}.transforms", kind, TRANSFORMS))
        steps.append(configure(TRANSFORMS[kind], f"{name}.transforms.{kind}", fields))
    return tuple(steps)
