"""The axes of videos that a caller gives: what another order of them looks like, and what brings them into ours."""

from collections.abc import Sequence
from typing import NamedTuple

RGB, _GREY, RGBA = 3, 1, 4

_LAYOUTS = (
    # axes, channels, what it is called
    ("BTHWC", RGB, ""), ("THWC", RGB, ""), ("BTCHW", RGB, "channels-first frames"),
    ("BCTHW", RGB, "channels-first clips"), ("TCHW", RGB, "the channels-first frames of one clip"),
    ("CTHW", RGB, "one channels-first clip"), ("HWC", RGB, "one picture"), ("CHW", RGB, "one channels-first picture"),
    ("BTHWC", _GREY, "grey clips"), ("THWC", _GREY, "one grey clip"), ("BTCHW", _GREY, "channels-first grey frames"),
    ("BCTHW", _GREY, "channels-first grey clips"), ("TCHW", _GREY, "the channels-first grey frames of one clip"),
    ("CTHW", _GREY, "one channels-first grey clip"), ("HWC", _GREY, "one grey picture"),
    ("CHW", _GREY, "one grey picture"),
    ("BTHWC", RGBA, "clips with an alpha channel, which is dropped"),
    ("THWC", RGBA, "one clip with an alpha channel, which is dropped"),
    ("BTCHW", RGBA, "channels-first frames with an alpha channel, which is dropped"),
    ("BCTHW", RGBA, "channels-first clips with an alpha channel, which is dropped"),
    ("HWC", RGBA, "one picture with an alpha channel, which is dropped"),
    ("BTHW", None, "grey clips"), ("THW", None, "one grey clip"), ("HW", None, "one grey picture"),
)
"""The first that fits a shape is taken; RGB before grey, and alpha where it can be nothing else."""


class VideoLayout(NamedTuple):
    """What a shape looks like.

    Attributes:
      name: in words; "" where only the batch axis is missing.
      expression: of ``video``, which makes it (B, T, H, W, 3).
      shape: that the expression has.
    """

    name: str
    expression: str
    shape: tuple[int, ...]


def layout_of(shape: Sequence[int]) -> VideoLayout | None:
    """What a shape looks like; None where it is like no video."""
    for axes, channels, name in _LAYOUTS:
        if len(axes) == len(shape) and (channels is None or shape[axes.index("C")] == channels):
            return _brought(shape, axes, channels, name)
    return None


def _brought(shape: Sequence[int], axes: str, channels: int | None, name: str) -> VideoLayout:
    expression, size = "video", dict(zip(axes, shape))
    order = tuple(axes.index(axis) for axis in "BTHWC" if axis in axes)
    if order != tuple(range(len(axes))):
        expression += f".transpose{order}"
    new = [axis not in axes for axis in "BT"]
    index = ["None"] * sum(new)
    if channels is None:
        index += ["...", "None"]
    elif channels == RGBA:
        index += ["...", ":3"]
    expression += f"[{', '.join(index)}]" if index else ""
    if channels in (None, _GREY):
        expression = f"np.repeat({expression}, 3, axis=-1)"
    return VideoLayout(name, expression, (*(size.get(axis, 1) for axis in "BTHW"), 3))


def check_shape(shape: Sequence[int]) -> None:
    """An error unless a shape is (B, T, H, W, 3); for another order of axes it names what mends it."""
    if problem := shape_problem(shape):
        raise ValueError(problem)


def shape_problem(shape: Sequence[int], expression: str | None = None) -> str | None:
    """What is wrong with the axes of a video, and what mends it; None where nothing is.

    Args:
      shape: of the video.
      expression: that mends more than the axes; None for the layout's own.
    """
    if len(shape) == 5 and shape[-1] == RGB:
        return None
    found, layout = f"Expected a video of shape (B, T, H, W, 3), found {tuple(shape)}.", layout_of(shape)
    if layout is None:
        return f"{found} Videos are batches of RGB clips, channels last."
    expression = expression or layout.expression
    return f"{found} " + (f"These look like {layout.name}: use {expression}." if layout.name
                          else f"Add the batch axis: {expression}.")


def fitted_expression(expression: str, sides: Sequence[int], target: Sequence[int]) -> str:
    """An expression that crops, or where it is too short repeats the edge of, the (T, H, W) of a video's expression.

    Args:
      expression: of a video (B, T, H, W, 3).
      sides, target: (T, H, W) that it has and shall have.
    """
    crops = [f":{new}" if new < old else ":" for old, new in zip(sides, target)]
    while crops and crops[-1] == ":":
        crops.pop()
    expression += f"[:, {', '.join(crops)}]" if crops else ""
    pads = [(0, max(0, new - old)) for old, new in zip(sides, target)]
    if any(pad for _, pad in pads):
        expression = f'np.pad({expression}, {[(0, 0), *pads, (0, 0)]}, mode="edge")'
    return expression
