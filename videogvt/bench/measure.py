"""Measures the parts of an experiment: a row of numbers for each, written as JSON and shown as a table."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from videogvt.bench.parts import Row, Subject, speed, timed
from videogvt.core.trees import parameter_count
from videogvt.inputs.pipeline import TrainingData
from videogvt.jobs.experiment import Experiment
from videogvt.train import timing
from videogvt.train.journal import environment
from videogvt.train.timing import Timing, alternate, compiling_anew

BENCH_FILE = "bench.json"
BATCHES = 8  # of the input pipeline in one timing; more than it holds ready


def measure(experiment: Experiment, repeats: int = 10, budget_s: float = 20.0) -> dict[str, Any]:
    """Everything that an experiment does on this machine, with untrained weights.

    Args:
      experiment: whose training step, predict functions and input pipeline are measured.
      repeats, budget_s: of every part, see ``timing.alternate``.

    Returns:
      "rows", one for each part, see ``parts.timed``, compiled without any cache, and "about": the machine, its
      ceilings, the networks and the clips.
    """
    with compiling_anew():
        subject = Subject(experiment.recipe, experiment.data.first_batch, experiment.plan)
        rows, ceilings = [], {"copy": timing.copy_rate()}
        for part in subject.parts():
            if str(part.dtype) not in ceilings:
                ceilings[str(part.dtype)] = timing.matrix_rate(part.dtype)
            rows.append(timed(part, subject.video_shape[0], ceilings, repeats, budget_s))
        rows.append(_reading(experiment.data, subject.video_shape[0], repeats, budget_s))
    params = {name: parameter_count(tree) for name, tree in subject.state.params.items()}
    return {"rows": rows, "about": {
        "config": experiment.name, "parameters": params, "clip": list(subject.video_shape), "ceilings": ceilings,
        "peak_memory": timing.peak_memory(), **environment(),
    }}


def _reading(data: TrainingData, frames: int, repeats: int, budget_s: float) -> Row:
    """The input pipeline, as many batches at a time as it cannot have read ahead."""
    batches = data.train()

    def read():
        for _ in range(BATCHES):
            next(batches)

    measured = alternate({"input": read}, repeats=repeats, budget_s=budget_s)["input"]
    batches.close()
    each = Timing(tuple(seconds / BATCHES for seconds in measured.seconds))
    return speed("input pipeline", data.batch_size, frames, each)


_Table = tuple[list[str], list[list[str]]]

_COLUMNS = {
    "clips": ("clips", "{:,}"), "ms": ("ms", "{:,.4g}"), "range": ("fastest to slowest", "{}"),
    "clips_per_s": ("clips/s", "{:,.4g}"), "ms_per_frame": ("ms a frame", "{:,.3g}"),
    "compile_s": ("compiles in s", "{:,.1f}"), "memory": ("memory, MB", "{:,.0f}"),
    "gflop": ("GFLOP", "{:,.4g}"), "matrix_share": ("of matrix rate", "{:.1%}"),
    "copy_share": ("of copy rate", "{:.1%}"),
}


def bench_table(rows: Sequence[Mapping[str, Any]]) -> _Table:
    """Headings and lines of the rows."""
    lines = []
    for row in rows:
        shown = {**row, "range": f"{row['ms_low']:,.4g} – {row['ms_high']:,.4g}"}
        if shown.get("memory") is not None:
            shown["memory"] /= 1e6
        lines.append([row["name"], *(
            "–" if shown.get(key) is None else form.format(shown[key]) for key, (_, form) in _COLUMNS.items())])
    return ["", *(title for title, _ in _COLUMNS.values())], lines


def machine_facts(about: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the machine, for above the table."""
    yield (f"{about['config']}: clips of {'x'.join(map(str, about['clip']))}, parameters: "
           + ", ".join(f"{name} {count:,}" for name, count in about["parameters"].items()) + "; untrained")
    yield (f"{about['devices']} x {about['device']}, jax {about['packages']['jax']}; ceilings of one device: "
           + ", ".join(f"{rate / 1e9:,.4g} {'GB/s copied' if name == 'copy' else f'GFLOP/s of {name} products'}"
                       for name, rate in about["ceilings"].items()))
    peak = about["peak_memory"]
    yield "peak memory: " + ", ".join(
        f"{name} {size / 1e6:,.0f} MB" for name, size in peak.items() if size is not None)


def write(found: Mapping[str, Any], workdir: epath.PathLike, name: str = BENCH_FILE) -> epath.Path:
    """Writes the figures into a directory, of a run as ``bench.json``."""
    path = epath.Path(workdir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2))
    return path
