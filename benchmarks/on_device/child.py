"""What runs a part, in a process of its own: a program that breaks the process, or never ends, stops no other part."""

import contextlib
import gc
import importlib
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from on_device.job import BUDGET_S, REPEATS, Bench, Job, Row, Skip

MODULES = {
    "machine": "on_device.ceilings", "tokenizer": "on_device.tokenizers", "transformer": "on_device.transformers",
    "decoding": "on_device.decoders", "default networks": "on_device.defaults", "PyTorch": "on_device.torches",
    "pipeline": "on_device.feeding",
}
"""Where the programs of each part are: modules with a function ``jobs`` of a ``Bench``."""

ON_HOST = ("PyTorch", "pipeline")
"""Parts in which jax only counts, or does nothing: it leaves the accelerator alone."""


def run(part: str, module: str, options: Mapping[str, bool], limit_s: float, rows: Sequence[Row], settled: set[str],
        pipe: Connection) -> None:
    """Measures the programs of a part, and sends ("about", facts), ("begin", name), ("row", row) and ("end", None).

    Args:
      part: its name.
      module: of ``MODULES``.
      options: ``dry_run`` and ``more``.
      limit_s: seconds until the part will be stopped.
      rows: figures that were measured before.
      settled: names of programs that are left out.
    """
    bench = Bench(**options, deadline=time.monotonic() + limit_s, rows=rows)
    prepare(part, cached=bench.dry_run)
    import jax

    from videogvt.train.timing import compiling_anew

    jax.config.update("jax_disable_most_optimizations", bench.dry_run)  # whose speed says nothing
    if part not in ON_HOST:
        from on_device.ceilings import about

        pipe.send(("about", about()))
    with contextlib.nullcontext() if bench.dry_run else compiling_anew():
        jobs = [job for job in importlib.import_module(module).jobs(bench) if job.name not in settled]
        failed = {row["name"] for row in rows if row["part"] == part}
        for job in sorted(jobs, key=lambda job: job.name in failed):  # what was not tried yet first
            pipe.send(("begin", job.name))
            pipe.send(("row", {"part": part, "name": job.name, **outcome(job, bench)}))
            gc.collect()  # of programs and arrays that nothing needs any more
    pipe.send(("end", None))
    pipe.close()


def prepare(part: str, cached: bool = False) -> None:
    """Settings that must precede jax; ``cached`` where programs that were compiled before may be taken."""
    from videogvt.core.backend import prepare_backend

    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # figures are of one
    if part in ON_HOST:
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    prepare_backend(None if cached else "off")


def outcome(job: Job, bench: Bench) -> Row:
    """The figures of a program, or why there are none."""
    begin = time.monotonic()
    try:
        found = {"status": "measured", **(job.row() if job.row else _timed(job, bench))}
    except Skip as reason:
        found = {"status": "skipped", "why": str(reason)}
    except Exception as error:  # of whatever library: it is told, in the table and in full below, and the next is tried
        traceback.print_exc()
        text = " ".join(str(error).split())
        found = {"status": "failed", "why": f"{type(error).__name__}: {text[:300]}"}
    found.pop("name", None)  # of what was timed; the program has its own
    return found | {"took_s": time.monotonic() - begin}


def _timed(job: Job, bench: Bench) -> dict[str, Any]:
    from videogvt.bench.parts import timed
    from videogvt.train.timing import MIN_REPEATS

    ceilings, repeats = bench.ceilings, MIN_REPEATS if bench.dry_run else REPEATS
    return timed(job.part(), job.frames, ceilings, repeats, BUDGET_S, deadline=bench.deadline - 5)
