"""Pictures of a report: strips of frames and animated clips, enlarged so that single pixels can be seen; and charts."""

import io
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from PIL import Image

from videogvt.ops.video import as_bytes

_GREY = (205, 205, 205)  # of the edge around a frame
GAP = 2  # white pixels between frames, in pixels of the original clip


def spread(num_frames: int, count: int) -> np.ndarray:
    """At most ``count`` frame numbers spread evenly from the first frame to the last."""
    return np.unique(np.round(np.linspace(0, num_frames - 1, min(count, num_frames))).astype(int))


def difference(original: np.ndarray, reconstruction: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """The absolute difference of two clips, ``gain`` times, on white: uint8 (T, H, W, 3), white where equal."""
    error = np.abs(as_bytes(original).astype(np.float32) - as_bytes(reconstruction).astype(np.float32))
    return (255.0 - np.clip(gain * error, 0.0, 255.0)).astype(np.uint8)


def merged(video_THWC: np.ndarray) -> np.ndarray:
    """All frames laid over each other: of each pixel the value that is farthest from the clip's usual colour."""
    farthest_HW = np.abs(video_THWC - np.median(video_THWC, axis=(0, 1, 2))).sum(axis=-1).argmax(axis=0)
    return np.take_along_axis(video_THWC, farthest_HW[None, :, :, None], axis=0)[0]


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """An image (H, W, 3) or clip (T, H, W, 3) with every pixel repeated ``scale`` times each way."""
    return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def edged(video: np.ndarray, colour: tuple[int, int, int] = _GREY) -> np.ndarray:
    """A clip or image with an edge one pixel wide, so that a white frame has a border on a white page."""
    video = as_bytes(video).copy()
    for side in (np.s_[..., 0, :, :], np.s_[..., -1, :, :], np.s_[..., 0, :], np.s_[..., -1, :]):
        video[side] = colour
    return video


def strip(videos: Sequence[np.ndarray], frames: Sequence[int], scale: int = 2, colours: Sequence = ()) -> np.ndarray:
    """Frames side by side, one row for each clip: uint8 (rows, columns, 3).

    Args:
      videos: clips (T, H, W, 3) of one shape, uint8 or floating point in [0, 1].
      frames: the frames to show, in order.
      scale: how many pixels wide a pixel of the clip becomes.
      colours: RGB of the edges, one for each clip; grey by default.
    """
    rows = []
    for video, colour in zip(videos, colours or [_GREY] * len(videos), strict=True):
        cells = [edged(enlarge(as_bytes(video[frame]), scale), colour) for frame in frames]
        padded = [np.pad(cell, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255) for cell in cells]
        rows.append(np.concatenate(padded, axis=1))
    return np.concatenate(rows, axis=0)


def png(image: np.ndarray) -> bytes:
    """An image uint8 (H, W, 3) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def webp(image: np.ndarray, max_bytes: int | None = None) -> bytes:
    """An image uint8 (H, W, 3) as the bytes of a WebP file: lossless, or lossy where that would pass ``max_bytes``."""
    return _encode([Image.fromarray(image)], max_bytes)


def animation(
    videos: Sequence[np.ndarray], fps: float, scale: int = 4, slow: float = 2.0, max_bytes: int | None = None
) -> bytes:
    """Clips side by side as the bytes of one endless animated WebP.

    Args:
      videos: clips (T, H, W, 3) of one shape, uint8 or floating point in [0, 1].
      fps: frames a second at which the clips were made.
      scale: how many pixels wide a pixel of the clip becomes.
      slow: how many times slower than life the animation runs; 16 frames at 24 a second are over too soon to see.
      max_bytes: bytes beyond which it is not lossless.
    """
    large = [edged(enlarge(as_bytes(video), scale)) for video in videos]
    spaced = [np.pad(video, ((0, 0), (0, 0), (0, 2 * GAP), (0, 0)), constant_values=255) for video in large]
    joined = np.concatenate(spaced, axis=2)[:, :, : -2 * GAP]
    durations = [round(1000 * slow / fps)] * len(joined)
    durations[-1] += 600  # a rest before it starts again
    return _encode([Image.fromarray(frame) for frame in joined], max_bytes, duration=durations, loop=0)


def _encode(frames: Sequence[Image.Image], max_bytes: int | None, **options) -> bytes:
    if len(frames) > 1:
        options |= {"save_all": True, "append_images": frames[1:]}
    rough = len(frames) * len(zlib.compress(frames[0].tobytes(), 1))  # lossless WebP takes a fifth of it or more
    qualities = ({"lossless": True}, {"quality": 80, "method": 2}, {"quality": 40, "method": 2})
    for quality in qualities if max_bytes is None or rough <= 5 * max_bytes else qualities[1:]:
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", **quality, **options)
        if max_bytes is None or buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()


DPI = 100
INK, SOFT, BLUE, RED, MUTED = "#1c2430", "#5d6878", "#20639b", "#c8553d", "#9aa4b1"
Series = tuple[Sequence[int], Sequence[float]]


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


def curves(series: Mapping[str, Series], lines: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Small charts over the steps, three in a row.

    Args:
      series: (steps, values) by title.
      lines: by title, levels to compare with, each with its name ("all background"); drawn dashed.
    """
    rows = -(-len(series) // 3)
    figure = Figure(figsize=(10.8, 2.25 * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False).ravel()
    for axes, (title, (steps, values)) in zip(grid, series.items()):
        axes.plot(steps, values, color=BLUE, linewidth=1.4, marker="o" if len(steps) < 8 else None, markersize=3)
        for name, level in (lines or {}).get(title, {}).items():
            axes.axhline(level, color=RED, linewidth=1, linestyle=(0, (4, 3)))
            axes.text(0.98, level, name, color=RED, fontsize=7.5, ha="right", va="bottom",
                      transform=axes.get_yaxis_transform())
        plain_axes(axes, title)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        positive = [value for value in values if value > 0]
        if len(positive) == len(values) and max(values) > 20 * min(values) and not lines:
            axes.set_yscale("log")
    for axes in grid[len(series):]:
        axes.set_axis_off()
    return figure


def code_histogram(counts_K: np.ndarray) -> Figure:
    """How often each code is used, most frequent first, beside equal use."""
    figure = Figure(figsize=(10.8, 2.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    share = np.sort(counts_K)[::-1] / counts_K.sum()
    used = int((share > 0).sum())
    axes.fill_between(np.arange(used) + 1, share[:used], step="mid", color=BLUE, alpha=0.85, linewidth=0)
    equal = f"equal use of all {len(share):,}"
    axes.axhline(1 / len(share), color=RED, linewidth=1, linestyle=(0, (4, 3)), label=equal)
    axes.axvline(used, color=MUTED, linewidth=1, label=f"{used:,} codes used")
    axes.set(yscale="log", xlim=(0, len(share) + 1), xlabel="codes, most frequent first", ylabel="share of all tokens")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain_axes(axes, "")
    return figure


def error_distribution(errors: Mapping[str, np.ndarray]) -> Figure:
    """The share of frames whose track error is at most so many pixels, for every set of errors by name."""
    figure = Figure(figsize=(10.8, 2.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for colour, (name, values) in zip((BLUE, RED, MUTED, INK), errors.items()):
        values = np.sort(values[np.isfinite(values)])
        axes.plot(np.maximum(values, 1e-2), np.arange(1, len(values) + 1) / len(values), color=colour, label=name)
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.axvline(2.0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set(xscale="log", ylim=(0, 1.01), xlabel="track error in pixels", ylabel="share of frames at most so far off")
    axes.legend(frameon=False, fontsize=9, loc="upper left", labelcolor=INK)
    plain_axes(axes, "")
    return figure


def track_overlay(
    video_THWC: np.ndarray, original_T2: np.ndarray, reconstruction_T2: np.ndarray, size: float = 2.6
) -> Figure:
    """Both tracks over all frames of the original laid over each other."""
    figure = Figure(figsize=(size, size), dpi=DPI)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.imshow(merged(video_THWC), interpolation="nearest", alpha=0.35)
    axes.plot(*original_T2.T, color=INK, linewidth=1, marker="o", markersize=4, mfc="none", label="original")
    axes.plot(*reconstruction_T2.T, color=RED, linewidth=1, marker="x", markersize=4, label="reconstruction")
    axes.legend(frameon=False, fontsize=7.5, loc="best", labelcolor=INK)
    axes.set(xticks=(), yticks=())
    return figure


def plain_axes(axes: Axes, title: str) -> None:
    """The look that all charts have in common."""
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    axes.tick_params(labelsize=8, colors=SOFT)
    axes.xaxis.label.set(color=SOFT, fontsize=9)
    axes.yaxis.label.set(color=SOFT, fontsize=9)
    axes.grid(color="#e9edf1", linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color("#c3cad3")
