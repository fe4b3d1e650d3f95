"""Timing calls, one or several in turn, and compiling without the cache."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

LEAST = 3
"""Timed calls at least, however long they take."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls, in their order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest."""
        return min(self.seconds), max(self.seconds)

    def __str__(self) -> str:
        low, high = self.spread
        return f"{1e3 * self.median:,.4g} ({1e3 * low:,.4g} to {1e3 * high:,.4g}) ms"


def alternate(
    calls: Mapping[str, Callable[[], Any]], *, repeats: int = 10, budget_s: float = 20.0
) -> dict[str, Timing]:
    """Times calls in turn, so that whatever else the machine does hits all of them alike. Each runs once before.

    Args:
      calls: by name; what they return is waited for.
      repeats: timed calls of each.
      budget_s: no further turn begins after so many seconds, if there were ``LEAST``.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget_s
    for turn in range(max(repeats, LEAST)):
        if turn >= LEAST and time.perf_counter() > end:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Inside, jax's cache of compiled programs on disk is off, so that compiling takes what it takes."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it asks only once whether it is on
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
