"""Rotary embeddings of places in a grid (RoFormer, arXiv 2104.09864, with an angle for each axis).

Queries and keys turn by angles that are linear in t, row and column, so that their product depends on what lies between
two places and not on where they are: a layer can look for "the code to the left" from its first step on.
"""

import jax.numpy as jnp
import numpy as np

WAVES = (4.0, 48.0)
"""Shortest and longest wavelength, in cells: a quarter turn from neighbour to neighbour, to a grid's whole extent."""


def angles(grid: tuple[int, int, int], prefix: int, width: int) -> np.ndarray:
    """Angles (prefix + t * h * w, width / 2), float32 radians; the prefix, which has no place, is not turned.

    Args:
      grid: (t, h, w) of the positions after the prefix, t-major, then by row and column.
      prefix: how many positions come before them.
      width: of a head, at least 6; its pairs are shared out among the axes, t having those that are left over.

    Raises:
      ValueError: the width is odd, or too small for a pair on every axis.
    """
    if width % 2 or width < 6:
        raise ValueError(f"Rotary embeddings turn pairs on three axes; found heads of width {width}, expected an even "
                         "number from 6 on. Change heads or hidden.")
    pairs, third = width // 2, width // 6
    places = np.stack(np.meshgrid(*(1 + np.arange(size) for size in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.concatenate([np.zeros((prefix, 3)), places])
    columns = [
        places[:, axis, None] * (2 * np.pi / np.geomspace(*WAVES, count))
        for axis, count in enumerate((pairs - 2 * third, third, third))
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def rotate(x_BLAd, angles_Lp):
    """The vectors, float (B, L, A, d), with pair p, entries p and p + d / 2, turned by its angle (L, d / 2)."""
    module = np if isinstance(angles_Lp, np.ndarray) else jnp
    cosine, sine = (jnp.asarray(function(angles_Lp)[:, None], x_BLAd.dtype) for function in (module.cos, module.sin))
    first, second = jnp.split(x_BLAd, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)
