"""Clips that several world tests measure, made once."""

import numpy as np
import pytest

from videogvt.world.example import example
from videogvt.world.spec import SPECS
from videogvt.world.tracker import Track, track


@pytest.fixture(scope="session")
def clips() -> dict[str, np.ndarray]:
    """The first 1,000 test examples of ``mono64``, fields stacked."""
    examples = [example(SPECS["mono64"], "test", index) for index in range(1000)]
    return {name: np.stack([each[name] for each in examples]) for name in examples[0]}


@pytest.fixture(scope="session")
def tracked(clips) -> Track:
    """What the tracker finds in the rendered ``clips``."""
    return track(clips["video"])
