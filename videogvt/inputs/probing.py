"""Trying videos in processes of their own, where a decoder that crashes, hangs or wants all memory does no harm.

Decoders are native code, and a damaged file can do to them what no exception tells. Each file is therefore decoded once
in a child process with a limit on its memory; what came through there is decoded by the caller without fear. A child
goes on to the next file; one that has died is replaced. What it says is JSON, since a process that a hostile file has
taken over may say anything.
"""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from videogvt.inputs.decoding import pyav, reason, shown, timeline
from videogvt.inputs.frames import Unusable

PATIENCE_S = 60.0
"""So long a decoder may take for the next frame, or to open a file."""
MEMORY = 4 * 2**30
"""Bytes of address space that a decoder may have; 8K video takes less than half of it."""
BEAT_S = 1.0
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)


class Prober:
    """A child process that decodes files. It starts with the first one and ends with ``close``, or with its parent."""

    def __init__(self):
        self._parent = os.getpid()
        self._process: subprocess.Popen | None = None
        self._pipe: Connection | None = None

    def timeline(self, path: os.PathLike, max_frames: int | None = None) -> tuple[np.ndarray, float | None]:
        """What ``decoding.timeline`` says of a file; ``Unusable`` too where the decoder came to no end."""
        if self._process is None:
            self._start()
        try:
            where = os.path.abspath(path)  # the child may have been started in another folder
            self._pipe.send_bytes(json.dumps([where, max_frames]).encode())
            said = self._answer()
        except _GONE:
            said = {"reason": f"its decoder crashed ({self._end()})"}
        if "reason" in said:
            raise Unusable(said["reason"])
        return np.array(said["times"], np.float64), said["rate"]

    @property
    def mine(self) -> bool:
        """Whether this process has made it, and not one that this was forked from."""
        return self._parent == os.getpid()

    def close(self) -> None:
        """Ends the child."""
        if self._process is not None:
            self._end()

    def _answer(self) -> dict:
        while self._pipe.poll(PATIENCE_S):
            said = json.loads(self._pipe.recv_bytes())
            if said:
                return said
        self._end()
        return {"reason": f"its decoder came to no next frame in {PATIENCE_S:g} s"}

    def _start(self) -> None:
        ours, theirs = Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
                       "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        code = "import sys; from videogvt.inputs.probing import serve_attempts; serve_attempts(*map(int, sys.argv[1:]))"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), str(MEMORY)], pass_fds=[theirs.fileno()],
            env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self._pipe = ours

    def _end(self) -> str:
        """Ends the child, and says how it had ended by itself."""
        process, self._process = self._process, None
        self._pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()
        status = process.wait()
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def decode_frames(path: os.PathLike, count: int) -> list[np.ndarray]:
    """The first frames of a video file, at most ``count``, each uint8 RGB (H, W, 3); needs PyAV.

    Raises:
      ValueError: it cannot be read so far.
    """
    try:
        with probing(1) as ask:
            ask(path, count)
        return [frame.picture() for frame in itertools.islice(shown(path), count)]
    except Unusable as error:
        raise ValueError(f"{path} cannot be read as a video: {reason(error)}.") from error


@contextlib.contextmanager
def probing(processes: int) -> Iterator[Callable[..., tuple[np.ndarray, float | None]]]:
    """A context in which so many threads can call ``Prober.timeline`` at once, each of a child; they end with it."""
    pyav()  # whose absence is no file's fault
    probers = [_kept(), *(Prober() for _ in range(processes - 1))]
    idle: queue.SimpleQueue[Prober] = queue.SimpleQueue()
    for prober in probers:
        idle.put(prober)

    def ask(path: os.PathLike, max_frames: int | None = None) -> tuple[np.ndarray, float | None]:
        prober = idle.get()
        try:
            return prober.timeline(path, max_frames)
        finally:
            idle.put(prober)

    try:
        yield ask
    finally:
        _KEPT.append(probers.pop(0))
        for prober in (*probers, *_KEPT[1:]):
            prober.close()
        del _KEPT[1:]


_KEPT: list[Prober] = []
"""One child is kept for the next file, since starting it takes as long as decoding a short video."""


def _kept() -> Prober:
    """The prober that is kept, if this process has started it; or a new one."""
    with contextlib.suppress(IndexError):
        prober = _KEPT.pop()
        if prober.mine:
            return prober
    return Prober()


def serve_attempts(handle: int, memory: int) -> None:
    """A child's life: decode file after file, in so many bytes, until the caller hangs up."""
    _limit(memory)
    pipe = Connection(handle)
    with contextlib.suppress(*_GONE):
        while True:
            (path, max_frames), last = json.loads(pipe.recv_bytes()), time.monotonic()

            def beat() -> None:
                nonlocal last
                if time.monotonic() - last > BEAT_S:
                    pipe.send_bytes(b"{}")
                    last = time.monotonic()

            pipe.send_bytes(json.dumps(_tried(path, max_frames, beat, memory)).encode())


def _tried(path: str, max_frames: int | None, beat: Callable[[], None], memory: int) -> dict[str, object]:
    """The answer about a file. Whatever goes wrong here, with PyAV at hand, the file is to blame."""
    try:
        times_N, rate = timeline(path, max_frames, beat)
    except _GONE:
        raise
    except MemoryError:
        return {"reason": f"decoding it takes more than {memory >> 20:,} MiB"}
    except Exception as error:
        return {"reason": reason(error)}
    return {"times": times_N.tolist(), "rate": rate}


def _limit(memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not everywhere is there such a limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (memory if most < 0 else min(memory, most), most))
