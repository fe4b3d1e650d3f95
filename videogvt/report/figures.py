"""Charts of a run: curves over its steps, the use of its codes, errors of its tracks, tracks over a clip."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from videogvt.report.images import merged

DPI = 100
INK, SOFT, BLUE, RED, GREY = "#1c2430", "#5d6878", "#20639b", "#c8553d", "#9aa4b1"
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
        plain(axes, title)
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
    axes.axvline(used, color=GREY, linewidth=1, label=f"{used:,} codes used")
    axes.set(yscale="log", xlim=(0, len(share) + 1), xlabel="codes, most frequent first", ylabel="share of all tokens")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain(axes, "")
    return figure


def error_distribution(errors: Mapping[str, np.ndarray]) -> Figure:
    """The share of frames whose track error is at most so many pixels, for every set of errors by name."""
    figure = Figure(figsize=(10.8, 2.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for colour, (name, values) in zip((BLUE, RED, GREY, INK), errors.items()):
        values = np.sort(values[np.isfinite(values)])
        axes.plot(np.maximum(values, 1e-2), np.arange(1, len(values) + 1) / len(values), color=colour, label=name)
    axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.axvline(2.0, color=GREY, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set(xscale="log", ylim=(0, 1.01), xlabel="track error in pixels", ylabel="share of frames at most so far off")
    axes.legend(frameon=False, fontsize=9, loc="upper left", labelcolor=INK)
    plain(axes, "")
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


def plain(axes: Axes, title: str) -> None:
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
