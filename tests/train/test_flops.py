"""Operations counted by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from videogvt.train.flops import count_flops

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
