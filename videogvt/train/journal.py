"""What a run leaves behind for people and for the report, written by process 0 alone.

    <workdir>/config.json        the resolved configuration
              environment.json   versions, devices, commit, host
              metrics.jsonl      a row per logged step ("train/...") and per evaluation ("eval/...")
              tensorboard/       the same numbers as TensorBoard events
              media/<step>/      pictures, animations and tables of the evaluators
              eval.json          the final numbers; it is there when the run is finished
              run.lock           who is at work here, as long as somebody is (``lock``)
"""

import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath
from tensorboardX import SummaryWriter
from tqdm import tqdm

import videogvt
from videogvt.core.registry import stored_config
from videogvt.core.trees import flat as _flat
from videogvt.train.contracts import Media
from videogvt.train.timing import processor

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")


class WorkdirError(ValueError):
    """A directory that holds another run."""


def claim_workdir(
    workdir: epath.PathLike, config: Mapping[str, Any], free: tuple[str, ...] = (), grows: tuple[str, ...] = (),
    renew: bool = True,
) -> bool:
    """Makes the directory and writes ``config.json``, or checks that the one there says the same.

    Args:
      workdir: directory of the run.
      config: the resolved configuration, plain values.
      free: dotted keys, or beginnings of them, whose values may differ.
      grows: dotted keys of numbers that may be greater now.
      renew: whether values that may differ are written at once; else ``write_config`` does so later.

    Returns:
      Whether one of these numbers is greater.

    Raises:
      WorkdirError: the directory holds another configuration; the message lists keys and both values.
    """
    workdir = epath.Path(workdir)
    path = workdir / "config.json"
    there_already, grown = path.exists(), False
    if there_already:
        there, here = _flat(stored_config(path)), _flat(json.loads(json.dumps(config)))
        keys = [key for key in sorted(there.keys() | here.keys()) if there.get(key, "absent") != here.get(key, "absent")
                and not any(key == name or key.startswith(name + ".") for name in free)
                and not (key in grows and _greater(here.get(key), there.get(key)))]
        grown = any(_greater(here.get(key), there.get(key)) for key in grows)
        if keys:
            lines = [f"  {key}: {there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} here" for key in keys]
            raise WorkdirError("\n".join([
                f"{workdir} holds a run with another config. These keys differ:", *lines,
                "Name another --workdir, or go back to that config to go on with that run.",
            ]))
    elif (workdir / "checkpoints").exists():
        raise WorkdirError(f"{workdir} holds checkpoints and no config.json; name another --workdir.")
    if renew or not there_already:
        write_config(workdir, config)
    return grown


def give_up_workdir(workdir: epath.PathLike) -> None:
    """Takes back the claim on a directory in which nothing has been trained."""
    if jax.process_index() == 0:
        workdir = epath.Path(workdir)
        (workdir / "config.json").unlink(missing_ok=True)
        folder = workdir / "checkpoints"
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def write_config(workdir: epath.PathLike, config: Mapping[str, Any]) -> None:
    """Writes ``config.json`` unless it says the same."""
    path, text = epath.Path(workdir) / "config.json", json.dumps(config, indent=2, sort_keys=True)
    if jax.process_index() == 0 and not (path.exists() and path.read_text() == text):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)


def announce(text: str) -> None:
    """A line for the person who watches, above a progress bar if there is one."""
    if jax.process_index() == 0:
        tqdm.write(text, file=sys.stderr)


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration in canonical JSON, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Versions, devices, commit and host of this process."""
    return {
        "videogvt": videogvt.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "host_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": processor(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@functools.cache
def commit() -> str | None:
    """The commit of the code that runs, with "+changes" if tracked files differ from it; None where no repository
    tracks the code: an installed package may lie inside of another one's checkout."""
    root, own = os.path.split(os.path.dirname(videogvt.__file__))
    tracked = ("ls-files", "--error-unmatch", os.path.join(own, os.path.basename(videogvt.__file__)))
    try:
        _, head, changes = (
            subprocess.run(["git", "-C", root, *args], capture_output=True, text=True, check=True, timeout=20).stdout
            for args in (tracked, ("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("+changes" if changes.strip() else "")


def write_eval(workdir: epath.PathLike, numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
    """Writes ``eval.json``: every number under its full name, and under "about" what is needed to repeat them."""
    if jax.process_index() == 0:
        rows = {name: _finite(value) for name, value in sorted(numbers.items())}
        _write(epath.Path(workdir) / "eval.json", json.dumps({"about": about, **rows}, indent=2))


def read_eval(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The content of ``eval.json``, or None when there is none yet."""
    path = epath.Path(workdir) / "eval.json"
    return json.loads(path.read_text()) if path.exists() else None


def remove_eval(workdir: epath.PathLike) -> None:
    """Takes ``eval.json`` away: the run goes on."""
    if jax.process_index() == 0:
        (epath.Path(workdir) / "eval.json").unlink(missing_ok=True)


def keep_media(workdir: epath.PathLike, step: int, media: Mapping[str, Media]) -> None:
    """Writes the files of evaluators as ``media/<step>/<name>.<suffix>``."""
    for name, item in media.items() if jax.process_index() == 0 else ():
        path = epath.Path(workdir) / "media" / f"{step:08d}" / f"{name}.{item.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.data)


class Journal:
    """The growing record of a run, as a context manager.

    Args:
      workdir: directory of the run.
      start: step it begins or goes on from; rows past it, of a run that was cut short, are dropped.
      total: steps in all.
      show: numbers of a training row that the progress bar shows.
      again: of a row on disk, whether the run will write it again; then it is dropped too.
    """

    def __init__(
        self, workdir: epath.PathLike, *, start: int, total: int, show: tuple[str, ...],
        again: Callable[[Mapping[str, Any]], bool] = lambda row: False,
    ):
        self._workdir = epath.Path(workdir)
        self._total, self._show = total, show
        self._active = jax.process_index() == 0
        self._last: tuple[int, float] | None = None  # begins with the first step done, for that one is compiled
        self._terminal = sys.stderr.isatty()
        if not self._active:
            return
        self._write_environment(start)
        _keep_rows(self._workdir / "metrics.jsonl", lambda row: row["step"] <= start and not again(row))
        self._rows = (self._workdir / "metrics.jsonl").open("a")
        self._events = SummaryWriter(str(self._workdir / "tensorboard"), purge_step=start + 1)
        self._bar = tqdm(
            total=total, initial=start, unit="step", dynamic_ncols=True, smoothing=0.1, disable=not self._terminal
        )

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self._active:
            self._bar.close()
            self._events.close()
            self._rows.close()

    def write(self, step: int, numbers: Mapping[str, float], seconds: float, examples: int) -> None:
        """A row of numbers under their full names, after ``step`` updates.

        Args:
          step: updates made.
          numbers: the numbers; what is not finite becomes null.
          seconds: trained in all, earlier parts of the run included.
          examples: seen in all.
        """
        if not self._active:
            return
        row = {"step": step, "seconds": round(seconds, 3), "examples": examples}
        row |= {name: _finite(float(value)) for name, value in numbers.items()}
        self._rows.write(json.dumps(row) + "\n")
        self._rows.flush()
        os.fsync(self._rows.fileno())  # a bucket that is mounted keeps what was flushed to itself until then
        for name, value in numbers.items():
            if math.isfinite(value):  # the writer warns, at length, of what cannot be drawn
                self._events.add_scalar(name, value, step)

    def progress(self, step: int, numbers: Mapping[str, float]) -> None:
        """Shows how far the run is: a bar on a terminal, a line of text elsewhere."""
        if not self._active:
            return
        shown = "  ".join(f"{name} {numbers['train/' + name]:.4g}" for name in self._show if f"train/{name}" in numbers)
        self._bar.set_postfix_str(shown, refresh=False)
        self.advance(step)
        if not self._terminal:
            before, then = self._last
            rate, left = "?", "?"
            if step > before:
                steps_per_second = (step - before) / max(time.monotonic() - then, 1e-9)
                rate, left = f"{steps_per_second:.3g}", tqdm.format_interval((self._total - step) / steps_per_second)
            print(f"step {step}/{self._total}  {shown}  {rate} step/s  ETA {left}", file=sys.stderr, flush=True)
        self._last = (step, time.monotonic())

    def advance(self, step: int) -> None:
        """Moves the bar, whose clock begins with the first step done."""
        if not self._active:
            return
        if self._last is None:
            self._last = (step, time.monotonic())
            self._bar.initial = step  # of what its rate is made
            self._bar.n = step
            self._bar.unpause()
        else:
            self._bar.update(step - self._bar.n)

    def _write_environment(self, start: int) -> None:
        path = self._workdir / "environment.json"
        earlier = []
        if start and path.exists():
            before = json.loads(path.read_text())
            earlier = [*before.pop("earlier"), before]
        _write(path, json.dumps({**environment(), "from_step": start, "earlier": earlier}, indent=2))


def read_rows(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; a last one that was cut short is left out."""
    path = epath.Path(workdir) / "metrics.jsonl"
    return _whole_rows(path.read_text()) if path.exists() else []


def _whole_rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _keep_rows(path: epath.Path, kept: Callable[[Mapping[str, Any]], bool]) -> None:
    if path.exists():
        _write(path, "".join(json.dumps(row) + "\n" for row in _whole_rows(path.read_text()) if kept(row)))


def _write(path: epath.Path, text: str) -> None:
    """Replaces a file in one move, so that a reader finds the old one or the new one."""
    half = path.with_name(path.name + ".tmp")
    half.write_text(text)
    half.replace(path)


def _greater(here: Any, there: Any) -> bool:
    return all(isinstance(value, int | float) for value in (here, there)) and here > there


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
