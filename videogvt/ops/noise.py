"""What a generator's mistakes do to the codes of a clip, for a tokenizer to practise on (ours, not MAGVIT's)."""

import jax
import jax.numpy as jnp


def mistaken(key: jax.Array, video_BTHWC, *, pixels: int = 2):
    """A clip for each to be mistaken for: with even chances itself moved, or the one before it in the batch.

    In a batch of one that one is itself.

    Args:
      pixels: the largest move along each axis; every whole number up to it is equally likely. What leaves the picture
        comes in again at the opposite side.
    """
    moves_key, choice_key = jax.random.split(key)
    moves_B2 = jax.random.randint(moves_key, (video_BTHWC.shape[0], 2), -pixels, pixels + 1)
    moved_BTHWC = jax.vmap(lambda video_THWC, move: jnp.roll(video_THWC, move, axis=(1, 2)))(video_BTHWC, moves_B2)
    choice_B = jax.random.bernoulli(choice_key, shape=(video_BTHWC.shape[0], 1, 1, 1, 1))
    return jnp.where(choice_B, moved_BTHWC, jnp.roll(video_BTHWC, 1, axis=0))


def mistakes(key: jax.Array, grid_Bthw: tuple[int, int, int, int], share: float):
    """Where codes are mistaken, (B, t, h, w) of bools: cells at random, an even share up to ``share`` in each frame."""
    share_key, cells_key = jax.random.split(key)
    share_Bt11 = share * jax.random.uniform(share_key, (*grid_Bthw[:2], 1, 1))
    return jax.random.uniform(cells_key, grid_Bthw) < share_Bt11
