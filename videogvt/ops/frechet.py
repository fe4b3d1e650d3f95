"""The Fréchet distance between two sets of features, each taken for a Gaussian (arXiv 1706.08500, section 3).

    |m - n|^2 + tr S + tr T - 2 tr (S T)^(1/2)

The last trace is the sum of the singular values of S^(1/2) T^(1/2). So no square root of a matrix that is not symmetric
is taken, nothing turns complex, and singular covariances, of fewer samples than features, need no special case.
Everything is float64 numpy: the terms nearly cancel where the sets are alike.
"""

import numpy as np


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
