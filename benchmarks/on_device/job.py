"""A program to be measured, and what its part of the benchmark knows while it runs."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
REPEATS = 5
BUDGET_S = 6.0  # of timing one program, beyond the least number of calls


class Skip(Exception):
    """Says why a program cannot be measured here; nothing went wrong."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One program.

    Attributes:
      name: unique in its part.
      part: makes the ``bench.parts.Part`` that is compiled and timed; None where ``row`` does it all.
      row: makes the row of figures of everything else; "ms", "clips" and the like mean what they mean in
        ``bench.parts.timed``.
      frames: of a clip.
      share: of the matrix ceiling that it is taken to reach, for estimates alone.
      seconds: that ``row`` takes, or one call of ``part`` at least, for estimates alone.
    """

    name: str
    part: Callable[[], Any] | None = None
    row: Callable[[], Row] | None = None
    frames: int = 16
    share: float = 0.25
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every part is given.

    Attributes:
      dry_run: tiny sizes.
      more: the larger networks, and variants, as well.
      deadline: ``time.monotonic()`` at which the part is stopped.
      rows: figures that were measured before, of all parts.
      device_bytes: memory to reckon with; None for what the device says.
    """

    dry_run: bool
    more: bool
    deadline: float
    rows: Sequence[Mapping[str, Any]] = ()
    device_bytes: int | None = None

    def found(self, part: str, name: str) -> Mapping[str, Any] | None:
        """The row of a program that was measured."""
        return next((row for row in self.rows if (row["part"], row["name"], row["status"]) == (part, name, "measured")),
                    None)

    @functools.cached_property
    def ceilings(self) -> dict[str, float]:
        """FLOP/s of products by dtype and bytes/s of a copy, as the part "machine" found them, else measured now."""
        from on_device import ceilings

        return {name: self._ceiling(name, measure) for name, measure in ceilings.measures(self.dry_run).items()}

    def _ceiling(self, name: str, measure: Callable[[], float]) -> float:
        row = self.found("machine", name)
        return row["rate"] if row else measure()

    @functools.cached_property
    def budget(self) -> float:
        """Bytes that a program may need, by its shapes."""
        return 0.9 * (self.device_bytes or _device_bytes())


def _device_bytes() -> int:
    """Of one accelerator, or of the host where there is none."""
    import jax

    told = jax.local_devices()[0].memory_stats() or {}
    return told.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
