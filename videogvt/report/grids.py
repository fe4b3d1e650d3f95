"""Final numbers as tables: a column for the run and for every baseline, a line for each figure."""

from collections.abc import Mapping, Sequence

from videogvt.report.verdict import plain_name

_Grid = Mapping[str, Mapping[str, float]]
Table = tuple[list[str], list[list[str]]]

_FIGURES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "loss": ("cross-entropy, nats", "{:.4f}"),
    "psnr": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "l1": ("L1", "{:.4f}"),
    "object_found_share": ("object found", "{:.2%}"),
    "track_error_px_median": ("track error, median px", "{:.2f}"),
    "track_error_px_p95": ("track error, 95th percentile px", "{:.2f}"),
    "object_mse": ("object's own pixels, MSE", "{:.4f}"),
    "oracle_accuracy": ("accuracy of the oracle", "{:.1%}"),
    "oracle_vs_original": ("right, against originals", "{:.1%}"),
    "codes_used": ("codes used", "{:.0f}"),
    "code_usage": ("share of codes", "{:.1%}"),
    "code_perplexity": ("perplexity", "{:.1f}"),
    "bits_per_pixel": ("bits per pixel", "{:.4f}"),
    "clips": ("clips", "{:,.0f}"),
}
"""Known figures in the order in which they are shown, with name and format; others follow in alphabetical order."""

_ROWS = ("", "chance", "original", "background", "mean_frame", "nearest_clip", "untrained")


def figure_table(grid: _Grid, first: str = "tokenizer") -> Table:
    """Headings and lines of text: a column for the run itself, named ``first``, and one for each answer; a line for
    each figure, with a dash where an answer has no such figure."""
    present = {figure for figures in grid.values() for figure in figures}
    figures = [*(name for name in _FIGURES if name in present), *sorted(present - set(_FIGURES))]
    rows = [*(row for row in _ROWS if row in grid), *(row for row in grid if row not in _ROWS)]
    headings = ["", *(first if row == "" else plain_name(row) for row in rows)]
    lines = [[_FIGURES[name][0] if name in _FIGURES else plain_name(name), *(_cell(grid[row], name) for row in rows)]
             for name in figures]
    return headings, lines


def _cell(figures: Mapping[str, float], name: str) -> str:
    if name not in figures:
        return "–"
    return (_FIGURES[name][1] if name in _FIGURES else "{:.4g}").format(figures[name])


def as_text(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table for the terminal."""
    widths = [max(len(line[place]) for line in (headings, *lines)) for place in range(len(headings))]
    text = []
    for line in (headings, *lines):
        cells = [line[0].ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(line[1:], widths[1:]))]
        text.append("  ".join(cells).rstrip())
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])
