"""One clip can be learned by heart through every quantizer: gradients reach the encoder, and codes tell cells apart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.nn.weights import quick_jit
from videogvt.nn.quantizers import quantizers, restart_dead_codes
from videogvt.nn.tokenizer import TokenizerNetwork

pytestmark = pytest.mark.optimized

STEPS, RESTART_EVERY, RESTART_UNTIL = 500, 20, 160
QUANTIZERS = {
    "vq": {"name": "vq", "num_codes": 128, "embedding_dim": 8},
    "fsq": {"name": "fsq", "levels": (8, 5, 5, 5)},
    # At the temperature of large runs, 0.01, a latent 0.01 away from 0 is beyond the reach of the entropy's gradient.
    "lfq": {"name": "lfq", "num_bits": 10, "entropy_temperature": 1.0, "commitment_weight": 0.05},
}


def moving_waves():
    """A clip of (1, 8, 16, 16, 3) whose patches all differ; its mean colour has a PSNR of 18 dB."""
    t, row, column, colour = np.ogrid[:8, :16, :16, :3]
    wave = np.sin(0.7 * column + 0.3 * t + colour) * np.cos(0.5 * row - 0.2 * t * (colour + 1))
    return (0.5 + 0.25 * wave).astype(np.float32)[None]


def test_every_quantizer_is_tried():
    assert set(QUANTIZERS) == set(quantizers)


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_one_clip_overfits_to_40_db(name):
    model = TokenizerNetwork(
        filters=32, channel_multipliers=(1,), temporal_downsample=(), encoder_blocks=1, decoder_blocks=1, norm_groups=8,
        conv="2plus1d", stem=(2, 4, 4), output_bias=0.5, output_scale=0.25, quantizer=QUANTIZERS[name])
    video = moving_waves()
    params = quick_jit(model.init)(jax.random.key(0), video)["params"]
    adam = optax.adam(optax.warmup_cosine_decay_schedule(0, 1e-2, 20, STEPS), b2=0.99)

    def loss(params):
        recon, quantized = model.apply({"params": params}, video, train=True)
        error = jnp.square(recon - video).mean()
        return error + sum(quantized.losses.values()), (error, quantized)

    @quick_jit
    def step(params, opt):
        (_, (error, quantized)), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt = adam.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt, error, quantized

    opt = adam.init(params)
    for index in range(STEPS):
        params, opt, error, quantized = step(params, opt)
        if name == "vq" and index < RESTART_UNTIL and index % RESTART_EVERY == 0:
            codebook, _ = restart_dead_codes(
                params["quantizer"]["codebook"], quantized.stats["usage"], quantized.inputs_BthwD,
                jax.random.key(index), threshold=1)
            params = params | {"quantizer": {"codebook": codebook}}
    assert -10 * np.log10(error) >= 40
