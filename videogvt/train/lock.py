"""One run, one process: the lock on a run's directory.

The lock is the operating system's (``flock`` on ``<workdir>/run.lock``) and ends with the process that holds it,
however that ends. The file says who holds it, and is removed by who leaves in good order. Locks of some shared disks do
not reach other hosts, or outlive a host that was lost: then the file is all there is to go by, and only a person, or a
scheduler that has ended the old processes, can know that nobody is there any more.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import Any, TextIO

import jax
import numpy as np
from jax.experimental import multihost_utils

from videogvt.train.journal import WorkdirError, announce

LOCK = "run.lock"
_held: set[pathlib.Path] = set()  # by this process


@contextlib.contextmanager
def sole_run(workdir: os.PathLike, steal: bool = False) -> Iterator[None]:
    """A context in which no other process trains or evaluates in a run's directory. It may be nested.

    Of the processes of a run on many hosts the first holds the lock, for all of them.

    Args:
      workdir: directory of the run; made where there is none, and removed again if nothing was put there.
      steal: whether to take the lock that a process on another host has left.

    Raises:
      WorkdirError: another process is there, or may be.
    """
    path = pathlib.Path(workdir).absolute() / LOCK
    if path in _held:
        yield
        return
    there_before, file, error = path.parent.exists(), None, None
    if jax.process_index() == 0:
        try:
            file = _take(path, steal)
        except WorkdirError as refusal:
            error = refusal
    if multihost_utils.broadcast_one_to_all(np.bool_(error is not None)) and error is None:
        error = WorkdirError(f"Process 0 could not lock {path.parent}; its own output says why.")
    if error is not None:
        raise error
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        if file is not None:
            _give_back(path, file, there_before)


def _take(path: pathlib.Path, steal: bool) -> TextIO:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        except OSError as error:  # told to the other processes, which wait
            raise WorkdirError(f"{path.parent}: {error.strerror}. Name another --workdir.") from error
        try:
            free = _lock(file)
            holder = _read(file)
            elsewhere = holder is not None and holder["host"] != socket.gethostname()
            if elsewhere and steal:
                announce(f"Takes the lock on {path.parent} from {_name(holder)}.")
                path.unlink(missing_ok=True)  # a new file, for the old one may be locked for a while
                steal = False
            elif not free or (elsewhere and not steal):
                raise WorkdirError(_refusal(path, holder, elsewhere, free))
            elif _same(file, path):
                _write(file)
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # it was removed after it was opened: there may be a new one


def _lock(file: TextIO) -> bool:
    """Whether the file could be locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        announce(f"{file.name} cannot be locked ({error}); see to it yourself that no second process runs there.")
        return True


def _refusal(path: pathlib.Path, holder: dict[str, Any] | None, elsewhere: bool, free: bool) -> str:
    who = _name(holder) if holder else "another process"
    if not elsewhere:
        return (f"{path.parent} is in use by {who}. Wait until it ends, stop it, or name another --workdir; two "
                "processes in one directory would spoil each other's files.")
    state = "it was not given back" if free else "it is locked"
    return (f"{path.parent} was taken by {who}, and {state}. This host cannot tell whether that process still runs. If "
            "it does, wait for it or name another --workdir. If it is gone, with its host say, give the same command "
            "with --steal_lock.")


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['process']} on host {holder['host']}, started {holder['started']}"


def _read(file: TextIO) -> dict[str, Any] | None:
    """Who the file says holds it; None where nobody has written it, or has just begun to."""
    file.seek(0)
    try:
        return json.loads(file.read())
    except json.JSONDecodeError:
        return None


def _write(file: TextIO) -> None:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    file.seek(0)
    file.truncate()
    json.dump({"host": socket.gethostname(), "process": os.getpid(), "started": started}, file)
    file.flush()
    os.fsync(file.fileno())


def _same(file: TextIO, path: pathlib.Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _give_back(path: pathlib.Path, file: TextIO, there_before: bool) -> None:
    if _same(file, path):  # nobody has taken it
        path.unlink()
    file.close()
    if not there_before:
        with contextlib.suppress(OSError):  # something was put there
            path.parent.rmdir()
