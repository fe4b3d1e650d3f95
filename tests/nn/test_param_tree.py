"""Names, shapes and totals of all parameters; nothing is computed."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from videogvt.nn.autoencoder import Encoder
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.layers import LayerStyle, ResBlock
from videogvt.nn.quantizers.vq import VectorQuantizer
from videogvt.nn.tokenizer import TokenizerNetwork

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "param_tree.json").read_text())
SIXTY_FOUR = {"channel_multipliers": (1, 2, 4), "temporal_downsample": (True, True)}
H_SIZE = {
    "filters": 128, "encoder_blocks": 4, "decoder_blocks": 4,
    "quantizer": {"name": "vq", "num_codes": 4096, "embedding_dim": 512},
}


def abstract_params(model, size=128):
    video = jax.ShapeDtypeStruct((1, 16, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), video)["params"]


def shapes(params):
    return {path: list(leaf.shape) for path, leaf in flatten_dict(params, sep="/").items()}


def total(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_b_models_have_the_golden_trees():
    assert shapes(abstract_params(TokenizerNetwork())) == GOLDEN["generator"]
    assert shapes(abstract_params(Discriminator())) == GOLDEN["discriminator"]


@pytest.mark.parametrize(
    "fields, size, encoder, decoder, whole",
    [
        ({}, 128, 17_149_888, 23_167_811, 40_579_843),
        ({"filters": 128}, 128, 68_443_776, 89_106_051, 157_811_971),
        (H_SIZE, 128, 141_136_768, 165_206_659, 308_440_579),
        (SIXTY_FOUR, 64, 15_379_392, 20_954_819, 36_596_355),
        ({"filters": 128, **SIXTY_FOUR}, 64, 61_363_840, 80_256_387, 141_882_371),
        ({"conv": "2d"}, 128, 5_792_320, 7_755_203, 13_809_667),
        ({"conv": "2d", "filters": 128}, 128, 23_020_416, 29_821_827, 53_104_387),
    ],
    ids=["UCF B", "UCF L", "UCF H", "BAIR B", "BAIR L", "2D B", "2D L"],
)
def test_tokenizer_totals(fields, size, encoder, decoder, whole):
    params = abstract_params(TokenizerNetwork(**fields), size)
    assert (total(params["encoder"]), total(params["decoder"]), total(params)) == (encoder, decoder, whole)


@pytest.mark.parametrize(
    "fields, size, whole",
    [
        ({}, 128, 15_339_457),
        ({"filters": 128}, 128, 61_341_569),
        ({"channel_multipliers": (2, 4, 4, 4)}, 64, 11_734_465),
        ({"channel_multipliers": (2, 4, 4, 4), "filters": 128}, 64, 46_922_625),
        ({"conv": "2d"}, 128, 5_972_545),
        ({"conv": "2d", "filters": 128}, 128, 23_880_833),
    ],
    ids=["UCF B", "UCF L", "BAIR B", "BAIR L", "2D B", "2D L"],
)
def test_discriminator_totals(fields, size, whole):
    assert total(abstract_params(Discriminator(**fields), size)) == whole


def test_codes_of_both_resolutions_are_4x16x16():
    assert TokenizerNetwork().latent_shape((16, 128, 128)) == (4, 16, 16)
    assert TokenizerNetwork(**SIXTY_FOUR).latent_shape((16, 64, 64)) == (4, 16, 16)
    assert TokenizerNetwork(conv="2d").latent_shape((16, 128, 128)) == (16, 16, 16)


def block_shapes(model):
    """Output shape (T, H, W, C) of every residual block of encoder and decoder, in the order of the calls."""
    video = jax.ShapeDtypeStruct((1, 16, 128, 128, 3), jnp.float32)
    _, state = jax.eval_shape(
        lambda key, x: model.init_with_output(
            key, x, capture_intermediates=lambda module, _: isinstance(module, ResBlock), mutable=True),
        jax.random.key(0), video)
    found = {path[:2]: leaf[0].shape[1:] for path, leaf in flatten_dict(state["intermediates"]).items()}
    return {part: [found[part, f"ResBlock_{i}"] for i in range(10)] for part in ("encoder", "decoder")}


def test_layers_of_b_have_the_listed_shapes():
    found = block_shapes(TokenizerNetwork())
    full, half = (16, 128, 128), (8, 64, 64)
    quarter, grid = (4, 32, 32), (4, 16, 16)
    assert found["encoder"] == (
        [(*full, 64)] * 2 + [(*half, 128)] * 2 + [(*quarter, 128)] * 2 + [(*grid, 256)] * 4)
    assert found["decoder"] == (
        [(*grid, 256)] * 4 + [(*quarter, 128)] * 2 + [(*half, 128)] * 2 + [(*full, 64)] * 2)


@pytest.mark.parametrize("model", [TokenizerNetwork, Discriminator])
def test_variants_keep_every_name(model):
    """Leaf for leaf, 2-D kernels only lack time; (2+1)-D ones have one frame, and temporal ones beside them."""
    three, two, factorised = (shapes(abstract_params(model(conv=conv))) for conv in ("3d", "2d", "2plus1d"))
    assert three.keys() == two.keys()
    assert {path for path in factorised if "_t/" not in path} == two.keys()
    for path, shape in two.items():
        assert three[path] == shape or three[path][1:] == shape
        assert factorised[path] == shape or factorised[path] == [1, *shape]
    for path in factorised.keys() - two.keys():
        assert path.endswith("_t/kernel") and factorised[path][:3] == [3, 1, 1]
        assert three[path.replace("_t/", "/")][:3] == [3, 3, 3]


def test_a_stem_adds_its_name_and_takes_none():
    plain = shapes(abstract_params(TokenizerNetwork()))
    stem = shapes(abstract_params(TokenizerNetwork(stem=(2, 4, 4))))
    assert stem.keys() - plain.keys() == {
        f"{part}/stem/{leaf}" for part in ("encoder", "decoder") for leaf in ("kernel", "bias")
    }
    assert plain.keys() - stem.keys() == {"encoder/Conv_0/kernel", "decoder/Conv_4/kernel", "decoder/Conv_4/bias"}
    assert stem["encoder/stem/kernel"] == [1, 1, 1, 2 * 4 * 4 * 3, 64]
    assert stem["decoder/stem/kernel"] == [1, 1, 1, 64, 2 * 4 * 4 * 3]
    assert TokenizerNetwork(stem=(2, 4, 4)).latent_shape((16, 128, 128)) == (2, 4, 4)


def test_blocks_per_level_and_of_encoder_and_decoder_are_free():
    params = abstract_params(TokenizerNetwork(encoder_blocks=(0, 1, 2, 1, 0), decoder_blocks=1))
    count = {part: sum(name.startswith("ResBlock") for name in params[part]) for part in ("encoder", "decoder")}
    assert count == {"encoder": 4, "decoder": 5}
    assert params["encoder"]["ResBlock_0"]["Conv_0"]["kernel"].shape[-2:] == (64, 128)
    with pytest.raises(ValueError, match=r"takes one number of blocks, or 5 of them .* found \(1, 2\)"):
        abstract_params(TokenizerNetwork(encoder_blocks=(1, 2)))


def test_param_dtype_reaches_every_leaf():
    fields = {"filters": 32, "param_dtype": "bfloat16", "dtype": "bfloat16"}
    for model in (TokenizerNetwork(**fields), Discriminator(**fields)):
        assert {leaf.dtype for leaf in jax.tree.leaves(abstract_params(model))} == {np.dtype(jnp.bfloat16)}


def test_initial_distributions():
    """LeCun normal kernels, zero biases, unit norms; a codebook uniform in +-sqrt(3 / K); Xavier in the judge."""
    latents = jnp.zeros((1, 2, 4, 4, 32))
    key = jax.random.key(0)
    quantizer = VectorQuantizer(embedding_dim=32)
    codebook = jax.jit(lambda: quantizer.init(key, latents, train=False))()["params"]["codebook"]
    bound = np.sqrt(3 / 1024)
    assert 0.99 * bound < np.abs(codebook).max() <= bound
    np.testing.assert_allclose(codebook.std(), bound / np.sqrt(3), rtol=0.01)
    block = jax.jit(ResBlock(32, LayerStyle()).init)(key, latents)["params"]
    np.testing.assert_allclose(block["Conv_0"]["kernel"].std(), np.sqrt(1 / (27 * 32)), rtol=0.03)
    assert (block["GroupNorm_0"]["scale"] == 1).all() and not block["GroupNorm_0"]["bias"].any()
    judge = jax.jit(Discriminator(filters=32, channel_multipliers=()).init)(key, latents[..., :3])["params"]
    bound = np.sqrt(6 / (27 * (32 + 32)))
    assert 0.99 * bound < np.abs(judge["Conv_1"]["kernel"]).max() <= bound
    assert not judge["Conv_1"]["bias"].any()


def test_an_encoder_is_a_module_of_its_own():
    model = TokenizerNetwork()
    encoder = Encoder(model.pyramid, model.encoder_blocks, 256, model.style)
    assert shapes(abstract_params(encoder)) == shapes(abstract_params(model)["encoder"])
