"""A part whose programs go wrong in every way, for the tests of what runs them."""

import os
from collections.abc import Iterator

from on_device.job import Bench, Job, Skip


def _raise(error: BaseException) -> None:
    raise error


def jobs(bench: Bench) -> Iterator[Job]:
    """Programs that work, are skipped, raise, and end the process."""
    row = {"clips": 4, "ms": 1.0, "ms_low": 0.5, "ms_high": 2.0, "clips_per_s": 4000.0}
    yield Job("works", row=lambda: row)
    yield Job("is skipped", row=lambda: _raise(Skip("there is no such library")))
    yield Job("raises", row=lambda: _raise(ValueError("a | message\nof two lines")))
    yield Job("works after that", row=lambda: row)
    yield Job("ends the process", row=lambda: os._exit(7))
    yield Job("works in another process", row=lambda: row)
