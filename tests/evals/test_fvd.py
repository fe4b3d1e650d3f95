"""FVD and Inception Score by hand, and what they refuse."""

import jax
import numpy as np
import pytest

from videogvt.evals import fvd
from videogvt.evals.fvd import VideoNetwork, inception_score, resize_bilinear
from videogvt.nn.c3d import C3D
from videogvt.nn.i3d import I3D, require_frames


def test_fvd_of_folds_by_hand():
    # one feature: (m - n)^2 + (s - t)^2 with the unbiased standard deviations
    real = np.array([[0.0], [2.0], [0.0], [2.0]])  # mean 1, std sqrt 2, in both folds
    generated = np.array([[3.0], [5.0], [1.0], [5.0]])  # means 4 and 3, stds sqrt 2 and 2 sqrt 2
    figure = fvd.fvd(real, generated, folds=2)
    np.testing.assert_allclose(figure.folds, [9.0, 4.0 + 2.0])
    assert figure.mean == pytest.approx(7.5) and figure.std == pytest.approx(1.5)  # of the population, not 2.12
    shared = fvd.fvd(real[:2], generated, folds=2, shared_real=True)
    np.testing.assert_allclose(shared.folds, figure.folds)
    assert fvd.fvd(real, real[::-1], folds=1).mean == pytest.approx(0.0, abs=1e-12)


def test_inception_score_by_hand():
    sure = 50.0 * np.eye(4)
    assert inception_score(sure, folds=1).mean == pytest.approx(4.0)  # each clip its own class
    assert inception_score(np.repeat(sure[:1], 4, axis=0), folds=1).mean == pytest.approx(1.0)
    # two clips of p = (3/4, 1/4) and (1/4, 3/4): KL = log 2 - H(1/4)
    rows = np.log([[0.75, 0.25], [0.25, 0.75]])
    expected = np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    figure = inception_score(np.concatenate([rows + 7.0, rows[:1], rows[:1]]), folds=2)
    np.testing.assert_allclose(figure.folds, [expected, 1.0])
    assert figure.std == pytest.approx((expected - 1.0) / 2)
    assert inception_score(np.array([[0.0, -1e4], [-1e4, 0.0]]), folds=1).mean == pytest.approx(2.0)


def test_folds_must_be_equal():
    with pytest.raises(ValueError, match="10 clips cannot be cut into 4 folds"):
        inception_score(np.zeros((10, 3)))
    with pytest.raises(ValueError, match="8 clips cannot be cut into 3 folds"):
        fvd.fvd(np.zeros((9, 2)), np.zeros((8, 2)), folds=3)


@pytest.fixture(scope="module")
def means():
    """Each clip's mean colour."""
    return VideoNetwork(lambda params, video: params * video.mean((1, 2, 3)), np.float32(2), require_frames, {})


def test_videos_of_both_kinds_in_batches(means):
    videos = np.random.default_rng(0).integers(0, 256, (5, 9, 4, 6, 3), np.uint8)
    expected = 2 * videos.mean((1, 2, 3)) / 255
    np.testing.assert_allclose(means(videos, batch_size=2), expected, rtol=1e-5)
    np.testing.assert_allclose(means((videos / 255).astype(np.float32), batch_size=8), expected, rtol=1e-5)


def test_what_is_no_video_is_refused(means):
    with pytest.raises(ValueError, match=r"at least 9 frames, found 8"):
        means(np.zeros((1, 8, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"found float32 in \[-1.0, 1.0\]"):
        means(np.linspace(-1, 1, 9 * 48, dtype=np.float32).reshape(1, 9, 4, 4, 3))
    with pytest.raises(ValueError, match="found float64 in .*nan"):
        means(np.full((1, 9, 4, 4, 3), np.nan))
    with pytest.raises(ValueError, match=r"found the shape \(9, 4, 4, 3\)"):
        means(np.zeros((9, 4, 4, 3), np.uint8))


def test_the_networks_refuse_clips_that_do_not_fit():
    def shape(*size):
        return jax.ShapeDtypeStruct((1, *size, 3), "float32")

    with pytest.raises(ValueError, match="at least 9 frames, found 8"):
        jax.eval_shape(I3D().init, jax.random.key(0), shape(8, 224, 224))
    with pytest.raises(ValueError, match=r"expected \(B, 16, 112, 112, 3\), found \(1, 12, 112, 112, 3\)"):
        jax.eval_shape(C3D().init, jax.random.key(0), shape(12, 112, 112))


def test_networks_have_the_published_sizes():
    def count(model, *size):
        params = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *size, 3), "float32"))["params"]
        params.pop("offset", None)
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return sum(leaf.size for path, leaf in leaves if path[-1].key not in ("mean", "var"))

    assert count(I3D(), 9, 224, 224) == 12_697_264
    assert count(C3D(), 16, 112, 112) == 78_409_573
    out = jax.eval_shape(lambda x: I3D().init_with_output(jax.random.key(0), x)[0],
                         jax.ShapeDtypeStruct((2, 16, 224, 224, 3), "float32"))
    assert out.shape == (2, 400)


def test_weights_that_are_missing_are_described():
    with pytest.raises(ValueError, match="FVD needs weights.*name their file.*rgb_imagenet.pt.*docs/fvd.md"):
        fvd.i3d(None)
    with pytest.raises(FileNotFoundError, match="'nowhere.pt' do not exist.*rgb_imagenet.pt.*docs/fvd.md"):
        fvd.i3d("nowhere.pt")
    with pytest.raises(FileNotFoundError, match="'nowhere.npz' do not exist.*mean2.npz.*docs/fvd.md"):
        fvd.c3d("nowhere.npz")


def resized_row(row, size, places):
    video = np.asarray(row, np.float32).reshape(1, 1, 1, -1, 1)
    return np.asarray(resize_bilinear(video, (1, size), places))[0, 0, 0, :, 0]


@pytest.mark.parametrize("row, size, places, expected", [
    ([0, 8], 4, "corner", [0, 4, 8, 8]),  # at 0, 1/2, 1 and 3/2, where the last pixel is held
    ([0, 8], 4, "aligned", [0, 8 / 3, 16 / 3, 8]),
    ([0, 1, 2, 3, 4, 5], 3, "corner", [0, 2, 4]),  # no antialiasing: every other pixel is dropped
    ([0, 1, 2, 3, 4, 5], 3, "aligned", [0, 2.5, 5]),
    ([0, 3, 9], 2, "corner", [0, 6]),  # at 0 and 3/2
    ([5, 7], 1, "aligned", [5]),
    ([1, 2, 3], 3, "corner", [1, 2, 3]),
])
def test_one_row_by_hand(row, size, places, expected):
    np.testing.assert_allclose(resized_row(row, size, places), expected, rtol=1e-6)


def test_a_frame_by_hand_and_frames_and_channels_apart():
    frame = np.array([[0, 4], [8, 16]], np.float32)
    video = np.stack([frame, -frame], axis=-1)[None, None].repeat(3, axis=1) * np.arange(3.0).reshape(1, 3, 1, 1, 1)
    expected = np.array([[0, 2, 4, 4], [4, 7, 10, 10], [8, 12, 16, 16], [8, 12, 16, 16]])
    out = np.asarray(resize_bilinear(video, (4, 4)))
    assert out.shape == (1, 3, 4, 4, 2)
    for time in range(3):
        np.testing.assert_allclose(out[0, time, ..., 0], time * expected, rtol=1e-6)
        np.testing.assert_allclose(out[0, time, ..., 1], -time * expected, rtol=1e-6)


def test_unknown_ways_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'aligned'"):
        resize_bilinear(np.zeros((1, 1, 2, 2, 3)), (4, 4), "align")
