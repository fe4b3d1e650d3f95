"""Mistaken codes: whose they are, and how many."""

import jax
import numpy as np

from tests.nn.weights import random_video
from videogvt.ops import noise


def test_a_clip_is_mistaken_for_itself_moved_or_for_the_one_before():
    video = random_video((64, 2, 5, 7, 3))
    mistaken = np.asarray(noise.mistaken(jax.random.key(0), video, pixels=1))
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    found = []
    for index, clip in enumerate(mistaken):
        same = [np.array_equal(clip, np.roll(video[index], move, axis=(1, 2))) for move in moves]
        assert any(same) != np.array_equal(clip, video[index - 1])
        found += [moves[same.index(True)]] if any(same) else []
    assert 20 < len(found) < 44 and set(found) == set(moves)


def test_shares_of_mistakes_are_even_up_to_the_largest():
    where = np.asarray(noise.mistakes(jax.random.key(0), (200, 4, 20, 20), 0.6))
    shares = np.sort(where.mean((2, 3)).reshape(-1))
    np.testing.assert_allclose(shares, np.linspace(0, 0.6, len(shares)), atol=0.05)
    assert abs(np.corrcoef(where[:, :2].mean((2, 3)).T)[0, 1]) < 0.2  # every latent frame has its own
    assert not noise.mistakes(jax.random.key(0), (2, 2, 2, 2), 0.0).any()
