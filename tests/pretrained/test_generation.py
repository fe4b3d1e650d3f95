"""Clips frame by frame, each pass looking at one frame alone, are those of passes over whole clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes.stages import CLASSES, clips, masked_recipe, state_of
from videogvt.pretrained.generation import MaskedGeneration

PASSES = 3


def made(recipe, **options):
    state, batch = state_of(recipe), clips(4)
    task_B = jnp.arange(4) % len(recipe.generation.tasks.names)
    arguments = task_B, jnp.arange(4) % CLASSES, jnp.asarray(batch["video"]) / 255
    keys_B = jax.random.split(jax.random.key(7), 4)
    return jax.jit(lambda state: recipe.predict_fns["generate"](state, *arguments, keys_B, **options))(state)


@pytest.mark.parametrize("beside,guidance", [(False, 0.0), (True, 0.0), (False, 2.0), (True, 2.0)])
def test_with_what_is_known_of_earlier_frames_kept(beside, guidance, monkeypatch):
    """Without chance both ways find the same codes, from a class and from a first frame shown in place or beside."""
    fields = {"condition_embeddings": True, "condition": "none"} if beside else {}
    recipe = masked_recipe(("CG", "FP:2"), causal_frames=True, **fields)
    recipe = recipe.with_decoding(sampler="frames", steps=PASSES, temperature=0.0, guidance=guidance)
    kept = made(recipe, keep_steps=True)
    monkeypatch.setattr(MaskedGeneration, "_framewise", property(lambda self: False))
    whole = made(recipe, keep_steps=True)
    np.testing.assert_array_equal(kept["codes"], whole["codes"])
    np.testing.assert_allclose(kept["video"], whole["video"], atol=1e-6)
    np.testing.assert_array_equal(kept["steps"].masked, whole["steps"].masked)
    begun = np.arange(2) <= (np.arange(2 * PASSES) // PASSES)[:, None]  # frames of codes by passes
    tokens = [np.asarray(result["steps"].tokens).reshape(4, 2 * PASSES, 2, -1) for result in (kept, whole)]
    np.testing.assert_array_equal(*(rows * begun[None, :, :, None] for rows in tokens))
    np.testing.assert_array_equal(tokens[0][:, 0, 0], tokens[0][:, 0, 1])  # what was not begun is shown as this one


def test_guidance_asks_for_a_second_network_with_its_cache():
    recipe = masked_recipe(causal_frames=True).with_decoding(sampler="frames", guidance=1.0)
    nothing_BN = jnp.zeros((2, recipe.generation.num_tokens), jnp.int32)
    with pytest.raises(ValueError, match="guidance=1.0 needs 2 step_fns and as many caches; found 1 and 1"):
        recipe.generation.decoding.framewise(
            [None], [None], nothing_BN, nothing_BN > 0, mask_id=8, num_codes=8,
            keys_B=jax.random.split(jax.random.key(0), 2))


def test_other_orders_look_at_whole_clips():
    recipe = masked_recipe(causal_frames=True)
    framewise = [recipe.with_decoding(**changes).generation._framewise for changes in (
        {"sampler": "frames"}, {"sampler": "frames", "guidance": 1.0}, {"sampler": "bisection"}, {})]
    assert framewise == [True, True, False, False]
    assert not masked_recipe().with_decoding(sampler="frames").generation._framewise
