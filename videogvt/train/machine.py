"""What the machine is and can do: its processor, its measured ceilings, and the memory that is in use."""

import math
import pathlib
import platform
import re
import resource
import sys

import jax
import jax.numpy as jnp

from videogvt.train.timing import alternate


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

    # With deviation 1 / sqrt(size), so have its powers: nothing overflows.
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
