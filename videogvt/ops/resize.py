"""Bilinear resizing of frames in the two ways that the networks behind FVD and Inception Score were used with.

Both take the value at a place between two pixels as their mean weighted by nearness, and differ in the place: "corner"
is TensorFlow 1's, output pixel i lying at i * in / out (no half-pixel shift, no antialiasing, the last pixel held
beyond its centre); "aligned" puts the corner pixels of input and output on each other, i * (in - 1) / (out - 1).
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name

PLACES = ("corner", "aligned")
Places = Literal["corner", "aligned"]


def resize_bilinear(video_BTHWC, size: tuple[int, int], places: Places = "corner"):
    """Videos of any size as float32 (B, T, *size, C)."""
    if places not in PLACES:
        raise ValueError(unknown_name("way of placing pixels", places, PLACES))
    rows, columns = (_weights(old, new, places) for old, new in zip(video_BTHWC.shape[2:4], size, strict=True))
    video_BTHWC = video_BTHWC.astype(jnp.float32)
    return jnp.einsum("yh,bthwc,xw->btyxc", rows, video_BTHWC, columns, precision="highest")


def _weights(old: int, new: int, places: Places) -> np.ndarray:
    """What every input pixel gives to every output pixel along one axis, (new, old)."""
    scale = (old - 1) / (new - 1) if places == "aligned" and new > 1 else old / new
    places_N = np.arange(new) * scale
    left_N = np.minimum(np.floor(places_N).astype(int), old - 1)
    right_N = np.minimum(left_N + 1, old - 1)
    share_N = places_N - left_N
    weights = np.zeros((new, old), np.float32)
    np.add.at(weights, (np.arange(new), left_N), 1.0 - share_N)
    np.add.at(weights, (np.arange(new), right_N), share_N)
    return weights
