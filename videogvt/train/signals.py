"""Leaving in good order when told to.

The first SIGTERM or Ctrl-C raises a flag that the loop reads after every step: it saves and leaves with exit code
128 + the signal's number (143 for SIGTERM, 130 for Ctrl-C), as shells do. A second Ctrl-C leaves at once, without
saving; the last finished checkpoint stays good.
"""

import os
import signal
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils

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
