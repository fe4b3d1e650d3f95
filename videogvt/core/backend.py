"""Settings of jax that count only before jax is imported. This file imports nothing but the standard library."""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import sys

CONVOLUTION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
"""Makes convolutions on x86-64 up to two thirds faster; a compiler that does not know it ends the process."""

FLAG_KNOWN_BY = ("0.10.2",)
"""Versions of jaxlib that were tried with ``CONVOLUTION_FLAG``."""


def prepare_backend(cache_dir: str | os.PathLike | None = None) -> None:
    """Turns on jax's compilation cache on disk and, where it is known, the faster convolution on the CPU.

    What the environment already says is left alone. Calling it again changes nothing.

    Args:
      cache_dir: of compiled programs; by default $JAX_COMPILATION_CACHE_DIR, else ``~/.cache/videogvt/xla``. The name
        "off" turns the cache off.

    Raises:
      RuntimeError: jax was imported before, so that the settings would not count.
    """
    settings = _settings(cache_dir)
    if "jax" in sys.modules and any(os.environ.get(name) != value for name, value in settings.items()):
        raise RuntimeError("prepare_backend() found jax imported already; call it before the first import of jax.")
    os.environ.update(settings)


def _settings(cache_dir: str | os.PathLike | None) -> dict[str, str]:
    settings = {}
    folder = cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR") or pathlib.Path.home() / ".cache/videogvt/xla"
    if str(folder) != "off":
        settings["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = os.environ.get(
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1"
        )
    flags = os.environ.get("XLA_FLAGS", "")
    if _flag_is_known() and CONVOLUTION_FLAG.split("=")[0] not in flags:
        settings["XLA_FLAGS"] = f"{flags} {CONVOLUTION_FLAG}".strip()
    return settings


def _flag_is_known() -> bool:
    """Whether all compilers of this process know the flag: those of accelerators are other programs, not tried."""
    if importlib.metadata.version("jaxlib") not in FLAG_KNOWN_BY or platform.machine() != "x86_64":
        return False
    plugins = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    return os.environ.get("JAX_PLATFORMS") == "cpu" or not plugins
