"""The step of the causal transformer: a golden one, a loss by hand, and a class learnt by heart."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.recipes.token_models import CLASSES, CODES, GRID, TOKENIZER, VIDEO, causal_recipe, clips, loss_of, state_of
from videogvt.models.generation import causal_generation

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "first_step_lm.json"


@pytest.fixture(scope="module")
def causal():
    recipe = causal_recipe()
    return recipe, state_of(recipe), jax.jit(recipe.step), clips(4)


def computed(numbers):
    return {name: mean.compute() for name, mean in numbers.items() if mean.count}


@pytest.mark.optimized
def test_first_steps_are_the_golden_ones(causal):
    _, state, step, batch = causal
    numbers, norms = [], []
    for index in range(3):
        state, metrics = step(state.replace(step=jnp.int32(index)), batch, jax.random.key(1))
        numbers.append(computed(metrics))
        norms.append(float(optax.global_norm(state.params)))
    golden = json.loads(GOLDEN.read_text())
    assert norms == pytest.approx(golden["parameter_norm"], rel=1e-5)
    for mine, theirs in zip(numbers, golden["numbers"], strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=1e-5)


def test_loss_names_class_and_codes_from_what_precedes_them(causal):
    recipe, state, _, batch = causal
    generation, params = recipe.generation, state.params["lm"]
    task_B, label_B, key = jnp.zeros(4, jnp.int32), jnp.asarray(batch["label"]), jax.random.key(2)
    codes = jax.jit(recipe.predict_fns["codes"])(state, batch["video"])
    loss, _ = jax.jit(functools.partial(loss_of, recipe))(params, codes, codes, task_B, label_B, key)
    flat = np.asarray(codes).reshape(4, -1)
    sequence = np.concatenate([batch["label"][:, None] + CODES, flat], axis=1)
    inputs = np.concatenate([np.full((4, 1), generation.vocabulary.mask), sequence[:, :-1]], axis=1)
    network = jax.jit(functools.partial(generation.transformer.apply, train=True))
    logits = network({"params": params}, inputs, rngs={"dropout": key})
    scores = np.asarray(logits, np.float64)
    log = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    size = generation.vocabulary.size
    target = (1 - 1e-4) * np.eye(size)[sequence] + 1e-4 / size
    assert float(loss) == pytest.approx(-(target * log).sum(-1).mean(), rel=1e-5)
    judged = jax.jit(recipe.predict_fns["loss"])(state, batch, task_B, jax.random.split(key, 4))
    assert judged["loss"].shape == judged["accuracy"].shape == (4,)


@pytest.mark.optimized
def test_it_learns_one_clip_a_class_by_heart():
    recipe = causal_recipe(steps=200, hidden=32, dropout=0.0, optimizer={"weight_decay": 0.0})
    batch, state, step = clips(3), state_of(recipe), jax.jit(recipe.step)
    codes = recipe.predict_fns["codes"](state, batch["video"])
    for index in range(200):
        state, numbers = step(state.replace(step=jnp.int32(index)), {"codes": codes, "label": batch["label"]},
                              jax.random.key(index))
    assert computed(numbers)["accuracy"] > 0.99
    sure = jax.jit(recipe.with_decoding(temperature=0.0).predict_fns["generate"])
    made = sure(state, jnp.zeros(3, jnp.int32), batch["label"], batch["video"], jax.random.split(jax.random.key(0), 3))
    assert made["codes"].shape == (3, *GRID) and (made["codes"] == codes).mean() > 0.95


def test_tasks_with_pixels_are_refused():
    config = {"tasks": {"names": ("FP:2",)}, "lm": {}, "decoding": {}}
    with pytest.raises(ValueError, match=r"tasks.names is \['FP:2'\].*Expected \['CG'\]"):
        causal_generation(config, TOKENIZER, VIDEO, CLASSES)
