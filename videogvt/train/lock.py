"""One run, one process: the lock on a run's directory.

The lock is the operating system's (``flock`` on ``<workdir>/run.lock``) and ends with the process that holds it,
however that ends. The file says who holds it, and is removed by who leaves in good order. Locks of some shared disks do
not reach other hosts, or outlive a host that was lost: then the file is all there is to go by, and only a person, or a
scheduler that has ended the old processes, can know that nobody is there any more.

It is left in good order when the run is told to stop (``StopSignal``). The first SIGTERM or Ctrl-C raises a flag that
the loop reads after every step: it saves and leaves with exit code 128 + the signal's number (143 for SIGTERM, 130 for
Ctrl-C), as shells do. A second Ctrl-C leaves at once, without saving; the last finished checkpoint stays good.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import threading
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


SIGNALS = (signal.SIGTERM, signal.SIGINT)
STDERR = 2  # the descriptor itself: sys.stderr may have none, in a notebook say


class Stopped(SystemExit):
    """A run left because of a signal, its state saved; ``code`` is 128 + the signal's number."""

    def __init__(self, signum: int, message: str):
        super().__init__(128 + signum)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignal:
    """A context in which signals raise a flag instead of ending the process.

    Handlers can be set in the main thread only; in others the context does nothing.

    Args:
      agree_every: steps between the questions of many processes whether one of them was told to stop; they have to
        leave at the same step. A single process looks at its flag after every step.
    """

    def __init__(self, agree_every: int = 1):
        self._agree_every = agree_every
        self._signum = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, kind, error, trace) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame) -> None:
        if self._signum and signum == signal.SIGINT:
            os.write(STDERR, b"\nLeaving at once; nothing more is saved.\n")
            os._exit(128 + signum)
        if not self._signum:
            os.write(STDERR, f"\n{signal.Signals(signum).name}: saving after this step.\n".encode())
        self._signum = self._signum or signum

    def requested(self, step: int) -> int:
        """The number of the signal that came, on whichever process, or 0."""
        if jax.process_count() == 1:
            return self._signum
        if step % self._agree_every:
            return 0
        return int(np.max(multihost_utils.process_allgather(np.int32(self._signum))))
