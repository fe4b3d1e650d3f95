"""Filters keep exactly the codes they promise, and a sample depends on its own key alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

from videogvt.ops import sampling
from videogvt.ops.sampling import bisection, halton_order, rank_of

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
    sampling.check_random_keys(KEYS, 5)
    with pytest.raises(ValueError, match=message):
        sampling.check_random_keys(keys, 5)


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


def test_the_first_cells_of_a_frame_by_hand():
    """(1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9), (5/8, 7/9), (3/8, 2/9), (7/8, 5/9) of four rows and columns."""
    assert halton_order((1, 4, 4))[:7].tolist() == [9, 6, 12, 1, 11, 4, 14]
    assert halton_order((5, 1, 1))[:5].tolist() == [1, 2, 3, 4, 0]  # 1/5, 2/5, 3/5, 4/5, 1/25


@pytest.mark.parametrize("grid", [(4, 8, 8), (16, 4, 4), (8, 1, 2), (1, 1, 1), (3, 5, 7)])
def test_halton_order_is_a_permutation_and_fixed(grid):
    order = halton_order(grid)
    assert sorted(order) == list(range(np.prod(grid)))
    np.testing.assert_array_equal(order[rank_of(order)], rank_of(order)[order])
    assert not order.flags.writeable


@pytest.mark.parametrize("grid", [(1, 16, 16), (4, 8, 8), (16, 4, 4)])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_first_cells_are_spread_more_evenly_than_any_of_many_random_ones(grid, share):
    size, rng = int(np.prod(grid)), np.random.default_rng(0)

    def unevenness(cells):
        centres = (np.stack(np.unravel_index(cells, grid), axis=1) + 0.5) / grid
        return qmc.discrepancy(centres[:, np.array(grid) > 1])

    first = int(share * size)
    others = [unevenness(rng.permutation(size)[:first]) for _ in range(50)]
    assert unevenness(halton_order(grid)[:first]) < min(others)


def test_bisection():
    assert bisection(16) == (0, 15, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13)
    assert [bisection(count) for count in (1, 2, 3, 4)] == [(0,), (0, 1), (0, 2, 1), (0, 3, 2, 1)]
    for count in range(1, 40):
        assert sorted(bisection(count)) == list(range(count))


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="three positive integers"):
        halton_order((4, 0, 2))
