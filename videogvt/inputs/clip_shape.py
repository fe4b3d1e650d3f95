"""Size, pace and classes of the clips that a config trains on, told from the config alone: no data set is opened."""

from collections.abc import Mapping
from typing import Any

from videogvt.inputs.contracts import thinning
from videogvt.inputs.digits import NAMES
from videogvt.inputs.transforms import SampleFrames, make_transforms
from videogvt.ops.video import Pace
from videogvt.world.digits import CLASS_NAMES, DIGIT_SPECS, DigitSpec
from videogvt.world.spec import SPECS, WorldSpec


def clip_shape(data: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(T, H, W) of the clips that come out of a config's section ``data``; None where only the data set could tell."""
    shape = _stored(data["source"], data["options"])
    if shape is None:
        return None
    frames, height, width = shape
    for transform in make_transforms("data", data):
        if hasattr(transform, "size"):  # the other side follows from the clips
            return None
        frames = getattr(transform, "num_frames", frames)
        height, width = getattr(transform, "height", height), getattr(transform, "width", width)
        frames = 1 if isinstance(transform, SampleFrames) else frames
    return frames, height, width


def clip_pace(data: Mapping[str, Any]) -> Pace:
    """How fast the clips are that come out of a config's section ``data``."""
    options, stride = data["options"], data["options"].get("stride", 1)
    spec = _spec(data["source"], options)
    fps = spec.fps if spec else options.get("fps")
    if spec and options.get("frames"):
        stride *= thinning(spec.num_frames, options["frames"])
    for transform in make_transforms("data", data):
        stride *= getattr(transform, "stride", 1)
    return Pace(fps, stride)


def _stored(source: str, options: Mapping[str, Any]) -> tuple[int, int, int] | None:
    if source in WORLDS:
        spec = _spec(source, options)
        if spec is None:
            return None
        if options.get("crops"):
            return 1, options["crops"], options["crops"]
        shape = _sides(vars(spec))
        return (options["frames"], *shape[1:]) if options.get("frames") else shape
    return _sides({"num_frames": 1, **options} if source == "images" else options)


def _sides(fields: Mapping[str, Any]) -> tuple[int, int, int] | None:
    names = ("num_frames", "height", "width")
    return tuple(fields[name] for name in names) if set(names) <= set(fields) else None


def class_names(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names by label of the clips of a config's section ``data``; None where only the data set could tell."""
    spec = _spec(data["source"], data["options"])
    if isinstance(spec, DigitSpec):
        return NAMES if data["options"].get("crops") else CLASS_NAMES
    return spec.families if spec else None


WORLDS = {"trajectories": (SPECS, "mono64"), "digits": (DIGIT_SPECS, "digits64")}
"""The specs of a source, and the one that it takes where none is named."""


def _spec(source: str, options: Mapping[str, Any]) -> WorldSpec | DigitSpec | None:
    """The shipped spec that a source's options name; None where they name none."""
    if source not in WORLDS:
        return None
    specs, usual = WORLDS[source]
    name = options.get("config", usual)
    return specs.get(name) if isinstance(name, str) else None
