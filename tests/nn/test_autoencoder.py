"""The causal network: what sees what, clips in chunks, pictures, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import quick_jit, random_params, random_video
from videogvt.nn.autoencoder import AdaptiveGroupNorm
from videogvt.nn.layers import PAST, Conv, LayerStyle
from videogvt.nn.tokenizer import TokenizerNetwork

FIELDS = {
    "conv": "causal", "padding": "zero", "norm_scope": "frame", "filters": 4, "channel_multipliers": (1, 2, 2),
    "temporal_downsample": (True, True), "norm_groups": 2, "encoder_blocks": (0, 0, 1, 0),
    "decoder_blocks": (0, 0, 1, 0), "quantizer": {"name": "lfq", "num_bits": 5}, "lowering": "native",
}
SHAPE = (1, 13, 8, 8, 3)
FRAMES, CELLS = np.arange(13), np.arange(4)


@pytest.fixture(scope="module")
def model():
    return TokenizerNetwork(**FIELDS)


@pytest.fixture(scope="module")
def params(model):
    return random_params(model, (1, 5, 8, 8, 3))


def influence(function, inputs):
    """Which frames of the input (T,) each frame of a function's result (T',) depends on, by gradient: bool (T', T)."""
    shape = jax.eval_shape(function, inputs).shape
    weights = np.random.default_rng(0).normal(size=shape[2:])

    @quick_jit
    def gradients(inputs):
        _, back = jax.vjp(function, inputs)
        return jax.vmap(lambda one_T: back(one_T[None, :, None, None, None] * weights)[0])(jnp.eye(shape[1]))

    return np.abs(gradients(inputs)).max((1, 3, 4, 5)) > 0


def test_no_frame_depends_on_a_later_one_but_those_of_its_cell(model, params):
    def call(array, method):
        return model.apply({"params": params}, array, method=method)

    video, z = random_video(SHAPE), random_video((1, 4, 2, 2, 5)) - 0.5
    encoder = influence(lambda video: call(video, "encode"), video)
    decoder = influence(lambda z: call(z, "decode"), z)
    later = FRAMES[None, :] > 4 * CELLS[:, None]  # of latent frame i, input frames beyond 4 i
    assert not encoder[later].any() and encoder[CELLS, 4 * CELLS].all()
    latest = -(-FRAMES // 4)  # the latent frame that a frame is made of
    assert not decoder[CELLS[None, :] > latest[:, None]].any() and decoder[FRAMES, latest].all()
    whole = decoder.astype(int) @ encoder > 0  # frames with which cells end see none that is later
    assert not np.triu(whole, 1)[FRAMES % 4 == 0].any() and whole[FRAMES, FRAMES].all()


def test_norms_over_the_clip_end_causality(params):
    model = TokenizerNetwork(**{**FIELDS, "norm_scope": "clip"})
    encoder = influence(lambda video: model.apply({"params": params}, video, method="encode"), random_video(SHAPE))
    assert encoder.all() and not model.exact_in_chunks


@pytest.mark.parametrize("method, sizes", [("encode", (5, 4, 4)), ("decode", (2, 1, 1))])
def test_chunks_are_the_whole_clip(model, params, method, sizes):
    array = random_video(SHAPE) if method == "encode" else np.random.default_rng(0).choice([-1.0, 1.0], (1, 4, 2, 2, 5))
    whole = quick_jit(lambda array: model.apply({"params": params}, array, method=method))(array)
    step = quick_jit(lambda variables, array: model.apply(variables, array, method=method, mutable=[PAST]))
    past, parts, start = {}, [], 0
    for size in sizes:
        part, past = step({"params": params, **past}, array[:, start : start + size])
        parts.append(part)
        start += size
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    alone = quick_jit(lambda array: model.apply({"params": params}, array, method=method))(array[:, : sizes[0]])
    np.testing.assert_allclose(parts[0], alone, atol=1e-5)  # the beginning of a clip is a clip


def test_a_convolution_in_chunks_keeps_two_frames_or_one():
    style = LayerStyle(conv="causal", padding="zero")
    video = random_video((1, 9, 4, 4, 2))
    for stride, kept in ((1, 2), (2, 1)):
        conv = Conv(3, (3, 3, 3), style, strides=(stride, 1, 1))
        kernel = {"params": random_params(conv, video.shape)}
        whole = conv.apply(kernel, video)
        first, past = conv.apply(kernel, video[:, :5], mutable=[PAST])
        assert past[PAST]["frames"].shape == (1, kept, 4, 4, 2)
        rest, _ = conv.apply(kernel | past, video[:, 5:], mutable=[PAST])
        np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, atol=1e-5)
    assert PAST not in conv.init(jax.random.key(0), video)


def test_adaptive_norms_begin_as_ordinary_ones_and_follow_their_latents():
    style = LayerStyle(conv="causal", padding="zero", norm_groups=2, norm_scope="frame")
    norm = AdaptiveGroupNorm(style, frames=2)
    x, z = random_video((1, 3, 4, 4, 4)), np.random.default_rng(0).normal(size=(1, 2, 2, 2, 3)).astype(np.float32)
    params = norm.init(jax.random.key(0), x, z)["params"]
    plain = norm.apply({"params": params}, x, z).reshape(3, 16, 2, 2)
    np.testing.assert_allclose(plain.mean((1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(plain.std((1, 3)), 1, atol=1e-3)
    weights = jax.tree.map(lambda leaf: leaf + 0.5, params)
    found = norm.apply({"params": weights}, x, z).reshape(3, 16, 4)
    for frame, latent in ((0, 0), (1, 1), (2, 1)):  # the first latent frame has one frame
        cells = z[0, latent].reshape(4, 3).astype(np.float64)
        scale, bias = cells.std(0, ddof=1).sum() / 2 + 1.5, cells.mean(0).sum() / 2 + 0.5
        np.testing.assert_allclose(found[frame], scale * plain.reshape(3, 16, 4)[frame] + bias, atol=1e-4)


def test_sizes_and_fields_that_do_not_go_with_it_are_refused(model):
    assert (model.lead, model.strides, model.fitting((16, 9, 8))) == (1, (4, 4, 4), (13, 8, 8))
    assert [model.latent_shape((frames, 8, 8))[0] for frames in (1, 5, 17)] == [1, 2, 5]
    with pytest.raises(ValueError, match="frames = 16 is not 1 and a multiple of 4.*after a first frame"):
        model.latent_shape((16, 8, 8))
    for fields, message in (
        ({"padding": "reflect"}, "padding='zero'"), ({"stem": (2, 1, 1)}, "causal network cannot join 2 frames"),
        ({"norm_scope": "position"}, "Set 'frame'"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(TokenizerNetwork(**{**FIELDS, **fields}).init, jax.random.key(0), jnp.zeros(SHAPE))
