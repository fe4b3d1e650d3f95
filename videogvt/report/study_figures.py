"""Charts of a study: labels that it takes, how sure rows are, and a clip lit where a network looks.

Rows have the colours of their alphabetical order, so that one row has the same in all charts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from videogvt.ops.video import as_bytes, as_float
from videogvt.report.images import DPI, INK, MUTED, plain_axes

COLOURS = ("#20639b", "#c8553d", "#3caea3", "#b58900", "#6a4c93", "#5d6878", "#d1495b", "#2e4057", "#66a182", "#8d6a9f",
           "#edae49", "#00798c")


def efficiency(lines: Mapping[str, Sequence[tuple[float, ...]]], chance: float) -> Figure:
    """Accuracy over the number of labels: (labels, mean, low, high) for each point of each row; a row that learned from
    0 labels is a line across."""
    figure = Figure(figsize=(10.8, 3.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, (row, points) in enumerate(sorted(lines.items())):
        labels, mean, low, high = np.array(points, float).T
        colour = COLOURS[place % len(COLOURS)]
        if not labels.any():
            axes.axhline(mean[0], color=colour, linewidth=1.4, label=f"{row}, no labels")
            continue
        axes.errorbar(labels * 1.02**place, mean, [mean - low, high - mean], color=colour, label=row, marker="o",
                      markersize=4, linewidth=1.4, capsize=3)
    axes.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="chance")
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="training clips with a label", ylabel="accuracy on the test split")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain_axes(axes, "")
    return figure


def confidence(
    reliable: Mapping[str, Mapping[str, np.ndarray]], covered: Mapping[str, Mapping[str, np.ndarray]]
) -> Figure:
    """Reliability beside accuracy against coverage; see ``ops.quality.calibration`` and ``coverage``."""
    figure = Figure(figsize=(10.8, 3.6), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for place, (row, bins) in enumerate(sorted(reliable.items())):
        colour = COLOURS[place % len(COLOURS)]
        left.plot(bins["confidence"], bins["accuracy"], color=colour, marker="o", markersize=3, linewidth=1.2)
        right.plot(covered[row]["coverage"], covered[row]["accuracy"], color=colour, linewidth=1.4, label=row)
    left.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    right.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="share of clips that are answered", ylabel="accuracy on these")
    right.legend(frameon=False, fontsize=9, loc="lower left", labelcolor=INK)
    for axes in (left, right):
        plain_axes(axes, "")
    return figure


def robustness(rows: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> Figure:
    """Accuracy over the level of every corruption: by row and corruption, "levels" and "accuracy"."""
    names = list(next(iter(rows.values())))
    figure = Figure(figsize=(10.8, 3.0), dpi=DPI, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        for place, (row, curves) in enumerate(sorted(rows.items())):
            axes.plot(curves[name]["levels"], curves[name]["accuracy"], color=COLOURS[place % len(COLOURS)], marker="o",
                      markersize=3, linewidth=1.4, label=row)
        axes.set(ylim=(0, 1.02), xlabel="level")
        plain_axes(axes, name)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def lit(video_THWC: np.ndarray, attention_thw: np.ndarray) -> np.ndarray:
    """A clip whose light falls where the attention is: a cell of the grid darkens as it falls behind the strongest."""
    frames, height, width = video_THWC.shape[:3]
    grid = attention_thw / max(float(attention_thw.max()), 1e-12)
    for axis, size in enumerate((frames, height, width)):
        place = np.arange(size) * grid.shape[axis] // size
        grid = np.take(grid, place, axis=axis)
    light = 0.25 + 0.75 * np.sqrt(grid)[..., None]
    return as_bytes(as_float(video_THWC) * light)
