"""Calls are timed in turn; compiling anew leaves the cache as it was."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from videogvt.train.timing import MIN_REPEATS, Timing, alternate, compiling_anew, count_flops

pytestmark = pytest.mark.optimized


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
    assert len(alternate({"a": lambda: None}, repeats=50, budget_s=0.0)["a"].seconds) == MIN_REPEATS


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


MATRIX = jax.ShapeDtypeStruct((4, 5), jnp.float32)
SQUARE = jax.ShapeDtypeStruct((5, 5), jnp.float32)


def test_products_by_hand():
    assert count_flops(jnp.matmul, MATRIX, SQUARE) == 2 * 4 * 5 * 5
    assert count_flops(lambda a, b: jnp.einsum("bij,bkj->bik", a, b), jnp.ones((3, 4, 5)), jnp.ones((3, 6, 5))) == (
        2 * 3 * 4 * 6 * 5)
    assert count_flops(lambda a: jnp.sin(a) + a, MATRIX) == 0


def test_convolutions_by_hand():
    conv = nn.Conv(8, (3, 3), padding="VALID", feature_group_count=2, use_bias=False)
    image = jnp.ones((2, 10, 10, 4))
    params = conv.init(jax.random.key(0), image)
    assert count_flops(conv.apply, params, image) == 2 * (2 * 8 * 8 * 8) * (3 * 3 * 2)


def test_a_loop_counts_as_often_as_it_runs():
    def loop(a, b):
        return jax.lax.scan(lambda a, _: (jax.jit(jnp.matmul)(a, b), None), a, length=7)[0]

    assert count_flops(loop, MATRIX, SQUARE) == 7 * 2 * 4 * 5 * 5
    assert count_flops(lambda a, b: jax.lax.fori_loop(0, 3, lambda _, a: a @ b, a), MATRIX, SQUARE) == 3 * 200
    xla = jax.jit(jnp.matmul).lower(MATRIX, SQUARE).cost_analysis()["flops"]
    assert count_flops(jnp.matmul, MATRIX, SQUARE) == pytest.approx(xla, rel=0.1)


def test_branches_and_differentiated_functions():
    def branch(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a @ b @ b)

    assert count_flops(branch, MATRIX, SQUARE) == 2 * 200
    assert count_flops(jax.grad(lambda b, a: (jax.checkpoint(jnp.matmul)(a, b) ** 2).sum()), SQUARE, MATRIX) >= 2 * 200


def test_a_loop_of_unknown_length_is_refused():
    def loop(a, b):
        return jax.lax.while_loop(lambda a: a.sum() < 9, lambda a: a @ b, a)

    with pytest.raises(ValueError, match="scan"):
        count_flops(loop, MATRIX, SQUARE)
