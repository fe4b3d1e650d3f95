"""Convolution, pooling and resampling of videos, channels last, lowered to what the backend runs fast.

Which lowering runs is a property of the backend and not of the model: kernels and, up to float32 rounding, results are
the same. XLA's own 3-D convolution is the right one on GPUs and TPUs and several times slower than a 2-D one on CPUs.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name

PAD_MODES = {"reflect": "reflect", "zero": "constant", "replicate": "edge"}
LOWERINGS = ("auto", "native", "taps")
Lowering = Literal["auto", "native", "taps"]
Padding = Literal["reflect", "zero", "replicate"]


def same_padding(kernel_size: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Cells added before and after each axis so that a convolution of stride 1 keeps its length."""
    return tuple(((k - 1) // 2, k // 2) for k in kernel_size)


def pad(video_BTHWC, widths: tuple[tuple[int, int], ...], mode: Padding):
    """Pads the axes T, H, W. Reflection repeats the element of an axis of length 1, which has nothing to mirror."""
    if mode not in PAD_MODES:
        raise ValueError(unknown_name("padding", mode, PAD_MODES))
    if not any(sum(width) for width in widths):
        return video_BTHWC
    return jnp.pad(video_BTHWC, ((0, 0), *widths, (0, 0)), mode=PAD_MODES[mode])


def conv(video_BTHWC, kernel, *, padding: Padding = "reflect", lowering: Lowering = "auto"):
    """A convolution of stride 1 that keeps T, H and W.

    Args:
      video_BTHWC: input; computed in its dtype, to which the kernel is expected to be cast already.
      kernel: (kt, kh, kw, C, features).
      padding: what stands outside the borders: their mirror image, zeros, or the border itself.
      lowering: "native" is XLA's 3-D convolution; "taps" folds the time taps of the kernel into channels and runs one
        2-D convolution over all frames; "auto" is taps on CPUs and native elsewhere. Kernels of one frame are always
        a 2-D convolution, those of one cell a matrix product.

    Returns:
      (B, T, H, W, features).
    """
    if lowering not in LOWERINGS:
        raise ValueError(unknown_name("lowering", lowering, LOWERINGS))
    if lowering == "auto":
        lowering = "taps" if jax.default_backend() == "cpu" else "native"
    time, *space = kernel.shape[:3]
    if lowering == "taps":
        # Without the barriers XLA on the CPU works out what leads to the input anew for every tap.
        video_BTHWC = jax.lax.optimization_barrier(video_BTHWC)
        return jax.lax.optimization_barrier(_conv_frames(*_fold_time(video_BTHWC, kernel, padding), padding))
    if time == 1:
        return _conv_frames(*_fold_time(video_BTHWC, kernel, padding), padding)
    widths = same_padding((time, *space))
    if padding != "zero":
        video_BTHWC, widths = pad(video_BTHWC, widths, padding), ((0, 0),) * 3
    return jax.lax.conv_general_dilated(
        video_BTHWC, kernel, (1, 1, 1), widths, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


def _fold_time(video_BTHWC, kernel, padding):
    """The time taps side by side as channels, and the 2-D kernel (kh, kw, kt * C, features) that sums over them."""
    time, height, width, channels, features = kernel.shape
    frames = video_BTHWC.shape[1]
    if time > 1:
        padded = pad(video_BTHWC, (same_padding((time,))[0], (0, 0), (0, 0)), padding)
        video_BTHWC = jnp.concatenate([padded[:, tap:tap + frames] for tap in range(time)], axis=-1)
    return video_BTHWC, kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, time * channels, features)


def _conv_frames(video_BTHWC, kernel_hwio, padding):
    """A 2-D convolution of every frame."""
    if kernel_hwio.shape[:2] == (1, 1):
        return jnp.einsum("bthwi,io->bthwo", video_BTHWC, kernel_hwio[0, 0])
    widths = same_padding(kernel_hwio.shape[:2])
    if padding != "zero":
        video_BTHWC, widths = pad(video_BTHWC, ((0, 0), *widths), padding), ((0, 0),) * 2
    batch, frames, *frame_shape = video_BTHWC.shape
    out = jax.lax.conv_general_dilated(
        video_BTHWC.reshape(batch * frames, *frame_shape), kernel_hwio, (1, 1), widths,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return out.reshape(batch, frames, *out.shape[1:])


def average_pool(video_BTHWC, window: tuple[int, int, int]):
    """Means over blocks of (T, H, W) cells. A block that overhangs a border is the mean of the cells inside it."""
    lengths = video_BTHWC.shape[1:4]
    missing = [-length % size for length, size in zip(lengths, window)]
    widths = tuple((extra // 2, extra - extra // 2) for extra in missing)
    blocks = pad(video_BTHWC, widths, "zero")
    split = [part for length, size in zip(blocks.shape[1:4], window) for part in (length // size, size)]
    blocks = blocks.reshape(blocks.shape[0], *split, blocks.shape[-1])
    if not any(missing):
        return blocks.mean((2, 4, 6))
    counts_THW = np.pad(np.ones(lengths), widths).reshape(split).sum((1, 3, 5))
    return blocks.sum((2, 4, 6)) / counts_THW[..., None].astype(video_BTHWC.dtype)


def upsample_nearest(video_BTHWC, factors: tuple[int, int, int]):
    """Every cell repeated ``factors`` times along T, H and W."""
    batch, frames, height, width, channels = video_BTHWC.shape
    time, tall, wide = factors
    blocks = jnp.broadcast_to(
        video_BTHWC[:, :, None, :, None, :, None], (batch, frames, time, height, tall, width, wide, channels))
    return blocks.reshape(batch, frames * time, height * tall, width * wide, channels)


def space_to_depth(video_BTHWC, patch: tuple[int, int, int]):
    """Patches of (T, H, W) pixels as channels, in the order time, row, column, colour."""
    batch, frames, height, width, channels = video_BTHWC.shape
    time, tall, wide = patch
    blocks = video_BTHWC.reshape(batch, frames // time, time, height // tall, tall, width // wide, wide, channels)
    blocks = blocks.transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return blocks.reshape(*blocks.shape[:4], math.prod(patch) * channels)


def depth_to_space(patches_BthwP, patch: tuple[int, int, int]):
    """The inverse of ``space_to_depth``."""
    batch, frames, height, width, depth = patches_BthwP.shape
    time, tall, wide = patch
    channels = depth // math.prod(patch)
    blocks = patches_BthwP.reshape(batch, frames, height, width, time, tall, wide, channels)
    blocks = blocks.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return blocks.reshape(batch, frames * time, height * tall, width * wide, channels)
