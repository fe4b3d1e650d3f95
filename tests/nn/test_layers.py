"""Clips of a causal tokenizer, chunk after chunk: the codes and pixels of the clip seen at once."""

import numpy as np
import pytest

from tests.nn.test_autoencoder import FIELDS
from tests.nn.weights import quick_jit, random_params, random_video
from videogvt.nn import tokenizer as networks
from videogvt.pretrained import VideoTokenizer
from videogvt.pretrained.clips import _shape

SHAPE = (3, 13, 16, 12, 3)


@pytest.fixture(scope="module")
def tokenizer():
    params = random_params(networks.TokenizerNetwork(**FIELDS), (1, 5, 16, 12, 3))
    return VideoTokenizer(FIELDS, params, window=5, batch_size=2)


def test_chunks_have_the_codes_and_the_pixels_of_the_whole(tokenizer):
    video = random_video(SHAPE)

    @quick_jit
    def whole(params, video):
        codes = tokenizer.network.apply({"params": params}, video, method="codes")
        return codes, tokenizer.network.apply({"params": params}, codes, method="video")

    codes, made = whole(tokenizer.params, video)
    found = tokenizer.codes(video)
    assert found.shape == (3, 4, 4, 3) and len(np.unique(codes)) > 8 and np.std(made) > 0.01
    assert np.mean(found == codes) >= 0.999
    np.testing.assert_allclose(tokenizer.video(np.asarray(codes)), made, atol=1e-5)
    np.testing.assert_array_equal(tokenizer.codes(video[:, :9]), found[:, :3])  # a clip begins as its beginning
    assert tokenizer.codes(video[:, :1]).shape == (3, 1, 4, 3)


def test_what_does_not_go_with_it_is_refused(tokenizer):
    assert VideoTokenizer(FIELDS, tokenizer.params).window == 17
    for window in (1, 16):
        with pytest.raises(ValueError, match=f"window is {window}; expected 1 and a multiple of the time stride 4"):
            VideoTokenizer(FIELDS, tokenizer.params, window=window)
    with pytest.raises(ValueError, match="frames = 12 is not 1 and a multiple of 4"):
        tokenizer.codes(random_video((1, 12, 16, 12, 3)))
    with pytest.raises(ValueError, match="windows of a causal network share none"):
        tokenizer.video(np.zeros((1, 4, 4, 3), int), overlap=4)


def test_clips_of_files_have_a_frame_more(tokenizer):
    assert _shape(tokenizer, None, (16, 12)) == (5, 16, 12) and _shape(tokenizer, 1, (16, 12)) == (1, 16, 12)
    with pytest.raises(ValueError, match="frames=16: expected 1 and a multiple of 4, such as frames=17"):
        _shape(tokenizer, 16, (16, 12))


def test_with_norms_over_clips_every_clip_is_seen_at_once(tokenizer):
    fields = FIELDS | {"norm_scope": "clip"}
    whole = VideoTokenizer(fields, tokenizer.params, window=5)
    video = random_video((1, 9, 16, 12, 3))
    codes = whole.network.apply({"params": whole.params}, video, method="codes")
    np.testing.assert_array_equal(whole.codes(video), codes)
    assert not (whole.codes(video[:, :5]) == codes[:, :2]).all()
