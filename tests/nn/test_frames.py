"""What is given of later frames is seen, and nothing else of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import quick_jit
from videogvt.nn.frames import frames_seen
from videogvt.nn.transformer import MaskedTransformer

GRID, CODES, PREFIX = (3, 1, 2), 6, 2
TINY = {"vocab_size": 12, "sequence_length": PREFIX + CODES, "layers": 2, "hidden": 8, "heads": 2, "mlp": 16,
        "dropout": 0.0, "attention_dropout": 0.0, "norm": "pre", "grid": GRID, "causal_frames": True}


def network(**fields):
    model = MaskedTransformer(**TINY | {"conditions_ahead": True} | fields)
    tokens = jnp.zeros((1, PREFIX + CODES), jnp.int32)
    params = model.init(jax.random.key(0), tokens, segments_BL=tokens)["params"]
    return model, {"params": moved(params)}


def moved(params):
    """Weights so large that what is seen is told from what is not."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    noise = [0.3 * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, [leaf + more for leaf, more in zip(leaves, noise)])


def clips():
    """Tokens, the true ones and what is given of three clips: something, other things, nothing."""
    rng = np.random.default_rng(2)
    tokens, taught = rng.integers(0, 8, (2, 3, PREFIX + CODES))
    taught[:, :PREFIX] = tokens[:, :PREFIX]
    ahead = np.array([[-1, 3, -1, 5, 6, -1], [1, -1, -1, -1, 2, 7], [-1] * CODES])
    return jnp.asarray(tokens), jnp.asarray(taught), jnp.asarray(ahead)


def test_who_sees_whom():
    expected = """
        1 0 0  0 0  0 0
        1 1 0  0 0  0 1
        1 1 1  0 0  0 0
        1 0 0  1 0  0 1
        1 1 0  0 1  0 0
        1 0 0  0 0  1 1
        1 0 0  0 0  1 1"""
    rows = [list(map(int, line.split())) for line in expected.strip().splitlines()]
    np.testing.assert_array_equal(frames_seen((2, 1, 1), 1, True, True), np.array(rows, bool))
    plain = [*range(3), 5, 6]  # without the codes that are to be told
    np.testing.assert_array_equal(frames_seen((2, 1, 1), 1, False, True), np.array(rows, bool)[np.ix_(plain, plain)])


@pytest.mark.parametrize("fields", [{}, {"attention": "xla"}, {"rotary": True, "hidden": 16}])
def test_what_is_given_is_seen_and_nothing_else_of_later_frames(fields):
    model, params = network(**fields)
    tokens, taught, ahead = clips()
    apply = quick_jit(functools.partial(model.apply, start=PREFIX))
    told = apply(params, tokens, taught_BL=taught, ahead_BN=ahead)
    assert told.shape == (3, CODES, 12)
    changed = np.abs(apply(params, tokens, taught_BL=taught, ahead_BN=ahead.at[0, 3].set(4)) - told).max(-1)
    assert (changed[0, :2] > 1e-4).all() and (changed[1:] == 0).all()
    later = taught.at[:, PREFIX + 4 :].set(5)  # the true codes of the last frame
    np.testing.assert_array_equal(apply(params, tokens, taught_BL=later, ahead_BN=ahead), told)
    nothing = apply(params, tokens, taught_BL=taught)
    np.testing.assert_allclose(told[2], nothing[2], atol=1e-5)
    assert (np.abs(told - nothing)[:2, :2].max(-1) > 1e-4).all()


def test_all_ways_to_attend_agree():
    tokens, taught, ahead = clips()
    model, params = network()
    fused = model.apply(params, tokens, taught_BL=taught, ahead_BN=ahead, start=PREFIX)
    for fields in ({"attention": "xla"}, {"attention_dropout": 1e-9}):
        other = model.clone(**fields)
        train = "attention_dropout" in fields
        rngs = {"rngs": {"dropout": jax.random.key(0)}, "train": True} if train else {}
        found = other.apply(params, tokens, taught_BL=taught, ahead_BN=ahead, start=PREFIX, **rngs)
        np.testing.assert_allclose(found, fused, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"rotary": True, "hidden": 16}])
def test_steps_of_a_frame_at_a_time_say_what_a_whole_call_does(fields):
    model, params = network(**fields)
    tokens, _, ahead = clips()
    step, cache = quick_jit(functools.partial(model.apply, method="step")), model.init_cache(3)
    first, cache = step(params, tokens[:, :PREFIX], 0, cache)
    cache = model.apply(params, ahead, cache, method="look_ahead")
    parts = [first]
    for place in (2, 4, 6):
        logits, cache = step(params, tokens[:, place : place + 2], place, cache, ahead_BN=ahead)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, 1), model.apply(params, tokens, ahead_BN=ahead), atol=1e-5)
    unasked = step(params, tokens[:, 2:4], 2, model.init_cache(3))[0]  # a network that could be told, and was not
    without = model.clone(conditions_ahead=False)
    np.testing.assert_allclose(
        unasked, without.apply(params, tokens[:, 2:4], 2, without.init_cache(3), method="step")[0], atol=1e-5)


def test_what_does_not_fit_is_refused():
    tokens, _, ahead = clips()
    plain, params = network(conditions_ahead=False)
    with pytest.raises(ValueError, match="ahead_BN is for networks with conditions_ahead"):
        plain.apply(params, tokens, ahead_BN=ahead)
    with pytest.raises(ValueError, match="conditions_ahead=True is for networks with causal_frames"):
        network(causal_frames=False)
