"""PSNR, SSIM and L1 against their definitions."""

import dm_pix
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import quality
from videogvt.ops.quality import frechet_between, frechet_distance, gaussian


@pytest.fixture(scope="module")
def videos():
    rng = np.random.default_rng(0)
    video = rng.random((2, 3, 16, 20, 3)).astype(np.float32)
    return np.clip(video + 0.1 * rng.normal(size=video.shape), 0, 1).astype(np.float32), video


def test_psnr_and_l1_are_per_frame(videos):
    recon, video = videos
    errors = np.square(recon.astype(np.float64) - video).mean((2, 3, 4))
    np.testing.assert_allclose(quality.psnr(recon, video), 10 * np.log10(1 / errors), rtol=1e-5)
    np.testing.assert_allclose(quality.l1(recon, video), np.abs(recon - video).mean((2, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(quality.psnr(video, video), 100.0)


def test_ssim_is_dm_pix_s_on_luma(videos):
    recon, video = videos
    luma = [(frames.reshape(-1, 16, 20, 3) @ np.asarray(quality.LUMA, np.float32))[..., None] for frames in videos]
    np.testing.assert_allclose(quality.ssim(recon, video).ravel(), dm_pix.ssim(*luma), atol=1e-5)
    np.testing.assert_allclose(quality.ssim(video, video), 1.0, atol=1e-6)


def test_ssim_refuses_frames_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, found 8 x 16"):
        quality.ssim(jnp.zeros((1, 1, 8, 16, 3)), jnp.zeros((1, 1, 8, 16, 3)))


def test_one_dimension_by_hand():
    # (m - n)^2 + (s - t)^2 with stds s = 2 and t = 5
    assert frechet_distance([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(9.0 + 9.0)


def test_covariances_that_commute_add_up_by_axis():
    distance = frechet_distance([0.0, 1.0], np.diag([1.0, 9.0]), [2.0, 1.0], np.diag([4.0, 1.0]))
    assert distance == pytest.approx(4.0 + 1.0 + 4.0)


def test_covariances_that_do_not_commute():
    # tr (S T)^(1/2) of [[2, 1], [1, 2]] and diag(1, 4): sqrt(tr ST + 2 sqrt(det ST)) for 2 x 2
    cov, other = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 4.0])
    shared = np.sqrt(np.trace(cov @ other) + 2 * np.sqrt(np.linalg.det(cov @ other)))
    assert frechet_distance([0, 0], cov, [0, 0], other) == pytest.approx(4 + 5 - 2 * shared)


def test_turning_the_axes_changes_nothing():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    one, two = rng.normal(size=(50, 6)) * np.arange(1, 7), rng.normal(1.0, 2.0, (40, 6))
    assert frechet_between(one @ turn, two @ turn) == pytest.approx(frechet_between(one, two), rel=1e-9)
    assert frechet_between(two, one) == pytest.approx(frechet_between(one, two), rel=1e-9)


def test_equal_sets_have_no_distance_even_where_covariances_are_singular():
    features = np.random.default_rng(1).normal(size=(10, 64)) * 1e3  # 9 of 64 directions
    scale = np.trace(gaussian(features)[1])
    assert frechet_between(features, features) <= 1e-9 * scale
    assert frechet_between(features, features + 3.0) == pytest.approx(64 * 9.0, rel=1e-6)


def test_points_have_the_distance_of_their_means():
    assert frechet_between(np.zeros((3, 2)), np.tile([3.0, 4.0], (5, 1))) == pytest.approx(25.0)


def test_gaussian_by_hand():
    mean, cov = gaussian(np.array([[0.0, 0.0], [2.0, 4.0]], np.float32))
    np.testing.assert_allclose(mean, [1.0, 2.0])
    np.testing.assert_allclose(cov, [[2.0, 4.0], [4.0, 8.0]])
    assert cov.dtype == np.float64


def test_what_makes_no_distance_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        gaussian(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="not finite"):
        gaussian(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="D the same for both"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
