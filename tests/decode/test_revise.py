"""What is redrawn: every position once in each revision, known tokens at the rate that was asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, CONDITION, MASK, SOME, TOKENS, VISIBLE, run, toy
from videogvt.decode import DraftAndRevise, Remasking


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
