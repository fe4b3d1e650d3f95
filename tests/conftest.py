"""Settings of all tests: the same backend flags as ``run.py``, data sets and compiled programs shared between runs.

What takes time in tests is compiling. So every program, however small, goes to the compilation cache, which all
workers share, and XLA leaves most optimizations out. Tests that are about what XLA really makes (golden values,
parity, resuming bit for bit, lowerings, times), and those that train for long, are marked ``optimized``; slow ones are.
"""

import os
import sys

import pytest

from videogvt.core.backend import prepare_backend

BARELY_OPTIMIZED = "JAX_DISABLE_MOST_OPTIMIZATIONS"

os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ[BARELY_OPTIMIZED] = "1"  # programs that tests start have it, too
prepare_backend()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Sets, before any fixture is made, how XLA compiles for this test.

    jax does not ask whether a program in memory was compiled with this setting, so all are dropped when it changes.
    """
    optimized = any(item.get_closest_marker(name) for name in ("optimized", "slow"))
    wanted = str(int(not optimized))
    if os.environ[BARELY_OPTIMIZED] != wanted:
        os.environ[BARELY_OPTIMIZED] = wanted
        if "jax" in sys.modules:
            sys.modules["jax"].config.update(BARELY_OPTIMIZED.lower(), not optimized)
            sys.modules["jax"].clear_caches()
