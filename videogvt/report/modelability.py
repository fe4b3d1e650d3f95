"""The section of a report on whether a tokenizer's codes can be modelled: a line for each figure, with what it says."""

from collections.abc import Iterator

from videogvt.report import page
from videogvt.report.grids import Table
from videogvt.report.runs import Grid, Run

LINES = {
    "speaking_per_clip": ("speaking codes a clip: all but the code used most in training, the empty one", "{:.1f}"),
    "tokens_per_clip": ("codes a clip, empty ones included", "{:,.0f}"),
    "empty_share": ("blank cells, which show nothing, that have the empty code", "{:.2%}"),
    "codes_used_speaking": ("codes used where something is said", "{:,.0f}"),
    "usage_speaking": ("their share of all codes: the rest is wasted, or rarer than these clips show", "{:.1%}"),
    "perplexity_speaking": ("their perplexity: so many, used alike, would say as much", "{:.1f}"),
    "duplicates": ("duplicates: codes that say what another one says already", "{:,.0f}"),
    "noise_changed_speaking": ("speaking codes that change when every value goes up or down by 1/255", "{:.2%}"),
    "noise_changed_empty": ("empty codes that do", "{:.2%}"),
    "object_found_share": ("object found: what is lost with swapped codes is what slips of a generator cost", "{:.2%}"),
    "track_error_px_median": ("track error, median px: half of the frames are nearer than this", "{:.2f}"),
    "track_error_px_p95": ("track error, 95th percentile px: one frame in twenty is farther off", "{:.2f}"),
    "clips": ("clips that were looked at", "{:,.0f}"),
    "train_clips": ("training clips that named the empty code", "{:,.0f}"),
}
"""Name with explanation, and format, in the order in which they are shown."""

_COLUMNS = {"": "codes", "unswapped": "as they are", "one_swapped": "one swapped", "twentieth_swapped": "5 % swapped"}

_NOTE = (
    "A transformer learns to name these codes one from another. It has the less to learn the fewer of them speak, and "
    "wastes its effort where cells that show nothing have many codes, where two codes say the same, and where noise "
    "that nobody sees decides between them."
)
SWAPPED = (
    " Swapped: one speaking code of each clip, or one in twenty, is replaced by the nearest code that says something "
    "else, the smallest slip there is; tracks are of the videos these decode to."
)
"""Of clips that have tracks."""


def applies(grid: Grid) -> bool:
    """Whether an evaluator's numbers are those of codes."""
    return "speaking_per_clip" in grid[""]


def beside(run: Run, split: str) -> Grid:
    """The row "modelability" beside the figures of a split, of the codes of the same split; {} where there is none."""
    facts = run.about.get("evaluators", {})
    rows = [run.grid(name)[""] for name in run.evaluators
            if applies(run.grid(name)) and facts[name]["split"] == split]
    return {"modelability": rows[0]} if rows else {}


def table(grid: Grid) -> Table:
    """Headings and lines: a line for each figure that is there, a column for the codes and each way to swap them."""
    rows = [row for row in _COLUMNS if row in grid]
    lines = [[words, *(form.format(grid[row][figure]) if figure in grid[row] else "–" for row in rows)]
             for figure, (words, form) in LINES.items() if any(figure in grid[row] for row in rows)]
    return ["", *(_COLUMNS[row] for row in rows)], lines


def sections(run: Run, name: str) -> Iterator[str]:
    """The section of one evaluator of codes."""
    facts = run.about["evaluators"].get(name, {})
    title = "Can the codes be modelled?" + (f" ({facts['split']})" if "split" in facts else "")
    grid = run.grid(name)
    note = _NOTE + (SWAPPED if "unswapped" in grid else "")
    yield page.section(title, page.paragraph(note, "note"), page.html_table(*table(grid), strong=1))
