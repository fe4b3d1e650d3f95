"""Convolution, pooling and resampling of videos, channels last, lowered to what the backend runs fast.

Which lowering runs is a property of the backend and not of the model: kernels and, up to float32 rounding, results are
the same. XLA's own 3-D convolution is the right one on GPUs and TPUs and several times slower than a 2-D one on CPUs.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name

PAD_MODES = ("reflect", "zero", "replicate")
LOWERINGS = ("auto", "native", "taps")
Lowering = Literal["auto", "native", "taps"]
Padding = Literal["reflect", "zero", "replicate"]


def same_padding(kernel_size: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Cells added before and after each axis so that a convolution of stride 1 keeps its length."""
    return tuple(((k - 1) // 2, k // 2) for k in kernel_size)


def whole_padding(lengths: tuple[int, ...], kernel_size: tuple[int, ...], strides: tuple[int, ...]):
    """The same for any strides (TensorFlow's "SAME"): the fewest cells for a result wherever a stride begins."""
    missing = [max((-(-length // stride) - 1) * stride + size - length, 0)
               for length, size, stride in zip(lengths, kernel_size, strides)]
    return tuple((extra // 2, extra - extra // 2) for extra in missing)


def pad(video_BTHWC, widths: tuple[tuple[int, int], ...], mode: Padding):
    """Pads the axes T, H, W. Reflection repeats the element of an axis of length 1, which has nothing to mirror."""
    if mode not in PAD_MODES:
        raise ValueError(unknown_name("padding", mode, PAD_MODES))
    if not any(sum(width) for width in widths):
        return video_BTHWC
    if mode == "zero":
        return jnp.pad(video_BTHWC, ((0, 0), *widths, (0, 0)))
    for axis, width in enumerate(widths, start=1):
        sources = _sources(video_BTHWC.shape[axis], width, mode)
        if sources:
            video_BTHWC = _extend(video_BTHWC, axis, width[0], sources)
    return video_BTHWC


def _sources(length: int, width: tuple[int, int], mode: Padding) -> tuple[int, ...]:
    """The cells inside whose values stand in the cells outside, those before the axis and then those after it."""
    outside = np.array([*range(-width[0], 0), *range(length, length + width[1])], int)
    if mode == "replicate" or length == 1:
        return tuple(np.clip(outside, 0, length - 1).tolist())
    return tuple((length - 1 - np.abs(outside % (2 * length - 2) - (length - 1))).tolist())


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _extend(array, axis: int, before: int, sources: tuple[int, ...]):
    """Copies of cells put before and after an axis.

    XLA's own gradient of it adds as many mostly empty arrays as there are pieces, which takes longer on CPUs than the
    convolution that follows; this one adds what came back to the cells outside to their sources, and no more.
    """
    copies = [jax.lax.slice_in_dim(array, source, source + 1, axis=axis) for source in sources]
    return jax.lax.concatenate([*copies[:before], array, *copies[before:]], axis)


def _extend_forward(array, axis, before, sources):
    return _extend(array, axis, before, sources), None


def _extend_backward(axis, before, sources, _, gradient):
    length = gradient.shape[axis] - len(sources)
    outside = [*range(before), *range(before + length, gradient.shape[axis])]
    inside = jax.lax.slice_in_dim(gradient, before, before + length, axis=axis)
    for place, source in zip(outside, sources):
        cell = jax.lax.slice_in_dim(inside, source, source + 1, axis=axis)
        cell += jax.lax.slice_in_dim(gradient, place, place + 1, axis=axis)
        inside = jax.lax.dynamic_update_slice_in_dim(inside, cell, source, axis)
    return (inside,)


_extend.defvjp(_extend_forward, _extend_backward)


def conv(video_BTHWC, kernel, *, padding: Padding = "reflect", lowering: Lowering = "auto"):
    """A convolution of stride 1 that keeps T, H and W.

    Args:
      video_BTHWC: input; computed in its dtype, to which the kernel is expected to be cast already.
      kernel: (kt, kh, kw, C, features).
      padding: what stands outside the borders: their mirror image, zeros, or the border itself.
      lowering: "native" is XLA's 3-D convolution; "taps" folds the time taps of the kernel into channels, of the input
        or of the output, and runs one 2-D convolution over all frames; "auto" is taps on CPUs and native elsewhere.
        Kernels of one frame are always a 2-D convolution, those of one cell a matrix product.

    Returns:
      (B, T, H, W, features).
    """
    lowering = _resolved(lowering)
    # Without the barriers XLA on the CPU works out what leads to the input anew for every tap.
    barrier = jax.lax.optimization_barrier if lowering == "taps" else lambda array: array
    widths = same_padding(kernel.shape[:3])
    video_BTHWC = barrier(video_BTHWC)
    if padding != "zero" and kernel.shape[:3] != (1, 1, 1):
        video_BTHWC, widths = barrier(pad(video_BTHWC, widths, padding)), ((0, 0),) * 3
    if lowering == "taps" and padding == "zero":
        return barrier(_by_frames(video_BTHWC, kernel, widths))
    if lowering == "taps" or kernel.shape[0] == 1:
        return barrier(_taps_into_input(video_BTHWC, kernel, widths))
    return jax.lax.conv_general_dilated(
        video_BTHWC, kernel, (1, 1, 1), widths, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


def strided_conv(video_BTHWC, kernel, strides: tuple[int, int, int], widths, *, lowering: Lowering = "auto"):
    """A convolution of any strides, among zeros.

    XLA on the CPU has slow loops for the gradients of strided convolutions. There it is one of stride 1 over patches as
    large as the strides, whose channels are what a patch has of colours.

    Args:
      video_BTHWC: input; computed in its dtype.
      kernel: (kt, kh, kw, C, features).
      strides: along T, H and W.
      widths: zeros (before, after) each of them.
      lowering: see ``conv``.

    Returns:
      (B, T', H', W', features), where T' = (T + zeros - kt) // stride + 1.
    """
    if _resolved(lowering) == "native":
        return jax.lax.conv_general_dilated(
            video_BTHWC, kernel, strides, widths, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))
    if tuple(strides) == (1, 1, 1):
        return jax.lax.optimization_barrier(_by_frames(jax.lax.optimization_barrier(video_BTHWC), kernel, widths))
    sizes = kernel.shape[:3]
    if sizes == (1, 1, 1) and not np.any(widths):
        time, tall, wide = strides
        return jnp.einsum("bthwi,io->bthwo", video_BTHWC[:, ::time, ::tall, ::wide], kernel[0, 0, 0])
    taps, after = [], []
    for length, size, stride, (before, behind) in zip(video_BTHWC.shape[1:4], sizes, strides, widths):
        count = (length + before + behind - size) // stride + 1
        taps.append(-(-size // stride))
        after.append((count - 1 + taps[-1]) * stride - length - before)
    zero = jnp.zeros((), video_BTHWC.dtype)
    padding = [(0, 0, 0), *((before, extra, 0) for (before, _), extra in zip(widths, after)), (0, 0, 0)]
    patches = jax.lax.optimization_barrier(space_to_depth(jax.lax.pad(video_BTHWC, zero, padding), strides))
    more = [(0, tap * stride - size) for tap, stride, size in zip(taps, strides, sizes)]
    split = [part for pair in zip(taps, strides) for part in pair]
    parts = jnp.pad(kernel, (*more, (0, 0), (0, 0))).reshape(*split, *kernel.shape[3:])
    flat = parts.transpose(0, 2, 4, 1, 3, 5, 6, 7).reshape(*taps, -1, kernel.shape[-1])
    return jax.lax.optimization_barrier(_by_frames(patches, flat, ((0, 0),) * 3))


def _resolved(lowering: Lowering) -> Lowering:
    """What "auto" means here."""
    if lowering not in LOWERINGS:
        raise ValueError(unknown_name("lowering", lowering, LOWERINGS))
    if lowering == "auto":
        return "taps" if jax.default_backend() == "cpu" else "native"
    return lowering


def _by_frames(video_BTHWC, kernel, widths):
    """A convolution of stride 1 among zeros, by 2-D convolutions."""
    if kernel.shape[0] > 1 and math.prod(kernel.shape[1:3]) > 1:
        return _taps(video_BTHWC, kernel, widths)
    return _taps_into_input(video_BTHWC, kernel, widths)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _taps(video_BTHWC, kernel, widths):
    """A convolution by frames, its taps where they cost least; and so the gradients, in each of which channels and
    features play other parts. For zero padding: frames that others are padded with would be convolved in vain.
    It has gradients of any order, and no forward mode (jvp).
    """
    return _cheaper(*kernel.shape[3:])(video_BTHWC, kernel, widths)


def _taps_forward(video_BTHWC, kernel, widths):
    return _taps(video_BTHWC, kernel, widths), (video_BTHWC, kernel)


def _taps_backward(widths, saved, gradient):
    video_BTHWC, kernel = saved
    channels, features = kernel.shape[3:]
    # The gradient by the video is a convolution from features to channels, and the transpose of the other way of ours.
    back = _taps_into_input if _cheaper(features, channels) is _taps_into_output else _taps_into_output
    by_video = jax.linear_transpose(lambda video: back(video, kernel, widths), video_BTHWC)
    by_kernel = jax.linear_transpose(
        lambda kernel: _cheaper(channels, features)(video_BTHWC, kernel, widths), kernel)
    return *by_video(gradient), *by_kernel(gradient)


_taps.defvjp(_taps_forward, _taps_backward)


def _cheaper(channels: int, features: int):
    """A 2-D convolution gathers each cell's surroundings, which is work per input channel: the fewer of them the
    better, unless they are so few beside the features that sums over frames of these weigh more."""
    return _taps_into_output if 4 * channels >= features else _taps_into_input


def _taps_into_input(video_BTHWC, kernel, widths):
    """The frames that a kernel (kt, kh, kw, C, features) sees side by side as kt * C channels, then one convolution."""
    time, height, width, channels, features = kernel.shape
    if time > 1:
        padded = pad(video_BTHWC, (widths[0], (0, 0), (0, 0)), "zero")
        frames = padded.shape[1] - time + 1
        video_BTHWC = jnp.concatenate([padded[:, tap:tap + frames] for tap in range(time)], axis=-1)
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, time * channels, features)
    return _conv_frames(video_BTHWC, flat, widths[1:])


def _taps_into_output(video_BTHWC, kernel, widths):
    """One convolution to kt * features, then the sum over what each frame gives to those around it."""
    time, height, width, channels, features = kernel.shape
    flat = kernel.transpose(1, 2, 3, 0, 4).reshape(height, width, channels, time * features)
    parts = jax.lax.optimization_barrier(_conv_frames(video_BTHWC, flat, widths[1:]))
    given, before = parts.shape[1], widths[0][0]
    frames = given + sum(widths[0]) - time + 1
    total = 0  # in float32, so that bfloat16 is rounded once more and not with every tap
    for tap in range(time):
        first, last = max(0, before - tap), min(frames, given + before - tap)  # of the frames that see this tap
        if first < last:
            seen = parts[:, first + tap - before:last + tap - before, ..., tap * features:(tap + 1) * features]
            total += pad(seen.astype(jnp.float32), ((first, frames - last), (0, 0), (0, 0)), "zero")
    return total.astype(parts.dtype)


def _conv_frames(video_BTHWC, kernel_hwio, widths):
    """A 2-D convolution of every frame."""
    if kernel_hwio.shape[:2] == (1, 1):
        return jnp.einsum("bthwi,io->bthwo", video_BTHWC, kernel_hwio[0, 0])
    batch, frames, *frame_shape = video_BTHWC.shape
    out = jax.lax.conv_general_dilated(
        video_BTHWC.reshape(batch * frames, *frame_shape), kernel_hwio, (1, 1), widths,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return out.reshape(batch, frames, *out.shape[1:])


def max_pool(video_BTHWC, window: tuple[int, int, int], strides: tuple[int, int, int] | None = None,
             widths: tuple[tuple[int, int], ...] = ((0, 0),) * 3):
    """Largest values of windows, without XLA's window reduction, whose gradient is many times dearer on CPUs: of blocks
    by reshaping, of windows that overlap by shifts along one axis after the other.

    Args:
      video_BTHWC: input.
      window: cells along T, H and W.
      strides: from window to window; None for blocks beside each other. What is left beyond the last is left out.
      widths: cells (before, after) each axis that are never the largest.

    Raises:
      ValueError: no window fits.
    """
    strides = window if strides is None else strides
    lengths = [length + sum(width) for length, width in zip(video_BTHWC.shape[1:4], widths)]
    counts = [(length - size) // stride + 1 for length, size, stride in zip(lengths, window, strides)]
    if min(counts) < 1:
        raise ValueError(f"Pooling by {window} leaves nothing of a map of (T, H, W) = {video_BTHWC.shape[1:4]}. Use "
                         "clips that are longer or larger.")
    if tuple(strides) == tuple(window) and not np.any(widths):
        time, tall, wide = (count * size for count, size in zip(counts, window))
        split = [part for count, size in zip(counts, window) for part in (count, size)]
        blocks = video_BTHWC[:, :time, :tall, :wide].reshape(len(video_BTHWC), *split, -1)
        return blocks.max((2, 4, 6))
    for axis, (size, stride, width, count) in enumerate(zip(window, strides, widths, counts), start=1):
        outside = [(0, 0)] * video_BTHWC.ndim
        outside[axis] = width
        padded, before = jnp.pad(video_BTHWC, outside, constant_values=-jnp.inf), (slice(None),) * axis
        last = (count - 1) * stride + 1
        video_BTHWC = functools.reduce(
            jnp.maximum, (padded[*before, tap : tap + last : stride] for tap in range(size)))
    return video_BTHWC


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
