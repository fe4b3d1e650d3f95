"""Encoder, decoder and discriminator against the published equations, written out once more with XLA's own layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import quick_jit, random_params, random_video
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork

pytestmark = pytest.mark.optimized

GROUPS = 4
PAD_MODES = {"reflect": "reflect", "zero": "constant", "replicate": "edge"}


def conv(params, x, padding="zero"):
    kernel = params["kernel"]
    widths = [(0, 0), *(((k - 1) // 2, k // 2) for k in kernel.shape[:3]), (0, 0)]
    x = jnp.pad(x, widths, mode=PAD_MODES[padding])
    x = jax.lax.conv_general_dilated(x, kernel, (1, 1, 1), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))
    return x + params.get("bias", 0.0)


def norm(params, x):
    groups = x.reshape(x.shape[0], -1, GROUPS, x.shape[-1] // GROUPS)
    mean = groups.mean((1, 3), keepdims=True)
    var = jnp.square(groups - mean).mean((1, 3), keepdims=True)
    return ((groups - mean) / jnp.sqrt(var + 1e-6)).reshape(x.shape) * params["scale"] + params["bias"]


def swish(x):
    return x / (1 + jnp.exp(-x))


def res_block(params, x, padding):
    y = conv(params["Conv_0"], swish(norm(params["GroupNorm_0"], x)), padding)
    y = conv(params["Conv_1"], swish(norm(params["GroupNorm_1"], y)), padding)
    return (conv(params["Conv_2"], x, padding) if "Conv_2" in params else x) + y


def pool(x, time):
    window = (1, time, 2, 2, 1)
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "SAME")
    return total / jax.lax.reduce_window(jnp.ones_like(x), 0.0, jax.lax.add, window, window, "SAME")


def upsample(x, time):
    return x.repeat(time, 1).repeat(2, 2).repeat(2, 3)


def reference_encode(params, x, padding):
    """Two levels and an extra block, two blocks each; time is halved."""
    x = conv(params["Conv_0"], x, padding)
    for index in range(6):
        x = res_block(params[f"ResBlock_{index}"], x, padding)
        if index == 1:
            x = pool(x, 2)
    return conv(params["Conv_1"], swish(norm(params["GroupNorm_0"], x)), padding)


def reference_decode(params, x, padding):
    x = conv(params["Conv_0"], x, padding)
    for index in range(6):
        x = res_block(params[f"ResBlock_{index}"], x, padding)
        if index == 3:
            x = conv(params["Conv_1"], upsample(x, 2), padding)
    return conv(params["Conv_2"], swish(norm(params["GroupNorm_0"], x)), padding)


def reference_discriminate(params, x):
    def leaky(x):
        return jnp.where(x > 0, x, 0.2 * x)

    x = leaky(conv(params["Conv_0"], x))
    for index in range(2):
        block = params[f"ResBlock_{index}"]
        main = pool(leaky(conv(block["Conv_0"], x)), 2)
        main = leaky(conv(block["Conv_2"], main))
        x = (main + conv(block["Conv_1"], pool(x, 2))) / jnp.sqrt(2.0)
    x = leaky(conv(params["Conv_1"], x)).reshape(x.shape[0], -1)
    x = leaky(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    return (x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"])[:, 0]


@pytest.mark.parametrize("padding", PAD_MODES)
def test_tokenizer_is_the_equations(padding):
    model = TokenizerNetwork(
        filters=8, channel_multipliers=(1, 2), temporal_downsample=(True,), norm_groups=GROUPS, padding=padding,
        quantizer={"name": "vq", "num_codes": 32, "embedding_dim": 6})
    video = random_video((2, 4, 8, 6, 3))
    params = random_params(model, video.shape)

    @quick_jit
    def compare(params, video):
        recon, quantized = model.apply({"params": params}, video)
        z = reference_encode(params["encoder"], video, padding)
        codebook = params["quantizer"]["codebook"]
        codes = jnp.square(z[..., None, :] - codebook).sum(-1).argmin(-1)
        return (recon, quantized), (reference_decode(params["decoder"], codebook[codes], padding), codes, z)

    (recon, quantized), (expected, codes, z) = compare(params, video)
    np.testing.assert_allclose(quantized.inputs_BthwD, z, atol=2e-5)
    np.testing.assert_array_equal(quantized.codes_Bthw, codes)
    np.testing.assert_allclose(recon, expected, atol=1e-4)


def test_discriminator_is_the_equations_even_where_time_is_used_up():
    model = Discriminator(filters=8, channel_multipliers=(2, 1))
    video = random_video((2, 2, 8, 8, 3))  # 2 frames, 1, 1
    params = random_params(model, video.shape)
    logits, expected = quick_jit(
        lambda params, video: (model.apply({"params": params}, video), reference_discriminate(params, video)))(
        params, video)
    assert logits.shape == (2,)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
