"""Trivial answers to where an object is while it cannot be seen, from its track where it can.

``given_BT`` tells in which frames of a track (B, T, 2) the position is known; no answer looks at the others. A
polynomial may leave the picture: ``clamped`` puts it back, since the object never leaves it.
"""

import numpy as np


def horizon(given_BT: np.ndarray) -> np.ndarray:
    """Frames to the nearest given frame, before or after: int (B, T), 0 where given, T where none is."""
    ago_BT, until_BT = _frames_since(given_BT), _frames_since(given_BT[:, ::-1])[:, ::-1]
    return np.minimum(ago_BT, until_BT)


def extrapolated(track_BT2: np.ndarray, given_BT: np.ndarray, order: int) -> np.ndarray:
    """From the nearest given frame on: order 0 copies its position, 1 keeps the velocity between it and the given frame
    beyond it, 2 the acceleration through three given frames.

    Of two equally near frames the earlier counts. Frames after it are extrapolated forwards, from given frames before;
    frames that precede it backwards. Where too few frames are given on that side the order is as high as it can be.
    NaN (B, T, 2) in clips with no given frame.
    """
    past_BT2 = _from_past(track_BT2, given_BT, order)
    future_BT2 = _from_past(track_BT2[:, ::-1], given_BT[:, ::-1], order)[:, ::-1]
    earlier_BT = _frames_since(given_BT) <= _frames_since(given_BT[:, ::-1])[:, ::-1]
    return np.where(earlier_BT[..., None], past_BT2, future_BT2)


def interpolated(track_BT2: np.ndarray, given_BT: np.ndarray) -> np.ndarray:
    """On the straight line between the given frames before and after, at constant velocity beyond the outermost."""
    ago_BT, until_BT = _frames_since(given_BT), _frames_since(given_BT[:, ::-1])[:, ::-1]
    past_BT2 = _from_past(track_BT2, given_BT, 0)
    future_BT2 = _from_past(track_BT2[:, ::-1], given_BT[:, ::-1], 0)[:, ::-1]
    share_BT1 = (ago_BT / np.maximum(ago_BT + until_BT, 1))[..., None]
    frames = given_BT.shape[1]
    between_BT1 = ((ago_BT < frames) & (until_BT < frames))[..., None]
    straight_BT2 = past_BT2 + (future_BT2 - past_BT2) * share_BT1
    return np.where(between_BT1, straight_BT2, extrapolated(track_BT2, given_BT, 1))


def clamped(track_BT2: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest positions within the picture."""
    return np.clip(track_BT2, 0.0, np.array([width - 1.0, height - 1.0]))


def _last_given(given_BT: np.ndarray) -> np.ndarray:
    """The latest given frame that is not after each frame: int (B, T), -1 where there is none."""
    frames = np.arange(given_BT.shape[1])
    return np.maximum.accumulate(np.where(given_BT, frames, -1), axis=1)


def _frames_since(given_BT: np.ndarray) -> np.ndarray:
    """Frames since the last given one: int (B, T), T where there is none before."""
    last_BT, frames = _last_given(given_BT), np.arange(given_BT.shape[1])
    return np.where(last_BT >= 0, frames - last_BT, len(frames))


def _from_past(track_BT2: np.ndarray, given_BT: np.ndarray, order: int) -> np.ndarray:
    """The polynomial of ``order`` through as many of the last given frames, or of the highest order there is."""
    rows, time_T = np.arange(len(given_BT))[:, None], np.arange(given_BT.shape[1])
    last_BT = np.concatenate([_last_given(given_BT), np.full((len(given_BT), 1), -1)], axis=1)  # [-1] is -1
    known = [last_BT[:, :-1]]
    for _ in range(order):
        known.append(np.where(known[-1] > 0, last_BT[rows, known[-1] - 1], -1))
    answer_BT2 = np.full(track_BT2.shape, np.nan)
    for points in range(1, order + 2):
        there_BT = known[points - 1] >= 0
        at_BT2 = sum(
            _weight(time_T, known[:points], place)[..., None] * track_BT2[rows, known[place]] for place in range(points)
        )
        answer_BT2 = np.where(there_BT[..., None], at_BT2, answer_BT2)
    return answer_BT2


def _weight(time_T: np.ndarray, known: list[np.ndarray], place: int) -> np.ndarray:
    """Lagrange's weight (B, T) of one of the known frames."""
    weight_BT = np.ones(known[0].shape)
    for other, frame_BT in enumerate(known):
        if other != place:
            apart_BT = known[place] - frame_BT
            weight_BT *= np.where(apart_BT != 0, (time_T - frame_BT) / np.where(apart_BT != 0, apart_BT, 1), 0.0)
    return weight_BT
