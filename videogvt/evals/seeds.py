"""Figures of several seeds as their mean and range, and which seeds those are.

A setting that is chosen on the clips, or with the seeds, that its figures are reported on looks better than it is. So
choosing is done on another split, with other seeds.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

REPORTED = "test"
"""The split that figures are reported on, once, when everything is chosen."""

APART = 1000
"""From the seeds of the reported figures to those of all others."""

COUNTS = ("clips", "frames")
"""Ends of the names of figures that count and have no range."""


def seeds_of(seed: int, split: str, count: int) -> tuple[int, ...]:
    """The seeds of what is generated for a split: as many as asked for, from the run's own on for ``REPORTED``."""
    if count < 1:
        raise ValueError(f"config.evals.generation.seeds is {count}; expected at least 1.")
    return tuple(seed + (0 if split == REPORTED else APART) + place for place in range(count))


def averaged(found: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float]]:
    """Figures by name: the mean over the seeds that have one and, where seeds differ, ``_low`` and ``_high``."""
    for name in dict.fromkeys(name for numbers in found for name in numbers):
        values = [numbers[name] for numbers in found if name in numbers]
        yield name, float(np.mean(values))
        if min(values) < max(values) and not name.endswith(COUNTS):
            yield f"{name}_low", float(min(values))
            yield f"{name}_high", float(max(values))
