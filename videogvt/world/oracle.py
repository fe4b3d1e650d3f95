"""The kinematic oracle: names the family of a motion from its 2-D track alone.

Each family is fitted to the track as seen by a distant camera that does not roll, within the parameter ranges that the
family states, and the fits are compared by their residuals at a price per free parameter (Schwarz's criterion, Ann.
Stat. 6(2), 1978, with a floor under the residual that stands for perspective and pixel noise).
"""

from collections.abc import Sequence

import numpy as np

from videogvt.core.registry import Registry
from videogvt.world.families import FAMILIES, GRAVITY
from videogvt.world.scene import DRAWS, HELD_OUT

MODELS = Registry("oracle model")  # family name -> function(track_BN2, time_N, duration, unit) -> (residual_B, count)
_FLOOR = 0.32  # px at 64 on the short side: misfit below this does not count
_SLACK = 1.15  # how far beyond its stated range a parameter may be fitted
MIN_TRACK_FRAMES = 8
UNKNOWN = "unknown"


def residuals(
    track_T2: np.ndarray, fps: float = 24.0, families: Sequence[str] = tuple(FAMILIES), size: int = 64
) -> dict[str, np.ndarray]:
    """Root-mean-square distance in pixels between tracks (..., T, 2) and each family's best fit: (...) by name.

    Frames whose position is nan are left out; with fewer than 8 frames left every residual is infinite.

    Args:
      track_T2: positions in pixels, x right and y down.
      fps: frames per second.
      families: names to fit.
      size: short side of the picture in pixels, which sets the scale of gravity.
    """
    return {name: rms for name, (rms, _) in _fits(track_T2, fps, families, size).items()}


def scores(
    track_T2: np.ndarray, fps: float = 24.0, families: Sequence[str] = tuple(FAMILIES), size: int = 64
) -> dict[str, np.ndarray]:
    """What ``classify`` compares: N log(mean square + floor^2) + k log N of N coordinates and k free parameters, lower
    is better; (...) by name."""
    counts = np.maximum(2 * np.sum(np.isfinite(track_T2).all(axis=-1), axis=-1), 1)
    floor = _FLOOR * size / 64.0
    return {
        name: counts * np.log(rms**2 / 2 + floor**2) + free * np.log(counts)
        for name, (rms, free) in _fits(track_T2, fps, families, size).items()
    }


def classify(
    track_T2: np.ndarray, fps: float = 24.0, families: Sequence[str] = tuple(FAMILIES), size: int = 64
) -> str | np.ndarray:
    """The family of a track (T, 2), or an array of names for tracks (..., T, 2); "unknown" below 8 found frames."""
    by_name = scores(track_T2, fps, families, size)
    names = np.array([*by_name, UNKNOWN])
    stacked = np.stack([*by_name.values()])
    best = np.where(np.isfinite(stacked).all(axis=0), stacked.argmin(axis=0), len(by_name))
    return str(names[best]) if best.ndim == 0 else names[best]


def _fits(track_T2, fps, families, size) -> dict[str, tuple[np.ndarray, int]]:
    """(residual (...), number of free parameters) by family; tracks with the same missing frames are fitted at once."""
    lead, num_frames = track_T2.shape[:-2], track_T2.shape[-2]
    tracks = track_T2.reshape(-1, num_frames, 2).astype(np.float64)
    found = np.isfinite(tracks).all(axis=-1)
    time, duration = np.arange(num_frames) / fps, (num_frames - 1) / fps
    patterns, pattern_of = np.unique(found, axis=0, return_inverse=True)
    fits = {}
    for name in families:
        rms, free = np.full(len(tracks), np.inf), 0
        for p, frames in enumerate(patterns):
            if frames.sum() >= MIN_TRACK_FRAMES:
                rows = np.flatnonzero(pattern_of.reshape(-1) == p)
                rms[rows], free = MODELS[name](tracks[rows][:, frames], time[frames], duration, size / 64.0)
        fits[name] = (rms.reshape(lead), free)
    return fits


def _left_over(design_GNK: np.ndarray, track_BN2: np.ndarray) -> np.ndarray:
    """What least squares on each of G designs leaves of the tracks, as root-mean-square distances (B, G)."""
    basis, _ = np.linalg.qr(design_GNK)
    centred = track_BN2 - track_BN2.mean(axis=1, keepdims=True)
    explained = np.einsum("gnk,bnc->bgkc", basis, centred, optimize=True)
    left = np.sum(centred**2, axis=(1, 2))[:, None] - np.sum(explained**2, axis=(2, 3))
    return np.sqrt(np.maximum(left, 0.0) / track_BN2.shape[1])


def _rates(family: str, duration: float) -> np.ndarray:
    """Angular speeds (G,) in rad/s that cover the family's range of turns."""
    turns = FAMILIES[family].ranges["turns"]
    return 2 * np.pi * np.arange(turns.low / _SLACK, turns.high * _SLACK, 0.01) / duration


def _cross(a_2: np.ndarray, b_2: np.ndarray) -> np.ndarray:
    return a_2[..., 0] * b_2[..., 1] - a_2[..., 1] * b_2[..., 0]


def _circle_design(family: str, time_N: np.ndarray, duration: float, *others: np.ndarray) -> np.ndarray:
    """Designs (G, N, K): constant, cosine and sine for every number of turns in the family's range, and ``others``."""
    phase_GN = _rates(family, duration)[:, None] * time_N
    columns = [np.ones_like(phase_GN), np.cos(phase_GN), np.sin(phase_GN)]
    return np.stack([*columns, *(np.broadcast_to(other, phase_GN.shape) for other in others)], axis=-1)


@MODELS.register("linear")
def _linear(track_BN2, time_N, duration, unit):
    """Constant velocity: 4 parameters."""
    return _left_over(np.stack([np.ones_like(time_N), time_N], axis=-1)[None], track_BN2)[:, 0], 4


@MODELS.register("parabolic")
def _parabolic(track_BN2, time_N, duration, unit):
    """Constant velocity and an acceleration down the picture, of a size that gravity has at the world's scales."""
    scale, elevations = DRAWS["scale"], (DRAWS["elevation"], HELD_OUT["elevation"])
    length_unit = (duration / 0.625) ** 2
    lowest = GRAVITY * np.cos(max(e.high for e in elevations)) * scale.low / length_unit * unit / _SLACK
    highest = GRAVITY * scale.high / length_unit * unit * _SLACK
    basis, _ = np.linalg.qr(np.stack([np.ones_like(time_N), time_N], axis=-1))
    fall = 0.5 * time_N**2
    bend_N = fall - basis @ (basis.T @ fall)
    straight_BN2 = track_BN2 - np.einsum("nk,bkc->bnc", basis, np.einsum("nk,bnc->bkc", basis, track_BN2))
    gravity_B = np.clip(straight_BN2[..., 1] @ bend_N / (bend_N @ bend_N), lowest, highest)
    straight_BN2[..., 1] -= gravity_B[:, None] * bend_N
    return np.sqrt(np.mean(np.sum(straight_BN2**2, axis=2), axis=1)), 5


@MODELS.register("circular")
def _circular(track_BN2, time_N, duration, unit):
    """Uniform motion on an ellipse, the picture of a circle: 7 parameters."""
    return _left_over(_circle_design("circular", time_N, duration), track_BN2).min(axis=1), 7


@MODELS.register("helical")
def _helical(track_BN2, time_N, duration, unit):
    """Uniform motion on an ellipse that drifts, slowly enough to keep turning the same way: 9 parameters.

    With the drift in units of the cosine and sine vectors' speeds, the path loops while that pair's length is below 1.
    Fits that do not loop give way to the one without drift.
    """
    design_GNK = _circle_design("helical", time_N, duration, time_N)
    left_BG = _left_over(design_GNK, track_BN2)
    fit_BGK2 = np.einsum("gkn,bnc->bgkc", np.linalg.pinv(design_GNK), track_BN2, optimize=True)
    cosine, sine, drift = fit_BGK2[:, :, 1], fit_BGK2[:, :, 2], fit_BGK2[:, :, 3]
    area = np.abs(_cross(cosine, sine))
    loops = np.hypot(_cross(drift, sine), _cross(cosine, drift)) <= _SLACK * _rates("helical", duration) * area
    still_BG = _left_over(design_GNK[..., :3], track_BN2)
    return np.where(loops, left_BG, still_BG).min(axis=1), 9


@MODELS.register("random")
def _random(track_BN2, time_N, duration, unit):
    """Any smooth path: polynomials of degree 7 in time, 16 parameters."""
    design = np.polynomial.legendre.legvander(2 * time_N / duration - 1, 7)
    return _left_over(design[None], track_BN2)[:, 0], 16
