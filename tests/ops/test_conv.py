"""The lowerings agree with each other and with NumPy, values and gradients; pooling and resampling are exact."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import conv as ops

pytestmark = pytest.mark.optimized

NUMPY_MODES = {"reflect": "reflect", "zero": "constant", "replicate": "edge"}


def numpy_conv(video, kernel, padding):
    """The definition: a sum over taps of shifted copies of the padded video."""
    widths = [((k - 1) // 2, k // 2) for k in kernel.shape[:3]]
    padded = np.pad(video, [(0, 0), *widths, (0, 0)], mode=NUMPY_MODES[padding])
    lengths = video.shape[1:4]
    out = 0
    for tap in np.ndindex(*kernel.shape[:3]):
        window = tuple(slice(start, start + length) for start, length in zip(tap, lengths))
        out = out + padded[(slice(None), *window)] @ kernel[tap]
    return out


@pytest.mark.parametrize("padding", ops.PAD_MODES)
@pytest.mark.parametrize("kernel_size, channels, features", [
    ((3, 3, 3), 3, 4), ((3, 3, 3), 1, 5), ((3, 3, 3), 5, 1), ((5, 3, 3), 1, 5), ((4, 3, 3), 3, 4), ((7, 1, 2), 3, 2),
    ((3, 1, 1), 3, 4), ((1, 3, 3), 3, 4), ((1, 1, 1), 3, 4),
    ((2, 4, 3), 3, 4)])
@pytest.mark.parametrize("frames", [1, 4])
def test_every_lowering_is_the_definition_values_and_gradients(padding, kernel_size, channels, features, frames):
    rng = np.random.default_rng(0)
    video = rng.normal(size=(2, frames, 5, 6, channels)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, channels, features)).astype(np.float32)
    target = rng.normal(size=(2, frames, 5, 6, features)).astype(np.float32)

    def run(lowering):
        def loss(video, kernel):
            out = ops.conv(video, kernel, padding=padding, lowering=lowering)
            return (out * target).sum(), out

        (_, out), grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(video, kernel)
        return out, *grads

    native, taps = run("native"), run("taps")
    if padding != "reflect" or frames > 1:  # numpy mirrors nothing at a length of 1
        np.testing.assert_allclose(native[0], numpy_conv(video, kernel, padding), atol=1e-4)
    for one, other in zip(native, taps):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("kernel_size, strides, widths", [
    ((7, 7, 7), (2, 2, 2), ((2, 3), (3, 3), (2, 2))), ((5, 7, 7), (1, 2, 2), ((2, 2), (3, 3), (3, 3))),
    ((1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1))), ((5, 1, 1), (4, 1, 1), ((2, 2), (0, 0), (0, 0))),
    ((1, 1, 1), (1, 2, 3), ((0, 0),) * 3), ((2, 1, 1), (4, 1, 2), ((0, 0),) * 3),
    ((1, 1, 1), (2, 2, 2), ((1, 0),) * 3), ((3, 3, 3), (1, 1, 1), ((1, 1),) * 3)])
def test_strided_convolutions_are_those_of_xla_values_and_gradients(kernel_size, strides, widths):
    rng = np.random.default_rng(0)
    video = rng.normal(size=(2, 6, 7, 8, 3)).astype(np.float32)
    kernel = (rng.normal(size=(*kernel_size, 3, 4)) / np.sqrt(np.prod(kernel_size))).astype(np.float32)

    def run(lowering):
        def loss(video, kernel):
            out = ops.strided_conv(video, kernel, strides, widths, lowering=lowering)
            return jnp.sin(out).sum(), out

        (_, out), grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(video, kernel)
        return out, *grads

    for one, other in zip(run("native"), run("taps")):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("strides", [(1, 1, 1), (1, 2, 2), (2, 2, 3)])
def test_whole_padding_is_what_xla_calls_same(strides):
    video, kernel = jnp.ones((1, 6, 7, 8, 1)), jnp.ones((3, 7, 2, 1, 1))
    dimensions = ("NDHWC", "DHWIO", "NDHWC")
    expected = jax.lax.conv_general_dilated(video, kernel, strides, "SAME", dimension_numbers=dimensions)
    widths = ops.whole_padding((6, 7, 8), (3, 7, 2), strides)
    np.testing.assert_array_equal(ops.strided_conv(video, kernel, strides, widths), expected)


@pytest.mark.parametrize("window, strides, widths", [
    ((1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1))), ((3, 3, 3), (1, 1, 1), ((1, 1),) * 3),
    ((3, 2, 3), (2, 2, 2), ((1, 1), (0, 1), (0, 1))), ((2, 2, 2), (2, 2, 2), ((0, 1), (0, 0), (0, 1))),
    ((2, 2, 3), (2, 2, 3), ((0, 0),) * 3)])
def test_maxima_are_those_of_windows_values_and_gradients(window, strides, widths):
    video = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 7, 3)), jnp.float32)

    def run(pool):
        return jax.value_and_grad(lambda video: jnp.sin(pool(video, window, strides, widths)).sum())(video)

    for one, other in zip(run(ops.max_pool), run(flax.linen.max_pool)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_maxima_of_whole_blocks():
    video = jnp.arange(2 * 3 * 4, dtype=jnp.float32).reshape(1, 2, 3, 4, 1)
    np.testing.assert_array_equal(ops.max_pool(video, (1, 2, 2))[0, :, :, :, 0], [[[5, 7]], [[17, 19]]])
    for strides in (None, (1, 1, 1)):
        with pytest.raises(ValueError, match=r"leaves nothing of a map of \(T, H, W\) = \(2, 3, 4\)"):
            ops.max_pool(video, (4, 1, 1), strides)


@pytest.mark.parametrize("padding", ops.PAD_MODES)
@pytest.mark.parametrize("widths", [((1, 1), (1, 1), (1, 1)), ((2, 0), (0, 0), (0, 3)), ((1, 4), (1, 2), (3, 1))])
def test_padding_and_its_gradients_are_those_of_numpy_and_jax(padding, widths):
    rng = np.random.default_rng(0)
    video = rng.normal(size=(2, 2, 3, 5, 2)).astype(np.float32)
    everywhere = ((0, 0), *widths, (0, 0))
    weights = rng.normal(size=np.pad(video, everywhere).shape).astype(np.float32)
    np.testing.assert_array_equal(ops.pad(video, widths, padding), np.pad(video, everywhere, NUMPY_MODES[padding]))

    def gradients(padded):
        def loss(video):
            return (jnp.square(padded(video)) * weights).sum()

        return jax.grad(loss)(video), jax.grad(lambda video: jnp.square(jax.grad(loss)(video)).sum())(video)

    ours = gradients(lambda video: ops.pad(video, widths, padding))
    theirs = gradients(lambda video: jnp.pad(video, everywhere, NUMPY_MODES[padding]))
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


def test_reflection_repeats_the_element_of_an_axis_of_length_one():
    video = jnp.arange(12.0).reshape(1, 1, 3, 4, 1)
    padded = ops.pad(video, ((1, 1), (1, 1), (0, 0)), "reflect")
    np.testing.assert_array_equal(padded[0, :, :, 0, 0], [[4, 0, 4, 8, 4]] * 3)


def test_unknown_names_are_refused():
    video, kernel = jnp.zeros((1, 1, 3, 3, 1)), jnp.zeros((1, 3, 3, 1, 1))
    with pytest.raises(ValueError, match="Did you mean 'reflect'"):
        ops.conv(video, kernel, padding="refelct")
    with pytest.raises(ValueError, match="Unknown lowering 'tap'"):
        ops.conv(video, kernel, lowering="tap")


def test_average_pool_is_the_block_mean():
    video = np.random.default_rng(0).random((2, 4, 6, 4, 3)).astype(np.float32)
    pooled = ops.average_pool(jnp.asarray(video), (2, 2, 2))
    np.testing.assert_allclose(pooled[1, 1, 2, 0], video[1, 2:4, 4:6, 0:2].mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(ops.average_pool(jnp.asarray(video), (1, 1, 1)), video)


def test_average_pool_leaves_out_the_cells_beyond_the_border():
    video = jnp.asarray([1.0, 3.0, 10.0]).reshape(1, 3, 1, 1, 1)
    np.testing.assert_array_equal(ops.average_pool(video, (2, 1, 1)).ravel(), [2, 10])
    np.testing.assert_array_equal(ops.average_pool(video[:, :1], (2, 2, 2)).ravel(), [1])
    counted = jax.lax.reduce_window(video, 0.0, jax.lax.add, (1, 2, 1, 1, 1), (1, 2, 1, 1, 1), "SAME")
    np.testing.assert_array_equal(counted.ravel(), [4, 10])  # the same cells as XLA's SAME


def test_upsample_repeats_cells_and_pooling_undoes_it():
    video = jnp.arange(16.0).reshape(1, 2, 2, 2, 2)
    large = ops.upsample_nearest(video, (1, 2, 3))
    expected = np.repeat(np.repeat(video, 2, axis=2), 3, axis=3)
    np.testing.assert_array_equal(large, expected)
    np.testing.assert_array_equal(ops.average_pool(large, (1, 2, 3)), video)


def test_space_to_depth_keeps_patches_together_and_comes_back():
    video = jnp.arange(4 * 4 * 6 * 3.0).reshape(1, 4, 4, 6, 3)
    patches = ops.space_to_depth(video, (2, 4, 3))
    assert patches.shape == (1, 2, 1, 2, 72)
    np.testing.assert_array_equal(patches[0, 1, 0, 1].reshape(2, 4, 3, 3), video[0, 2:, :, 3:])
    np.testing.assert_array_equal(ops.depth_to_space(patches, (2, 4, 3)), video)


def test_gradients_of_gradients_agree_too():
    """The discriminator's gradient penalty is one."""
    rng = np.random.default_rng(0)
    video, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 3, 4, 4, 2), (3, 3, 3, 2, 3)))

    def penalty(kernel, lowering):
        def score(video):
            return jnp.tanh(ops.conv(video, kernel, padding="zero", lowering=lowering)).sum()

        return jnp.square(jax.grad(score)(video)).sum()

    native, taps = (jax.jit(jax.grad(lambda kernel, lowering=lowering: penalty(kernel, lowering)))(kernel)
                    for lowering in ("native", "taps"))
    np.testing.assert_allclose(native, taps, rtol=1e-4, atol=1e-4)
