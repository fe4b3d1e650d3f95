"""Gradients in parts: those of the whole batch, for losses that are means."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes.stages import CODES, GRID, TOKENIZER, clips, masked_recipe
from videogvt.recipes.accumulation import Found, gradients
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe


def test_parts_make_the_whole():
    x_B2 = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)

    def loss(params, rows, key):
        y_B = rows["x"] @ params
        return jnp.square(y_B).mean(), Found({"y": y_B}, {"count": jnp.float32(len(y_B))}, {"mean": y_B.mean()})

    params, key = jnp.array([1.0, -2.0]), jax.random.key(0)
    whole, in_parts = (gradients(loss, params, {"x": jnp.asarray(x_B2)}, key, parts) for parts in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, in_parts)
    np.testing.assert_allclose(in_parts[1].rows["y"], x_B2 @ params, rtol=1e-5)
    assert in_parts[1].sums["count"] == 12


def test_every_part_draws_its_own():
    def loss(params, rows, key):
        return params * rows.mean(), Found(rows=jax.random.uniform(key, rows.shape))

    drawn = gradients(loss, jnp.float32(1), jnp.ones(6), jax.random.key(0), 3)[1].rows
    assert len(np.unique(drawn)) == 6


def test_a_batch_that_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="accumulate is 4, which does not divide a batch of 6 rows"):
        gradients(lambda params, rows, key: (params, Found()), jnp.float32(1), jnp.ones(6), jax.random.key(0), 4)
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
