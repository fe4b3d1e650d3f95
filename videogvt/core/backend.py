"""Settings of jax that count only before it is in use, and what it says when its devices are not there.

This file imports nothing but the standard library.
"""

import os
import pathlib
import platform
import sys

CONFIGURED = {"JAX_COMPILATION_CACHE_DIR": str, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": float}
"""Variables that jax reads when it is imported, and the types of its own settings of these names."""

HUGE_PAGES = "glibc.malloc.hugetlb"
KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Starts this program anew with its memory in huge pages, where Linux gives them to who asks.

    On the CPU a step takes its activations from the kernel and gives them back, which in small pages takes longer
    (docs/record.md). The C library reads its setting before Python runs, hence the new start, which keeps the process
    and its arguments; to be called first of all. Nothing happens where the environment has its own setting, or where
    the kernel has no huge pages or gives them to everybody.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    on_request = platform.libc_ver()[0] == "glibc" and KERNEL.exists() and "[madvise]" in KERNEL.read_text()
    if on_request and HUGE_PAGES not in tunables:
        before = dict(os.environ)
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{HUGE_PAGES}=1")))
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            os.environ.pop("GLIBC_TUNABLES")
            os.environ.update(before)
            print(f"{sys.executable!r} cannot be started anew ({error}); memory stays in small pages, which is slower. "
                  "GLIBC_TUNABLES=glibc.malloc.hugetlb=0 keeps it from being tried.", file=sys.stderr, flush=True)


def prepare_backend(cache_dir: str | os.PathLike | None = None) -> None:
    """Turns on jax's compilation cache on disk.

    What the environment already says is left alone, and XLA_FLAGS in any case: no experimental flag of a compiler is
    worth a user's process. Calling it again changes nothing.

    Args:
      cache_dir: of compiled programs; by default $JAX_COMPILATION_CACHE_DIR, else ``~/.cache/videogvt/xla``. The name
        "off" turns the cache off.

    Raises:
      RuntimeError: jax is in use, so that the settings would not count.
    """
    settings = _settings(cache_dir)
    changed = {name: value for name, value in settings.items() if os.environ.get(name) != value}
    if "jax" in sys.modules and changed:
        if sys.modules["jax._src.xla_bridge"].backends_are_initialized():
            raise RuntimeError("prepare_backend() found jax in use already; call it before anything asks for devices.")
        for name in changed.keys() & CONFIGURED.keys():  # read when jax was imported
            sys.modules["jax"].config.update(name.lower(), CONFIGURED[name](changed[name]))
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


def check_devices() -> None:
    """Asks jax for its devices; to be called where the processes of the run have been joined.

    Raises:
      RuntimeError: there are none of the kind that $JAX_PLATFORMS names.
    """
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "its plug-in is not installed, or found no device"
        raise RuntimeError(
            f"jax has no devices with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r}: {reason}. Unset it to "
            "take what is there, set it to cpu, or install what drives the device: pip install -e '.[cuda]', '.[tpu]'."
        ) from error
