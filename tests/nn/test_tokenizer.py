"""What a tokenizer promises, whatever its size: round trips, stages, gradients, dtypes, variants, clear errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.nn.weights import quick_jit, random_params, random_video
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.inflation import inflate
from videogvt.nn.layers import GroupNorm, LayerStyle
from videogvt.nn.tokenizer import TokenizerNetwork

SHAPE = (2, 4, 8, 8, 3)
SMALL = {
    "filters": 8, "channel_multipliers": (1, 2), "temporal_downsample": (True,), "norm_groups": 4,
    "encoder_blocks": 1, "decoder_blocks": 1,
}
QUANTIZERS = {
    "vq": {"name": "vq", "num_codes": 16, "embedding_dim": 4},
    "fsq": {"name": "fsq", "levels": (4, 3)},
    "lfq": {"name": "lfq", "num_bits": 5},
}
VARIANTS = {  # one per quantizer, that between them have every field away from its default
    "vq": {"quantizer": QUANTIZERS["vq"]},
    "fsq": {"quantizer": QUANTIZERS["fsq"], "conv": "2plus1d", "stem": (1, 2, 2), "input_bias": 1.0,
            "input_scale": 2.0, "output_bias": 1.0, "output_scale": 0.1, "padding": "zero"},
    "lfq": {"quantizer": QUANTIZERS["lfq"], "conv": "2d", "padding": "replicate"},
    "point": {"quantizer": QUANTIZERS["vq"], "conv": "point", "norm_scope": "position", "norm_epsilon": 0.1,
              "stem": (2, 2, 2), "padding": "zero", "decoder_reach": (3, 3, 3), "latent_bias": 0.3},
}


LOCAL = {"channel_multipliers": (1,), "temporal_downsample": (), "encoder_blocks": 1, "decoder_blocks": 1, "filters": 8,
         "conv": "point", "norm_scope": "position", "norm_groups": 4, "norm_epsilon": 0.1, "stem": (2, 4, 4),
         "quantizer": {"name": "vq", "num_codes": 64, "embedding_dim": 8}}


def loss(model, params, video):
    recon, quantized = model.apply({"params": params}, video, train=True)
    return jnp.square(recon - video).mean() + sum(quantized.losses.values()), recon


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def case(request):
    """A model, its parameters, a video, and the outcome of all its methods and of a training pass."""
    model = TokenizerNetwork(**SMALL, **VARIANTS[request.param])
    video = random_video(SHAPE)
    params = random_params(model, SHAPE)

    @quick_jit
    def run(params, video):
        def call(*args, **kwargs):
            return model.apply({"params": params}, *args, **kwargs)

        recon, quantized = call(video)
        codes = call(video, method="codes")
        latents = call(codes, method="embed")
        pixels = call(call(latents, method="decode_features"), method="decode_pixels")
        methods = {"codes": codes, "latents": latents, "video": call(codes, method="video"), "staged": pixels}
        return recon, quantized, methods, jax.grad(lambda p: loss(model, p, video)[0])(params)

    return model, params, video, run(params, video)


def test_doors_agree_with_each_other(case):
    model, _, video, (recon, quantized, methods, _) = case
    grid = model.latent_shape(SHAPE[1:4])
    assert recon.shape == video.shape
    assert methods["codes"].shape == (2, *grid) and methods["codes"].dtype == jnp.int32
    assert methods["codes"].min() >= 0 and methods["codes"].max() < model.num_codes == quantized.stats["usage"].size
    np.testing.assert_array_equal(methods["codes"], quantized.codes_Bthw)
    np.testing.assert_array_equal(methods["latents"], quantized.latents_BthwD)
    np.testing.assert_allclose(methods["video"], jnp.clip(recon, 0, 1), atol=1e-5)
    np.testing.assert_allclose(methods["staged"], recon, atol=1e-5)


def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(case):
    *_, grads = case[3]
    for path, grad in flatten_dict(grads, sep="/").items():
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, path


def test_frames_of_a_per_frame_tokenizer_know_nothing_of_each_other():
    model = TokenizerNetwork(**SMALL, **VARIANTS["lfq"])
    video = random_video(SHAPE)
    params = random_params(model, SHAPE)
    encode = quick_jit(lambda video: model.apply({"params": params}, video, method="encode"))
    z = encode(video)
    np.testing.assert_allclose(encode(video[:, ::-1]), z[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(encode(video[:, 1:2]), z[:, 1:2], atol=1e-5)


LOCAL = {
    "filters": 16, "channel_multipliers": (1,), "temporal_downsample": (), "norm_groups": 1, "padding": "zero",
    "encoder_blocks": (2, 0), "decoder_blocks": (1, 0), "conv": "point", "decoder_reach": (5, 3, 3), "stem": (2, 4, 4),
    "norm_scope": "position", "norm_epsilon": 0.1, "quantizer": QUANTIZERS["vq"], "input_bias": 1.0,
}


def test_a_local_code_depends_on_its_own_cell_alone():
    model, shape = TokenizerNetwork(**LOCAL), (1, 8, 16, 16, 3)
    params = random_params(model, shape)
    encode = quick_jit(lambda video: model.apply({"params": params}, video, method="encode"))
    video, other = random_video(shape), random_video(shape)[:, ::-1]
    cell = np.zeros((4, 4, 4), bool)
    cell[1, 2, 3] = True
    pixels = cell.repeat(2, 0).repeat(4, 1).repeat(4, 2)[None, ..., None]
    changed = np.asarray(jnp.abs(encode(jnp.where(pixels, other, video)) - encode(video)).max(-1)[0] > 0)
    np.testing.assert_array_equal(changed, cell)
    np.testing.assert_allclose(encode(jnp.concatenate([video, other]))[:1], encode(video), atol=1e-5)  # nor on others


def test_noise_below_the_threshold_is_not_seen():
    model, shape = TokenizerNetwork(**LOCAL, input_threshold=0.1), (1, 8, 16, 16, 3)
    params = random_params(model, shape)
    encode = quick_jit(lambda video: model.apply({"params": params}, video, method="encode"))
    white = jnp.ones(shape)
    np.testing.assert_array_equal(encode(white - 0.09 * random_video(shape)), encode(white))
    plain = TokenizerNetwork(**LOCAL)
    np.testing.assert_allclose(  # what is farther away comes nearer by the threshold
        encode(white - 0.3), plain.apply({"params": params}, white - 0.2, method="encode"), atol=1e-5)


def test_an_empty_cell_begins_somewhere_with_a_bias_and_nowhere_without():
    """Without one its latent is zero, whose gradient, brought to length 1, is a million times its due."""
    shape, steep = (1, 8, 16, 16, 3), []
    for std in (0.0, 0.3):
        quantizer = {**QUANTIZERS["vq"], "latent_normalize": True}
        model = TokenizerNetwork(**{**LOCAL, "quantizer": quantizer}, latent_bias=std)
        params = model.init(jax.random.key(0), jnp.ones(shape))["params"]
        latents = model.apply({"params": params}, jnp.ones(shape), method="encode")
        assert (np.abs(latents).max() > 0) == (std > 0) and np.ptp(latents, axis=(0, 1, 2, 3)).max() == 0
        grads = jax.grad(lambda p, model=model: loss(model, p, jnp.full(shape, 0.5).at[:, :, 4:].set(1.0))[0])(params)
        steep.append(float(jnp.abs(grads["encoder"]["Conv_1"]["bias"]).max()))
    assert steep[0] > 1e3 * steep[1]


def test_a_wide_first_kernel_reaches_as_far_as_it_says():
    model = TokenizerNetwork(**LOCAL)
    params = random_params(model, (1, 14, 20, 20, 3))
    decode = quick_jit(lambda z: model.apply({"params": params}, z, method="decode"))
    z = jnp.zeros((1, 7, 5, 5, 4))
    changed = np.asarray(jnp.abs(decode(z.at[0, 3, 2, 2].set(1.0)) - decode(z)).max(-1)[0] > 0)
    cells = changed.reshape(7, 2, 5, 4, 5, 4).any((1, 3, 5))
    assert cells[1:6, 1:4, 1:4].all() and cells.sum() == 5 * 3 * 3


def test_a_norm_of_positions_is_a_layer_norm_per_group():
    x = jax.random.normal(jax.random.key(0), (2, 1, 3, 2, 8))
    params = {"scale": jnp.arange(1.0, 9), "bias": jnp.arange(8.0)}
    style = LayerStyle(norm_groups=2, norm_scope="position", norm_epsilon=0.5)
    found = GroupNorm(style).apply({"params": params}, x)
    parts = np.asarray(x).reshape(2, 1, 3, 2, 2, 4)
    normed = (parts - parts.mean(-1, keepdims=True)) / np.sqrt(parts.var(-1, keepdims=True) + 0.5)
    np.testing.assert_allclose(found, normed.reshape(x.shape) * params["scale"] + params["bias"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="norm_scope"):
        LayerStyle(norm_scope="batch")


def test_lowering_and_rematerialisation_change_no_result():
    small = {**SMALL, "channel_multipliers": (1,), **VARIANTS["vq"]}
    model, native = TokenizerNetwork(**small, lowering="taps"), TokenizerNetwork(**small, lowering="native")
    remat = model.clone(remat_levels=1)
    video = random_video(SHAPE)
    params = random_params(model, SHAPE)

    @quick_jit
    def run(params):
        def grad(model):
            return jax.value_and_grad(lambda p: loss(model, p, video), has_aux=True)(params)

        return grad(model), grad(remat), loss(native, params, video)[1]

    ((_, recon), grads), ((_, remat_recon), remat_grads), native_recon = run(params)
    np.testing.assert_allclose(remat_recon, recon, atol=1e-5)
    np.testing.assert_allclose(native_recon, recon, atol=1e-4)
    for path, grad in flatten_dict(grads).items():
        np.testing.assert_allclose(flatten_dict(remat_grads)[path], grad, atol=1e-4, rtol=1e-3, err_msg=str(path))


def test_rematerialised_levels_are_those_asked_for_and_only_in_training():
    model = TokenizerNetwork(**SMALL, **VARIANTS["vq"], remat_levels=1)
    params = random_params(model, SHAPE)

    def remats(**kwargs):
        jaxpr = jax.make_jaxpr(lambda video: model.apply({"params": params}, video, **kwargs))(random_video(SHAPE))
        return str(jaxpr).count("remat2[") or str(jaxpr).count("checkpoint[")

    assert remats(train=True) == 2  # of 6 blocks, one of the encoder and one of the decoder
    assert remats() == 0


@pytest.mark.parametrize("conv, per_frame, mode, height", [
    ("3d", "2d", "central", 8), ("2plus1d", "2d", "central", 8), ("split", "split2d", "central", 8),
    ("split", "split2d", "average", 8), ("split", "2d", "central", 1),  # 1: of a single colour
])
def test_an_inflated_network_is_the_per_frame_one_on_clips_at_rest(conv, per_frame, mode, height):
    fields = {**SMALL, "quantizer": QUANTIZERS["vq"], "padding": "reflect"}
    image, video_model = TokenizerNetwork(**fields, conv=per_frame), TokenizerNetwork(**fields, conv=conv)
    still = np.broadcast_to(random_video((2, 1, height, height, 3)), (2, 4, 8, 8, 3))
    params = random_params(image, SHAPE)
    inflated = inflate(random_params(video_model, SHAPE, seed=5), params, mode=mode)

    @quick_jit
    def run(inflated, params):
        return (video_model.apply({"params": inflated}, still)[0], image.apply({"params": params}, still)[0])

    video, frames = run(inflated, params)
    # of a single colour, GroupNorm divides by what two channels differ, and so enlarges rounding
    np.testing.assert_allclose(video, frames, atol=1e-4 if height > 1 else 1e-3)
    assert np.std(frames) > 1e-2


@pytest.mark.parametrize(
    "model, out",
    [
        (TokenizerNetwork(**SMALL, **VARIANTS["vq"], dtype="bfloat16", lowering="native"), "bfloat16"),
        (Discriminator(filters=8, channel_multipliers=(1,), dtype="bfloat16", lowering="native"), "float32"),
    ],
    ids=["tokenizer", "discriminator"],
)
def test_computation_is_in_the_dtype_asked_for(model, out):
    params, video = random_params(model, SHAPE), jnp.zeros(SHAPE)
    jaxpr = jax.make_jaxpr(lambda p, v: model.apply({"params": p}, v))(params, video)
    convs = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "conv_general_dilated"]
    assert len(convs) >= 4
    assert {str(var.aval.dtype) for eqn in convs for var in (*eqn.invars, *eqn.outvars)} == {"bfloat16"}
    assert jax.tree.leaves(jaxpr.out_avals)[0].dtype == out


def equations(jaxpr):
    """All equations of a jaxpr and of those within it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_a_per_frame_discriminator_has_a_logit_for_every_frame():
    model = Discriminator(filters=8, channel_multipliers=(1, 1), conv="2d", remat_levels=1)
    params = random_params(model, SHAPE)
    judge = quick_jit(lambda video: model.apply({"params": params}, video))
    video = random_video(SHAPE)
    assert judge(video).shape == (2, 4)
    np.testing.assert_allclose(judge(video[:, ::-1]), judge(video)[:, ::-1], atol=1e-6)


def abstract(video_shape=SHAPE, **fields):
    model = TokenizerNetwork(**{**SMALL, **fields})
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(video_shape, jnp.float32))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"video_shape": (2, 5, 8, 8, 3)}, r"frames = 5 is not a multiple of 2.*strides are \(2, 2, 2\).*frames = 4"),
        ({"video_shape": (2, 4, 8, 9, 3)}, "width = 9 is not a multiple of 2"),
        ({"video_shape": (2, 5, 1, 9, 3)}, "frames = 5 is not .*, height = 1 is not .*, width = 9 is not .*"
                                           "options.num_frames=4 --config.data.options.height=2 .*width=8"),
        ({"video_shape": (2, 3, 4, 8, 8)}, r"channels-first clips: use video.transpose\(0, 2, 3, 4, 1\)"),
        ({"video_shape": (2, 4, 3, 8, 8)}, r"channels-first frames: use video.transpose\(0, 1, 3, 4, 2\)"),
        ({"video_shape": (4, 8, 8, 3)}, r"Add the batch axis: video\[None\]"),
        ({"norm_groups": 3}, "8 channels are not divisible into norm_groups=3 groups"),
        ({"temporal_downsample": ()}, "0 flags, but .* makes 1 steps"),
        ({"padding": "reflekt"}, "Did you mean 'reflect'"),
        ({"conv": "2+1d"}, "Legal conv names: 2d, 2plus1d, 3d"),
        ({"lowering": "nativ"}, "Did you mean 'native'"),
        ({"conv": "2d", "stem": (2, 2, 2)}, "per-frame network cannot join 2 frames"),
    ],
)
def test_bad_sizes_and_names_are_refused_with_the_remedy(change, message):
    with pytest.raises(ValueError, match=message):
        abstract(**change)


def test_input_bias_and_scale_are_what_the_encoder_sees():
    plain, shifted = (TokenizerNetwork(**SMALL, quantizer=QUANTIZERS["vq"], **fields)
                      for fields in ({}, {"input_bias": 0.25, "input_scale": 2.0}))
    video, params = random_video(SHAPE), random_params(plain, SHAPE)
    encode = quick_jit(lambda video: plain.apply({"params": params}, video, method="encode"))
    np.testing.assert_allclose(
        shifted.apply({"params": params}, video, method="encode"), encode(2.0 * (video - 0.25)), atol=1e-4)


def test_local_codes_are_of_their_own_cells_alone():
    """And a network that is not called local has codes that are not."""
    for changed, local in (({}, True), ({"norm_scope": "clip"}, False), ({"conv": "3d"}, False)):
        model = TokenizerNetwork(**LOCAL | changed)
        assert model.local is local and model.strides == (2, 4, 4)
        params, video = random_params(model, SHAPE), random_video(SHAPE)
        other = video.copy()
        other[:, :2, :4, :4] = random_video((2, 2, 4, 4, 3), seed=2)  # one cell of eight
        encode = quick_jit(lambda params, video, model=model: model.apply({"params": params}, video, method="encode"))
        here, there = encode(params, video), encode(params, other)
        elsewhere = np.ones(here.shape[1:4], bool)
        elsewhere[0, 0, 0] = False
        assert (here[:, 0, 0, 0] != there[:, 0, 0, 0]).any()
        assert (here[:, elsewhere] == there[:, elsewhere]).all() == local
    assert not TokenizerNetwork(**LOCAL | {"channel_multipliers": (1, 1), "temporal_downsample": (True,)}).local
