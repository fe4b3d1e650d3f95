"""The tokenizer's step: a golden one, simultaneous updates, every weight learns, averages follow."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict

from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.recipes.classifier import ClassifierLosses
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.token_model import TransformerLosses
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.state import TrainState

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "first_step_tokenizer.json"
VQ = {"name": "vq", "num_codes": 64, "embedding_dim": 8, "entropy_weight": 0.01, "latent_normalize": True}


def make_recipe(gan=False, restart_below=0.0, **optimizer) -> TokenizerRecipe:
    model = TokenizerNetwork(
        filters=8, channel_multipliers=(1, 2), temporal_downsample=(True,), encoder_blocks=1, decoder_blocks=1,
        norm_groups=4, stem=(1, 4, 4), conv="split", output_bias=1.0, output_scale=0.1,
        quantizer=FrozenDict(VQ),
    )
    return TokenizerRecipe(
        model=model,
        losses=TokenizerLosses(background_weight=5.0, gan="non_saturating" if gan else "none", ema_decay=0.9),
        optimizer=Adam(**{"learning_rate": 1e-3, "total_steps": 10, "warmup_steps": 1, **optimizer}),
        discriminator=Discriminator(filters=8, channel_multipliers=(2, 2, 2)) if gan else None,
        restart_below=restart_below,
    )


@pytest.fixture(scope="module")
def batch():
    """Noise, so that many codes are in use and no gradient hangs on rounding."""
    return {"video": np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 3), np.uint8)}


@pytest.fixture(scope="module")
def gan_run(batch):
    """Two steps with a discriminator: the states before and after, and the numbers of each."""
    recipe = make_recipe(gan=True)
    state = recipe.init(jax.random.key(0), batch)
    step = jax.jit(recipe.step)
    states, numbers = [state], []
    for index in range(2):
        state, metrics = step(state.replace(step=jnp.int32(index)), batch, jax.random.key(1))
        states.append(state)
        numbers.append({name: mean.compute() for name, mean in metrics.items()})
    return recipe, states, numbers


@pytest.mark.optimized
def test_first_steps_are_the_golden_ones(gan_run):
    _, states, numbers = gan_run
    found = {"numbers": numbers, "parameter_norm": [float(optax.global_norm(state.params)) for state in states]}
    golden = json.loads(GOLDEN.read_text())
    assert found["parameter_norm"] == pytest.approx(golden["parameter_norm"], rel=1e-5)
    for mine, theirs in zip(found["numbers"], golden["numbers"], strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=1e-5)


def test_learning_rate_starts_at_zero(gan_run):
    _, states, numbers = gan_run
    assert [number["learning_rate"] for number in numbers] == pytest.approx([0.0, 1e-3])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), states[0].params, states[1].params))


def test_every_weight_of_both_networks_moves(gan_run):
    _, states, _ = gan_run
    before, after = states[1].params, states[2].params
    moved = jax.tree.map(lambda a, b: bool(jnp.isfinite(b).all() and (a != b).any()), before, after)
    still = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(moved) if not leaf]
    assert not still


def test_networks_are_updated_at_the_same_old_parameters(gan_run, batch):
    """Each network's update is the one that its own loss gives while the other stands still."""
    recipe, states, _ = gan_run
    before, after = states[1].replace(step=jnp.int32(1)), states[2]
    video = jnp.asarray(batch["video"], jnp.float32) / 255.0
    rows, key = {"video": video}, jax.random.key(0)
    grads, found = jax.grad(recipe._generator_loss, 1, has_aux=True)(before, before.params["generator"], rows, key)
    rows |= {"reconstruction": found.rows["reconstruction"]}
    judge = jax.grad(recipe._discriminator_loss, 1, has_aux=True)(before, before.params["discriminator"], rows, key)[0]
    for name, gradient in (("generator", grads), ("discriminator", judge)):
        updates, _ = recipe.optimizer.transformation().update(gradient, before.opt[name])
        expected = optax.apply_updates(before.params[name], updates)
        # Adam with b1 = 0 turns a gradient into little more than its sign, so rounding shows where it is near zero.
        differs = jax.tree.map(lambda a, b: float(jnp.mean(jnp.abs(a - b) > 1e-4)), expected, after.params[name])
        assert max(jax.tree.leaves(differs)) < 0.05


def test_ema_follows_without_bias_correction(gan_run):
    _, states, _ = gan_run
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, states[1].ema["generator"], states[2].params["generator"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), expected,
                 states[2].ema["generator"])


def test_lecam_keeps_averages_of_the_logits_means(gan_run):
    _, states, numbers = gan_run
    for index in range(2):
        old, new = states[index].extra["lecam"], states[index + 1].extra["lecam"]
        for name in ("real", "fake"):
            expected = 0.9 * float(old[name]) + 0.1 * numbers[index][f"discriminator/{name}"]
            assert float(new[name]) == pytest.approx(expected, abs=1e-6)


def test_adversarial_weight_starts_and_ramps():
    losses = TokenizerLosses(gan="hinge", adversarial=0.1, gan_start=10, gan_ramp=20)
    assert [float(losses.adversarial_weight(jnp.int32(s))) for s in (0, 10, 20, 30, 99)] == pytest.approx(
        [0.0, 0.0, 0.05, 0.1, 0.1]
    )
    at_once = TokenizerLosses(gan="hinge", adversarial=0.1, gan_start=10)
    assert [float(at_once.adversarial_weight(jnp.int32(s))) for s in (9, 10)] == pytest.approx([0.0, 0.1])


def test_entropy_boost_falls_to_one():
    losses = TokenizerLosses(entropy_boost=2.0, entropy_boost_steps=100)
    assert [float(losses.entropy_scale(jnp.int32(s))) for s in (0, 50, 100, 200)] == pytest.approx([3.0, 2.0, 1.0, 1.0])


def test_decoder_only_leaves_encoder_and_codes_alone(batch):
    recipe = dataclasses.replace(make_recipe(warmup_steps=0), train_only="decoder")
    state = recipe.init(jax.random.key(0), batch)
    after, _ = jax.jit(recipe.step)(state, batch, jax.random.key(1))

    def moved(part):
        pair = state.params["generator"][part], after.params["generator"][part]
        return [bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True)]

    assert not any(moved("encoder")) and not any(moved("quantizer")) and all(moved("decoder"))


def test_dead_codes_start_again_from_the_batch(batch):
    """At step 0 nothing has been used, so every code but those in use becomes a latent of the first batch."""
    recipe = make_recipe(restart_below=0.1)
    state = recipe.init(jax.random.key(0), batch)
    after, metrics = jax.jit(recipe.step)(state, batch, jax.random.key(1))
    latents = recipe.model.apply({"params": state.params["generator"]}, batch["video"] / np.float32(255), train=True)[1]
    inputs = np.asarray(latents.inputs_BthwD).reshape(-1, 8)
    codebook, average = (tree["generator"]["quantizer"]["codebook"] for tree in (after.params, after.ema))
    restarted = np.abs(codebook[:, None] - inputs).max(-1).min(-1) < 1e-4
    assert int(metrics["codes_restarted"].compute()) == restarted.sum() > 40
    np.testing.assert_allclose(codebook[restarted], average[restarted], atol=1e-6)
    assert (after.extra["usage"][restarted] == 0.2).all()


def test_codes_start_again_where_cells_say_something(batch):
    """Of the latents whose code is not the one used most, those farthest from their codes most likely."""
    recipe = dataclasses.replace(make_recipe(restart_below=0.1), restart_from="speaking")
    state = recipe.init(jax.random.key(0), batch)
    after, metrics = jax.jit(recipe.step)(state, batch, jax.random.key(1))
    found = recipe.model.apply({"params": state.params["generator"]}, batch["video"] / np.float32(255), train=True)[1]
    codes, inputs = np.asarray(found.codes_Bthw).ravel(), np.asarray(found.inputs_BthwD).reshape(-1, 8)
    codebook = np.asarray(after.params["generator"]["quantizer"]["codebook"])
    gap = np.abs(codebook[:, None] - inputs).max(-1)
    origins = gap.argmin(-1)[gap.min(-1) < 1e-4]
    assert int(metrics["codes_restarted"].compute()) == len(origins) == len(set(origins)) > 0
    assert (codes[origins] != np.bincount(codes).argmax()).all()
    with pytest.raises(ValueError, match="restart_from is 'cells'"):
        dataclasses.replace(recipe, restart_from="cells")


def test_input_noise_reaches_the_encoder_and_not_the_target(batch):
    quiet, noisy = (dataclasses.replace(make_recipe(), input_noise=noise) for noise in (0.0, 0.2))
    state = quiet.init(jax.random.key(0), batch)
    numbers = [jax.jit(recipe.step)(state, batch, jax.random.key(seed))[1]["reconstruction"].compute()
               for recipe, seed in ((quiet, 1), (quiet, 2), (noisy, 1), (noisy, 2))]
    assert numbers[0] == numbers[1] and len(set(numbers)) == 3
    video_BTHWC = jnp.full((1, 4, 8, 8, 3), 0.95)
    seen = noisy._noisy(video_BTHWC, jax.random.key(0))
    assert seen.max() == 1.0 and 0.75 <= seen.min() < 0.8
    with pytest.raises(ValueError, match="input_noise is -1"):
        dataclasses.replace(noisy, input_noise=-1)


def test_at_first_the_decoder_gets_latents_as_they_are(batch):
    """Before the step ``continuous_steps`` nothing pulls latents to codes; from it on the recipe is the plain one."""
    plain = make_recipe()
    warm = dataclasses.replace(plain, continuous_steps=1)
    state = plain.init(jax.random.key(0), batch)
    params, video_BTHWC = state.params["generator"], batch["video"] / np.float32(255)
    quantized = plain.model.apply({"params": params}, video_BTHWC, train=True)[1]
    decoded_BTHWC = plain.model.apply({"params": params}, quantized.inputs_BthwD, method="decode")
    step, key = jax.jit(warm.step), jax.random.key(1)
    numbers = {name: float(mean.compute()) for name, mean in step(state, batch, key)[1].items()}
    squares = np.square(decoded_BTHWC - video_BTHWC) * (1 + 5 * np.abs(1 - video_BTHWC).max(-1, keepdims=True))
    np.testing.assert_allclose(numbers["reconstruction"], squares.mean(), rtol=1e-5)
    terms = numbers["reconstruction"] + numbers["quantizer/codebook"] + numbers["quantizer/entropy"]
    np.testing.assert_allclose(numbers["loss"], terms, rtol=1e-5)
    assert numbers["quantizer/commitment"] > 0.005 * terms
    later = state.replace(step=jnp.int32(1))
    pairs = zip(*(jax.tree.leaves(jitted(later, batch, key)) for jitted in (step, jax.jit(plain.step))), strict=True)
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="continuous_steps is 1, which needs an encoder"):
        dataclasses.replace(warm, train_only="decoder")


def test_the_optimizer_forgets_codes_that_start_again_and_no_others(batch):
    recipe = make_recipe(restart_below=0.1)
    state = recipe.init(jax.random.key(0), batch)
    full = jax.tree.map(lambda leaf: leaf + 1, state.opt)
    usage_K = jnp.arange(64) % 2 * 100.0  # the odd ones stay
    state = state.replace(opt=full, extra=state.extra | {"usage": usage_K})
    after, metrics = jax.jit(recipe.step)(state, batch, jax.random.key(1))
    dead_K = np.asarray(after.extra["usage"] == 0.2)
    assert 0 < int(metrics["codes_restarted"].compute()) == dead_K.sum() <= 32 and not dead_K[1::2].any()
    moments = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(after.opt["generator"])
               if "codebook" in jax.tree_util.keystr(path)]
    assert len(moments) == 2  # of first and second order
    for leaf in moments:
        assert leaf.shape == (64, 8) and (leaf[dead_K] == 0).all()
    assert (moments[1][~dead_K] > 0.9).all()
    without = dataclasses.replace(recipe, restart_below=0.0)
    plain, _ = jax.jit(without.step)(state, batch, jax.random.key(1))
    for (path, leaf), other in zip(jax.tree_util.tree_leaves_with_path(after.opt), jax.tree.leaves(plain.opt)):
        if "codebook" not in jax.tree_util.keystr(path):
            np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [TokenizerLosses, ClassifierLosses, TransformerLosses])
@pytest.mark.parametrize("decay", [1.0, -0.1, 99.0])
def test_a_moving_average_that_never_moves_or_overshoots_is_refused(kind, decay):
    with pytest.raises(ValueError, match=f"losses.ema_decay is {decay}; expected at least 0 and less than 1"):
        kind(ema_decay=decay)


def test_losses_and_networks_must_fit():
    recipe = make_recipe()
    with pytest.raises(ValueError, match="there is no discriminator; configure both, or neither"):
        dataclasses.replace(recipe, losses=TokenizerLosses(gan="hinge"))
    with pytest.raises(ValueError, match="no perceptual network"):
        dataclasses.replace(recipe, losses=TokenizerLosses(perceptual=0.1))
    with pytest.raises(ValueError, match="expected 'none', 'non_saturating' or 'hinge'"):
        TokenizerLosses(gan="wasserstein")


def test_predictions_agree(batch):
    recipe = make_recipe()
    state: TrainState = recipe.init(jax.random.key(0), batch)
    video, codes = recipe.predict_fns["reconstruct"](state, batch["video"])
    assert codes.dtype == jnp.int32 and codes.shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(recipe.predict_fns["codes"](state, batch["video"]), codes)
    np.testing.assert_allclose(recipe.predict_fns["video"](state, codes), video, atol=1e-6)
    latents = recipe.predict_fns["embed"](state, codes)
    decoded = recipe.model.apply({"params": state.ema["generator"]}, latents, method="decode")
    np.testing.assert_allclose(jnp.clip(decoded, 0, 1), video, atol=1e-6)
