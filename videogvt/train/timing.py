"""How long programs take, what the machine does at most, and the floating-point operations of a function.

Calls are timed one or several in turn, and compiled without the cache. XLA's own count of operations takes the body of
a loop once, whatever its length; decoding is such a loop. Here the products of the traced function are counted, and
those inside a loop as often as it runs.
"""

import contextlib
import dataclasses
import math
import pathlib
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache import compilation_cache

MIN_REPEATS = 3
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
      budget_s: no further turn begins after so many seconds, if there were ``MIN_REPEATS``.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget_s
    for turn in range(max(repeats, MIN_REPEATS)):
        if turn >= MIN_REPEATS and time.perf_counter() > end:
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


def processor() -> str:
    """The host's kind of CPU and its widest vectors, such as "AMD EPYC, avx2", which decide how sums are rounded; where
    Linux does not say, what Python knows."""
    path = pathlib.Path("/proc/cpuinfo")
    said = dict(re.findall(r"^(model name|flags)\s*: (.*)$", path.read_text(), re.MULTILINE)) if path.exists() else {}
    widest = next((kind for kind in ("avx512f", "avx2", "avx") if kind in said.get("flags", "").split()), "")
    return ", ".join(filter(None, (said.get("model name", platform.processor()), widest)))


def matrix_rate(dtype=jnp.float32, size: int | None = None, products: int | None = None) -> float:
    """FLOP/s of products of random square matrices on one device, at jax's default precision; the fastest of repeats.

    Random, since accelerators multiply constants faster than they ever multiply data.

    Args:
      dtype: of the matrices.
      size: of their sides; by default 2,048 on CPUs and 8,192 elsewhere.
      products: in one call, one after the other, so that starting it does not count. By default 4, and 1 on CPUs, where
        a product takes long anyway.
    """
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    products = products or (1 if jax.default_backend() == "cpu" else 4)

    @jax.jit
    def chain(matrix):
        for _ in range(products):
            matrix = matrix @ matrix
        return matrix

    # With std 1 / sqrt(size), so have its powers: nothing overflows.
    matrix = (jax.random.normal(jax.random.key(0), (size, size)) / math.sqrt(size)).astype(dtype)
    return products * 2 * size**3 / alternate({"product": lambda: chain(matrix)}, repeats=5)["product"].spread[0]


def copy_rate(megabytes: int | None = None, dtype=jnp.float32) -> float:
    """Bytes/s that one device reads and writes when it copies an array; the fastest of repeats.

    Args:
      megabytes: of the array, larger than any cache; by default 256 on CPUs and 1,024 elsewhere.
      dtype: of its elements.
    """
    megabytes = megabytes or (256 if jax.default_backend() == "cpu" else 1024)
    array = jax.random.normal(jax.random.key(0), megabytes * 2**20 // jnp.dtype(dtype).itemsize, dtype)
    copy = jax.jit(lambda array: array + jnp.ones((), dtype))
    return 2 * array.nbytes / alternate({"copy": lambda: copy(array)}, repeats=5)["copy"].spread[0]


def peak_memory() -> dict[str, int | None]:
    """Bytes in use at most since the process began: of the process on the host ("host") and of the first device
    ("device"), None where it does not tell, as CPUs."""
    unit = 1 if sys.platform == "darwin" else 1024
    told = jax.local_devices()[0].memory_stats() or {}
    return {
        "host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "device": told.get("peak_bytes_in_use"),
    }


def count_flops(function: Callable, *arguments: Any) -> float:
    """Twice the multiplications of all matrix products and convolutions of ``function(*arguments)``.

    What is done element by element is left out. Of branches the costlier one counts.

    Args:
      function: traceable.
      arguments: arrays, or ``jax.ShapeDtypeStruct`` in their place; nothing is computed.

    Raises:
      ValueError: a product stands in a loop whose length is not known beforehand.
    """
    return float(_of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr))


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        channels = kernel[parameters["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // channels
    inner = [_of_jaxpr(jaxpr) for jaxpr in inner_jaxprs(parameters.values())]
    if name == "scan":
        return parameters["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError("A while_loop holds matrix products, and how often it runs is not known before; write it as a "
                         "scan, or a fori_loop with constant bounds.")
    return max(inner, default=0) if name == "cond" else sum(inner)


def inner_jaxprs(values: Any) -> Iterator[Any]:
    """The traced functions among an equation's parameters."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from inner_jaxprs(value)
        elif hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr
