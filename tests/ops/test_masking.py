"""Curves, exact counts, and what COMMIT shows, asks and weighs at every position."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import masking
from videogvt.ops.masking import Masking, count, schedule, select_lowest

GRID = (2, 4, 4)
MASK = 99


@functools.cache
def sampler(masking_):
    return jax.jit(masking_.sample, static_argnums=4)


@functools.cache
def sampled(batch=6, share=0.3, **fields):
    """A masked batch of ``GRID``s, its inputs, and which positions are visible."""
    keys = jax.random.split(jax.random.key(0), 3)
    target = jax.random.randint(keys[0], (batch, *GRID), 0, 40)
    visible = jax.random.uniform(keys[1], (batch, *GRID)) < share
    masked = sampler(Masking(**fields))(keys[2], target, target + 40, visible, MASK)
    return jax.tree.map(np.asarray, masked), *(np.asarray(a).reshape(batch, -1) for a in (target, visible))


# Schedules


@pytest.mark.parametrize("name, values", {
    "cosine": [1, 0.70710678, 0.5, 1e-6],
    "arccos": [1, 2 / 3, 0.53544095, 1e-6],
    "uniform": [1, 0.5, 1 / 3, 1e-6],
    "pow2": [1, 0.75, 5 / 9, 1e-6],
    "pow0.5": [1, 1 - 0.70710678, 1 - 0.81649658, 1e-6],
    "log": [1, 0.1, 0.058496250, 1e-6],
    "exp": [1 - 1 / 1024, 1 - 1 / 32, 1 - 0.099212566, 1e-6],
    "poly:-1,0,1": [1, 0.75, 5 / 9, 1e-6],
    "fixed:0.75": [0.75, 0.75, 0.75, 0.75],
    "between:0.5,1": [1, 0.75, 2 / 3, 0.5],
}.items())
def test_schedule(name, values):
    ratios = schedule(name)(jnp.asarray([0, 0.5, 2 / 3, 1]), 1024)
    np.testing.assert_allclose(ratios, values, rtol=2e-6, atol=3e-7)


def test_mean_of_the_cosine_and_of_an_even_distribution():
    u = (jnp.arange(1000) + 0.5) / 1000
    np.testing.assert_allclose(schedule("cosine")(u, 8).mean(), 2 / np.pi, rtol=1e-5)
    for three_quarters in ("between:0.5,1", "pow3"):
        np.testing.assert_allclose(schedule(three_quarters)(u, 8).mean(), 0.75, rtol=1e-5)


@pytest.mark.parametrize("name", masking.SCHEDULES)
def test_schedules_stay_in_range_with_any_number_of_tokens(name):
    ratios = schedule(name)(jnp.linspace(0, 1, 9)[:, None], jnp.asarray([0, 1, 2, 1024]))
    assert ((ratios >= 1e-6) & (ratios <= 1)).all()


@pytest.mark.parametrize("name, message", [
    ("cosin", "Did you mean 'cosine'"),
    ("", "Legal mask schedule names: arccos, between:0.5,1"),
    ("cosine2", "takes no number; write it like 'cosine'"),
    ("pow", "takes one number; write it like 'pow2'"),
    ("powx", "Did you mean 'pow2'"),
    ("fixed:x", "takes one number; write it like 'fixed:0.75'"),
    ("poly", "takes its coefficients; write it like 'poly:-1,0,1'"),
    ("between:0.5", "takes two numbers; write it like 'between:0.5,1'"),
    ("fixed:75", r"ratios must be in \[0, 1\]"),
    ("fixed:nan", r"ratios must be in \[0, 1\]"),
    ("between:1,0.5", "the lower first"),
])
def test_unknown_schedules(name, message):
    with pytest.raises(ValueError, match=message):
        schedule(name)


def test_counts_of_the_paper_s_inference_schedules():
    u = jnp.arange(1, 12) / 12
    expected = {
        "cosine": [1015, 989, 946, 886, 812, 724, 623, 512, 391, 265, 133],
        "uniform": [938, 853, 768, 682, 597, 512, 426, 341, 256, 170, 85],
        "exp": [1022, 1020, 1018, 1013, 1006, 992, 966, 922, 842, 701, 449],
    }
    for name, counts in expected.items():
        np.testing.assert_array_equal(count(schedule(name)(u, 1024), 1024, "floor"), counts)


def test_count_is_exactly_the_ceiling_or_the_floor():
    for tenths in range(1, 10):
        totals = jnp.arange(1, 4097)
        ratio = schedule(f"fixed:{tenths / 10}")(0.5, 1)
        np.testing.assert_array_equal(count(ratio, totals, "ceil"), -(-totals * tenths // 10))
        np.testing.assert_array_equal(count(ratio, totals, "floor"), totals * tenths // 10)


# Selection


def test_select_lowest_by_rank_with_ties_infinities_and_none():
    inf = jnp.inf
    scores = jnp.asarray([[0.3, 0.1, 0.1, 0.1], [-inf, -inf, -inf, 0], [inf, inf, 1, inf], [1, 2, 3, 4], [4, 3, 2, 1]])
    allowed = jnp.ones((5, 4), bool).at[2, 0].set(False).at[4, 3].set(False)
    masked = jax.jit(select_lowest)(scores, jnp.asarray([2, 1, 2, 0, 9]), allowed)
    np.testing.assert_array_equal(masked, np.asarray([
        [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool))


@pytest.mark.parametrize("condition, rounding", [
    ("commit", "ceil"), ("commit", "floor"), ("input->input", "floor"), ("cond->cond", "ceil")])
def test_the_number_of_masked_tokens_is_exact(condition, rounding):
    masked, _, visible = sampled(schedule="fixed:0.7", condition=condition, rounding=rounding)
    maskable = (~visible).sum(-1) if "->" in condition else np.full(6, 32)
    tenths = maskable * 7
    np.testing.assert_array_equal(masked.masked_BN.sum(-1), -(-tenths // 10) if rounding == "ceil" else tenths // 10)


def test_each_sample_has_its_own_ratio_and_its_own_scores():
    counts = sampled(batch=64)[0].masked_BN.sum(-1)
    assert len(set(counts.tolist())) > 10 and abs(counts.mean() / 32 - 2 / np.pi) < 0.1
    patterns = sampled(schedule="fixed:0.5")[0].masked_BN
    assert len({pattern.tobytes() for pattern in patterns}) == 6


@pytest.mark.parametrize("condition", ["commit", "cond->cond"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_or_everything_visible(condition, share):
    masked, target, visible = sampled(share=share, condition=condition, schedule="fixed:0.0")
    keeps_all = share == 1 and "->" in condition
    np.testing.assert_array_equal(masked.masked_BN.sum(-1), 0 if keeps_all else 1)
    assert np.isfinite(masked.weights_BN).all() and masked.weights_BN.sum() == (0 if keeps_all else target.size)


# What is shown


@pytest.mark.parametrize("condition, inputs, targets, recons, refine, segments", [
    ("commit", [13, 2, 99, 4], [1, 2, 3, 4], [1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 0, 0]),
    ("input->input", [1, 2, 99, 4], [1, 2, 3, 4], [0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]),
    ("cond->cond", [13, 14, 99, 4], [13, 14, 3, 4], [0, 0, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]),
])
def test_inputs_targets_and_weights_by_hand(condition, inputs, targets, recons, refine, segments):
    """Four tokens: visible and selected, visible, selected, neither; kept tokens are never selected."""
    grid = lambda values: jnp.asarray(values).reshape(1, 1, 2, 2)  # noqa: E731
    selected = grid([condition == "commit", False, True, False])
    args = selected, grid([1, 2, 3, 4]), grid([13, 14, 15, 16]), grid([True, True, False, False]), MASK
    everything = Masking(condition=condition).apply(*args)
    np.testing.assert_array_equal(everything.inputs_BN, [inputs])
    np.testing.assert_array_equal(everything.targets_BN, [targets])
    np.testing.assert_array_equal(everything.weights_BN, [recons])
    np.testing.assert_array_equal(everything.segments_BN, [segments])
    np.testing.assert_array_equal(Masking(condition=condition, weights="mask+refine").apply(*args).weights_BN, [refine])
    assert [array.dtype for array in everything] == [jnp.int32, jnp.int32, jnp.float32, jnp.int32, bool]


def test_at_ratio_one_the_input_is_condition_tokens_and_mask():
    masked, target, visible = sampled(schedule="fixed:1")
    np.testing.assert_array_equal(masked.inputs_BN, np.where(visible, target + 40, MASK))
    np.testing.assert_array_equal(masked.targets_BN, target)
    np.testing.assert_array_equal(masked.weights_BN, 1)
    np.testing.assert_array_equal(masked.segments_BN, visible)


@pytest.mark.parametrize("condition", ["commit", "cond->cond"])
def test_inputs_do_not_depend_on_hidden_targets(condition):
    masking_ = Masking(condition=condition)
    masked, target, visible = sampled(condition=condition)
    hidden = masked.masked_BN | visible & (condition == "cond->cond")
    shape = (-1, *GRID)
    again = masking_.apply(masked.masked_BN.reshape(shape), np.where(hidden, 7, target).reshape(shape),
                           (target + 40).reshape(shape), visible.reshape(shape), MASK)
    np.testing.assert_array_equal(again.inputs_BN, masked.inputs_BN)


# Blocks


def test_blocks_mask_neighbours_together_and_keep_the_count():
    shape = (16, 2, 8, 8)
    nothing = jnp.zeros(shape, bool)
    single, blocks = (np.asarray(jax.jit(Masking(schedule="fixed:0.5", block=block).select)(jax.random.key(1), nothing))
                      for block in ((1, 1, 1), (2, 2, 4)))
    together = lambda masked: (masked[..., 1:] == masked[..., :-1]).mean()  # noqa: E731
    np.testing.assert_array_equal(blocks.sum((1, 2, 3)), 64)
    assert together(blocks) > 0.65 > 0.55 > together(single)


def test_pooling_a_constant_leaves_it_and_frozen_scores_do_not_count():
    allowed = jnp.ones((2, 4, 4), bool).at[:, :, 2:].set(False)
    scores = jnp.where(allowed, 0.25, 1e3)
    pooled = masking.pool_blocks(jax.random.key(0), scores, allowed, (1, 2, 2))
    noise = np.asarray(pooled)[np.asarray(allowed)] - 0.25
    assert (noise >= -1e-6).all() and (noise <= 1e-3 + 1e-6).all()
    assert np.unique(noise).size == noise.size


def test_pooling_by_hand_in_both_orders_of_the_offsets():
    """0 1 4 7 between its repeated edges, in blocks of two: the grid of blocks starts at the edge, or one later."""
    scores = jnp.asarray([0.0, 1.0, 4.0, 7.0]).reshape(1, 1, 4)
    pool = jax.jit(lambda key: masking.pool_blocks(key, scores, jnp.ones((1, 1, 4), bool), (1, 1, 2)))
    found = {tuple(np.round(4 * np.ravel(pool(jax.random.key(seed))) - 2e-3) / 4) for seed in range(8)}
    assert found == {(1.25, 1.25, 4.75, 4.75), (0.25, 3.0, 3.0, 6.25)}


# Errors


@pytest.mark.parametrize("fields, message", [
    ({"schedule": "linear"}, "Unknown mask schedule 'linear'"),
    ({"rounding": "round"}, "Unknown masking.rounding 'round'.*ceil, floor"),
    ({"weights": "mask"}, "Legal masking.weights names: mask[+]refine, mask[+]refine[+]recons"),
    ({"condition": "cond->input"}, "Legal masking.condition names: commit"),
    ({"block": (2, 2)}, r"masking.block=\(2, 2\) must be three positive integers"),
    ({"block": (0, 1, 1)}, "three positive integers"),
])
def test_unknown_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Masking(**fields)


def test_blocks_must_divide_the_grid():
    with pytest.raises(ValueError, match=r"masking.block=\(1, 3, 1\) must divide the latent grid \(2, 4, 4\)"):
        Masking(block=[1, 3, 1]).select(jax.random.key(0), jnp.zeros((1, *GRID), bool))


# Frames before, and corruption


def test_frames_before_a_random_one_are_shown_those_after_it_hidden_and_the_ratio_counts_its_own():
    def select(masking_):
        return jax.jit(masking_.select)(jax.random.key(0), jnp.zeros((256, 4, 4, 4), bool))

    counts_BT = np.asarray(select(Masking(schedule="fixed:0.75", frames_before=1.0))).sum(axis=(2, 3))
    first_B = (counts_BT > 0).argmax(axis=1)
    assert set(first_B) == {0, 1, 2, 3}
    for row, first in zip(counts_BT, first_B):
        assert row.tolist() == [0] * first + [12] + [16] * (3 - first)
    half = np.asarray(select(Masking(schedule="fixed:0.75", frames_before=0.5))).sum(axis=(2, 3))
    parted = (half == 16).any(axis=1) | (half == 0).any(axis=1)
    assert 0.35 < parted.mean() < 0.65 and (half[~parted].sum(axis=1) == 48).all()


def test_one_frame_of_interest_for_all_clips_where_it_is_given():
    counts_BT = np.asarray(Masking(schedule="fixed:0.5").select(
        jax.random.key(0), jnp.zeros((8, 4, 4, 4), bool), frame=2)).sum(axis=(2, 3))
    assert (counts_BT == [0, 0, 8, 16]).all()


def test_every_frame_has_a_ratio_of_its_own():
    masked = Masking(schedule="between:0,1", frames_before=0.5).select(
        jax.random.key(0), jnp.zeros((256, 4, 4, 4), bool), every_frame=True)
    counts = np.asarray(masked).sum(axis=(2, 3))
    assert set(counts.ravel()) == set(range(1, 17))
    assert abs(np.corrcoef(counts.T)[0, 1]) < 0.2 and np.abs(counts.mean(0) - 8.5).max() < 1


def test_conditions_that_are_kept_are_never_hidden():
    visible = jax.random.uniform(jax.random.key(1), (64, *GRID)) < 0.5
    masked = Masking(condition="cond->cond", frames_before=1.0).select(jax.random.key(0), visible)
    assert not (np.asarray(masked) & np.asarray(visible)).any() and np.asarray(masked).any()


def test_corruption_touches_what_is_visible_alone_and_at_its_rate():
    shape = (64, 4, 8, 8)
    target = jax.random.randint(jax.random.key(1), shape, 0, 40)
    plain = Masking(schedule="fixed:0.5", corruption=0.4)
    nothing = jnp.zeros(shape, bool)
    masked = jax.jit(plain.sample, static_argnums=4)(jax.random.key(2), target, target, nothing, MASK)
    wrong = jax.tree.map(np.asarray, jax.jit(plain.corrupt, static_argnums=2)(jax.random.key(3), masked, 40))
    changed = wrong.inputs_BN != np.asarray(masked.inputs_BN)
    assert not changed[wrong.masked_BN].any() and wrong.inputs_BN.max() == MASK
    assert (wrong.targets_BN == np.asarray(target).reshape(64, -1)).all()
    rates = changed.sum(1) / (~wrong.masked_BN).sum(1)
    assert 0.15 < rates.mean() < 0.25 and rates.max() < 0.5 and rates.std() > 0.08
    assert wrong.inputs_BN[changed].max() < 40


def test_corruption_leaves_conditions_alone():
    masked, *_ = sampled(condition="cond->cond")
    wrong = Masking(condition="cond->cond", corruption=1.0).corrupt(jax.random.key(0), masked, 40)
    shown = masked.segments_BN == 1
    np.testing.assert_array_equal(np.asarray(wrong.inputs_BN)[shown], masked.inputs_BN[shown])


# More than a task gives


def test_more_is_given_to_a_share_of_clips_by_frames_or_by_cells_and_by_true_codes_alone():
    shape = (512, 4, 4, 4)
    target = jax.random.randint(jax.random.key(1), shape, 0, 40)
    visible = np.zeros(shape, bool)
    visible[:, 0, :2] = True
    condition = np.where(visible, 41, 42)
    given, seen = map(np.asarray, jax.jit(Masking(extra_conditions=0.5).give_more)(
        jax.random.key(0), target, condition, jnp.asarray(visible)))
    more = seen & ~visible
    assert seen[visible].all() and (given[~more] == condition[~more]).all()
    np.testing.assert_array_equal(given[more], np.asarray(target)[more])
    some = more.any((1, 2, 3))
    late = more[some, 1:].mean((2, 3))  # frames that no task gives here
    by_frame = ((late == 0) | (late == 1)).all(1)
    assert 0.38 < some.mean() < 0.52 and 0.38 < by_frame.mean() < 0.62
    assert 0.2 < more[:, 1:].mean() < 0.3 and late[~by_frame].mean(1).std() > 0.2  # half of the clips, at all rates


def test_no_more_is_given_unless_asked_for():
    arrays = jnp.zeros((1, *GRID), int), jnp.ones((1, *GRID), int), jnp.zeros((1, *GRID), bool)
    assert Masking().give_more(jax.random.key(0), *arrays) == arrays[1:]


@pytest.mark.parametrize("name", ["frames_before", "corruption", "extra_conditions"])
def test_shares_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=rf"masking\.{name} is 1.5"):
        Masking(**{name: 1.5})
