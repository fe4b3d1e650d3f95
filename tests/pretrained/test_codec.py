"""Anybody's codec: what is asked of it is checked, and what looks inside a tokenizer says that it cannot."""

import sys

import numpy as np
import pytest

from videogvt.inputs.sources import ArraySource
from videogvt.models.token_model import Outside
from videogvt.pretrained import VideoTokenizer, codec


class Halves:
    """The grey of each 1 x 2 x 2 patch's first pixel, in four levels."""

    strides, num_codes, hash = (1, 2, 2), 4, "halves"

    def codes(self, video_BTHWC):
        assert video_BTHWC.dtype == np.float32
        return np.minimum(video_BTHWC[:, :, ::2, ::2, 0] * 4, 3).astype(int)

    def video(self, codes_Bthw):
        grey = codes_Bthw.repeat(2, 2).repeat(2, 3)[..., None] / 3
        return np.broadcast_to(grey, (*grey.shape[:-1], 3))


THE_ONE = Halves()
NO_CODEC = object()


class OfFile(Halves):
    def __init__(self, path):
        raise AssertionError(path)


def own(**changed):
    return codec.OwnTokenizer.of(type("Changed", (Halves,), changed)(), "mine")


def test_a_codec_is_asked_in_floats_and_its_codes_and_videos_are_handed_on():
    tokenizer, video = own(), np.array([0, 64, 128, 255], np.uint8).repeat(2)[None, None, None, :, None]
    video = np.broadcast_to(video, (1, 3, 2, 8, 3))
    np.testing.assert_array_equal(tokenizer.codes(video), np.broadcast_to([0, 1, 2, 3], (1, 3, 1, 4)))
    made = tokenizer.reconstruct(video)
    assert made.shape == video.shape and made.dtype == np.float32
    np.testing.assert_allclose(made[0, 0, 0, ::2, 0], [0, 1 / 3, 2 / 3, 1], atol=1e-6)
    assert own(video=lambda self, codes: np.full((1, 3, 2, 8, 3), 51, np.uint8)).reconstruct(video).max() == 51 / 255


@pytest.mark.parametrize("changed, message", [
    ({"num_codes": 1}, "num_codes is 1"), ({"strides": (1, 2)}, "strides are"), ({"strides": (0, 2, 2)}, "strides are"),
    ({"hash": ""}, "hash is ''"), ({"num_codes": True}, "num_codes is True"),
    ({"codes": [1]}, "codes and video are list"), ({"strides": ((1, 2), 2, 2)}, "strides are"),
    ({"strides": None}, "strides are None"),
])
def test_a_codec_of_wrong_numbers_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        own(**changed)


@pytest.mark.parametrize("answer, message", [
    (lambda video: np.zeros((1, 3, 1, 4)), "expected integers"),
    (lambda video: np.zeros((1, 3, 4), int), "expected integers"),
    (lambda video: np.full((1, 3, 1, 4), 4), "from 4 to 4; expected 0 to 3"),
    (lambda video: np.full((1, 3, 1, 4), -1), "from -1 to -1"),
    (lambda video: [[1, 2], [3]], "made a list, which is no array"),
])
def test_wrong_codes_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        own(codes=lambda self, video: answer(video)).codes(np.zeros((1, 3, 2, 8, 3), np.uint8))


def test_wrong_videos_and_clips_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected \\(1, 3, 2, 8, 3\\)"):
        own(video=lambda self, codes: np.zeros((1, 3, 8, 2, 3))).video(np.zeros((1, 3, 1, 4), int))
    with pytest.raises(ValueError, match="found values from 255 to 255"):
        own(video=lambda self, codes: np.full((1, 3, 2, 8, 3), 255.0)).video(np.zeros((1, 3, 1, 4), int))
    with pytest.raises(ValueError, match="every side is a multiple"):
        own().codes(np.zeros((1, 3, 3, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="Add the batch axis"):
        own().codes(np.zeros((3, 2, 8, 3), np.uint8))


def test_a_codec_may_write_into_what_it_is_given():
    def codes(self, video_BTHWC):
        video_BTHWC[:] = 0
        return video_BTHWC[:, :, ::2, ::2, 0].astype(int)

    video = np.ones((1, 3, 2, 8, 3), np.float32)
    assert own(codes=codes).codes(video).max() == 0 and video.min() == 1


def test_a_config_names_an_object_or_what_makes_one(workdir):
    by_class, by_object = (codec.load_tokenizer(f"codec:{__name__}:{name}") for name in ("Halves", "THE_ONE"))
    assert by_object.codec is sys.modules[__name__].THE_ONE and isinstance(by_class.codec, Halves)
    assert by_class.hash == by_object.hash and len(by_class.hash) == 16
    assert isinstance(codec.load_tokenizer(workdir), VideoTokenizer)
    assert isinstance(VideoTokenizer.load(workdir), codec.Codec)


@pytest.mark.parametrize("run, message", [
    ("codec:no_such_module:Halves", "No module named"), (f"codec:{__name__}:Quarters", "has no attribute"),
    ("codec:", "Expected 'codec:MODULE:OBJECT'"), (f"codec:{__name__}:NO_CODEC", "without codes, video, strides"),
    (None, "imported"), (f"codec:{__name__}:OfFile", "without arguments: missing a required argument: 'path'"),
])
def test_what_is_no_codec_is_refused(run, message):
    with pytest.raises(ValueError, match=message):
        codec.load_tokenizer(run)


def test_checkpoints_know_a_codec_by_its_hash():
    one, other = own(), own(hash="halves-2")
    assert bytes(one.params["hash"]).decode() == one.hash != other.hash
    ours = "0123456789abcdef"
    assert own(hash=ours).hash == ours  # a hash of this package stays


def test_compiled_programs_cannot_look_inside():
    network = Outside((1, 2, 2), 4)
    assert network.latent_shape((3, 4, 8)) == (3, 2, 4)
    for method in ("codes", "video", "features", "embed"):
        with pytest.raises(ValueError, match="outside the compiled program"):
            network.apply({"params": {}}, None, method=method)
    with pytest.raises(ValueError, match="codebook_embeddings"):
        _ = network.feature_width


def test_codes_alone_have_numbers_and_nobody_to_ask():
    source = ArraySource({"codes": np.zeros((2, 3, 1, 4), np.int32)})
    source.metadata = {"tokenizer": {"hash": "ab" * 8, "num_codes": 4}, "grid": [3, 1, 4], "video": [3, 2, 8]}
    known = codec.tokenizer_of({"run": None, "step": "best"}, source)
    assert (known.strides, known.num_codes, known.hash) == ((1, 2, 2), 4, "ab" * 8)
    with pytest.raises(ValueError, match="imported without"):
        known.video(np.zeros((1, 3, 1, 4), int))
    with pytest.raises(ValueError, match="Name the tokenizer that made them"):
        codec.tokenizer_of({"run": f"codec:{__name__}:Halves", "step": "best"}, source)


@pytest.mark.parametrize("frames, cells, strides", [(17, 5, (4, 2, 2)), (9, 3, (3, 2, 2))])
def test_codes_of_causal_tokenizers_go_by_their_first_frame(frames, cells, strides, monkeypatch):
    """Nine frames as three may be those of a stride of three, or of four after the first: the tokenizer knows."""
    source = ArraySource({"codes": np.zeros((2, cells, 1, 4), np.int32)})
    source.metadata = {"tokenizer": {"hash": "ab" * 8, "num_codes": 4}, "grid": [cells, 1, 4], "video": [frames, 2, 8]}
    alone = codec.tokenizer_of({"run": None, "step": "best"}, source)
    assert alone.strides == strides and alone.network.latent_shape((frames, 2, 8)) == (cells, 1, 4)
    causal = codec.OwnTokenizer(None, (4, 2, 2), 4, "ab" * 8, lead=1)
    monkeypatch.setattr(codec, "load_tokenizer", lambda run, step: causal)
    assert codec.tokenizer_of({"run": "runs/v2", "step": "best"}, source) is causal
    source.metadata["video"] = [4 * cells, 2, 8]
    with pytest.raises(ValueError, match=r"strides \(4, 2, 2\).*and lead 1"):
        codec.tokenizer_of({"run": "runs/v2", "step": "best"}, source)
