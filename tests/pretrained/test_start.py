"""A 3-D tokenizer begins as the 2-D one that it is started from; what does not fit is refused."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.recipes.token_models import CODES, masked_recipe
from tests.recipes.token_models import state_of as state_of_stage
from videogvt.core.trees import frozen
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.pretrained import bundle
from videogvt.pretrained.start import CodebookEmbeddings, Start, code_pictures, decoded_vectors
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.checkpoint import Checkpoints


def recipe(conv, start=None, filters=8, gan=True):
    model = TokenizerNetwork(
        filters=filters, channel_multipliers=(1,), temporal_downsample=(), encoder_blocks=(1, 0), decoder_blocks=(1, 0),
        norm_groups=4, stem=(1, 4, 4), conv=conv, quantizer=frozen({"name": "vq", "num_codes": 16, "embedding_dim": 4}),
    )
    return TokenizerRecipe(
        model=model, losses=TokenizerLosses(gan="hinge" if gan else "none"), start=start,
        optimizer=Adam(learning_rate=1e-3, total_steps=10),
        discriminator=Discriminator(filters=8, channel_multipliers=(2,), conv=conv) if gan else None,
    )


def state_of(recipe, key=0):
    video = jnp.zeros((1, 1 if recipe.model.conv == "2d" else 2, 16, 16, 3))
    return jax.jit(recipe.init)(jax.random.key(key), {"video": video})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run of the 2-D network whose average differs from its parameters."""
    folder = tmp_path_factory.mktemp("runs") / "images"
    state = state_of(recipe("2d"))
    state = state.replace(ema={"generator": jax.tree.map(lambda leaf: leaf + 0.1, state.params["generator"])})
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(5, state, {}, {"step": 5, "numbers": {}})
    return folder, state


@pytest.mark.parametrize("mode", ["central", "average"])
def test_all_networks_and_averages_are_inflated_and_optimizers_fresh(images, mode):
    folder, source = images
    video_recipe = recipe("3d", Start(folder, mode))
    before = state_of(video_recipe, key=1)
    after = video_recipe.warm_start(before)
    for network, tree in (("generator", after.params), ("discriminator", after.params), ("generator", after.ema)):
        given = source.ema if tree is after.ema else source.params
        part = ("encoder", "ResBlock_0", "Conv_0") if network == "generator" else ("ResBlock_0", "Conv_0")
        flat, deep = given[network], tree[network]
        for name in part:
            flat, deep = flat[name], deep[name]
        assert deep["kernel"].shape == (3, *flat["kernel"].shape)
        share = flat["kernel"] if mode == "central" else flat["kernel"] / 3
        np.testing.assert_allclose(deep["kernel"][1], share, rtol=1e-6)
        np.testing.assert_allclose(deep["kernel"][0], 0 * share if mode == "central" else share, rtol=1e-6)
    np.testing.assert_array_equal(after.params["generator"]["quantizer"]["codebook"],
                                  source.params["generator"]["quantizer"]["codebook"])
    jax.tree.map(np.testing.assert_array_equal, after.opt, before.opt)
    assert int(after.step) == 0


def test_same_networks_are_taken_over_whole(images):
    folder, source = images
    after = recipe("2d", Start(folder, "none")).warm_start(state_of(recipe("2d"), key=1))
    jax.tree.map(np.testing.assert_array_equal, after.params, source.params)
    jax.tree.map(np.testing.assert_array_equal, after.ema, source.ema)


def test_what_the_other_run_lacks_stays_random(images, tmp_path, caplog):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(recipe("2d", gan=False)), {}, {"step": 1, "numbers": {}})
    before = state_of(recipe("3d"), key=1)
    after = Start(tmp_path)(before)
    jax.tree.map(np.testing.assert_array_equal, after.params["discriminator"], before.params["discriminator"])
    assert "has no discriminator" in caplog.text


def test_refusals(images, tmp_path):
    folder, _ = images
    with pytest.raises(ValueError, match="of init_from.inflation 'centre'.*Did you mean 'central'"):
        Start(folder, "centre")
    with pytest.raises(FileNotFoundError, match="train there first"):
        Start(tmp_path)(state_of(recipe("2d")))
    with pytest.raises(ValueError, match=r"(?s)parameters differ\..*, expected "):
        Start(folder, "none")(state_of(recipe("3d")))
    with pytest.raises(ValueError, match="keeps|another network"):
        Start(folder, "none")(state_of(recipe("2d", filters=16)))


def test_embeddings_of_like_codes_begin_alike():
    recipe = masked_recipe(losses={"ema_decay": 0.9}, hidden=64)
    vectors_KD = np.random.default_rng(0).normal(size=(CODES, 4)).astype(np.float32)
    vectors_KD[:2] = (2, -2, 2, 2)
    before = state_of_stage(recipe)
    after = dataclasses.replace(recipe, start=CodebookEmbeddings(vectors_KD)).warm_start(before)
    path = ("transformer", "BertEmbed_0", "word_embeddings", "embedding")
    old, new, average = (functools.reduce(lambda tree, key: tree[key], path, tree)
                         for tree in (before.params, after.params, after.ema))
    np.testing.assert_array_equal(new, average)
    np.testing.assert_array_equal(new[CODES:], old[CODES:])  # classes and special tokens
    assert float(new[:CODES].std()) == pytest.approx(0.1, rel=0.2)
    alike = np.corrcoef(new[:CODES])
    assert alike[0, 1] > 0.6 and np.abs(np.corrcoef(old[:CODES])[0, 1]) < 0.4
    apart = np.corrcoef(vectors_KD - vectors_KD.mean(0))
    assert np.corrcoef(alike[np.triu_indices(CODES, 1)], apart[np.triu_indices(CODES, 1)])[0, 1] > 0.6
    changed = [jax.tree_util.keystr(key) for (key, a), b in zip(
        jax.tree_util.tree_leaves_with_path(before.params), jax.tree.leaves(after.params)) if (a != b).any()]
    assert len(changed) == 1 and "word_embeddings" in changed[0]
    with pytest.raises(ValueError, match="found no table 'codes' among"):
        CodebookEmbeddings(vectors_KD, table="codes")(before)


def test_what_ships_is_a_start_like_a_run():
    """The network of a shipped tokenizer begins as that one, its average too; another network is refused."""
    config, params = bundle.read_bundle(bundle.shipped()["local64"])
    network = TokenizerNetwork(**frozen(config["tokenizer"]))
    plain = dataclasses.replace(recipe("3d", gan=False), model=network, start=Start("local64", "none"))
    random = jax.eval_shape(lambda key: plain.init(key, {"video": jnp.zeros((1, 4, 8, 8, 3))}), jax.random.key(0))
    state = plain.warm_start(random)
    for tree in (state.params, state.ema):
        jax.tree.map(np.testing.assert_array_equal, tree["generator"], params)
    with pytest.raises(FileNotFoundError, match="init_from: there is no 'locl64'; expected .*local64"):
        dataclasses.replace(plain, start=Start("locl64", "none")).warm_start(random)
    with pytest.raises(ValueError, match="init_from.step is 3, and .*local64 is an export"):
        dataclasses.replace(plain, start=Start("local64", "none", step=3)).warm_start(random)
    with pytest.raises(ValueError, match="init_from: the generator of local64 is another network"):
        other = recipe("3d", Start("local64", "none"), gan=False)
        other.warm_start(state_of(other))


def test_weights_for_the_codes_of_another_tokenizer_are_doubted(tmp_path, caplog):
    with Checkpoints(tmp_path / "run") as checkpoints:
        state = state_of_stage(masked_recipe())
        checkpoints.save(1, state.replace(frozen={}), {}, {"step": 1, "numbers": {}, "frozen": {"tokenizer": "theirs"}})
    for source, theirs in ((tmp_path / "run", "theirs"), ("maskgvt64_8x4x4", "[0-9a-f]{16}")):
        Start(source, "none", tokenizer="ours")._given()
        assert re.search(f"{source} was trained on codes of a tokenizer whose parameters have the hash {theirs}, and "
                         "this run is on those of ours", caplog.text)
        caplog.clear()
    Start(tmp_path / "run", "none", tokenizer="theirs")._given()
    Start(tmp_path / "run", "none")._given()
    assert not caplog.text


SIDE = 8


class Dots:
    """A tokenizer by hand: code k > 0 is a dark dot at a place of its cell of 2 x 8 x 8, code 0 is nothing."""

    strides, num_codes = (2, SIDE, SIDE), 17

    def __init__(self):
        self.place_K2 = np.array([(0, 0)] + [(row, column) for row in (1, 3, 4, 6) for column in (1, 3, 4, 6)])

    def video(self, codes_Bthw):
        batch, t, h, w = codes_Bthw.shape
        video = np.ones((batch, 2 * t, SIDE * h, SIDE * w, 3), np.float32)
        for b, time, i, j in np.argwhere(codes_Bthw > 0):
            row, column = self.place_K2[codes_Bthw[b, time, i, j]] + (SIDE * i, SIDE * j)
            video[b, 2 * time : 2 * time + 2, row, column] = 0.0
        return video


def test_a_picture_is_the_change_where_the_code_stands():
    dots = Dots()
    pictures = code_pictures(dots, 0)
    assert pictures.shape == (17, 2, 12, 12, 3) and pictures.dtype == np.float32  # a margin of 2 on each side
    for code in range(17):
        expected = np.zeros((2, 12, 12, 3))
        if code:
            row, column = dots.place_K2[code] + 2
            expected[:, row, column] = -1.0
        np.testing.assert_array_equal(pictures[code], expected)


def test_a_blank_code_with_a_picture_is_what_others_take_away():
    dots = Dots()
    pictures = code_pictures(dots, 3)
    row, column = dots.place_K2[3] + 2
    assert not pictures[3].any() and (pictures[0, :, row, column] == 1).all() and abs(pictures[0]).sum() == 6


def test_codes_are_as_near_as_what_they_draw():
    dots = Dots()
    vectors_KD = decoded_vectors(dots, 0, components=6)
    assert vectors_KD.shape == (17, 6) and vectors_KD.dtype == np.float32
    np.testing.assert_allclose(vectors_KD.mean(0), 0, atol=1e-5)
    assert (np.diff(vectors_KD.std(0)) <= 1e-6).all()  # the largest component first
    first, second = np.triu_indices(16, 1)
    apart = np.linalg.norm(dots.place_K2[1:][first] - dots.place_K2[1:][second], axis=1)
    far = np.linalg.norm(vectors_KD[1:][first] - vectors_KD[1:][second], axis=1)
    assert spearmanr(apart, far)[0] > 0.9
    assert decoded_vectors(dots, 0).shape == (17, 17)  # no more than there are codes


def test_a_trained_tokenizers_pictures_lie_in_their_cells():
    """What local64_8x4x4 draws of a code lies in the code's cell and close around it."""
    from videogvt import VideoTokenizer

    tokenizer = VideoTokenizer.load("local64_8x4x4")
    clip = np.full((1, 16, 64, 64, 3), 255, np.uint8)
    pictures = code_pictures(tokenizer, np.bincount(tokenizer.codes(clip).ravel()).argmax())
    assert pictures.shape == (tokenizer.num_codes, 2, 24, 24, 3)
    change = np.abs(pictures).sum((1, 4))
    assert change[:, 2:-2, 2:-2].sum() / change.sum() > 0.95
    assert (change.max((1, 2)) > 0.3).mean() > 0.8  # most codes draw something
