"""One moving object through a clip: which of what stands out is it, and where was it while hidden?

Which: the path through the candidates that costs least, where a frame without one has a price, too; the shortest path
of ``scipy.sparse.csgraph`` in the graph of candidates (after Zhang, Li and Nevatia, CVPR 2008, for one object).

Where: the Kalman filter of ``filterpy`` with its Rauch-Tung-Striebel smoother, over motions of steady velocity or of
steady acceleration that random kicks disturb. How strong the kicks are is read off every clip's own likelihood, so that
a straight path is bridged with confidence and a winding one is not.
"""

from dataclasses import dataclass

import numpy as np
from filterpy.common import Q_discrete_white_noise, kinematic_state_transition
from filterpy.kalman import KalmanFilter
from scipy.linalg import block_diag
from scipy.sparse import coo_array, csgraph

MISSED = 1.0  # price of a frame without a candidate; what a candidate costs is meant to be less
FAINT = 0.8  # price of a candidate that hardly stands out
REACH = 8.0  # px per frame at 64 on the short side: no object is faster
KICKS = {1: (0.05, 0.3, 1.0, 2.5), 2: (0.05, 0.3, 1.0, 2.5)}
"""Standard deviations of the kicks per frame, px/frame^2 at 64 on the short side, tried for each order of motion."""

PRIOR = (20.0, 2.5, 1.2)  # px, px/frame, px/frame^2: of place, velocity and acceleration before anything is seen
GATE = 16.0  # squared stds off the path from which a place is not believed; by chance 1 of 3,000
MIN_SEEN = 4  # frames; below, there is no path


@dataclass(frozen=True)
class Candidates:
    """What stands out in the frames of a clip, N in all.

    Attributes:
      frame_N: in which frame.
      position_N2: centres, px.
      std_N: how exact they are, px.
      area_N: px.
      strength_N: how far they stand out, 0..1.
      colour_N3: mean colours, 0..1.
    """

    frame_N: np.ndarray
    position_N2: np.ndarray
    std_N: np.ndarray
    area_N: np.ndarray
    strength_N: np.ndarray
    colour_N3: np.ndarray


def chosen(candidates: Candidates, num_frames: int, unit: float = 1.0) -> np.ndarray:
    """The candidate of every frame (T,) on the cheapest path, -1 where it has none.

    Two candidates g frames apart are neighbours on a path if their distance is at most ``REACH`` g. That costs
    ``MISSED`` for each frame between, up to a half by their distance, the largest channel's difference in colour, and a
    quarter of the logarithm of their areas' ratio. A candidate's own price goes from 0 to ``FAINT``, the less it has of
    the median of the frames' largest area times strength.
    """
    none_T = np.full(num_frames, -1)
    if not len(candidates.frame_N):
        return none_T
    order_N = np.argsort(candidates.frame_N, kind="stable")
    frame_N, place_N2 = candidates.frame_N[order_N], candidates.position_N2[order_N]
    area_N, colour_N3 = candidates.area_N[order_N], candidates.colour_N3[order_N]
    mass_N = area_N * candidates.strength_N[order_N]
    largest = np.median([mass_N[frame_N == frame].max() for frame in np.unique(frame_N)])
    gap_NN = frame_N[None] - frame_N[:, None]
    apart_NN = np.linalg.norm(place_N2[None] - place_N2[:, None], axis=-1) / (REACH * unit * np.maximum(gap_NN, 1))
    tint_NN = np.abs(colour_N3[None] - colour_N3[:, None]).max(axis=-1)
    ratio_NN = np.abs(np.log(area_N[None] / area_N[:, None]))
    own_N = FAINT * (1.0 - np.minimum(mass_N / largest, 1.0))
    cost_NN = MISSED * (gap_NN - 1) + 0.5 * apart_NN**2 + tint_NN + 0.25 * ratio_NN + own_N[None]
    start, end = np.nonzero((gap_NN > 0) & (apart_NN <= 1.0))
    count = len(frame_N)
    source, sink, every = count, count + 1, np.arange(count)
    rows = np.concatenate([start, np.full(count, source), every, [source]])
    columns = np.concatenate([end, every, np.full(count, sink), [sink]])
    costs = np.concatenate([cost_NN[start, end], MISSED * frame_N + own_N, MISSED * (num_frames - 1 - frame_N),
                            [MISSED * num_frames]])
    graph = coo_array((costs + 1e-9, (rows, columns)), shape=(count + 2, count + 2)).tocsr()  # 0 would be no edge
    _, before = csgraph.dijkstra(graph, indices=source, return_predecessors=True)
    node = before[sink]
    while node != source:
        none_T[frame_N[node]] = order_N[node]
        node = before[node]
    return none_T


def bridged(position_T2: np.ndarray, std_T: np.ndarray, unit: float = 1.0) -> tuple[np.ndarray, ...]:
    """The smoothed path through places of which some are missing or wrong.

    Args:
      position_T2: px, NaN where nothing was seen.
      std_T: standard deviation of each along an axis, px.
      unit: pixels per pixel of a picture of 64 on the short side.

    Returns:
      places (T, 2) in px, their standard deviation (T,) along an axis, and which of the given places were believed
      (T,); NaN and infinite, if fewer than ``MIN_SEEN`` are.
    """
    seen_T = np.isfinite(position_T2).all(axis=-1)
    while seen_T.sum() >= MIN_SEEN:
        place_T2, spread_T = _smoothed(position_T2 / unit, std_T / unit, seen_T)
        left_T = np.sum((position_T2 / unit - place_T2) ** 2, axis=-1)
        expected_T = np.maximum((std_T / unit) ** 2 - spread_T**2, 0.1 * (std_T / unit) ** 2)
        odd_T = np.where(seen_T, left_T / expected_T, 0.0)  # a smoothed path is drawn towards a place: less is left
        if odd_T.max() <= GATE:
            return place_T2 * unit, spread_T * unit, seen_T
        seen_T = seen_T & (np.arange(len(seen_T)) != odd_T.argmax())
    return np.full_like(position_T2, np.nan), np.full(len(position_T2), np.inf), np.zeros_like(seen_T)


def _smoothed(position_T2: np.ndarray, std_T: np.ndarray, seen_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and stds by the likeliest of the motions."""
    measured = [position_T2[t][:, None] if seen_T[t] else None for t in range(len(seen_T))]
    noises = [std_T[t] ** 2 * np.eye(2) if seen_T[t] else None for t in range(len(seen_T))]
    likeliest, best = -np.inf, None
    for order, kicks in KICKS.items():
        for kick in kicks:
            model = _model(order, kick, np.nanmean(position_T2[seen_T], axis=0))
            means, covariances, ahead, ahead_covariances = model.batch_filter(measured, Rs=noises)
            told = _log_likelihood(model.H, position_T2, std_T, seen_T, ahead[..., 0], ahead_covariances)
            if told > likeliest:
                likeliest, best = told, (model, means, covariances)
    model, means, covariances = best
    smooth, smooth_covariances, _, _ = model.rts_smoother(means, covariances)
    places_T2 = smooth[..., 0] @ model.H.T
    variances_T2 = np.einsum("ij,tjk,ik->ti", model.H, smooth_covariances, model.H)
    return places_T2, np.sqrt(np.maximum(variances_T2.mean(axis=-1), 0.0))


def _model(order: int, kick: float, middle_2: np.ndarray) -> KalmanFilter:
    model = KalmanFilter(dim_x=2 * (order + 1), dim_z=2)
    model.F = block_diag(*[kinematic_state_transition(order, 1.0)] * 2)
    model.H = block_diag(*[np.eye(1, order + 1)] * 2)
    model.Q = Q_discrete_white_noise(order + 1, dt=1.0, var=kick**2, block_size=2)
    model.P = np.diag(np.tile(PRIOR[: order + 1], 2)) ** 2
    model.x = np.zeros((2 * (order + 1), 1))
    model.x[[0, order + 1], 0] = middle_2
    return model


def _log_likelihood(H, position_T2, std_T, seen_T, ahead_TN, covariance_TNN) -> float:
    """Of the seen places, up to what is the same for all models."""
    apart_T2 = position_T2[seen_T] - ahead_TN[seen_T] @ H.T
    variance_T22 = H @ covariance_TNN[seen_T] @ H.T + std_T[seen_T, None, None] ** 2 * np.eye(2)
    squares = np.einsum("ti,tij,tj->t", apart_T2, np.linalg.inv(variance_T22), apart_T2)
    return float(-0.5 * np.sum(squares + np.linalg.slogdet(variance_T22)[1]))
