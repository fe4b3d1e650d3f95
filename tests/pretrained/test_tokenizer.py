"""A loaded tokenizer: the network's own answers, windows for long clips, and clear refusals."""

import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import videogvt
from videogvt.ops.video import crossfade
from videogvt.pretrained import VideoTokenizer, bundle
from videogvt.train.checkpoint import load_params


@pytest.fixture(scope="module")
def tokenizer(workdir):
    return VideoTokenizer.load(workdir, window=8, batch_size=2)


def test_package_offers_it_without_importing_jax():
    assert videogvt.VideoTokenizer is VideoTokenizer
    code = "import sys, videogvt; assert not {'jax', 'numpy', 'flax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'VideoTokeniser'"):
        videogvt.VideoTokeniser  # noqa: B018


def test_one_window_is_what_the_network_says(tokenizer, workdir, video):
    video = video[:, :8]
    variables = {"params": load_params(workdir)["generator"]}
    floats = video.astype(np.float32) / 255
    codes = tokenizer.network.apply(variables, floats, method="codes")
    np.testing.assert_array_equal(tokenizer.codes(video), codes)
    np.testing.assert_array_equal(tokenizer.codes(jnp.asarray(floats)), codes)
    assert tokenizer.codes(video).dtype == np.int32 and len(np.unique(codes)) > 4
    latents = tokenizer.network.apply(variables, codes, method="embed")
    np.testing.assert_array_equal(tokenizer.embed(codes), latents)
    decoded = tokenizer.network.apply(variables, codes, method="video")
    np.testing.assert_allclose(tokenizer.video(jnp.asarray(codes)), decoded, atol=1e-5)
    assert tokenizer.video(codes).dtype == np.float32


@pytest.mark.parametrize("frames", [4, 8, 12, 40])
def test_any_length_has_one_grid_and_decoding_it_is_reconstructing(tokenizer, video, frames):
    video = video[:, :frames]
    codes = tokenizer.codes(video)
    assert codes.shape == (2, frames // 4, 2, 2)
    reconstruction = tokenizer.reconstruct(video)
    assert reconstruction.shape == video.shape
    np.testing.assert_array_equal(tokenizer.video(codes), reconstruction)


def test_windows_are_independent_and_joined_in_order(tokenizer, video):
    codes = tokenizer.codes(video)
    for start in range(0, 40, 8):
        own = tokenizer.codes(video[:, start : start + 8])
        np.testing.assert_array_equal(codes[:, start // 4 : start // 4 + 2], own)
    last = tokenizer.codes(video[:, :12])  # windows 0-7 and 4-11; frames 4-7 keep the first one's codes
    np.testing.assert_array_equal(last[:, :2], tokenizer.codes(video[:, :8]))
    np.testing.assert_array_equal(last[:, 2:], tokenizer.codes(video[:, 4:12])[:, 1:])


def test_overlapping_reconstructions_are_crossfaded(tokenizer, video):
    starts = (0, 4, 8)
    parts = [tokenizer.reconstruct(video[:, start : start + 8]) for start in starts]
    found = tokenizer.reconstruct(video[:, :16], overlap=4)
    np.testing.assert_allclose(found, crossfade(parts, starts), atol=1e-5)
    np.testing.assert_allclose(found[:, 5], 0.75 * parts[0][:, 5] + 0.25 * parts[1][:, 1], atol=1e-5)
    codes = tokenizer.codes(video[:, :16])
    parts = [tokenizer.video(codes[:, start : start + 2]) for start in (0, 1, 2)]
    np.testing.assert_allclose(tokenizer.video(codes, overlap=4), crossfade(parts, starts), atol=1e-5)


def test_double_fusion_fades_features_and_then_pixels(tokenizer, video):
    codes = tokenizer.codes(video[:, :16])
    np.testing.assert_allclose(  # without shared frames there is nothing to fade
        tokenizer.video(codes, double_fusion=True), tokenizer.video(codes), atol=1e-5)
    single, double = (tokenizer.video(codes, overlap=4, double_fusion=flag) for flag in (False, True))
    assert double.shape == single.shape and double.min() >= 0 and double.max() <= 1
    np.testing.assert_allclose(double[:, :2], single[:, :2], atol=1e-5)  # far from what is shared
    assert np.abs(double - single).max() > 1e-4


def test_same_answers_whatever_the_batch(workdir, video):
    one, many = (VideoTokenizer.load(workdir, window=8, batch_size=size) for size in (1, 16))
    np.testing.assert_array_equal(one.codes(video), many.codes(video))
    np.testing.assert_allclose(one.video(one.codes(video)), many.video(one.codes(video)), atol=1e-5)
    larger = np.tile(video, (1, 1, 2, 3, 1))
    assert one.codes(larger).shape == (2, 10, 4, 6)


def test_hash_names_the_weights_and_the_fields(workdir, tokenizer):
    assert tokenizer.hash == VideoTokenizer.load(str(workdir)).hash
    assert tokenizer.hash != VideoTokenizer.load(workdir, weights="params").hash
    fields, params = tokenizer.config, tokenizer.params
    assert VideoTokenizer({**fields, "lowering": "native"}, params).hash == tokenizer.hash
    assert VideoTokenizer({**fields, "padding": "reflect"}, params).hash != tokenizer.hash


def test_refusals_say_what_to_do(tokenizer, workdir, video, tmp_path):
    with pytest.raises(FileNotFoundError, match="no tokenizer 'traj65'.*shipped tokenizer \\("):
        VideoTokenizer.load("traj65")
    with pytest.raises(FileNotFoundError, match="directory of a run"):
        VideoTokenizer.load(tmp_path)
    with pytest.raises(ValueError, match="frames = 10 is not a multiple of 4"):
        tokenizer.codes(video[:, :10])
    with pytest.raises(ValueError, match=r"transpose\(0, 1, 3, 4, 2\)"):
        tokenizer.codes(video[:, :8].transpose(0, 1, 4, 2, 3))
    with pytest.raises(ValueError, match="Add the batch axis"):
        tokenizer.reconstruct(video[0, :8])
    with pytest.raises(ValueError, match="found values from 0 to 255"):
        tokenizer.codes(video[:, :8].astype(np.float32))
    with pytest.raises(ValueError, match="int64"):
        tokenizer.codes(video[:, :8].astype(np.int64))
    with pytest.raises(ValueError, match=r"1 NaN of .*; the first is video\[0, 3, 2, 1, 0\]"):
        broken = video[:, :8] / 255
        broken[0, 3, 2, 1, 0] = np.nan
        tokenizer.codes(broken)
    with pytest.raises(ValueError, match="Codes run from 0 to 63; found values from 0 to 64"):
        tokenizer.video(np.array([[[[0, 64]]]]))
    with pytest.raises(ValueError, match="integers of shape"):
        tokenizer.embed(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="multiple of the time stride 4"):
        tokenizer.video(np.zeros((1, 4, 2, 2), int), overlap=3)
    with pytest.raises(ValueError, match="less than the window of 8"):
        tokenizer.reconstruct(video, overlap=8)
    with pytest.raises(ValueError, match="window is 6"):
        VideoTokenizer.load(workdir, window=6)


def test_near_misses_are_clipped_where_the_caller_sees_it(tokenizer, video):
    floats = video[:, :8] / 255
    for change, method in ((floats * 1.002, "codes"), (floats - 0.003, "reconstruct")):
        with pytest.warns(UserWarning, match="were clipped to") as told:
            found = getattr(tokenizer, method)(change)
        assert [one.filename for one in told if "clipped" in str(one.message)] == [__file__]
        np.testing.assert_array_equal(found, getattr(tokenizer, method)(change.clip(0, 1)))


@pytest.mark.parametrize(
    "change",
    [
        lambda video: video[:, :11, :15], lambda video: video[0, :11, :15], lambda video: video[:, :3, :4],
        lambda video: video[..., :1], lambda video: video[:, :10].transpose(0, 1, 4, 2, 3),
        lambda video: np.concatenate([video, video[..., :1]], axis=-1)[:, :13, :, :12],
    ],
)
def test_sides_that_are_wrong_are_all_named_with_what_mends_them_at_once(tokenizer, video, change):
    given = change(video)
    with pytest.raises(ValueError) as refused:
        tokenizer.codes(given)
    message = str(refused.value)
    hint = re.search(r"In Python, (.*) does it", message) or re.search(r"use (.*)\.$", message)
    assert tokenizer.codes(eval(hint[1], {"np": np}, {"video": given})).ndim == 4
    if given.shape[1:3] == (11, 15):
        assert "frames = 11 is not a multiple of 4, height = 15 is not a multiple of 8" in message
        assert "--config.data.options.num_frames=8 --config.data.options.height=8" in message


@pytest.mark.optimized
def test_the_decoder_of_local_codes_shows_what_they_say_several_balls_included():
    """Codes of one clip in the empty cells of another: both balls are there, each as in its own clip."""
    tokenizer = VideoTokenizer.load("local64")
    golden = bundle.read_golden(bundle.shipped()["local64"])
    codes, empty = golden["codes"], np.bincount(golden["codes"].ravel()).argmax()
    both = np.where(codes[:1] == empty, codes[1:2], codes[:1])
    alone, together = 1 - tokenizer.video(codes), 1 - tokenizer.video(both)[0]
    for ball, other in ((0, 1), (1, 0)):
        far = (alone[other].max(axis=-1) < 0.02) & (alone[ball].max(axis=-1) > 0.3)  # its core, away from the other's
        assert far.sum() > 50
        np.testing.assert_allclose(together[far], alone[ball][far], atol=0.25)
