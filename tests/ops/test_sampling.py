"""Filters keep exactly the codes they promise, and a sample depends on its own key alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import sampling

KEYS = jax.random.split(jax.random.key(3), 5)
LOGITS = jnp.log(jnp.array([0.1, 0.5, 0.15, 0.25]))


def kept(logits):
    return np.flatnonzero(np.isfinite(logits)).tolist()


def test_top_k_keeps_the_most_likely_and_of_equal_ones_the_earlier():
    assert kept(sampling.filter_top_k(LOGITS, 2)) == [1, 3]
    assert kept(sampling.filter_top_k(jnp.zeros(6), 3)) == [0, 1, 2]
    np.testing.assert_array_equal(sampling.filter_top_k(LOGITS, 4), LOGITS)


@pytest.mark.parametrize("mass, codes", [
    (0.2, [1]), (0.49, [1]), (0.6, [1, 3]), (0.74, [1, 3]), (0.76, [1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_a_nucleus_is_the_fewest_codes_with_that_much_probability(mass, codes):
    filtered = sampling.filter_nucleus(LOGITS, mass)
    assert kept(filtered) == codes
    np.testing.assert_array_equal(filtered[jnp.array(codes)], LOGITS[jnp.array(codes)])


def test_filters_work_along_the_last_axis():
    logits = jax.random.normal(jax.random.key(0), (3, 4, 16))
    assert (np.isfinite(sampling.filter_top_k(logits, 5)).sum(-1) == 5).all()
    rows = jnp.stack([sampling.filter_nucleus(row, 0.7) for row in logits.reshape(-1, 16)])
    np.testing.assert_array_equal(sampling.filter_nucleus(logits, 0.7).reshape(-1, 16), rows)


def test_draws_follow_the_probabilities_that_filters_and_temperature_leave():
    keys = jax.random.split(jax.random.key(0), 4)
    logits = jnp.broadcast_to(LOGITS, (4, 5000, 4))

    def shares(**settings):
        return np.bincount(sampling.draw(keys, logits, **settings).ravel(), minlength=4) / 20000

    np.testing.assert_allclose(shares(), [0.1, 0.5, 0.15, 0.25], atol=0.015)
    np.testing.assert_allclose(shares(top_k=2), [0, 2 / 3, 0, 1 / 3], atol=0.015)
    cold = np.array([0, 0.25, 0.0225, 0.0625])  # the nucleus is that of the untempered logits
    np.testing.assert_allclose(shares(nucleus=0.76, temperature=0.5), cold / cold.sum(), atol=0.015)
    np.testing.assert_array_equal(shares(temperature=0.0), [0, 1, 0, 0])


def test_a_row_is_drawn_alike_in_any_batch():
    logits = jax.random.normal(jax.random.key(1), (5, 7, 9))
    codes = sampling.draw(KEYS, logits)
    assert codes.shape == (5, 7) and codes.dtype == jnp.int32
    np.testing.assert_array_equal(sampling.draw(KEYS[3:4], logits[3:4])[0], codes[3])
    np.testing.assert_array_equal(sampling.gumbel(KEYS[3:4], 7)[0], sampling.gumbel(KEYS, 7)[3])
    assert len(np.unique(sampling.draw(KEYS, jnp.zeros((5, 64, 100))), axis=0)) == 5


def test_log_probability_is_that_of_the_codes():
    np.testing.assert_allclose(
        sampling.log_probability(jnp.stack([LOGITS, LOGITS + 7]), jnp.array([1, 3])), np.log([0.5, 0.25]), rtol=1e-5)


@pytest.mark.parametrize("settings, message", [
    ({"temperature": -1.0}, "temperature=-1.0"), ({"top_k": -1}, "top_k=-1"), ({"nucleus": 1.5}, "nucleus=1.5"),
    ({"top_k": 5}, "exceeds the number of codes, 4"), ({"top_k": 2, "nucleus": 0.9}, "exclude each other")])
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sampling.draw(KEYS[:1], LOGITS[None], **settings)


@pytest.mark.parametrize("keys, message", [
    (KEYS[:4], "expected 5 typed keys"), (jax.random.PRNGKey(0), "typed keys"),
    (jax.random.split(jax.random.key(0, impl="rbg"), 5), "keys of kind rbg")])
def test_keys_that_would_not_keep_samples_apart_are_refused(keys, message):
    sampling.check_keys(KEYS, 5)
    with pytest.raises(ValueError, match=message):
        sampling.check_keys(keys, 5)


def test_margin_and_the_probability_of_all_codes_but_one():
    np.testing.assert_allclose(sampling.margin(LOGITS), 0.25, rtol=1e-6)
    np.testing.assert_allclose(np.exp(sampling.log_probability_of_others(LOGITS, 1)), 0.5, rtol=1e-6)
    sure = jnp.array([0.0, 60.0, -10.0])  # 1 - p is 0 in float32
    np.testing.assert_allclose(sampling.log_probability_of_others(sure, 1), -60 + np.log1p(np.exp(-10)), rtol=1e-6)
    with pytest.raises(ValueError, match="no code 4 among 4"):
        sampling.log_probability_of_others(LOGITS, 4)


def test_sharpened_codes_by_hand():
    """0.5 for the code that keeps its own; 0.4 and 0.1 of the rest, squared, are 16 to 1."""
    found = sampling.sharpen_others(jnp.log(jnp.array([0.4, 0.5, 0.1])), 1, 0.5)
    np.testing.assert_allclose(np.exp(found), [0.5 * 16 / 17, 0.5, 0.5 / 17], rtol=1e-5)
    logits = jnp.array([3.0, -1.0, 0.5])
    np.testing.assert_allclose(sampling.sharpen_others(logits, 0, 1.0), jax.nn.log_softmax(logits), rtol=1e-5)
