"""How long the parts will take on an accelerator that is not at hand: by FLOP, and by the compiler that is."""

import contextlib
import importlib
import re
import time
from typing import Any

from on_device.child import MODULES
from on_device.job import BUDGET_S, REPEATS, Bench, Job, Skip
from videogvt.train.timing import MIN_REPEATS

H200 = {"bfloat16": 790e12, "float32": 400e12}
"""FLOP/s of products that an NVIDIA H200 is taken to reach."""

H200_BYTES = 0.92 * 139 * 2**30
START_S = 10.0
"""Seconds that a part's process is taken to need before its first program."""


def expected(part: str, limit_s: float) -> dict[str, Any]:
    """Seconds of a part: "compile_s" of tracing and compiling, "unlimited_s" in all, and "seconds", at most its limit.

    Programs that differ in their batch alone count like the first of them, one that cannot be compiled here (of cuDNN)
    like the one before it.
    """
    bench = Bench(dry_run=False, more=False, deadline=float("inf"), device_bytes=int(H200_BYTES))
    jobs = list(importlib.import_module(MODULES[part]).jobs(bench))
    known: dict[str, tuple[float, float]] = {}
    compiling, running, last = 0.0, 0.0, (0.0, 0.0)
    for job in jobs:
        kind = re.sub(r", (quarter of the batch|batch \d+)$", "", job.name)
        if job.part is None:
            last = 0.0, job.seconds
        elif kind in known:
            last = known[kind]
        else:
            with contextlib.suppress(Skip):
                last = _compiled(job)
        known[kind] = last
        print(f"{part}: {job.name}: {last[0]:,.1f} s of compiling, {last[1]:,.1f} of running", flush=True)
        compiling, running = compiling + last[0], running + last[1]
    total = START_S + compiling + running
    return {"programs": len(jobs), "compile_s": compiling, "unlimited_s": total, "seconds": min(total, limit_s),
            "limit_s": limit_s}


def _compiled(job: Job) -> tuple[float, float]:
    """Seconds of the processor for making and compiling a program here, and of its calls there."""
    begin = time.process_time()
    part = job.part()
    part.lowered().compile()
    compile_s = time.process_time() - begin
    call_s = max(part.flops / (H200[str(part.dtype)] * job.share), job.seconds)
    turns = max(MIN_REPEATS, min(REPEATS, round(BUDGET_S / call_s)))
    return compile_s, (1 + turns) * call_s
