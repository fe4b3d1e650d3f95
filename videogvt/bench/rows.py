"""A part's row of numbers: it is compiled, and its calls are timed."""

import time
from collections.abc import Mapping
from typing import Any

import jax

from videogvt.bench.parts import Part
from videogvt.train.timing import Timing, alternate

Row = dict[str, Any]


def timed(
    part: Part, frames: int, ceilings: Mapping[str, float], repeats: int = 10, budget_s: float = 20.0,
    deadline: float = float("inf"),
) -> Row:
    """Compiles and times one part.

    Args:
      part: what to run.
      frames: of a clip.
      ceilings: FLOP/s of products of the part's dtype by its name, and bytes/s under "copy"; of one device.
      repeats, budget_s: see ``timing.alternate``.
      deadline: ``time.monotonic()`` until which calls are repeated.

    Returns:
      "ms" is the median and "ms_low" and "ms_high" the fastest and slowest call, "compile_s" what compiling took,
      "memory" the bytes that the program needs at once on each device, its arguments and results included;
      "matrix_share" and "copy_share" what it reaches of the ceilings. What is not known is None: the bytes that a loop
      moves, say.
    """
    start = time.perf_counter()
    compiled = part.lowered().compile()
    compile_s = time.perf_counter() - start
    budget_s = max(0.0, min(budget_s, deadline - time.monotonic()))
    timing = alternate({part.name: lambda: part.call(compiled)}, repeats=repeats, budget_s=budget_s)[part.name]
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    rate, moved = part.flops / timing.median, None
    if costs and "bytes accessed" in costs and not part.looped:
        moved = costs["bytes accessed"] / timing.median
    return speed(part.name, part.clips, frames, timing) | {
        "compile_s": compile_s,
        "memory": memory and (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
                              - memory.alias_size_in_bytes),
        "gflop": part.flops / 1e9, "dtype": str(part.dtype),
        "matrix_share": rate / (ceilings[str(part.dtype)] * jax.device_count()),
        "copy_share": moved and moved / ceilings["copy"],
    }


def speed(name: str, clips: int, frames: int, timing: Timing) -> Row:
    """What the time of a call that handles so many clips says."""
    low, high = timing.spread
    return {
        "name": name, "clips": clips, "ms": 1e3 * timing.median, "ms_low": 1e3 * low, "ms_high": 1e3 * high,
        "repeats": len(timing.seconds), "clips_per_s": clips / timing.median,
        "ms_per_frame": 1e3 * timing.median / (clips * frames),
    }
