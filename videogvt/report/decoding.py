"""The section of a report on decoding: steps against quality and cost, beside one token after another.

Reads ``decoding.json``, which ``benchmarks/decoding.py`` leaves in the run's directory.

What a report says of evaluations that are not the training's own: of other data, or with another config.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from videogvt.report import figures, page
from videogvt.report.generation import FIGURES
from videogvt.report.grids import Table
from videogvt.report.runs import Run

FILE = "decoding.json"
CHARTS = ("one_object_share", "oracle_agreement", "judge_agreement", "frechet_traj", "spread_vs_real",
          "fit_residual_px")
Rows = Sequence[Mapping[str, Any]]


def table(rows: Rows) -> Table:
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


def chart(rows: Rows) -> Figure:
    """Quality over the number of steps; the autoregressive answer is a dashed level."""
    shown = [name for name in CHARTS if any(name in row for row in rows)]
    lines = max(1, -(-len(shown) // 3))
    figure = Figure(figsize=(10.8, 2.4 * lines), dpi=figures.DPI, layout="constrained")
    grid = figure.subplots(lines, 3, squeeze=False).ravel()
    for axes, name in zip(grid, shown):
        steps = sorted((row["passes"], row[name]) for row in rows if name in row and "steps" in row["name"])
        axes.plot(*zip(*steps), color=figures.BLUE, marker="o", markersize=3.5, linewidth=1.4)
        for row in rows:
            if name in row and "steps" not in row["name"]:
                axes.axhline(row[name], color=figures.RED, linewidth=1, linestyle=(0, (4, 3)))
                axes.text(0.98, row[name], row["name"], color=figures.RED, fontsize=7.5, ha="right", va="bottom",
                          transform=axes.get_yaxis_transform())
        axes.set(xscale="log", xlabel="steps")
        axes.set_xticks([passes for passes, _ in steps], [str(passes) for passes, _ in steps])
        axes.minorticks_off()
        figures.plain(axes, FIGURES[name][0])
    for axes in grid[len(shown):]:
        axes.set_axis_off()
    return figure


def sections(workdir: pathlib.Path) -> Iterator[str]:
    """The section, where the benchmark was run."""
    path = workdir / FILE
    if not path.exists():
        return
    found = json.loads(path.read_text())
    about = ", ".join(f"{name} {value}" for name, value in found["about"].items())
    blocks = [page.paragraph(f"A call makes a batch of clips from noise to pixels. {about}.", "note"),
              page.table(*table(found["rows"]))]
    if any("steps" in row["name"] for row in found["rows"]):
        blocks.append(page.picture(figures.as_png(chart(found["rows"])), "quality over the steps", frame=False))
    if found["costs"]:
        blocks += [page.heading("Cost alone, of untrained networks, from noise to codes"),
                   page.table(*table(found["costs"]))]
    yield page.section("Decoding: steps against quality", *blocks)


def sentences(run: Run) -> Iterator[str]:
    """Names config and data of such an evaluation; nothing for the training's own."""
    about = run.about
    if "differs" not in about:
        return
    data = {name: facts["split_hash"] for name, facts in about["evaluators"].items() if facts.get("split_hash")}
    seen = ", ".join(f"{name} {digest[:12]}" for name, digest in data.items()) or "data without hashes"
    changed = ", ".join([*about["differs"], *(f"the data of {name}" for name in about["other_data"])])
    yield (f"Not the training's own evaluation: measured with the config {about['measured_config_hash']} on {seen}; "
           f"trained with the config {about['config_hash']}. What differs: {changed}.")


def differences(run: Run) -> Iterator[str]:
    """Blocks with the same, and with every value that differs."""
    for sentence in sentences(run):
        pairs = run.about["differs"] | {f"hash of {name}": pair for name, pair in run.about["other_data"].items()}
        yield page.paragraph(sentence)
        yield page.table(["key", "trained with", "measured with"],
                         [[key, *map(str, pair)] for key, pair in pairs.items()])


def others(run: Run) -> Iterator[str]:
    """The section of such evaluations of a run's checkpoints, which lie in its folder ``evals``."""
    rows = []
    for path in sorted((run.workdir / "evals").glob("*/eval.json")):
        about = json.loads(path.read_text())["about"]
        changed = [f"{key} = {pair[1]}" for key, pair in about["differs"].items()]
        changed += [f"the data of {name}" for name in about["other_data"]]
        rows.append([f"evals/{path.parent.name}", f"{about['step']:,}", ", ".join(changed)])
    if rows:
        yield page.section("Other evaluations", page.table(["folder", "step", "what differs from the training"], rows))
