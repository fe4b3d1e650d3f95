"""Attention by hand, and the way round odd lengths: a position more changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import attention
from videogvt.ops.attention import WAVES, angles, attend, attend_on_cpu, attend_padded, between_times, rotate

pytestmark = pytest.mark.optimized

QKV = jax.random.normal(jax.random.key(0), (3, 2, 5, 2, 4))  # of two clips, five positions, two heads, 4 wide


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_the_softmax_of_scaled_products(causal):
    query, key, value = np.asarray(QKV, np.float64)
    logits = np.einsum("BQAd,BKAd->BAQK", query, key) / 2
    if causal:
        logits = np.where(np.tri(5, dtype=bool), logits, -np.inf)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("BAQK,BKAd->BQAd", shares, value)
    np.testing.assert_allclose(attend(*QKV, causal=causal), expected, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_a_position_more_changes_neither_result_nor_gradient(causal):
    def through(function):
        def loss(qkv):
            mixed = function(*qkv, causal=causal, implementation="xla")
            return jnp.square(mixed).sum(), mixed

        return jax.grad(loss, has_aux=True)(QKV)

    for one, other in zip(through(attend), through(attend_padded), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


SEEN = np.tri(5, k=1, dtype=bool) & ~np.eye(5, k=-2, dtype=bool)


@pytest.mark.parametrize("implementation", [None, "xla"])
def test_positions_see_what_they_are_to_see(implementation):
    query, key, value = np.asarray(QKV, np.float64)
    logits = np.where(SEEN, np.einsum("BQAd,BKAd->BAQK", query, key) / 2, -np.inf)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("BAQK,BKAd->BQAd", shares, value)
    np.testing.assert_allclose(attend(*QKV, seen_LL=SEEN, implementation=implementation), expected, atol=1e-5)
    np.testing.assert_allclose(
        attend_padded(*QKV, causal=False, seen_LL=SEEN, implementation="xla"), expected, atol=1e-5)


@pytest.mark.parametrize("seen", [None, SEEN])
def test_what_a_clip_ignores_is_seen_by_nobody(seen):
    ignored = np.zeros((len(QKV[0]), 5), bool)
    ignored[0, 1] = ignored[-1, 3] = True
    query, key, value = np.asarray(QKV, np.float64)
    visible = ~ignored[:, None, None] & (np.ones((5, 5), bool) if seen is None else seen)
    logits = np.where(visible, np.einsum("BQAd,BKAd->BAQK", query, key) / 2, -np.inf)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("BAQK,BKAd->BQAd", shares, value)
    for implementation in (None, "xla"):
        found = attend(*QKV, seen_LL=seen, ignored_BL=jnp.asarray(ignored), implementation=implementation)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    padded = attend_padded(*QKV, causal=False, seen_LL=seen, ignored_BL=jnp.asarray(ignored), implementation="xla")
    np.testing.assert_allclose(padded, expected, atol=1e-5)


def test_gradients_pass_through_what_is_seen_alone():
    def gradients(implementation):
        return jax.grad(lambda qkv: jnp.sin(attend(*qkv, seen_LL=SEEN, implementation=implementation)).sum())(QKV)

    np.testing.assert_allclose(gradients(None), gradients("xla"), atol=1e-5)


def test_only_odd_lengths_for_cudnn_are_padded(monkeypatch):
    lengths = []

    def asked(query, key, value, *, implementation, **options):
        lengths.append((query.shape[1], implementation))
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", asked)
    for length in (4, 5):
        for implementation in (None, "xla", "cudnn"):
            assert attend(*QKV[:, :, :length], causal=True, implementation=implementation).shape[1] == length
    assert lengths == [(4, None), (4, "xla"), (4, "cudnn"), (5, None), (5, "xla"), (6, "cudnn")]


def test_formulas_for_cpus_are_taken_where_nothing_else_is_named(monkeypatch):
    """Another implementation, another dtype, causal attention and another backend are those of jax."""
    called = []
    monkeypatch.setattr(attention, "attend_on_cpu", lambda *arrays: called.append("cpu"))
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda *arrays, **options: called.append("jax"))
    attend(*QKV)
    attend(*QKV, implementation="xla")
    attend(*QKV, causal=True)
    attend(*QKV.astype(jnp.bfloat16))
    monkeypatch.setattr(attention, "for_cpu", lambda array: False)
    attend(*QKV)
    assert called == ["cpu", "jax", "jax", "jax", "jax"]


def test_attention_between_times_is_the_mean_of_queries_and_the_sum_of_keys():
    maps = np.array([
        [.5, .1, .1, .1, .2], [.2, .4, .2, .1, .1], [0, .2, .2, .3, .3], [1, 0, 0, 0, 0], [0, 0, .5, .5, 0]])
    expected = [[.5, .2, .3], [.1, .5, .4], [.5, .25, .25]]  # one token before, two times of two codes
    np.testing.assert_allclose(between_times(maps[None], 1, 2), [expected], atol=1e-6)


RNG = np.random.default_rng(0)
QUERY, KEY, VALUE, WEIGHTS = (jnp.asarray(RNG.standard_normal((2, 5, 3, 4), np.float32)) for _ in range(4))


def with_gradients(attention, *inputs):
    value = attention(*inputs)
    return value, jax.grad(lambda *inputs: (attention(*inputs) * WEIGHTS).sum(), (0, 1, 2))(*inputs)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_it_is_that_of_jax(scale):
    """Also where one key takes all, whose logits would overflow without their maximum taken off."""
    inputs = scale * QUERY, KEY * scale, VALUE
    ours, theirs = (with_gradients(function, *inputs) for function in (attend_on_cpu, jax.nn.dot_product_attention))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale), ours, theirs)


def test_by_hand():
    """One head, width 1: keys of equal logits are averaged; a logit of ln 3 more weighs three times as much."""
    query = jnp.ones((1, 2, 1, 1))
    key = jnp.array([0.0, np.log(3)]).reshape(1, 2, 1, 1)
    value = jnp.array([0.0, 8.0]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(attend_on_cpu(0 * query, key, value).ravel(), [4, 4], rtol=1e-6)
    np.testing.assert_allclose(attend_on_cpu(query, key, value).ravel(), [6, 6], rtol=1e-6)


GRID, PREFIX, WIDTH = (2, 3, 4), 1, 8


def test_products_depend_on_the_distance_alone():
    query, key = np.random.default_rng(0).normal(size=(2, 1, 1, 1, WIDTH)).astype(np.float32)
    turned = angles(GRID, PREFIX, WIDTH)
    queries, keys = (rotate(jnp.tile(x, (1, 25, 1, 1)), turned)[0, :, 0] for x in (query, key))
    products = np.asarray(queries @ keys.T)[PREFIX:, PREFIX:].reshape(*GRID, *GRID)
    for t, row, column in [(0, 0, 0), (1, 1, 0), (1, 2, 3)]:
        for dt, dy, dx in [(0, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, -1, -2)]:
            if min(t + dt, row + dy, column + dx) >= 0:
                np.testing.assert_allclose(products[t, row, column, t + dt, row + dy, column + dx],
                                           products[-1, -1, -1, -1 + dt, -1 + dy, -1 + dx], atol=1e-5)
    assert np.ptp(products[0, 0, 0]) > 0.1  # and on nothing less


def test_the_prefix_is_not_turned_and_lengths_are_kept():
    x = np.random.default_rng(1).normal(size=(2, 25, 3, WIDTH)).astype(np.float32)
    turned = rotate(jnp.asarray(x), angles(GRID, PREFIX, WIDTH))
    np.testing.assert_array_equal(turned[:, :PREFIX], x[:, :PREFIX])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


def test_a_pair_by_hand():
    turned = angles((1, 1, 1), 0, 6)  # one pair an axis, at the shortest wavelength: a quarter turn for place 1
    np.testing.assert_allclose(turned, np.full((1, 3), 2 * np.pi / WAVES[0]), rtol=1e-6)
    x = jnp.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    np.testing.assert_allclose(rotate(x, turned).ravel(), [-4, -5, -6, 1, 2, 3], atol=1e-5)


@pytest.mark.parametrize("width", [4, 7])
def test_widths_that_do_not_fit_are_refused(width):
    with pytest.raises(ValueError, match=f"heads of width {width}"):
        angles(GRID, PREFIX, width)
