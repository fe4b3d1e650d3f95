"""How the cost of a training step grows: with batch, resolution, frames and size of the network, and what remat saves.

    XLA_FLAGS=--xla_cpu_enable_concurrency_optimized_scheduler=false \\
        python benchmarks/growth.py [--output=docs/figures] [--repeats=7] [--budget=2] [--quick]

The flag, for CPUs and the jaxlib of constraints.txt, lets XLA order the work of a step by the memory it needs. Without
it what rematerialisation would free is held all the same. It changes no result.

Tokenizer and transformer of two cores (the defaults of configs/vqvae_traj.py and configs/maskgvt_traj.py) are the
middle of the sweep; one setting at a time is changed. Every point is measured as ``run.py --mode=bench`` measures a
training step: the median of repeats, fastest and slowest beside it, and the memory that the compiler says the program
needs, arguments and results included. Every batch is measured with rematerialisation as well. Clips and codes are
random, networks untrained. Writes growth.json and, drawn from it, growth_time.png and growth_memory.png. ``--quick``
takes small networks and few points; its figures say nothing.
"""

import argparse
import dataclasses
import json
import pathlib
import runpy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import LogLocator, NullLocator  # noqa: E402
from on_device.networks import random_clips, random_codes, tokenizer_recipe, transformer_recipe  # noqa: E402

from videogvt.bench import measure  # noqa: E402
from videogvt.bench.parts import Subject, timed  # noqa: E402
from videogvt.core.trees import parameter_count  # noqa: E402
from videogvt.report import images  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train import timing  # noqa: E402
from videogvt.train.contracts import Plan, Recipe  # noqa: E402
from videogvt.train.journal import environment  # noqa: E402
from videogvt.train.timing import compiling_anew  # noqa: E402
from videogvt.world.families import FAMILIES  # noqa: E402

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
AXES = {"batch": "clips a step", "pixels": "pixels a side", "frames": "frames a clip", "width": "width"}
Found = dict[str, Any]
Changes = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One point of the sweep.

    Attributes:
      batch, frames, pixels: clips a step, and frames and sides of a clip.
      width: ``filters`` of the tokenizer, ``hidden`` of the transformer.
      remat: whether the backward pass computes again what is inside the blocks.
    """

    batch: int
    frames: int
    pixels: int
    width: int
    remat: bool = False


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The points of one network: the middle, and along each axis its other values.

    Attributes:
      changes: to the sections of the network's config.
    """

    middle: Setting
    values: Mapping[str, Sequence[int]]
    changes: Changes = dataclasses.field(default_factory=dict)

    def settings(self) -> Iterator[Setting]:
        """Every point once."""
        for remat in (False, True):
            yield dataclasses.replace(self.middle, remat=remat)
            for axis in self.values if not remat else ("batch",):
                for value in self.values[axis]:
                    if value != getattr(self.middle, axis):
                        yield dataclasses.replace(self.middle, remat=remat, **{axis: value})


FULL = {
    "tokenizer": Sweep(Setting(4, 16, 64, 64), {
        "batch": (1, 2, 4, 8, 16), "pixels": (32, 64, 128), "frames": (8, 16, 32), "width": (32, 64, 128)}),
    "transformer": Sweep(Setting(16, 16, 64, 128), {
        "batch": (4, 8, 16, 32), "pixels": (32, 64, 128), "frames": (8, 16, 32), "width": (64, 128, 256)}),
}
QUICK = {
    "tokenizer": Sweep(
        Setting(1, 4, 16, 16), {"batch": (1,), "pixels": (16,), "frames": (4,), "width": (16,)},
        {"optimizer": {"muon": False}, "tokenizer": {"encoder_blocks": (1, 0), "decoder_blocks": (1, 0)}}),
    "transformer": Sweep(
        Setting(1, 4, 16, 64), {"batch": (1, 2), "pixels": (16,), "frames": (4,), "width": (64,)},
        {"optimizer": {"muon": False, "adam_learning_rate": None}, "transformer": {"layers": 1}}),
}


def config(file: str, changes: Changes) -> dict[str, Any]:
    """A shipped config as plain values, with changes to its sections."""
    settings = runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"]().to_dict()
    return settings | {name: settings[name] | fields for name, fields in changes.items()}


def tokenizer(setting: Setting, changes: Changes) -> tuple[Recipe, dict[str, np.ndarray]]:
    """The recipe and a batch's worth of clips."""
    settings = config("vqvae_traj", changes)
    levels = len(settings["tokenizer"]["channel_multipliers"])
    fields = settings["tokenizer"] | {"filters": setting.width, "remat_levels": levels if setting.remat else 0}
    recipe = tokenizer_recipe(settings | {"tokenizer": fields})
    return recipe, random_clips((setting.frames, setting.pixels, setting.pixels), setting.batch)


def transformer(setting: Setting, changes: Changes) -> tuple[Recipe, dict[str, np.ndarray]]:
    """The recipe and a batch's worth of codes of clips."""
    settings = config("maskgvt_traj", changes)
    settings["transformer"] |= {
        "hidden": setting.width, "heads": setting.width // 64, "mlp": 4 * setting.width, "remat": setting.remat}
    clip = (setting.frames, setting.pixels, setting.pixels)
    network = config("vqvae_traj", {"tokenizer": changes.get("tokenizer", {})})["tokenizer"]
    recipe = transformer_recipe(settings, network, clip, len(FAMILIES))
    return recipe, random_codes(recipe, setting.batch)


def point(
    name: str, setting: Setting, changes: Changes, ceilings: Mapping[str, float], repeats: int, budget_s: float
) -> Found:
    """The row of one training step."""
    recipe, arrays = {"tokenizer": tokenizer, "transformer": transformer}[name](setting, changes)
    subject = Subject(recipe, arrays, Plan(total_steps=1))
    with compiling_anew():
        found = timed(subject.training(), setting.frames, ceilings, repeats, budget_s)
    return found | dataclasses.asdict(setting) | {
        "network": name, "parameters": parameter_count(subject.state.params)}


def measured(sweeps: Mapping[str, Sweep], ceilings: Mapping[str, float], repeats: int, budget_s: float) -> Found:
    """A row for every point, and what machine it was."""
    rows = []
    for name, sweep in sweeps.items():
        for setting in sweep.settings():
            row = point(name, setting, sweep.changes, ceilings, repeats, budget_s)
            print(f"{name} {setting}: {row['ms']:,.4g} ms, {row['memory'] / 1e6:,.0f} MB", flush=True)
            rows.append(row)
    middles = {name: dataclasses.asdict(sweep.middle) for name, sweep in sweeps.items()}
    return {"rows": rows, "about": {"middles": middles, "ceilings": ceilings, **environment()}}


def along(found: Mapping[str, Any], network: str, axis: str, remat: bool = False) -> list[Found]:
    """The rows of a network that differ from its middle in one setting at most, in the order of that one."""
    middle = found["about"]["middles"][network] | {"remat": remat}
    fixed = [key for key in middle if key != axis]
    rows = [row for row in found["rows"] if row["network"] == network and all(row[key] == middle[key] for key in fixed)]
    return sorted(rows, key=lambda row: row[axis])


def times(found: Mapping[str, Any]) -> Figure:
    """Milliseconds of a step along every axis, beside what its FLOPs alone would make of the middle's."""
    networks = found["about"]["middles"]
    figure = Figure(figsize=(10.8, 2.6 * len(networks)), dpi=images.DPI, layout="constrained")
    grid = figure.subplots(len(networks), len(AXES), squeeze=False, sharey="row")
    for line, (network, middle) in zip(grid, networks.items()):
        for axes, axis in zip(line, AXES):
            rows = along(found, network, axis)
            [center] = [row for row in rows if row[axis] == middle[axis]]
            _line(axes, axis, rows, images.BLUE, "measured")
            axes.plot([row[axis] for row in rows], [center["ms"] * row["gflop"] / center["gflop"] for row in rows],
                      color=images.MUTED, linestyle=(0, (4, 3)), linewidth=1, label="as its FLOPs")
            _finish(axes, rows, axis, f"{network}, ms a step", "log")
    grid[0, 0].legend(frameon=False, fontsize=8, labelcolor=images.INK)
    return figure


def memories(found: Mapping[str, Any]) -> Figure:
    """Memory and milliseconds of a step against the batch, with and without rematerialisation."""
    networks = found["about"]["middles"]
    figure = Figure(figsize=(10.8, 2.6), dpi=images.DPI, layout="constrained")
    grid = figure.subplots(1, 2 * len(networks))
    for place, network in enumerate(networks):
        for remat, colour, words in ((False, images.BLUE, "stored"), (True, images.RED, "computed again")):
            rows = along(found, network, "batch", remat)
            grid[2 * place].plot([row["batch"] for row in rows], [row["memory"] / 1e6 for row in rows], color=colour,
                                 marker="o", markersize=3, linewidth=1.4, label=words)
            _line(grid[2 * place + 1], "batch", rows, colour, words)
        for axes, unit in zip(grid[2 * place:], ("MB", "ms")):
            _finish(axes, rows, "batch", f"{network}, {unit} a step", "linear")
    grid[0].legend(frameon=False, fontsize=8, labelcolor=images.INK)
    return figure


def _line(axes: Axes, axis: str, rows: Sequence[Mapping[str, Any]], colour: str, label: str) -> None:
    """Medians, with bars from the fastest to the slowest."""
    middle = np.array([row["ms"] for row in rows])
    bars = middle - [row["ms_low"] for row in rows], [row["ms_high"] for row in rows] - middle
    axes.errorbar([row[axis] for row in rows], middle, bars, color=colour, marker="o", markersize=3, linewidth=1.4,
                  elinewidth=1, label=label)


def _finish(axes: Axes, rows: Sequence[Mapping[str, Any]], axis: str, title: str, scale: str) -> None:
    images.plain_axes(axes, title)
    axes.set(xscale=scale, yscale=scale, xlabel=AXES[axis])
    axes.set_xticks([row[axis] for row in rows], [str(row[axis]) for row in rows])
    axes.xaxis.set_minor_locator(NullLocator())
    if scale == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)


def table(found: Mapping[str, Any]) -> str:
    """All rows, for the terminal."""
    keys = ("batch", "frames", "pixels", "width")
    lines = [[row["network"] + (", remat" if row["remat"] else ""), *(str(row[key]) for key in keys),
              f"{row['parameters']:,}", f"{row['gflop']:,.4g}", f"{row['ms']:,.4g}",
              f"{row['ms_low']:,.4g} – {row['ms_high']:,.4g}", f"{row['memory'] / 1e6:,.0f}"] for row in found["rows"]]
    return as_text(["", *keys, "parameters", "GFLOP", "ms", "fastest to slowest", "memory, MB"], lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="docs/figures", help="folder; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds of timing for a point, beyond three calls")
    parser.add_argument("--quick", action="store_true", help="small networks and few points, for the tests")
    flags = parser.parse_args(arguments)
    size, megabytes = (128, 1) if flags.quick else (None, None)
    ceilings = {"float32": timing.matrix_rate(size=size), "copy": timing.copy_rate(megabytes)}
    found = measured(QUICK if flags.quick else FULL, ceilings, flags.repeats, flags.budget)
    path = measure.write(found, flags.output, "growth.json")
    found = json.loads(path.read_text())
    print(table(found))
    for name, figure in (("growth_time.png", times(found)), ("growth_memory.png", memories(found))):
        (path.parent / name).write_bytes(images.as_png(figure))


if __name__ == "__main__":
    main()
