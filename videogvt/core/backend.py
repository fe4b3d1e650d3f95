"""Settings of jax that count only before jax is imported. This file imports nothing but the standard library."""

import os
import pathlib
import platform
import sys

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
    """Turns on jax's compilation cache on disk.

    What the environment already says is left alone, and XLA_FLAGS in any case: no experimental flag of a compiler is
    worth a user's process. Calling it again changes nothing.

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
    return settings
