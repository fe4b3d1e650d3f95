"""Regions of a clip, or of its latent grid: the given cells of a (T, H, W) grid of any size, bool.

They are numpy arrays, made once and before anything is traced. Geometry: MAGVIT (arXiv 2212.05199), appendix B, and the
code released with it for the sliding ones.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np


def no_frames(shape):
    return np.zeros(shape, bool)


def first_frames(shape, first):
    return _box(shape, frames=np.arange(first))


def end_frames(shape, first, last):
    return _box(shape, frames=[*range(first), *range(shape[0] - last, shape[0])])


def centre(shape):
    return _box(shape, rows=_middle(shape[1]), columns=_middle(shape[2]))


def vertical_strip(shape):
    return _box(shape, columns=_middle(shape[2]))


def horizontal_strip(shape):
    return _box(shape, rows=_middle(shape[1]))


def sliding_strip(shape):
    """A vertical strip of half the width, from the left edge in the first frame to the right edge in the last."""
    num_frames, _, width = shape
    strip = len(_middle(width))
    start_T = np.round(np.linspace(0, width - strip, num_frames)).astype(int)[:, None]
    column_W = np.arange(width)
    strip_TW = (start_T <= column_W) & (column_W < start_T + strip)
    return np.broadcast_to(strip_TW[:, None], shape)


def around_centre(shape):
    return ~centre(shape)


def around_sliding_centre(shape):
    return ~(sliding_strip(shape) & horizontal_strip(shape))


def pool_visible(visible_THW: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """Which cells of a coarser grid hold at least one given cell; ``strides`` are the sizes of its cells."""
    t, h, w = (n // s for n, s in zip(visible_THW.shape, strides))
    return visible_THW.reshape(t, strides[0], h, strides[1], w, strides[2]).any((1, 3, 5))


def nearest(given: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """For each index the last given one up to it ("right") or the first from it ("left"), or the only neighbour."""
    indices = np.flatnonzero(given)
    places = np.searchsorted(indices, np.arange(given.size), side) - (side == "right")
    return indices[np.clip(places, 0, indices.size - 1)]


def _box(shape, frames=None, rows=None, columns=None):
    """True where all three indices are among the named ones; None names all."""
    chosen = [np.isin(np.arange(n), np.arange(n) if axis is None else axis)
              for n, axis in zip(shape, (frames, rows, columns))]
    return np.einsum("t,h,w->thw", *chosen)


def _middle(size: int) -> np.ndarray:
    """The indices of the middle half of an axis, at least one."""
    return np.arange(size // 4, size // 4 + max(size // 2, 1))
