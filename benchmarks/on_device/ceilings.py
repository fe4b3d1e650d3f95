"""Part "machine": what one device can do at best, and what it is."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from on_device.job import Bench, Job
from videogvt.train import timing

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "grain", "array-record")


def measures(dry_run: bool) -> dict[str, Callable[[], float]]:
    """What measures each ceiling: FLOP/s of products by dtype, bytes/s of copies.

    "float32" is at jax's default precision, which on accelerators rounds what is multiplied; "float32, highest" is not.
    """
    size, megabytes = (64, 1) if dry_run else (None, None)

    def highest() -> float:
        with jax.default_matmul_precision("highest"):
            return timing.matrix_rate(jnp.float32, size)

    return {
        "bfloat16": functools.partial(timing.matrix_rate, jnp.bfloat16, size),
        "float32": functools.partial(timing.matrix_rate, jnp.float32, size), "float32, highest": highest,
        "copy": functools.partial(timing.copy_rate, megabytes, jnp.float32),
        "copy, bfloat16": functools.partial(timing.copy_rate, megabytes, jnp.bfloat16),
    }


def jobs(bench: Bench) -> Iterator[Job]:
    """A job for each ceiling."""
    for name, measure in measures(bench.dry_run).items():
        yield Job(name, row=lambda measure=measure: {"rate": measure()}, seconds=0.5)


def about() -> dict[str, Any]:
    """Versions, device and driver."""
    device = jax.devices()[0]
    found = {}
    for name in (*PACKAGES, *_nvidia()):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "backend": jax.default_backend(), "device": device.device_kind, "devices": jax.device_count(),
        "device_memory": (device.memory_stats() or {}).get("bytes_limit"), "runtime": device.client.platform_version,
        "driver": driver(), "python": platform.python_version(), "packages": found, "host_cores": os.cpu_count(),
        "platform": platform.platform(), "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _nvidia() -> list[str]:
    """Installed libraries of CUDA."""
    names = (distribution.metadata["Name"] for distribution in importlib.metadata.distributions())
    return sorted({name for name in names if name and name.startswith(("nvidia-", "jax-cuda"))})


def driver() -> str | None:
    """The NVIDIA driver's version; None where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return None
