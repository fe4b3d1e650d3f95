"""The sections of a report on predicted clips of two digits: places and identities beside bounds, errors by frame."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from videogvt.report import images, page
from videogvt.report.generation import cell
from videogvt.report.grids import Table
from videogvt.report.prediction import shown_samples
from videogvt.report.runs import Arrays, Grid, Run

_ROWS = {"": "generated", "copy": "copy", "constant_velocity": "constant velocity", "other_pair": "another clip",
        "reconstructed": "reconstructed", "real": "real"}
_GROUPS = {"": "all", "before_overlap": "before the first overlap", "overlapping": "overlapping",
          "after_overlap": "after an overlap"}
_NOTE = (
    "Error: distance in pixels from the true place of a digit to that of the digit found there, the mean over hidden "
    "frames and both digits; a digit that is not found counts as half the picture's diagonal. Right: which digit it "
    "is, as a classifier of single digits reads it in the last frames where the true ones do not overlap; pairs are "
    "clips with both right. In front: whether the true digit is, where they overlap and the order can be told; half is "
    "chance where no given frame shows it. Constant velocity knows all but the order; another clip is the control, the "
    "clips reconstructed by the tokenizer the ceiling, and the real ones show what the measure makes of truth."
)


def applies(grid: Grid) -> bool:
    """Whether an evaluator's numbers are those of predicted digits."""
    return "prediction_tasks" in grid[""]


def _tasks(grid: Grid) -> list[str]:
    """Names of the measured tasks."""
    return [row for row, numbers in grid.items() if "position_error_px" in numbers and "/" not in row]


def sentence(grid: Grid) -> str:
    """How far off both digits are, and how many are still what they were."""
    parts = []
    for task in _tasks(grid):
        own, still = grid[task], grid[f"{task}/copy"]
        read = f" and {own['digit_right_share']:.1%} of digits right" if "digit_right_share" in own else ""
        parts.append(f"{task}: {own['position_error_px']:.2f} px off (copying {still['position_error_px']:.2f}){read}")
    return "; ".join(parts) + "."


def table(grid: Grid) -> Table:
    """Headings and lines: a line for each task, row and group of frames."""
    lines = []
    for task in _tasks(grid):
        for row, name in _ROWS.items():
            for group, frames in _GROUPS.items():
                own = grid.get("/".join(filter(None, (task, row, group))), {})
                if "position_error_px" in own:
                    lines.append([
                        f"{task}, {name}", frames, cell(own, "position_error_px", "{:.2f}"),
                        _text(own, "position_error_px_median", "{:.2f}"), _text(own, "found_share"),
                        cell(own, "digit_right_share", "{:.1%}") if "digit_right_share" in own else "–",
                        _text(own, "pair_right_share"), _text(own, "front_right_share"), _text(own, "mse", "{:.4f}"),
                        f"{own['frames']:,.0f}"])
    return ["task and row", "frames", "error, px", "median, px", "found", "digits right", "pairs right", "in front",
            "squared error", "number of frames"], lines


def _text(own: dict[str, float], name: str, form: str = "{:.1%}") -> str:
    return form.format(own[name]) if name in own else "–"


def sections(run: Run, name: str) -> Iterator[str]:
    """The sections of one evaluator of predicted digits."""
    grid, files = run.grid(name), run.files.get(name, {})
    facts = run.about["evaluators"].get(name, {})
    title = f"Digits: {name}" + (f" ({facts['clips']:,} clips of {facts['split']})" if "split" in facts else "")
    blocks = [page.paragraph(sentence(grid)), page.paragraph(_NOTE, "note"), page.html_table(*table(grid), strong=1)]
    if "by_frame" in files:
        blocks.append(page.html_picture(images.as_png(_by_frame(files["by_frame"])), "error by frame", frame=False))
    yield page.section(title, *blocks)
    if "samples" in files:
        yield page.section(f"Predicted clips: {name}", *shown_samples(files["samples"]))


def _by_frame(arrays: Arrays) -> Figure:
    """Mean errors over the frames of a clip, a chart for each task."""
    names, rows = arrays["tasks"].tolist(), arrays["rows"].tolist()
    figure = Figure(figsize=(5.4 * len(names), 3.0), dpi=images.DPI, layout="constrained")
    grid = figure.subplots(1, len(names), squeeze=False).ravel()
    colours = dict(zip(rows, (images.BLUE, images.MUTED, images.RED, "#e0a458", "#6a994e", images.INK)))
    for place, (axes, task) in enumerate(zip(grid, names)):
        for row, name in enumerate(rows):
            error_T = arrays["error"][place, row]
            at = np.flatnonzero(np.isfinite(error_T))
            if len(at):
                axes.plot(at, error_T[at], color=colours[name], linewidth=2.0 if name == "" else 1.1, marker=".",
                          label=_ROWS[name])
        images.plain_axes(axes, task)
        axes.set(ylim=(0, None), xlabel="frame", ylabel="error, px")
    grid[0].legend(frameon=False, fontsize=7, labelcolor=images.INK)
    return figure
