"""Calls are timed in turn; compiling anew leaves the cache as it was."""

import jax
import pytest

from videogvt.train.timing import LEAST, Timing, alternate, compiling_anew


def test_the_median_and_the_extremes():
    timing = Timing((0.003, 0.001, 0.002))
    assert timing.median == 0.002 and timing.spread == (0.001, 0.003)
    assert str(timing) == "2 (1 to 3) ms"


def test_calls_take_turns_after_one_of_each():
    order = []
    found = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=4)
    assert order == ["a", "b"] * 5
    assert {name: len(timing.seconds) for name, timing in found.items()} == {"a": 4, "b": 4}


def test_time_runs_out_only_after_the_least_number_of_turns():
    assert len(alternate({"a": lambda: None}, repeats=50, budget_s=0.0)["a"].seconds) == LEAST


@pytest.mark.parametrize("before", [True, False])
def test_the_cache_is_off_inside_and_as_it_was_outside(before):
    found = jax.config.jax_enable_compilation_cache
    try:
        jax.config.update("jax_enable_compilation_cache", before)
        with pytest.raises(RuntimeError, match="stop"), compiling_anew():
            assert not jax.config.jax_enable_compilation_cache
            raise RuntimeError("stop")
        assert jax.config.jax_enable_compilation_cache == before
    finally:
        jax.config.update("jax_enable_compilation_cache", found)
