"""How close two videos are: PSNR, SSIM and L1 of every frame, (B, T); and two sets of them, by their features.

The figure of a clip is the mean over its frames, that of a set the mean over its clips. Videos are floats in [0, 1];
clip a reconstruction before it is measured.

The Fréchet distance is between two sets of features, each taken for a Gaussian (arXiv 1706.08500, section 3):

    |m - n|^2 + tr S + tr T - 2 tr (S T)^(1/2)

The last trace is the sum of the singular values of S^(1/2) T^(1/2). So no square root of a matrix that is not symmetric
is taken, nothing turns complex, and singular covariances, of fewer samples than features, need no special case.
Everything is float64 numpy: the terms nearly cancel where the sets are alike.

Last, how well a classifier knows what it knows: calibration and coverage.
"""

import dm_pix
import jax.numpy as jnp
import numpy as np

LUMA = (0.2125, 0.7154, 0.0721)  # of red, green, blue
SSIM_SIZE, SSIM_SIGMA = 11, 1.5
MIN_ERROR = 1e-10  # equal frames have a PSNR of 100 dB, not an infinite one that would swallow a mean


def psnr(recon_BTHWC, video_BTHWC):
    """Peak signal-to-noise ratio on RGB in dB, (B, T); at most 100."""
    errors_BT = jnp.square(recon_BTHWC - video_BTHWC).mean((2, 3, 4))
    return -10 * jnp.log10(jnp.maximum(errors_BT, MIN_ERROR))


def l1(recon_BTHWC, video_BTHWC):
    """Mean absolute error on RGB, (B, T)."""
    return jnp.abs(recon_BTHWC - video_BTHWC).mean((2, 3, 4))


def ssim(recon_BTHWC, video_BTHWC):
    """Structural similarity on luma, (B, T): 11 x 11 Gaussian windows of sigma 1.5 that lie within the frame."""
    height, width = video_BTHWC.shape[2:4]
    if min(height, width) < SSIM_SIZE:
        raise ValueError(f"SSIM needs frames of at least {SSIM_SIZE} x {SSIM_SIZE} pixels, found {height} x {width}.")
    rows, columns = _gaussian_blur(height), _gaussian_blur(width)

    def blur(frames_NHWC):  # the filter dm-pix uses, as two matrix products: several times faster on CPUs
        return jnp.einsum("yh,nhwc,xw->nyxc", rows, frames_NHWC, columns, precision="highest")

    values_N = dm_pix.ssim(
        _luma_frames(recon_BTHWC), _luma_frames(video_BTHWC), max_val=1.0, filter_size=SSIM_SIZE,
        filter_sigma=SSIM_SIGMA, k1=0.01, k2=0.03, filter_fn=blur)
    return values_N.reshape(video_BTHWC.shape[:2])


def _luma_frames(video_BTHWC):
    luma_BTHW1 = jnp.einsum("bthwc,c->bthw", video_BTHWC, jnp.asarray(LUMA), precision="highest")[..., None]
    return luma_BTHW1.reshape(-1, *luma_BTHW1.shape[2:])


def _gaussian_blur(length: int) -> np.ndarray:
    """The matrix (length - 10, length) of a Gaussian filter without padding."""
    offsets = np.arange(SSIM_SIZE) - SSIM_SIZE // 2
    taps = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    taps /= taps.sum()
    rows = length - SSIM_SIZE + 1
    blur = np.zeros((rows, length), np.float32)
    for row in range(rows):
        blur[row, row:row + SSIM_SIZE] = taps
    return blur


BINS = 15  # of the confidence, for the calibration


def calibration(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = BINS) -> tuple[float, dict[str, np.ndarray]]:
    """The expected calibration error (arXiv 1706.04599), and of every bin of equal width that holds clips their mean
    ``confidence``, ``accuracy`` and ``clips``."""
    place_N = np.minimum((np.asarray(confidence_N) * bins).astype(int), bins - 1)
    clips = np.bincount(place_N, minlength=bins)
    sums = [np.bincount(place_N, np.asarray(values, np.float64), bins) for values in (confidence_N, right_N)]
    there = clips > 0
    confidence, accuracy = (total[there] / clips[there] for total in sums)
    error = float(np.sum(clips[there] * np.abs(confidence - accuracy)) / clips.sum())
    return error, {"confidence": confidence, "accuracy": accuracy, "clips": clips[there]}


def coverage(confidence_N: np.ndarray, right_N: np.ndarray) -> dict[str, np.ndarray]:
    """What is gained by answering only where one is sure: for every confidence as a threshold, highest first, the
    ``coverage`` (share of clips that are answered), their ``accuracy``, and the ``threshold``, (N,) each."""
    order = np.argsort(-np.asarray(confidence_N), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return {"coverage": answered / len(order), "accuracy": np.cumsum(np.asarray(right_N, np.float64)[order]) / answered,
            "threshold": np.asarray(confidence_N)[order]}


def gaussian(features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and unbiased covariance (D, D) of features, float64; two rows at least, all finite."""
    features_ND = np.asarray(features_ND, np.float64)
    if features_ND.ndim != 2 or len(features_ND) < 2:
        raise ValueError(f"Features have the shape {features_ND.shape}; expected (N, D) with N of at least 2.")
    if not np.isfinite(features_ND).all():
        raise ValueError("Some features are not finite; look for overflow in the network that made them.")
    mean_D = features_ND.mean(axis=0)
    centred_ND = features_ND - mean_D
    return mean_D, centred_ND.T @ centred_ND / (len(features_ND) - 1)


def frechet_distance(mean_D: np.ndarray, cov_DD: np.ndarray, other_D: np.ndarray, other_DD: np.ndarray) -> float:
    """The squared distance between two Gaussians given by means (D,) and covariances (D, D), at least 0."""
    mean_D, cov_DD, other_D, other_DD = (np.asarray(x, np.float64) for x in (mean_D, cov_DD, other_D, other_DD))
    width = len(mean_D)
    if other_D.shape != (width,) or cov_DD.shape != (width, width) or other_DD.shape != (width, width):
        raise ValueError(
            f"Means {mean_D.shape} and {other_D.shape} with covariances {cov_DD.shape} and {other_DD.shape}; expected "
            "(D,) and (D, D), D the same for both."
        )
    shared = np.linalg.svd(_root(cov_DD) @ _root(other_DD), compute_uv=False).sum()
    apart = np.sum((mean_D - other_D) ** 2) + np.trace(cov_DD) + np.trace(other_DD) - 2.0 * shared
    return float(max(apart, 0.0))


def frechet_between(features_ND: np.ndarray, other_ND: np.ndarray) -> float:
    """The squared distance between two sets of features (N, D) and (M, D)."""
    return frechet_distance(*gaussian(features_ND), *gaussian(other_ND))


def _root(cov_DD: np.ndarray) -> np.ndarray:
    """The symmetric square root; eigenvalues that rounding made negative count as 0."""
    values_D, vectors_DD = np.linalg.eigh(0.5 * (cov_DD + cov_DD.T))
    return (vectors_DD * np.sqrt(np.maximum(values_D, 0.0))) @ vectors_DD.T
