"""Clips frame by frame, each pass looking at one frame alone, are those of passes over whole clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes.token_models import CLASSES, clips, masked_recipe, state_of
from videogvt.models.generation import MaskedGeneration
from videogvt.models.tasks import TaskTable
from videogvt.models.token_model import TokenModel
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer

PASSES = 3


def made(recipe, **options):
    state, batch = state_of(recipe), clips(4)
    task_B = jnp.arange(4) % len(recipe.generation.tasks.names)
    arguments = task_B, jnp.arange(4) % CLASSES, jnp.asarray(batch["video"]) / 255
    keys_B = jax.random.split(jax.random.key(7), 4)
    return jax.jit(lambda state: recipe.predict_fns["generate"](state, *arguments, keys_B, **options))(state)


AHEAD = {"conditions_ahead": True}


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("fields", [{}, AHEAD])
def test_with_what_is_known_of_earlier_frames_kept(fields, guidance, monkeypatch):
    """Without chance both ways find the same codes, from a class and from a first frame shown in its place, or a part
    of all frames."""
    recipe = masked_recipe(("CG", "OPC" if fields == AHEAD else "FP:2"), causal_frames=True, **fields)
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


def test_conditions_of_local_codes_are_those_of_whole_clips_where_cells_are_given_whole():
    """So that known codes need no encoding, and what comes out is what the padded clips would give."""
    tokenizer = TokenizerNetwork(
        channel_multipliers=(1,), temporal_downsample=(), encoder_blocks=1, decoder_blocks=0, filters=8, conv="point",
        norm_scope="position", norm_groups=4, norm_epsilon=0.1, stem=(2, 4, 4), input_bias=1.0,
        quantizer={"name": "vq", "num_codes": 64, "embedding_dim": 4})
    names = ("FP:4", "FI:2,2", "OPC", "OPD", "IPC", "IPD", "CG")
    tasks = TaskTable.build(names, video_shape=(8, 16, 16), latent_shape=(4, 4, 4), vocabulary=Vocabulary(64, 5, True))
    assert [name for name, part in zip(names, tasks.in_part_n) if part] == ["OPD", "IPD"]
    model = TokenModel(tokenizer, tasks.vocabulary, tasks, MaskedTransformer(vocab_size=90, sequence_length=66))
    video = np.random.default_rng(0).random((2, 8, 16, 16, 3), np.float32)
    params = tokenizer.init(jax.random.key(0), video)["params"]
    codes = model.codes(params, video)
    assert len(np.unique(codes)) > 10
    condition = jax.jit(model.condition)
    for task in range(len(names)):
        task_B = np.full(2, task, np.int32)
        visible = np.asarray(model.tasks.visible(task_B))
        known, encoded = condition(params, video, task_B, codes), condition(params, video, task_B)
        np.testing.assert_array_equal(np.asarray(known)[visible], np.asarray(encoded)[visible])
        if not tasks.in_part_n[task]:
            assert (np.asarray(known)[~visible] == 0).all()  # and nothing else of the clip comes along
    both = np.array([0, names.index("OPD")], np.int32)  # one of which wants encoding
    np.testing.assert_array_equal(condition(params, video, both, codes), condition(params, video, both))
