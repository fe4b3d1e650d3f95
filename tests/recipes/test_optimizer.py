"""Adam and its schedule, by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from tests.recipes.token_models import CODES, GRID, TOKENIZER, clips, masked_recipe
from videogvt.recipes.optimizer import Adam, Aux, gradients, orthogonalised
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe


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


def test_parts_make_the_whole():
    x_B2 = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)

    def loss(params, rows, key):
        y_B = rows["x"] @ params
        return jnp.square(y_B).mean(), Aux({"y": y_B}, {"count": jnp.float32(len(y_B))}, {"mean": y_B.mean()})

    params, key = jnp.array([1.0, -2.0]), jax.random.key(0)
    whole, in_parts = (gradients(loss, params, {"x": jnp.asarray(x_B2)}, key, parts) for parts in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, in_parts)
    np.testing.assert_allclose(in_parts[1].rows["y"], x_B2 @ params, rtol=1e-5)
    assert in_parts[1].sums["count"] == 12


def test_every_part_draws_its_own():
    def loss(params, rows, key):
        return params * rows.mean(), Aux(rows=jax.random.uniform(key, rows.shape))

    drawn = gradients(loss, jnp.float32(1), jnp.ones(6), jax.random.key(0), 3)[1].rows
    assert len(np.unique(drawn)) == 6


def test_a_batch_that_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="accumulate is 4, which does not divide a batch of 6 rows"):
        gradients(lambda params, rows, key: (params, Aux()), jnp.float32(1), jnp.ones(6), jax.random.key(0), 4)
    with pytest.raises(ValueError, match="accumulate is 0"):
        Adam(1e-3, 10, accumulate=0)


def accumulated(recipe, parts: int):
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, accumulate=parts))


def test_the_transformers_step_is_the_same_in_parts():
    recipe, rng = masked_recipe(dropout=0.0), np.random.default_rng(0)
    batch = {"codes": rng.integers(0, CODES, (4, *GRID), dtype=np.int32), "label": clips(4)["label"]}
    state = jax.jit(lambda key: recipe.init(key, {}))(jax.random.key(0)).replace(frozen=dict(recipe.frozen))
    numbers = [jax.jit(accumulated(recipe, parts).step)(state, batch, jax.random.key(1))[1] for parts in (1, 2)]
    whole, in_parts = ({name: mean.compute() for name, mean in found.items()} for found in numbers)
    assert in_parts == pytest.approx(whole, rel=1e-4)


@pytest.mark.slow
def test_the_tokenizers_step_is_the_same_in_parts():
    # The entropy loss is not a mean over clips: it is taken over the codes of a part.
    model = TOKENIZER.clone(quantizer={**TOKENIZER.quantizer, "entropy_weight": 0.0})
    recipe = TokenizerRecipe(model, TokenizerLosses(), Adam(1e-3, 4, b1=0.9), restart_below=0.1)
    batch = {"video": jnp.asarray(clips(4)["video"])}
    state = jax.jit(recipe.init)(jax.random.key(0), batch)
    numbers = [jax.jit(accumulated(recipe, parts).step)(state, batch, jax.random.key(1))[1] for parts in (1, 2)]
    whole, in_parts = ({name: mean.compute() for name, mean in found.items()} for found in numbers)
    assert in_parts == pytest.approx(whole, rel=1e-3)
