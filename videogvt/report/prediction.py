"""The sections of a report on predictions: every task beside its baselines, errors over the horizon, clips."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.figure import Figure

from videogvt.report import images, page
from videogvt.report.generation import cell
from videogvt.report.grids import Table
from videogvt.report.images import spread, strip, webp
from videogvt.report.runs import Arrays, Grid, Run

_BASELINES = {
    "copy": "copy", "constant_velocity": "constant velocity", "constant_acceleration": "constant acceleration",
    "interpolation": "interpolation"}
PREDICTS = ("FP", "CFP")
"""Tasks that are given first frames."""

_NOTE = (
    "Distance in pixels from the object to its true place, the mean over the frames in which its centre is hidden. A "
    "frame in which not exactly one object is found counts as half the picture's diagonal; 'where found' leaves such "
    "frames out. The baselines know the exact track of the frames in which the object is given, and stay within "
    "the picture. Against the baseline: the error over that of the best one the task is to beat: copying, and for "
    "frame prediction constant velocity and acceleration, for interpolation and inpainting the straight line, for "
    "outpainting constant velocity. Margin: by how much that best one errs more, with 95 % confidence over clips. "
    "'Late' is 4 frames and more from the nearest given one. Unseen: clips whose object is hidden throughout."
)


def applies(grid: Grid) -> bool:
    """Whether an evaluator's numbers are those of predictions."""
    return "tasks_beating_baselines" in grid[""]


def sentence(grid: Grid) -> str:
    """Which tasks beat their baselines."""
    own = grid[""]
    lost = [task for task in _tasks(grid) if grid[task].get("error_vs_baseline", 0.0) >= 1.0]
    return (f"It beats the baseline in {own['tasks_beating_baselines']:.0f} of {own['tasks']:.0f} tasks"
            + (f"; not in {', '.join(lost)}" if lost else "") + ".")


def _tasks(grid: Grid) -> list[str]:
    """Names of the measured tasks."""
    return [row for row, numbers in grid.items() if "frames" in numbers]


def table(grid: Grid) -> Table:
    """Headings and lines: a line for each task."""
    headings = ["task", "error, px", "where found, px", "found", *(f"{name}, px" for name in _BASELINES.values()),
                "against baseline", "margin, px", "where given, px", "unseen clips", "found in these", "frames"]
    lines = []
    for task in _tasks(grid):
        own = grid[task]
        others = [grid.get(f"{task}/{name}", {}).get("track_error_px") for name in _BASELINES]
        lines.append([
            task, cell(own, "track_error_px", "{:.2f}"), _text(own.get("track_error_found_px")),
            _text(own.get("found_share"), "{:.1%}"), *map(_text, others), cell(own, "error_vs_baseline", "{:.2f}"),
            _margin(own), _text(own.get("given_error_px")), _text(own.get("unseen_clips"), "{:,.0f}"),
            _text(own.get("unseen_found_share"), "{:.1%}"), _text(own["frames"], "{:,.0f}")])
    return headings, lines


def late_table(grid: Grid) -> Table:
    """Headings and lines: the late error of every task and class, beside the baselines'."""
    lines = []
    for row, numbers in grid.items():
        task, _, name = row.partition("/by_class/")
        if name and task in _tasks(grid):
            others = [grid.get(f"{task}/{one}/by_class/{name}", {}).get("late_error_px") for one in _BASELINES]
            lines.append([f"{task}, {name}", *map(_text, (numbers["late_error_px"], *others))])
    return ["task and class", "error, px", *(f"{name}, px" for name in _BASELINES.values())], lines


def _margin(own: Mapping[str, float]) -> str:
    if "margin_px_from" not in own:
        return _text(own.get("margin_px"))
    return f"{own['margin_px']:.2f} ({own['margin_px_from']:.2f} to {own['margin_px_to']:.2f})"


def _text(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def sections(run: Run, name: str) -> Iterator[str]:
    """The sections of one evaluator of predictions."""
    grid, files = run.grid(name), run.files.get(name, {})
    facts = run.about["evaluators"].get(name, {})
    title = f"Predictions: {name}" + (f" ({facts['clips']:,} clips of {facts['split']})" if "split" in facts else "")
    blocks = [page.paragraph(sentence(grid)), page.paragraph(_NOTE, "note"), page.html_table(*table(grid), strong=1)]
    headings, lines = late_table(grid)
    if lines:
        blocks += [page.heading("Late errors by class"), page.html_table(headings, lines, strong=1)]
    if "horizons" in files:
        headings, lines = horizon_table(files["horizons"])
        if lines:
            blocks += [page.heading("Errors by class, so many frames after the last given one"),
                       page.html_table(headings, lines, strong=1)]
        chart = images.as_png(horizons(files["horizons"]))
        blocks.append(page.html_picture(chart, "error over the horizon", frame=False))
    yield page.section(title, *blocks)
    if "samples" in files and name != "validation":
        yield page.section(f"Predicted clips: {name}", *shown_samples(files["samples"]))


def horizon_table(arrays: Arrays) -> Table:
    """Headings and lines: of frame prediction, the mean errors of found frames at horizons that double, by class: the
    generator's / copying's / constant velocity's / constant acceleration's."""
    names, rows = arrays["tasks"].tolist(), arrays["rows"].tolist()
    frames = [h for h in (1, 2, 4, 8, 16, 32) if h < arrays["error"].shape[3]]
    shown = [rows.index(row) for row in ("", "copy", "constant_velocity", "constant_acceleration")]
    lines = []
    for place, task in enumerate(names):
        if task.partition(":")[0] not in PREDICTS:
            continue
        for label, name in enumerate(["all classes", *arrays["class_names"].tolist()]):
            error_RT = arrays["error"][place, shown, label]
            cells = [" / ".join("–" if np.isnan(value) else f"{value:.2f}" for value in error_RT[:, h]) for h in frames]
            lines.append([f"{task}, {name}", *cells])
    return ["task and class", *(f"{h} frame{'s' * (h > 1)}, px" for h in frames)], lines


def horizons(arrays: Arrays) -> Figure:
    """Mean errors of found frames over the frames to the nearest given one, a small chart for each task."""
    names, rows = arrays["tasks"].tolist(), arrays["rows"].tolist()
    lines = -(-len(names) // 3)
    figure = Figure(figsize=(10.8, 2.4 * lines), dpi=images.DPI, layout="constrained")
    grid = figure.subplots(lines, 3, squeeze=False).ravel()
    colours = dict(zip(rows, (images.BLUE, images.MUTED, images.RED, "#e0a458", "#6a994e")))
    for place, (axes, task) in enumerate(zip(grid, names)):
        for row, name in enumerate(rows):
            error_T = arrays["error"][place, row, 0]
            at = np.flatnonzero(np.isfinite(error_T))
            axes.plot(at, error_T[at], color=colours[name], linewidth=2.0 if name == "" else 1.1, marker=".",
                      label=_BASELINES.get(name, "generated"))
        images.plain_axes(axes, task)
        axes.set(ylim=(0, None), xlabel="frames to the nearest given one", ylabel="error, px")
    grid[0].legend(frameon=False, fontsize=7, labelcolor=images.INK)
    for axes in grid[len(names):]:
        axes.set_axis_off()
    return figure


def shown_samples(samples: Arrays) -> Iterator[str]:
    """The first clips of every task: the original, what is given, and what was made of it."""
    yield page.paragraph("The first clips of the split, chosen by nothing: original, what is given (the rest grey), "
                         "and what was made of it.", "note")
    scale = max(1, 128 // samples["original"].shape[3])
    for place, task in enumerate(samples["tasks"].tolist()):
        strips = []
        for original, made in zip(samples["original"], samples["video"][place]):
            given = np.where(samples["shown"][place][..., None], original, np.uint8(205))
            strips.append(strip([original, given, made], spread(len(original), 8), scale))
        yield page.heading(task)
        pictures = [webp(cells, max_bytes=60_000) for cells in strips]
        yield page.row(*(page.html_picture(each, f"clips of {task}", frame=False) for each in pictures))
