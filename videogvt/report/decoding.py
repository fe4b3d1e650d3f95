"""The section of a report on decoding: steps against quality and cost, beside one token after another.

Reads ``decoding.json``, which ``benchmarks/decoding.py`` leaves in the run's directory.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from videogvt.report import images, page
from videogvt.report.generation import FIGURES
from videogvt.report.grids import Table

DECODING_FILE = "decoding.json"
CHARTS = ("one_object_share", "oracle_agreement", "judge_agreement", "frechet_traj", "spread_vs_real",
          "fit_residual_px")
_Rows = Sequence[Mapping[str, Any]]


def decoding_table(rows: _Rows) -> Table:
    """Headings and lines: passes, quality, and seconds and GFLOP of a call at every batch size."""
    quality = [name for name in FIGURES if any(name in row for row in rows)]
    costs = list(dict.fromkeys(name for row in rows for name in row if "/" in name))
    titles = []
    for name in costs:
        kind, _, batch = name.partition("/")
        titles.append(f"{'seconds' if kind == 'seconds' else 'GFLOP'}, batch {batch}")
    lines = []
    for row in rows:
        cells = [FIGURES[name][1].format(row[name]) if name in row else "–" for name in quality]
        cells += [f"{row[name]:,.3g}" if name in row else "–" for name in costs]
        lines.append([row["name"], f"{row['passes']:,}", *cells])
    return ["decoding", "passes in sequence", *(FIGURES[name][0] for name in quality), *titles], lines


def chart(rows: _Rows) -> Figure:
    """Quality over the number of steps; the autoregressive answer is a dashed level."""
    shown = [name for name in CHARTS if any(name in row for row in rows)]
    lines = max(1, -(-len(shown) // 3))
    figure = Figure(figsize=(10.8, 2.4 * lines), dpi=images.DPI, layout="constrained")
    grid = figure.subplots(lines, 3, squeeze=False).ravel()
    for axes, name in zip(grid, shown):
        steps = sorted((row["passes"], row[name]) for row in rows if name in row and "steps" in row["name"])
        axes.plot(*zip(*steps), color=images.BLUE, marker="o", markersize=3.5, linewidth=1.4)
        for row in rows:
            if name in row and "steps" not in row["name"]:
                axes.axhline(row[name], color=images.RED, linewidth=1, linestyle=(0, (4, 3)))
                axes.text(0.98, row[name], row["name"], color=images.RED, fontsize=7.5, ha="right", va="bottom",
                          transform=axes.get_yaxis_transform())
        axes.set(xscale="log", xlabel="steps")
        axes.set_xticks([passes for passes, _ in steps], [str(passes) for passes, _ in steps])
        axes.minorticks_off()
        images.plain_axes(axes, FIGURES[name][0])
    for axes in grid[len(shown):]:
        axes.set_axis_off()
    return figure


def sections(workdir: pathlib.Path) -> Iterator[str]:
    """The section, where the benchmark was run."""
    path = workdir / DECODING_FILE
    if not path.exists():
        return
    found = json.loads(path.read_text())
    about = ", ".join(f"{name} {value}" for name, value in found["about"].items())
    blocks = [page.paragraph(f"A call makes a batch of clips from noise to pixels. {about}.", "note"),
              page.html_table(*decoding_table(found["rows"]))]
    if any("steps" in row["name"] for row in found["rows"]):
        blocks.append(page.html_picture(images.as_png(chart(found["rows"])), "quality over the steps", frame=False))
    if found["costs"]:
        blocks += [page.heading("Cost alone, of untrained networks, from noise to codes"),
                   page.html_table(*decoding_table(found["costs"]))]
    yield page.section("Decoding: steps against quality", *blocks)
