"""Adam and its schedule, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from videogvt.recipes.optimizer import Adam


def test_schedule_is_warmup_times_half_cosine():
    rate = Adam(learning_rate=2.0, total_steps=110, warmup_steps=10).schedule()
    assert float(rate(0)) == 0
    assert float(rate(5)) == pytest.approx(1.0)
    assert float(rate(10)) == pytest.approx(2.0)
    assert float(rate(60)) == pytest.approx(1.0)
    assert float(rate(109)) == pytest.approx(1 + math.cos(math.pi * 0.99), abs=1e-6)
    assert float(rate(500)) == 0  # no cyclic restart past the end
    adam = Adam(learning_rate=2.0, total_steps=60, warmup_steps=10)  # half as many steps, and what more would do
    assert [adam.rate(60, total) for total in (60, 110)] == pytest.approx([0.0, 1.0])


def test_update_with_b1_zero_is_the_scaled_gradient():
    adam = Adam(learning_rate=0.1, total_steps=10).transformation()
    params = {"kernel": jnp.array([1.0, -2.0])}
    updates, _ = adam.update({"kernel": jnp.array([3.0, -4.0])}, adam.init(params), params)
    assert updates["kernel"] == pytest.approx([-0.1, 0.1])  # bias-corrected, the first step is the sign


def test_decay_falls_on_kernels_only():
    adam = Adam(learning_rate=0.1, total_steps=10, weight_decay=0.5).transformation()
    params = {"layer": {"kernel": jnp.array([2.0]), "bias": jnp.array([2.0])}}
    zero = {"layer": {"kernel": jnp.zeros(1), "bias": jnp.zeros(1)}}
    updates, _ = adam.update(zero, adam.init(params), params)
    assert float(updates["layer"]["kernel"][0]) == pytest.approx(-0.1)
    assert float(updates["layer"]["bias"][0]) == 0


def test_clipping_bounds_the_global_norm():
    adam = Adam(learning_rate=1.0, total_steps=10, clip_norm=1.0, b2=0.0, eps=1.0).transformation()
    params = {"kernel": jnp.zeros(2)}
    updates, _ = adam.update({"kernel": jnp.array([30.0, 40.0])}, adam.init(params), params)
    clipped = jnp.array([0.6, 0.8])
    assert updates["kernel"] == pytest.approx(-clipped / (clipped + 1.0))
    assert float(optax.global_norm(clipped)) == pytest.approx(1.0)


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps is 20 and the run has 10 steps"):
        Adam(learning_rate=0.1, total_steps=10, warmup_steps=20)
    with pytest.raises(ValueError, match="learning_rate is 0"):
        Adam(learning_rate=0, total_steps=10)


def test_muon_orthogonalises_kernels_and_leaves_the_rest_to_adam():
    params = {
        "conv": {"kernel": jnp.zeros((3, 3, 3, 4, 8)), "bias": jnp.zeros(8)},
        "query": {"kernel": jnp.zeros((6, 2, 3))},
        "table": {"embedding": jnp.zeros((5, 6))},
    }
    grads = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    muon = Adam(learning_rate=0.1, total_steps=10, muon=True).transformation()
    updates, _ = muon.update(grads, muon.init(params), params)
    for kernel, matrix in ((updates["conv"]["kernel"], (108, 8)), (updates["query"]["kernel"], (6, 6))):
        singular = jnp.linalg.svd(kernel.reshape(matrix), compute_uv=False)
        assert singular.max() < 2 * singular.min()  # of the gradient's own, the least is near 0
        assert float(jnp.sqrt(jnp.mean(jnp.square(kernel)))) == pytest.approx(0.1, rel=0.3)
    for layer, leaf in (("conv", "bias"), ("table", "embedding")):
        np.testing.assert_allclose(updates[layer][leaf], -0.1 * jnp.sign(grads[layer][leaf]), rtol=1e-4)


def test_muon_decays_kernels_only():
    muon = Adam(learning_rate=0.1, total_steps=10, weight_decay=0.5, muon=True).transformation()
    params = {"layer": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.array([2.0, 2.0])}}
    updates, _ = muon.update(jax.tree.map(jnp.zeros_like, params), muon.init(params), params)
    np.testing.assert_allclose(updates["layer"]["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["layer"]["bias"], 0)


def test_the_rest_may_have_a_rate_of_its_own():
    params = {"layer": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}
    one, two = (
        optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)[0]["layer"]
        for optimizer in (Adam(learning_rate=0.1, total_steps=10, muon=True, adam_learning_rate=rate).transformation()
                          for rate in (None, 0.02)))
    np.testing.assert_array_equal(one["kernel"], two["kernel"])
    np.testing.assert_allclose(two["bias"], 0.2 * one["bias"], rtol=1e-5)
    with pytest.raises(ValueError, match="adam_learning_rate is 0.02 and optimizer.muon is False"):
        Adam(learning_rate=0.1, total_steps=10, adam_learning_rate=0.02)
