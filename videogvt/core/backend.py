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

HUGE_PAGES = "glibc.malloc.hugetlb"
KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Starts this program anew with its memory in huge pages, where Linux gives them to who asks.

    On the CPU a step takes its activations from the kernel and gives them back, which in small pages takes longer
    (docs/results.md). The C library reads its setting before Python runs, hence the new start, which keeps the process
    and its arguments; to be called first of all. Nothing happens where the environment has its own setting, or where
    the kernel has no huge pages or gives them to everybody.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    on_request = platform.libc_ver()[0] == "glibc" and KERNEL.exists() and "[madvise]" in KERNEL.read_text()
    if on_request and HUGE_PAGES not in tunables:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{HUGE_PAGES}=1")))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


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
