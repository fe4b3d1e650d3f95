"""The formulas for CPUs and those for other backends are the usual ones, gradients included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import linear as ops

pytestmark = pytest.mark.optimized

RNG = np.random.default_rng(0)
X = 1 + jnp.asarray(RNG.standard_normal((2, 3, 6), np.float32))
KERNEL, BIAS = (jnp.asarray(RNG.standard_normal(shape, np.float32)) for shape in ((6, 4), (4,)))
SCALE, OFFSET = (jnp.asarray(RNG.standard_normal(6, np.float32)) for _ in range(2))
EPSILON = 1e-12


@pytest.fixture(params=[True, False], ids=["for CPUs", "elsewhere"])
def backend(request, monkeypatch):
    monkeypatch.setattr(ops, "for_cpu", lambda array: request.param)


def with_gradients(function, *inputs):
    """The result, and the gradients of its sum of squares."""
    value = function(*inputs)
    grads = jax.grad(lambda *inputs: jnp.square(function(*inputs)).sum(), range(len(inputs)))(*inputs)
    return value, grads


def assert_same(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), one, other)


def test_a_linear_map(backend):
    wanted = with_gradients(lambda x, kernel, bias: x @ kernel + bias, X, KERNEL, BIAS)
    assert_same(with_gradients(ops.linear, X, KERNEL, BIAS), wanted)
    wanted = with_gradients(lambda x, kernel: x @ kernel, X, KERNEL)
    assert_same(with_gradients(ops.linear, X, KERNEL), wanted)


def test_layer_normalisation_is_that_of_flax(backend):
    def of_flax(x, scale, bias):
        return nn.LayerNorm(epsilon=EPSILON).apply({"params": {"scale": scale, "bias": bias}}, x)

    def ours(x, scale, bias):
        return ops.layer_norm(x, scale, bias, epsilon=EPSILON)

    assert_same(with_gradients(ours, X, SCALE, OFFSET), with_gradients(of_flax, X, SCALE, OFFSET))


def test_layer_normalisation_by_hand(backend):
    row = jnp.array([1.0, 3.0, 1.0, 3.0])
    found = ops.layer_norm(row, jnp.array([1.0, 1.0, 2.0, 2.0]), jnp.array([0.0, 0.0, 0.0, 5.0]), epsilon=0.0)
    np.testing.assert_allclose(found, [-1, 1, -2, 7], rtol=1e-6)


def test_a_row_without_variance_becomes_the_offset(backend):
    found = ops.layer_norm(jnp.full((1, 6), 0.1), SCALE, OFFSET, epsilon=EPSILON)
    np.testing.assert_allclose(found[0], OFFSET, atol=0.2)  # what rounding leaves of the variance is 1e-9 at most
    assert np.isfinite(found).all()


def test_bfloat16_is_summed_in_float32():
    low = [array.astype(jnp.bfloat16) for array in (X, KERNEL)]
    assert ops.linear(*low).dtype == jnp.bfloat16
    found = ops.linear(*low, BIAS, dtype=jnp.float32)
    exact = low[0].astype(jnp.float32) @ low[1].astype(jnp.float32) + BIAS
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    assert ops.layer_norm(low[0], SCALE, OFFSET, epsilon=EPSILON).dtype == jnp.float32


def test_gradients_of_gradients_exist(backend):
    def penalty(x):
        first = jax.grad(lambda x: jnp.square(ops.layer_norm(x, SCALE, OFFSET, epsilon=EPSILON)).sum())(x)
        return jnp.square(first).sum()

    assert np.isfinite(jax.grad(penalty)(X)).all()
