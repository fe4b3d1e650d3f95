"""What counts how much in the losses of the second stage, by hand, and networks that are told the codes' vectors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes.token_models import CODES, causal_recipe, clips, loss_of, masked_recipe, state_of
from videogvt.ops.masking import Masking
from videogvt.recipes.token_model import TransformerLosses

SMOOTHING = TransformerLosses().label_smoothing


@pytest.fixture(scope="module")
def batch():
    return clips(4)


def log_softmax(logits):
    scores = np.asarray(logits, np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def looked_at(recipe, batch):
    """State, masked tokens, logits (B, N, K) and true codes of the loss that ``loss_of`` computes with key 5."""
    state, generation, key = state_of(recipe), recipe.generation, jax.random.key(5)
    task_B, label_B = jnp.zeros(4, jnp.int32), jnp.asarray(batch["label"])

    @jax.jit
    def look(params, frozen):
        codes, condition = generation.tokens(frozen["tokenizer"], batch, task_B)
        codebook_KC = generation.codebook(frozen["tokenizer"])
        loss, numbers = loss_of(recipe, params, codes, condition, task_B, label_B, key, codebook_KC)
        (masked, conditions_BN, *_), dropout_key = recipe._rows(codes, condition, task_B, label_B, key)
        prefix = generation.tasks.prefix(task_B, label_B)
        logits = generation.logits(params, masked.inputs_BN, prefix, masked.segments_BN, conditions_BN, codebook_KC,
                                   train=True, rngs={"dropout": dropout_key})
        return loss, numbers, masked, logits, codebook_KC

    return state, *look(state.params["transformer"], state.frozen)


def most_frequent(batch):
    recipe = masked_recipe()
    codes = recipe.predict_fns["codes"](state_of(recipe), batch["video"])
    return int(np.bincount(np.asarray(codes).ravel()).argmax())


def test_shown_targets_weigh_what_is_asked(batch):
    empty = most_frequent(batch)
    losses = {"empty": empty, "unmasked_weight": 0.1}
    _, loss, numbers, masked, logits, _ = looked_at(masked_recipe(losses=losses), batch)
    targets, hidden = np.asarray(masked.targets_BN), np.asarray(masked.masked_BN)
    soft = (1 - SMOOTHING) * np.eye(CODES)[targets] + SMOOTHING / CODES
    entropy = -(soft * log_softmax(logits)).sum(-1)
    weights = np.where(hidden, 1.0, 0.1)
    assert (targets == empty).any() and (~hidden).any()
    assert float(loss) == pytest.approx(((entropy * weights).sum(1) / weights.sum(1)).mean(), rel=1e-5)
    speaks = hidden & (targets != empty)
    assert numbers["speaking_loss"].compute() == pytest.approx(entropy[speaks].mean(), rel=1e-5)


def test_corrupted_inputs_keep_their_targets(batch):
    recipe = masked_recipe()
    recipe = dataclasses.replace(recipe, masking=Masking(schedule="fixed:0.5", corruption=1.0))
    codes = recipe.predict_fns["codes"](state_of(recipe), batch["video"])
    (masked, *_), _ = recipe._rows(codes, codes, jnp.zeros(4, jnp.int32), batch["label"], jax.random.key(0))
    shown = ~np.asarray(masked.masked_BN)
    assert (np.asarray(masked.targets_BN) == np.asarray(codes).reshape(4, -1)).all()
    wrong = np.asarray(masked.inputs_BN != masked.targets_BN)[shown]
    assert 0.2 < wrong.mean() < 0.8 and np.asarray(masked.inputs_BN)[shown].max() < CODES


@pytest.mark.parametrize("make", [masked_recipe, causal_recipe])
def test_speaking_codes_are_judged_apart(batch, make):
    empty = most_frequent(batch)
    plain, told = make(), make(losses={"empty": empty})
    state, task_B, keys_B = state_of(plain), jnp.zeros(4, jnp.int32), jax.random.split(jax.random.key(1), 4)
    numbers = [jax.jit(recipe.predict_fns["loss"])(state, batch, task_B, keys_B) for recipe in (plain, told)]
    assert not [name for name in numbers[0] if "speaking" in name]
    for name, value in numbers[0].items():
        np.testing.assert_allclose(numbers[1][name], value, rtol=1e-6)
    assert {"speaking_loss", "speaking_accuracy"} <= set(numbers[1])
    assert (numbers[1]["speaking_loss"] != numbers[1]["loss"]).any()


@pytest.mark.parametrize("make", [masked_recipe, causal_recipe])
def test_a_network_that_is_told_the_vectors_trains_and_generates(batch, make):
    recipe = make(codebook_embeddings=True, losses={"empty": 0})
    state = state_of(recipe)
    step, after = jax.jit(recipe.step), state
    for key in range(2):  # the rate of the first is 0
        after, numbers = step(after, batch, jax.random.key(key))
    assert np.isfinite(numbers["loss"].compute()) and np.isfinite(numbers["speaking_loss"].compute())
    name = recipe.network
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params[name], after.params[name])
    told = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(moved) if "codebook" in str(path)]
    assert len(told) == 2 and all(told)
    generate = jax.jit(recipe.predict_fns["generate"])
    given = jnp.zeros(4, jnp.int32), batch["label"], batch["video"], jax.random.split(jax.random.key(2), 4)
    codes = generate(after, *given)["codes"]
    assert codes.max() < CODES
    other = dict(after.frozen["tokenizer"])
    other["quantizer"] = {"codebook": other["quantizer"]["codebook"][::-1]}
    assert (generate(after.replace(frozen={"tokenizer": other}), *given)["codes"] != codes).any()


def test_the_empty_code_is_a_number_here():
    with pytest.raises(ValueError, match="expected a number here"):
        TransformerLosses(empty="most_frequent")


def test_the_baseline_refuses_what_it_has_no_use_for():
    with pytest.raises(ValueError, match="of the masked transformer alone"):
        causal_recipe(losses={"unmasked_weight": 0.5})


# The loss of whole clips


@pytest.mark.parametrize("causal_frames", [False, True])
def test_the_loss_of_a_clip_is_that_of_saying_its_codes_one_after_another(batch, causal_frames):
    """A network of zeros gives every code the same chance, in whatever order; so N ln K nats, from any masks."""
    recipe = masked_recipe(causal_frames=causal_frames)
    state = state_of(recipe)
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    keys = jax.random.split(jax.random.key(0), 4)
    found = jax.jit(recipe.predict_fns["loss"])(state, batch, jnp.zeros(4, jnp.int32), keys)
    np.testing.assert_allclose(found["clip_loss"], recipe.generation.num_tokens * np.log(CODES), rtol=1e-5)


def test_causal_frames_learn_from_the_true_codes_before_each(batch):
    """One step's loss is that of ``logits`` with the codes that are true, at masks with a ratio for each frame."""
    recipe = masked_recipe(causal_frames=True, dropout=0.0)
    _, loss, numbers, masked, _, codebook = looked_at(recipe, batch)
    state, targets = state_of(recipe), np.asarray(masked.targets_BN)
    prefix = recipe.generation.tasks.prefix(jnp.zeros(4, jnp.int32), jnp.asarray(batch["label"]))
    logits = recipe.generation.logits(state.params["transformer"], masked.inputs_BN, prefix, masked.segments_BN,
                                      None, codebook, taught_BN=masked.targets_BN)
    soft = (1 - SMOOTHING) * np.eye(CODES)[targets] + SMOOTHING / CODES
    assert float(loss) == pytest.approx(-(soft * log_softmax(logits)).sum(-1).mean(), rel=1e-4)
    frames = np.asarray(masked.masked_BN).reshape(4, recipe.generation.latent_shape[0], -1).sum(-1)
    assert (frames > 0).all()
