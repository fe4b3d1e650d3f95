"""The classifier's step: a golden one, every weight learns, and what can be told apart is told apart."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from videogvt.nn.classifiers.heads import MotionClassifier
from videogvt.recipes.classifier import ClassifierLosses, ClassifierRecipe
from videogvt.recipes.optimizer import Adam

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "first_step_classifier.json"
STEPS = 30


@pytest.fixture(scope="module")
def recipe() -> ClassifierRecipe:
    model = MotionClassifier(2, patch=(1, 4, 4), filters=8, heads=2, width=16, motion_blocks=1, norm_groups=4)
    return ClassifierRecipe(
        model=model, losses=ClassifierLosses(label_smoothing=0.1, ema_decay=0.9),
        optimizer=Adam(learning_rate=1e-2, total_steps=STEPS, warmup_steps=1, b1=0.9),
    )


def clips(seed: int, count: int = 16) -> dict[str, np.ndarray]:
    """Dark squares on white that move to the right (0) or to the left (1), from anywhere."""
    rng = np.random.default_rng(seed)
    video = np.full((count, 5, 16, 16, 3), 255, np.uint8)
    label = np.arange(count) % 2
    for clip, direction in zip(video, 1 - 2 * label):
        row, column = rng.integers(1, 13), rng.integers(4, 9)
        for time, frame in enumerate(clip):
            left = column + direction * (time - 2) * 2
            frame[row : row + 3, left : left + 3] = 30
    return {"video": video, "label": label.astype(np.int32)}


@pytest.fixture(scope="module")
def trained(recipe):
    """A whole small training: the state before and after every step, and the steps' numbers."""
    batches = [clips(seed) for seed in range(STEPS)]
    step = jax.jit(recipe.step)
    state = jax.jit(recipe.init)(jax.random.key(0), batches[0])
    states, numbers = [state], []
    for index, batch in enumerate(batches):
        state, metrics = step(state.replace(step=jnp.int32(index)), batch, jax.random.key(1))
        states.append(state)
        numbers.append({name: mean.compute() for name, mean in metrics.items()})
    return states, numbers


@pytest.mark.optimized
def test_first_steps_are_the_golden_ones(trained):
    states, numbers = trained
    norms = [float(jax.jit(optax.global_norm)(state.params)) for state in states[:3]]
    golden = json.loads(GOLDEN.read_text())
    assert norms == pytest.approx(golden["parameter_norm"], rel=1e-5)
    for mine, theirs in zip(numbers[:2], golden["numbers"], strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=1e-5)


def test_first_loss_by_hand(recipe, trained):
    """Cross-entropy against 0.95 for the class and 0.05 for the other."""
    states, numbers = trained
    batch = clips(0)
    log_BK = np.log(np.asarray(jax.nn.softmax(jax.jit(recipe.predict_fns["classify"])(states[0], batch["video"]))))
    target_BK = np.where(np.arange(2) == batch["label"][:, None], 0.95, 0.05)
    assert numbers[0]["loss"] == pytest.approx(-(target_BK * log_BK).sum(-1).mean(), rel=1e-4)
    assert numbers[0]["accuracy"] == pytest.approx((log_BK.argmax(-1) == batch["label"]).mean())


def test_every_weight_moves_once_the_learning_rate_has_risen(trained):
    states, numbers = trained
    assert [number["learning_rate"] for number in numbers[:2]] == pytest.approx([0.0, 1e-2])
    before, after = jax.device_get((states[1].params, states[2].params))
    moved = jax.tree.map(lambda a, b: bool(np.isfinite(b).all() and (a != b).any()), before, after)
    still = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(moved) if not leaf]
    assert not still


def test_directions_are_told_apart(recipe, trained):
    states, numbers = trained
    assert np.mean([number["accuracy"] for number in numbers[-5:]]) >= 0.95
    unseen = clips(STEPS)
    logits_BK = jax.jit(recipe.predict_fns["classify"])(states[-1], unseen["video"])
    assert np.mean(np.asarray(logits_BK).argmax(-1) == unseen["label"]) >= 0.9


def test_features_are_those_of_the_moving_average(recipe, trained):
    states, _ = trained
    state = states[-1].replace(params={})
    features = jax.jit(recipe.predict_fns["features"])(state, clips(0)["video"])
    assert features["pooled"].shape == (16, 16) and features["logits"].shape == (16, 2)


def test_smoothing_is_a_share():
    with pytest.raises(ValueError, match="label_smoothing is 1.5; expected at least 0 and less than 1"):
        ClassifierLosses(label_smoothing=1.5)
