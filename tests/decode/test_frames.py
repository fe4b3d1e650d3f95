"""Frames become known one after another, in their order, and cells within them as asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, CONDITION, KEYS, MASK, SOME, TOKENS, VISIBLE, run, toy
from videogvt.decode import BisectionDecoding, DraftAndRevise, FrameDecoding, ParallelDecoding, Remasking

GRID = (6, 1, 2)
CALL = {"mask_id": MASK, "num_codes": CODES}


@pytest.mark.parametrize("kind, order", [
    (FrameDecoding, [0, 1, 2, 3, 4, 5]), (BisectionDecoding, [0, 5, 3, 2, 4, 1])])
def test_no_cell_of_a_frame_is_known_before_all_cells_of_those_before_it(kind, order):
    sampler = kind(steps=3, grid=GRID, keep_condition=True)
    assert list(sampler.frames) == order and sampler.passes == 18
    masked = run(sampler, visible=SOME, keep_steps=True).steps.masked
    masked = np.asarray(masked).reshape(8, 18, GRID[0], -1)[:, :, order]
    free = ~np.asarray(SOME).reshape(8, 1, GRID[0], -1)[:, :, order]
    begun, unfinished = (free & ~masked).any(-1), masked.any(-1)
    for early in range(5):
        assert not (unfinished[:, :, early, None] & begun[:, :, early + 1:]).any()
    for turn in range(6):
        assert not unfinished[:, 3 * turn + 2, turn].any()  # at the latest after its three passes


@pytest.mark.parametrize("kind, needs", [
    (FrameDecoding, {0: [], 1: [0], 2: [1], 3: [2], 4: [3], 5: [4]}),
    (BisectionDecoding, {0: [], 5: [0], 3: [0, 5], 2: [0, 3], 4: [3, 5], 1: [0, 2]})])
def test_an_oracle_that_sees_the_frames_it_needs_finds_its_target_in_a_pass_a_frame(kind, needs):
    target = np.asarray(CONDITION).reshape(8, 6, 2)

    def oracle(tokens_BN):
        right = (tokens_BN.reshape(8, 6, 2) == target).all(-1)
        ready = jnp.stack([right[:, needs[frame]].all(-1) for frame in range(6)], axis=1)[..., None, None]
        wrong = jax.nn.one_hot((target + 1) % CODES, CODES)
        return jnp.where(ready, 50 * jax.nn.one_hot(target, CODES), wrong).reshape(8, TOKENS, CODES)

    def error(sampler):
        return int((run(sampler, logits_fn=oracle).codes_BN != CONDITION).sum())

    assert error(kind(steps=1, temperature=0.0, grid=GRID)) == 0
    assert error(ParallelDecoding(steps=6, temperature=0.0)) > 0


def test_a_single_frame_is_decoded_as_the_paper_decodes_clips():
    common = {"steps": 5, "keep_condition": True, "choice_temperature": 3.0, "schedule": "exp"}
    alone, whole = (run(sampler, keep_steps=True) for sampler in (
        FrameDecoding(grid=(1, 3, 4), **common), ParallelDecoding(**common)))
    for found, expected in zip(jax.tree.leaves(alone), jax.tree.leaves(whole)):
        np.testing.assert_array_equal(found, expected)


def test_cells_within_a_frame_follow_the_rule():
    """Two frames of six cells, of a network that is alike everywhere but for one speaking cell in each."""
    speaking = np.array([0.05, 0.1, 0.6, 0.2, 0.01, 0.3, 0.3, 0.7, 0.02, 0.04, 0.2, 0.1])
    values = np.repeat(speaking[:, None] / (CODES - 1), CODES, axis=1)
    values[:, 4] = 1 - speaking

    def network(tokens_BN):
        return jnp.broadcast_to(jnp.log(values), (*tokens_BN.shape, CODES))

    def known_after(cells, empty=None, steps=6):
        sampler = FrameDecoding(steps=steps, cells=cells, empty=empty, schedule="uniform", temperature=0.0,
                                grid=(2, 2, 3))
        return np.asarray(run(sampler, logits_fn=network, keep_steps=True).steps.masked.sum(1))

    by_speaking = np.concatenate([np.argsort(-speaking[:6]), 6 + np.argsort(-speaking[6:])])
    np.testing.assert_array_equal(np.argsort(known_after("speaking", 4), -1), np.tile(by_speaking, (8, 1)))
    surest = np.maximum(speaking / (CODES - 1), 1 - speaking)
    by_confidence = np.concatenate([np.argsort(-surest[:6]), 6 + np.argsort(-surest[6:])])
    np.testing.assert_array_equal(np.argsort(known_after("confidence", 4), -1), np.tile(by_confidence, (8, 1)))
    assert len(np.unique(known_after("random"), axis=0)) == 8


def test_passes_that_exceed_a_frames_cells_change_nothing():
    few, many = (run(FrameDecoding(steps=steps, schedule="uniform", temperature=0.0, grid=GRID), keep_steps=True).steps
                 for steps in (2, 5))
    np.testing.assert_array_equal(few.tokens[:, -1], many.tokens[:, -1])
    known = (~np.asarray(many.masked)).sum(-1)
    np.testing.assert_array_equal(known[0], [1, 2, 2, 2, 2] + [3, 4, 4, 4, 4] + [5, 6, 6, 6, 6] + [7, 8, 8, 8, 8]
                                  + [9, 10, 10, 10, 10] + [11, 12, 12, 12, 12])


def test_what_later_frames_would_say_is_never_shown():
    """The tokens of frames to come stay what they were at first: MASK, or a condition where there is one."""
    seen = []

    def watched(tokens_BN):
        jax.debug.callback(lambda tokens: seen.append(np.asarray(tokens)), tokens_BN, ordered=True)
        return toy(tokens_BN)

    jax.block_until_ready(FrameDecoding(steps=2, grid=GRID)(watched, CONDITION, VISIBLE, keys_B=KEYS, **CALL).codes_BN)
    jax.effects_barrier()
    shown = np.where(VISIBLE, CONDITION, MASK).reshape(8, 6, 2)
    assert len(seen) == 12
    for number, tokens in enumerate(seen):
        np.testing.assert_array_equal(tokens.reshape(8, 6, 2)[:, number // 2 + 1:], shown[:, number // 2 + 1:])


def test_speaking_codes_alone_are_drawn_with_less_noise():
    """Of a network that is alike everywhere, the share of the empty code stays, and the likeliest other gains."""
    values = np.full(CODES, 0.08)
    values[4], values[2] = 0.5, 0.1

    def network(tokens_BN):
        return jnp.broadcast_to(jnp.log(values), (*tokens_BN.shape, CODES))

    def shares(**fields):
        sampler = FrameDecoding(steps=1, grid=GRID, **fields)
        keys = jax.random.split(jax.random.key(0), 2000)
        nothing = jnp.zeros((2000, TOKENS), jnp.int32)
        codes = jax.jit(lambda keys: sampler(network, nothing, nothing > 0, keys_B=keys, **CALL).codes_BN)(keys)
        return np.bincount(np.ravel(codes), minlength=CODES) / codes.size

    plain, sharp = shares(), shares(empty=4, speaking_temperature=0.02)
    assert abs(plain[4] - 0.5) < 0.02 and abs(sharp[4] - 0.5) < 0.02
    assert abs(plain[2] - 0.1) < 0.02 and abs(sharp[2] - 0.5) < 0.02
    with pytest.raises(ValueError, match="speaking_temperature=0 must be more than 0"):
        FrameDecoding(grid=GRID, empty=4, speaking_temperature=0)
    with pytest.raises(ValueError, match="asks which code is the empty one"):
        FrameDecoding(grid=GRID, speaking_temperature=0.5)


@pytest.mark.parametrize("steps, revisions", [(5, 2), (14, 1), (1, 1)])
def test_every_position_is_drawn_once_in_the_draft_and_once_in_each_revision(steps, revisions):
    sampler = DraftAndRevise(steps=steps, revisions=revisions, keep_condition=True)
    masked = np.asarray(run(sampler, visible=SOME, keep_steps=True).steps.masked)
    free = ~np.asarray(SOME)
    drawn = np.concatenate([free[:, None], masked[:, :-1]], axis=1).reshape(8, 1 + revisions, steps, TOKENS)
    drawn[:, 0, :-1] &= ~drawn[:, 0, 1:]  # the draft hides what is still to come as well
    np.testing.assert_array_equal(drawn.sum(2), np.repeat(free[:, None], 1 + revisions, axis=1))
    sizes = drawn.sum(-1)
    assert (sizes.max(-1) - sizes.min(-1)).max() <= 1
    if steps > 1:
        for later in range(1, 1 + revisions):
            assert (drawn[:, later] != drawn[:, later - 1]).any(axis=(1, 2)).all()  # another partition


def test_a_network_that_needs_all_other_tokens_is_right_after_a_revision():
    def network(tokens_BN):
        known = tokens_BN != MASK
        others = (known.sum(-1, keepdims=True) - known) == TOKENS - 1
        wrong = 50 * jax.nn.one_hot((CONDITION + 1) % CODES, CODES)
        return jnp.where(others[..., None], 50 * jax.nn.one_hot(CONDITION, CODES), wrong)

    def errors(revisions):
        codes = DraftAndRevise(steps=TOKENS, revisions=revisions)(
            network, CONDITION, jnp.zeros_like(VISIBLE), mask_id=MASK, num_codes=CODES,
            keys_B=jax.random.split(jax.random.key(0), 8)).codes_BN
        return (codes != CONDITION).sum(-1).tolist()

    assert errors(0) == 8 * [TOKENS - 1]
    assert errors(1) == 8 * [0]


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_known_tokens_are_hidden_again_at_the_rate(eta):
    """Of 64 tokens in five passes: hidden after / known before is 38 / 13, at most 1, then 25 / 26, 12 / 39 and 0."""
    clips, tokens = 200, 64
    nothing = jnp.zeros((clips, tokens), jnp.int32)
    masked = np.asarray(Remasking(steps=5, schedule="uniform", eta=eta)(
        lambda tokens_BN: jnp.zeros((*tokens_BN.shape, CODES)), nothing, nothing > 0, mask_id=MASK, num_codes=CODES,
        keys_B=jax.random.split(jax.random.key(7), clips), keep_steps=True).steps.masked)
    left = [51, 38, 25, 12, 0]
    np.testing.assert_array_equal(masked.sum(-1), np.tile(left, (clips, 1)))
    known = np.array([tokens - count for count in left])
    for step in range(1, 5):
        again = (~masked[:, step - 1] & masked[:, step]).sum(-1)
        rate = eta * min(1.0, left[step] / known[step - 1])
        assert again.mean() / known[step - 1] == pytest.approx(rate, abs=0.02)
        assert again.max() <= left[step]
    first = ~masked[:, 0]
    np.testing.assert_allclose(first.mean(0), 13 / 64, atol=0.12)  # any position may come first


def test_what_is_hidden_again_is_drawn_again():
    steps = run(Remasking(steps=8, eta=1.0, temperature=5.0), logits_fn=toy, keep_steps=True).steps
    tokens, masked = np.asarray(steps.tokens), np.asarray(steps.masked)
    redrawn = ~masked[:, 1:-2] & masked[:, 2:-1]
    assert redrawn.any()
    changed = tokens[:, 3:] != tokens[:, 1:-2]
    assert (changed & redrawn).any() and not (changed & ~masked[:, 1:-2] & ~masked[:, 2:-1]).any()
