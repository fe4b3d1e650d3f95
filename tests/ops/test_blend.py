"""Chunks cover a clip, and cross-fading them is linear."""

import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import blend


def test_starts_cover_the_clip_and_the_last_chunk_ends_with_it():
    assert blend.chunk_starts(16, 16, 4) == (0,)
    assert blend.chunk_starts(40, 16, 4) == (0, 12, 24)
    assert blend.chunk_starts(36, 16, 4) == (0, 12, 20)
    assert blend.chunk_starts(32, 16, 0) == (0, 16)


def test_starts_refuse_impossible_windows():
    with pytest.raises(ValueError, match="shorter than the window"):
        blend.chunk_starts(12, 16, 0)
    with pytest.raises(ValueError, match="overlap=16"):
        blend.chunk_starts(32, 16, 16)


def test_crossfade_weighs_the_later_chunk_linearly():
    first, second = jnp.zeros((1, 6, 1)), jnp.ones((1, 6, 1))
    clip = blend.crossfade([first, second], (0, 2))
    np.testing.assert_allclose(clip.ravel(), [0, 0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_chunks_of_one_clip_give_it_back():
    clip = jnp.arange(2 * 36 * 3.0).reshape(2, 36, 3)
    starts = blend.chunk_starts(36, 16, 4)
    np.testing.assert_allclose(blend.crossfade([clip[:, s:s + 16] for s in starts], starts), clip, rtol=1e-6)
    starts = blend.chunk_starts(36, 18, 0)
    np.testing.assert_array_equal(blend.crossfade([clip[:, s:s + 18] for s in starts], starts), clip)
