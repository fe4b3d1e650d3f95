"""The step of the masked transformer: a golden one, hand-computed losses, a tokenizer that stays, tasks as data."""

import dataclasses
import json
import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.recipes.token_models import (
    CODES,
    GRID,
    MANY,
    clip_data,
    clips,
    loss_of,
    masked_recipe,
    state_of,
    tokenizer_params,
)
from videogvt.evals.tokens import TokenEval
from videogvt.recipes.token_model import TransformerLosses
from videogvt.train.contracts import Plan, When
from videogvt.train.lock import Stopped
from videogvt.train.loop import fit

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "first_step_transformer.json"


@pytest.fixture(scope="module")
def many():
    """A multi-task recipe, its first state, its compiled step, and a batch."""
    recipe = masked_recipe(MANY, losses={"ema_decay": 0.9})
    return recipe, state_of(recipe), jax.jit(recipe.step), clips(4)


@pytest.fixture(scope="module")
def ahead():
    """Recipe, state and batch of a network that sees what is given of later frames."""
    recipe = masked_recipe(MANY, losses={"ema_decay": 0.9}, causal_frames=True, conditions_ahead=True)
    return recipe, state_of(recipe), clips(4)


def computed(numbers):
    return {name: mean.compute() for name, mean in numbers.items() if mean.count}


@pytest.mark.optimized
def test_first_steps_are_the_golden_ones(many):
    recipe, state, step, batch = many
    numbers, norms = [], []
    for index in range(3):
        state, metrics = step(state.replace(step=jnp.int32(index)), batch, jax.random.key(1))
        numbers.append(computed(metrics))
        norms.append(float(optax.global_norm(state.params)))
    golden = json.loads(GOLDEN.read_text())
    assert norms == pytest.approx(golden["parameter_norm"], rel=1e-5)
    for mine, theirs in zip(numbers, golden["numbers"], strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=1e-5)


def test_tasks_are_data_to_one_compiled_step(many):
    recipe, state, _, batch = many
    step = jax.jit(recipe.step)
    seen = set()
    for index in range(8):
        _, numbers = step(state.replace(step=jnp.int32(index)), batch, jax.random.key(index))
        seen |= {name for name in computed(numbers) if name.startswith("loss/")}
    assert step._cache_size() == 1 and len(seen) >= 3


def test_loss_counts_codes_alone_and_every_position(many):
    """By hand from the logits: K columns, label smoothing, the mean of each clip's mean, nothing for the prefix."""
    recipe, state, _, batch = many
    generation, params = recipe.generation, state.params["transformer"]
    task_B, label_B, key = jnp.array([0, 1, 2, 4]), jnp.asarray(batch["label"]), jax.random.key(5)

    @jax.jit
    def both(params, frozen):
        codes, condition = generation.tokens(frozen["tokenizer"], batch, task_B)
        loss, numbers = loss_of(recipe, params, codes, condition, task_B, label_B, key)
        mask_key, dropout_key = jax.random.split(key)
        visible, mask = generation.tasks.visible(task_B), generation.vocabulary.mask
        masked = recipe.masking.sample(mask_key, codes, condition, visible, mask)
        tokens = jnp.concatenate([generation.tasks.prefix(task_B, label_B), masked.inputs_BN], axis=1)
        logits = generation.transformer.apply({"params": params}, tokens, train=True, rngs={"dropout": dropout_key})
        return codes, loss, numbers, masked, logits

    codes, loss, numbers, masked, logits = both(params, state.frozen)
    scores = np.asarray(logits, np.float64)[:, 2:, :CODES]
    log = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    target = (1 - 1e-4) * np.eye(CODES)[codes.reshape(4, -1)] + 1e-4 / CODES
    expected = -(target * log).sum(-1)
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-5)
    assert numbers["masked_loss"].compute() == pytest.approx(expected[np.asarray(masked.masked_BN)].mean(), rel=1e-5)
    assert numbers["loss/FP:2"].compute() == pytest.approx(expected[1].mean(), rel=1e-5)


def test_attention_is_of_what_is_shown_and_adds_up(many):
    recipe, state, _, batch = many
    attention = jax.jit(recipe.predict_fns["attention"])
    task_B, label_B = jnp.zeros(2, jnp.int32), jnp.asarray(batch["label"][:2])
    tokens_BN = np.random.default_rng(0).integers(0, CODES, (2, 32))
    hidden_BN = np.arange(32) % 3 == np.zeros((2, 1), int)
    maps = attention(state, tokens_BN, hidden_BN, task_B, label_B)
    assert maps.shape == (2, 1, 2, 3, 3)  # clips, layers, heads, and the prefix before two times
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
    other = np.where(hidden_BN, (tokens_BN + 1) % CODES, tokens_BN)
    np.testing.assert_array_equal(attention(state, other, hidden_BN, task_B, label_B), maps)
    assert np.abs(attention(state, tokens_BN, ~hidden_BN, task_B, label_B) - maps).max() > 1e-4


def test_no_gradient_reaches_the_tokenizer(many):
    recipe, state, _, batch = many
    task_B = jnp.array([1, 2, 3, 4])

    def loss(frozen):
        tokens = recipe.generation.tokens(frozen["tokenizer"], batch, task_B)
        return loss_of(recipe, state.params["transformer"], *tokens, task_B, batch["label"], jax.random.key(0))[0]

    assert all((leaf == 0).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(state.frozen)))


def test_condition_and_target_are_what_the_tokenizer_says_of_each(many):
    recipe, state, _, batch = many
    generation, network = recipe.generation, recipe.generation.tokenizer
    task_B, variables = jnp.array([1, 3, 2, 4]), {"params": tokenizer_params()}
    codes, condition = generation.tokens(state.frozen["tokenizer"], batch, task_B)
    video = batch["video"] / np.float32(255)
    np.testing.assert_array_equal(codes, network.apply(variables, video, method="codes"))
    padded = generation.tasks.condition_video(video, task_B)
    np.testing.assert_array_equal(condition, network.apply(variables, padded, method="codes"))
    assert codes.shape == (4, *GRID) and (codes != condition).any() and len(np.unique(codes)) > 8


def test_kept_codes_train_like_the_clips_themselves():
    recipe, batch = masked_recipe(), clips(4)
    state, step = state_of(recipe), jax.jit(recipe.step)
    codes = recipe.predict_fns["codes"](state, batch["video"])
    ways = [step(state, given, jax.random.key(0)) for given in (batch, {"codes": codes, "label": batch["label"]})]
    assert computed(ways[0][1]) == computed(ways[1][1])
    jax.tree.map(np.testing.assert_array_equal, ways[0][0].params, ways[1][0].params)


def test_randomness_is_the_key_s_and_each_clip_s_own(many):
    recipe, state, step, batch = many
    same = [computed(step(state, batch, jax.random.key(key))[1])["loss"] for key in (0, 0, 1)]
    assert same[0] == same[1] != same[2]
    keys_B, task_B = jax.random.split(jax.random.key(2), 4), jnp.array([0, 1, 2, 3])
    judge = jax.jit(recipe.predict_fns["loss"])
    together = judge(state, batch, task_B, keys_B)
    assert {"loss", "accuracy", "masked_0.50/loss", "masked_1.00/accuracy"} <= set(together)
    alone = judge(state, {name: rows[2:3] for name, rows in batch.items()}, task_B[2:3], keys_B[2:3])
    for name, values_B in together.items():
        np.testing.assert_allclose(values_B[2], alone[name][0], rtol=1e-4, atol=1e-6)


def test_average_follows_and_predicts(many):
    recipe, state, step, batch = many
    after, _ = step(state.replace(step=jnp.int32(1)), batch, jax.random.key(0))
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, state.ema["transformer"], after.params["transformer"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), expected,
                 after.ema["transformer"])
    assert recipe.weights(after) is after.ema["transformer"]
    plain = masked_recipe()
    first = state_of(plain)
    assert first.ema == {} and plain.weights(first) is first.params["transformer"]


def test_classes_are_withheld_in_the_share_that_is_asked():
    recipe = masked_recipe(losses={"class_dropout": 0.25})
    label_B = jnp.arange(4000) % 3
    withheld_B = recipe._withheld(jax.random.key(0), label_B)
    assert (withheld_B == -1).mean() == pytest.approx(0.25, abs=0.03)
    assert ((withheld_B == label_B) | (withheld_B == -1)).all()
    tokens = recipe.generation.tasks.prefix(jnp.zeros(4000, jnp.int32), withheld_B)[:, 0]
    assert set(np.unique(tokens)) == {CODES, CODES + 1, CODES + 2, recipe.generation.vocabulary.unconditional}


def test_generating_depends_on_each_clip_s_key_alone(many):
    recipe, state, _, batch = many
    generate = jax.jit(recipe.predict_fns["generate"])
    task_B, label_B, keys_B = jnp.array([0, 1, 3]), jnp.array([2, 0, 1]), jax.random.split(jax.random.key(3), 3)
    video = batch["video"][:3]
    made = generate(state, task_B, label_B, video, keys_B)
    assert made["codes"].shape == (3, *GRID) and made["codes"].min() >= 0 and made["codes"].max() < CODES
    assert made["video"].shape == video.shape and made["video"].min() >= 0 and made["video"].max() <= 1
    for row in range(3):
        part = slice(row, row + 1)
        alone = generate(state, task_B[part], label_B[part], video[part], keys_B[part])
        np.testing.assert_array_equal(alone["codes"][0], made["codes"][row])
    other = recipe.with_decoding(steps=1).predict_fns["generate"](state, task_B, label_B, video, keys_B)
    assert (other["codes"] != made["codes"]).any()


@pytest.mark.parametrize("way", ["many", "ahead"])
def test_hidden_pixels_do_not_reach_what_is_generated(way, request):
    recipe, state, *_, batch = request.getfixturevalue(way)
    generate = jax.jit(recipe.predict_fns["generate"])
    state = state.replace(ema=jax.tree.map(lambda leaf: 5 * leaf, state.ema))  # so that it heeds what it is shown
    task_B, keys_B = jnp.array([1]), jax.random.split(jax.random.key(3), 1)
    video = batch["video"][:1].copy()
    first = generate(state, task_B, jnp.array([-1]), video, keys_B)["codes"]
    video[:, 2:] = 255 - video[:, 2:]
    np.testing.assert_array_equal(first, generate(state, task_B, jnp.array([-1]), video, keys_B)["codes"])
    video[:, :2] = 255 - video[:, :2]
    assert (first != generate(state, task_B, jnp.array([-1]), video, keys_B)["codes"]).any()


def test_what_is_given_of_later_frames_counts_where_something_is_given(ahead):
    recipe, state, batch = ahead
    task_B = jnp.array([0, 1, 2, 3])
    codes, condition = recipe.generation.tokens(state.frozen["tokenizer"], batch, task_B)
    loss = jax.jit(lambda condition: loss_of(
        recipe, state.params["transformer"], codes, condition, task_B, batch["label"], jax.random.key(0))[1])
    first, other = (computed(loss(codes_Bthw)) for codes_Bthw in (condition, (condition + 1) % CODES))
    assert first["loss/CG"] == other["loss/CG"]
    assert all(first[f"loss/{name}"] != other[f"loss/{name}"] for name in ("FP:2", "OPC", "IPD"))


def test_without_its_conditional_half_guidance_knows_no_condition(ahead):
    """With guidance of -1 only the unconditional logits are left, to which a condition is nothing."""
    recipe, state, batch = ahead
    state = state.replace(ema=jax.tree.map(lambda leaf: 5 * leaf, state.ema))  # so that it heeds what it sees
    task_B, keys_B, label_B = jnp.array([2, 2]), jax.random.split(jax.random.key(3), 2), jnp.array([-1, -1])
    for guidance, same in ((0.0, False), (-1.0, True)):
        generate = jax.jit(recipe.with_decoding(guidance=guidance).predict_fns["generate"])
        first, other = (generate(state, task_B, label_B, video, keys_B)["codes"]
                        for video in (batch["video"][:2], 255 - batch["video"][:2]))
        assert (first == other).all() == same


def test_guidance_changes_what_is_generated(many):
    recipe, state, _, batch = many
    task_B, keys_B = jnp.array([1, 0]), jax.random.split(jax.random.key(3), 2)
    arguments = state, task_B, jnp.array([0, 1]), batch["video"][:2], keys_B
    made = [recipe.with_decoding(guidance=scale).predict_fns["generate"](*arguments)["codes"] for scale in (0.0, 3.0)]
    assert (made[0] != made[1]).any()


def test_it_learns_three_clips_by_heart_and_generates_them():
    """One clip a class: at temperature 0 each class brings back its clip."""
    recipe = masked_recipe(steps=250, hidden=32, dropout=0.0, optimizer={"weight_decay": 0.0})
    batch, state, step = clips(3), state_of(recipe), jax.jit(recipe.step)
    codes = recipe.predict_fns["codes"](state, batch["video"])
    given = {"codes": codes, "label": batch["label"]}
    for index in range(250):
        state, numbers = step(state.replace(step=jnp.int32(index)), given, jax.random.key(index))
    assert computed(numbers)["masked_accuracy"] > 0.99
    sure = recipe.with_decoding(temperature=0.0, choice_temperature=0.0).predict_fns["generate"]
    made = sure(state, jnp.zeros(3, jnp.int32), batch["label"], batch["video"], jax.random.split(jax.random.key(0), 3))
    assert (made["codes"] == codes).mean() > 0.95


class Killed:
    """Data that send this process the signal of ``kill`` after some batches."""

    def __init__(self, data, after):
        self.data, self.after = data, after
        self.batch_size, self.num_examples, self.split_hash = data.batch_size, data.num_examples, data.split_hash

    def train(self):
        return KilledBatches(self.data.train(), self.after)


class KilledBatches:
    def __init__(self, batches, after):
        self.batches, self.after = batches, after
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self.batches)
        if self.batches.get_state()["next_index"] == self.after:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch


@pytest.mark.optimized
def test_killed_and_taken_up_again_it_ends_with_the_same_bits(tmp_path):
    plan = Plan(total_steps=6, log_every=2, save_every=4, best="eval/validation/loss", config={"seed": 0})

    def run(data, folder):
        recipe = masked_recipe(MANY, steps=6, losses={"class_dropout": 0.2, "ema_decay": 0.5})
        evaluator = TokenEval(
            source=clip_data().source, split="validation", seed=0, weights="ema", measure=recipe.predict_fns["loss"],
            tasks=recipe.generation.tasks.names, when=When(every=3, end=True), batch_size=4,
        )
        return fit(recipe, data, {"validation": evaluator}, plan, tmp_path / folder)

    whole = run(clip_data(), "whole")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole.frozen), {"tokenizer": tokenizer_params()})
    assert set(whole.params) == set(whole.opt) == set(whole.ema) == {"transformer"}
    with pytest.raises(Stopped):
        run(Killed(clip_data(), after=3), "parts")
    parts = run(clip_data(), "parts")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole), jax.device_get(parts))
    numbers = [json.loads((tmp_path / folder / "eval.json").read_text()) for folder in ("whole", "parts")]
    names = [name for name in numbers[0] if name != "about"]
    assert [numbers[0][name] for name in names] == [numbers[1][name] for name in names]
    assert {f"eval/validation/{name}" for name in ("loss", "masked_0.75/accuracy", "by_task/OPC/loss")} <= set(names)


def test_settings_that_do_not_fit():
    recipe = masked_recipe()
    with pytest.raises(ValueError, match="masking.condition is 'commit' and decoding.keep_condition is True"):
        recipe.with_decoding(keep_condition=True)
    with pytest.raises(ValueError, match=r"causal_frames is on.*tasks \['OPC'\] give pixels of frames after"):
        masked_recipe(("FP:2", "OPC"), causal_frames=True)
    with pytest.raises(ValueError, match="masking.frames_before is 0.5 and transformer.causal_frames is on"):
        recipe = masked_recipe(causal_frames=True)
        dataclasses.replace(recipe, masking=dataclasses.replace(recipe.masking, frames_before=0.5))
    with pytest.raises(ValueError, match="masking.extra_conditions is 0.5 and transformer.causal_frames is on"):
        dataclasses.replace(recipe, masking=dataclasses.replace(recipe.masking, extra_conditions=0.5))
    with pytest.raises(ValueError, match="losses.class_dropout is 1; expected at least 0"):
        TransformerLosses(class_dropout=1)
