"""PSNR, SSIM and L1 against their definitions."""

import dm_pix
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import quality


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
