"""Measures the parts of an experiment: a row of numbers for each, written as JSON and shown as a table."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from videogvt.bench.parts import Part, Subject
from videogvt.experiment import Experiment
from videogvt.inputs.training import TrainingData
from videogvt.report.grids import Table
from videogvt.train import machine
from videogvt.train.journal import environment
from videogvt.train.state import parameter_count
from videogvt.train.timing import Timing, alternate, compiling_anew

FILE = "bench.json"
BATCHES = 8  # of the input pipeline in one timing; more than it holds ready
Row = dict[str, Any]


def measure(experiment: Experiment, repeats: int = 10, budget_s: float = 20.0) -> dict[str, Any]:
    """Everything that an experiment does on this machine, with untrained weights.

    Args:
      experiment: whose training step, predict functions and input pipeline are measured.
      repeats, budget_s: of every part, see ``timing.alternate``.

    Returns:
      "rows", one for each part, and "about": the machine, its ceilings, the networks and the clips. In a row "ms" is
      the median and "ms_low" and "ms_high" the fastest and slowest call, "compile_s" without any cache, "memory" the
      bytes that the program needs at once on each device, its arguments and results included; "matrix_share" and
      "copy_share" what it reaches of the ceilings. What is not known is None: the bytes that a loop moves, say.
    """
    with compiling_anew():
        subject, rows, ceilings = Subject(experiment), [], {"copy": machine.copy_rate()}
        for part in subject.parts():
            if str(part.dtype) not in ceilings:
                ceilings[str(part.dtype)] = machine.matrix_rate(part.dtype)
            rows.append(row(part, subject.video_shape[0], ceilings, repeats, budget_s))
        rows.append(_reading(subject.data, subject.video_shape[0], repeats, budget_s))
    params = {name: parameter_count(tree) for name, tree in subject.state.params.items()}
    return {"rows": rows, "about": {
        "config": experiment.name, "parameters": params, "clip": list(subject.video_shape), "ceilings": ceilings,
        "peak_memory": machine.peak_memory(), **environment(),
    }}


def row(part: Part, frames: int, ceilings: Mapping[str, float], repeats: int = 10, budget_s: float = 20.0) -> Row:
    """Compiles and times one part.

    Args:
      part: what to run.
      frames: of a clip.
      ceilings: FLOP/s of products of the part's dtype by its name, and bytes/s under "copy"; of one device.
      repeats, budget_s: see ``timing.alternate``.

    Returns:
      What ``measure`` says of a row.
    """
    start = time.perf_counter()
    compiled = part.lowered().compile()
    compile_s = time.perf_counter() - start
    timing = alternate({part.name: lambda: part.call(compiled)}, repeats=repeats, budget_s=budget_s)[part.name]
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    rate, moved = part.flops / timing.median, None
    if costs and "bytes accessed" in costs and not part.looped:
        moved = costs["bytes accessed"] / timing.median
    return _speed(part.name, part.clips, frames, timing) | {
        "compile_s": compile_s,
        "memory": memory and (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
                              - memory.alias_size_in_bytes),
        "gflop": part.flops / 1e9, "dtype": str(part.dtype),
        "matrix_share": rate / (ceilings[str(part.dtype)] * jax.device_count()),
        "copy_share": moved and moved / ceilings["copy"],
    }


def _reading(data: TrainingData, frames: int, repeats: int, budget_s: float) -> Row:
    """The input pipeline, as many batches at a time as it cannot have read ahead."""
    batches = data.train()

    def read():
        for _ in range(BATCHES):
            next(batches)

    timing = alternate({"input": read}, repeats=repeats, budget_s=budget_s)["input"]
    batches.close()
    each = Timing(tuple(seconds / BATCHES for seconds in timing.seconds))
    return _speed("input pipeline", data.batch_size, frames, each)


def _speed(name: str, clips: int, frames: int, timing: Timing) -> Row:
    low, high = timing.spread
    return {
        "name": name, "clips": clips, "ms": 1e3 * timing.median, "ms_low": 1e3 * low, "ms_high": 1e3 * high,
        "repeats": len(timing.seconds), "clips_per_s": clips / timing.median,
        "ms_per_frame": 1e3 * timing.median / (clips * frames),
    }


COLUMNS = {
    "clips": ("clips", "{:,}"), "ms": ("ms", "{:,.4g}"), "range": ("fastest to slowest", "{}"),
    "clips_per_s": ("clips/s", "{:,.4g}"), "ms_per_frame": ("ms a frame", "{:,.3g}"),
    "compile_s": ("compiles in s", "{:,.1f}"), "memory": ("memory, MB", "{:,.0f}"),
    "gflop": ("GFLOP", "{:,.4g}"), "matrix_share": ("of matrix rate", "{:.1%}"),
    "copy_share": ("of copy rate", "{:.1%}"),
}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Headings and lines of the rows."""
    lines = []
    for row in rows:
        shown = {**row, "range": f"{row['ms_low']:,.4g} – {row['ms_high']:,.4g}"}
        if shown.get("memory") is not None:
            shown["memory"] /= 1e6
        lines.append([row["name"], *(
            "–" if shown.get(key) is None else form.format(shown[key]) for key, (_, form) in COLUMNS.items())])
    return ["", *(title for title, _ in COLUMNS.values())], lines


def facts(about: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the machine, for above the table."""
    yield (f"{about['config']}: clips of {'x'.join(map(str, about['clip']))}, parameters: "
           + ", ".join(f"{name} {count:,}" for name, count in about["parameters"].items()) + "; untrained")
    yield (f"{about['devices']} x {about['device']}, jax {about['packages']['jax']}; ceilings of one device: "
           + ", ".join(f"{rate / 1e9:,.4g} {'GB/s copied' if name == 'copy' else f'GFLOP/s of {name} products'}"
                       for name, rate in about["ceilings"].items()))
    peak = about["peak_memory"]
    yield "peak memory: " + ", ".join(
        f"{name} {size / 1e6:,.0f} MB" for name, size in peak.items() if size is not None)


def write(found: Mapping[str, Any], workdir: epath.PathLike, name: str = FILE) -> epath.Path:
    """Writes the figures into a directory, of a run as ``bench.json``."""
    path = epath.Path(workdir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2))
    return path
