"""Attention by the formulas for CPUs is that of jax, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops.attention_cpu import attend

RNG = np.random.default_rng(0)
QUERY, KEY, VALUE, WEIGHTS = (jnp.asarray(RNG.standard_normal((2, 5, 3, 4), np.float32)) for _ in range(4))


def with_gradients(attention, *inputs):
    value = attention(*inputs)
    return value, jax.grad(lambda *inputs: (attention(*inputs) * WEIGHTS).sum(), (0, 1, 2))(*inputs)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_it_is_that_of_jax(scale):
    """Also where one key takes all, whose logits would overflow without their maximum taken off."""
    inputs = scale * QUERY, KEY * scale, VALUE
    ours, theirs = (with_gradients(function, *inputs) for function in (attend, jax.nn.dot_product_attention))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale), ours, theirs)


def test_by_hand():
    """One head, width 1: keys of equal logits are averaged; a logit of ln 3 more weighs three times as much."""
    query = jnp.ones((1, 2, 1, 1))
    key = jnp.array([0.0, np.log(3)]).reshape(1, 2, 1, 1)
    value = jnp.array([0.0, 8.0]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(attend(0 * query, key, value).ravel(), [4, 4], rtol=1e-6)
    np.testing.assert_allclose(attend(query, key, value).ravel(), [6, 6], rtol=1e-6)
