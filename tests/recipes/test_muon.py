"""Muon against optax's own, and what orthogonalising does to singular values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from videogvt.recipes.muon import orthogonalised
from videogvt.recipes.optimizer import Adam

SHAPES = {"conv": (3, 3, 4, 8), "wide": (6, 40), "query": (6, 2, 3), "square": (16, 16)}
COEFFICIENTS = jnp.asarray((3.4445, -4.775, 2.0315))


def _trees(steps: int):
    key = jax.random.key(0)
    params = {name: {"kernel": jnp.ones(shape), "bias": jnp.zeros(shape[-1])} for name, shape in SHAPES.items()}
    params["table"] = {"embedding": jnp.ones((5, 6))}
    noise = lambda step: jax.tree.map(  # noqa: E731
        lambda leaf: jax.random.normal(jax.random.fold_in(key, 100 * step + leaf.size), leaf.shape), params)
    return params, [noise(step) for step in range(steps)]


def _of_optax(adam: Adam) -> optax.GradientTransformation:
    def axes(path, leaf):
        if path[-1].key != "kernel":
            return None
        inputs = 1 if path[-2].key == "query" else leaf.ndim - 1
        return optax.contrib.MuonDimensionNumbers(tuple(range(inputs)), tuple(range(inputs, leaf.ndim)))

    return optax.contrib.muon(
        adam.schedule(), weight_decay=adam.weight_decay, consistent_rms=1.0, adam_b1=adam.b1, adam_b2=adam.b2,
        adam_learning_rate=adam.schedule(adam.adam_learning_rate), eps=adam.eps,
        weight_decay_mask=lambda tree: jax.tree_util.tree_map_with_path(lambda p, _: p[-1].key == "kernel", tree),
        muon_weight_dimension_numbers=lambda tree: jax.tree_util.tree_map_with_path(axes, tree))


def test_updates_and_state_are_those_of_optax():
    adam = Adam(0.1, 20, 2, b1=0.9, weight_decay=0.1, muon=True, adam_learning_rate=0.05)
    params, gradients = _trees(4)
    states, trees = [], []
    for optimizer in (adam.transformation(), optax.chain(_of_optax(adam))):
        state, tree = optimizer.init(params), params
        for gradient in gradients:
            updates, state = optimizer.update(gradient, state, tree)
            tree = optax.apply_updates(tree, updates)
        states.append(state), trees.append(tree)
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])  # so that checkpoints of either fit
    for ours, theirs in zip(jax.tree.leaves((trees[0], states[0])), jax.tree.leaves((trees[1], states[1]))):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("shape", [(8, 8), (8, 30), (30, 8), (1, 5)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    left, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((shape[0], min(shape))))
    right, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((shape[1], min(shape))))
    values = np.geomspace(1.0, 0.05, min(shape))
    matrix = orthogonalised(jnp.asarray(left * values @ right.T, jnp.float32), COEFFICIENTS)
    found = np.diag(left.T @ np.asarray(matrix) @ right)
    assert ((found > 0.6) & (found < 1.3)).all()
    np.testing.assert_allclose(matrix, left * found @ right.T, atol=1e-4)


def test_a_gradient_of_zero_stays_zero():
    np.testing.assert_array_equal(orthogonalised(jnp.zeros((3, 4)), COEFFICIENTS), 0)
