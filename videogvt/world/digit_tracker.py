"""Where two known digits are in the frames of a clip, and which is in front: matched filters for both at once.

Every frame is looked at by itself. For either digit in front, its best places are those where the frame looks like it
under its cover. With it in place, the best place of the other is where the picture of both, the first in front, is
nearest to the frame: the sum of squares over all places at once follows from two correlations. The nearest picture of
all wins. Between pixels, the minimum of a parabola through the sums of squares beside it is taken.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from videogvt.world.digit_images import Sprite
from videogvt.world.digits import composed

_PLACES = 3
"""Places of the digit in front that are tried in a frame, for each of the two that it could be."""

FOUND = 0.4
"""The correlation between a frame and the picture of both digits, around a digit, from which on it counts as found."""

AROUND = 3
"""Pixels around a digit's ink that are compared too: a digit is dark around."""

TOLD = 1.0
"""By how many white pixels the pictures of both orders must differ in their misfit, for the order to be told."""


@dataclass(frozen=True)
class Located:
    """What ``locate`` found.

    Attributes:
      position_2T2: (x, y) of the two centres of mass in px; NaN where a digit is not found.
      match_2T: correlation, around each digit, between the frame and the picture of both; 0 where either is plain.
      front_T: which of both is in front, 0 or 1; -1 where that makes no difference or cannot be told.
    """

    position_2T2: np.ndarray
    match_2T: np.ndarray
    front_T: np.ndarray


def locate(grey_THW: np.ndarray, sprites: tuple[Sprite, Sprite]) -> Located:
    """Looks for two digits in frames with values in [0, 1]."""
    grey_THW = np.asarray(grey_THW, np.float64)
    frames, height, width = grey_THW.shape
    best_T, centre_2T2 = np.full(frames, np.inf), np.zeros((2, frames, 2))
    for front in (0, 1):
        ahead, behind = sprites[front], sprites[1 - front]
        under_TYX = _misfit(grey_THW, np.ones_like(grey_THW), ahead, ahead.cover_hw)
        for place_T2 in _lowest(under_TYX):
            first_T2 = _between(under_TYX, place_T2)
            drawn = [_pasted(part_hw, place_T2, height, width) for part_hw in (ahead.ink_hw, ahead.cover_hw)]
            rest_THW, seen_THW = grey_THW - drawn[0], 1.0 - drawn[1]
            total_TYX = (rest_THW**2).sum(axis=(1, 2))[:, None, None] + _misfit(rest_THW, seen_THW, behind)
            at_T2 = _argmin(total_TYX)
            min_T = total_TYX[np.arange(frames), at_T2[:, 0], at_T2[:, 1]]
            better_T = min_T < best_T
            best_T = np.where(better_T, min_T, best_T)
            for sprite, own, found_T2 in ((ahead, front, first_T2), (behind, 1 - front, _between(total_TYX, at_T2))):
                corner_T2 = found_T2 - np.array(sprite.ink_hw.shape) + 1
                there_T2 = corner_T2[:, ::-1] + np.array(sprite.centre)
                centre_2T2[own] = np.where(better_T[:, None], there_T2, centre_2T2[own])
    return _judged(grey_THW, sprites, centre_2T2)


def _misfit(grey_THW: np.ndarray, seen_THW: np.ndarray, sprite: Sprite, cover_hw: np.ndarray | None = None):
    """The sum of squares (T, Y, X) between frames, black beyond their edges, and a digit of which ``seen_THW`` is seen,
    for every place of its array's corner, -h + 1 to H - 1 and -w + 1 to W - 1: under its cover alone, or up to what
    does not depend on the place."""
    ink_hw, weight_hw = sprite.ink_hw, np.ones_like(sprite.ink_hw) if cover_hw is None else cover_hw
    bright_hw = weight_hw * ink_hw**2
    misfit_TYX = bright_hw.sum() - 2.0 * _correlated(grey_THW * seen_THW, weight_hw * ink_hw)
    if cover_hw is None:
        return misfit_TYX - _correlated(1.0 - seen_THW**2, bright_hw)
    return misfit_TYX + _correlated(grey_THW**2, cover_hw)


def _correlated(grey_THW: np.ndarray, part_hw: np.ndarray) -> np.ndarray:
    return signal.fftconvolve(grey_THW, part_hw[None, ::-1, ::-1], axes=(1, 2))


def _argmin(misfit_TYX: np.ndarray) -> np.ndarray:
    flat_T = misfit_TYX.reshape(len(misfit_TYX), -1).argmin(axis=1)
    return np.stack(np.unravel_index(flat_T, misfit_TYX.shape[1:]), axis=-1)


def _lowest(misfit_TYX: np.ndarray) -> list[np.ndarray]:
    """The places (T, 2) of the lowest minima, the lowest first."""
    valley_TYX = misfit_TYX == ndimage.minimum_filter(misfit_TYX, size=(1, 5, 5))
    left_TYX, places = np.where(valley_TYX, misfit_TYX, np.inf), []
    for _ in range(_PLACES):
        places.append(_argmin(left_TYX))
        left_TYX[np.arange(len(left_TYX)), places[-1][:, 0], places[-1][:, 1]] = np.inf
    return places


def _between(misfit_TYX: np.ndarray, place_T2: np.ndarray) -> np.ndarray:
    """Places (T, 2) with a share of a pixel: the lowest points of parabolas down and across."""
    padded_TYX, rows = np.pad(misfit_TYX, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.arange(len(misfit_TYX))
    y_T, x_T = place_T2[:, 0] + 1, place_T2[:, 1] + 1
    moves = []
    for down, across in ((1, 0), (0, 1)):
        before_T, at_T, after_T = (padded_TYX[rows, y_T + step * down, x_T + step * across] for step in (-1, 0, 1))
        bend_T = before_T - 2.0 * at_T + after_T
        move_T = 0.5 * (before_T - after_T) / np.where(bend_T > 0, bend_T, 1.0)
        moves.append(np.where(bend_T > 0, np.clip(move_T, -0.5, 0.5), 0.0))
    return place_T2 + np.stack(moves, axis=-1)


def _pasted(part_hw: np.ndarray, place_T2: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part in black frames (T, H, W), its corner at every frame's place as ``_misfit`` counts them."""
    rows, columns = part_hw.shape
    canvas_THW = np.zeros((len(place_T2), height + 2 * (rows - 1), width + 2 * (columns - 1)))
    for canvas_HW, (top, left) in zip(canvas_THW, place_T2):
        canvas_HW[top : top + rows, left : left + columns] = part_hw
    return canvas_THW[:, rows - 1 : rows - 1 + height, columns - 1 : columns - 1 + width]


def _judged(grey_THW: np.ndarray, sprites: tuple[Sprite, Sprite], centre_2T2: np.ndarray) -> Located:
    """Which digit is in front at about these places, where exactly both are, and whether the frames show them there."""
    frames = len(grey_THW)
    position_2T2, match_2T, front_T = np.zeros((2, frames, 2)), np.zeros((2, frames)), np.full(frames, -1)
    for frame, grey_HW in enumerate(grey_THW):
        drawn = [sprite.drawn(centre_2, *grey_HW.shape) for sprite, centre_2 in zip(sprites, centre_2T2[:, frame])]
        misfits = [_apart(grey_HW, drawn, front) for front in (0, 1)]
        front = int(misfits[1] < misfits[0])
        if abs(misfits[1] - misfits[0]) >= TOLD:
            front_T[frame] = front
        position_22 = _refined(grey_HW, sprites, drawn, centre_2T2[:, frame], front)
        shown_HW, _ = composed(drawn[front], drawn[1 - front])
        for own in (0, 1):
            window = _window(sprites[own], position_22[own], grey_HW.shape)
            match_2T[own, frame] = _correlation(grey_HW[window], shown_HW[window])
        position_2T2[:, frame] = position_22
    position_2T2[match_2T < FOUND] = np.nan
    return Located(position_2T2, match_2T, front_T)


def _window(sprite: Sprite, position_2: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture that a digit's ink reaches, and ``AROUND`` more on each side."""
    (x, y), (left, up, right, down) = position_2, sprite.reach
    ends = ((y - up, y + down, size[0]), (x - left, x + right, size[1]))
    return tuple(slice(*np.clip(np.round([first - AROUND, last + AROUND + 1]), 0, most).astype(int))
                 for first, last, most in ends)


def _correlation(seen_hw: np.ndarray, shown_hw: np.ndarray) -> float:
    """Pearson's; 0 where one of them is plain."""
    if not seen_hw.size or min(np.ptp(seen_hw), np.ptp(shown_hw)) < 1e-6:
        return 0.0
    return float(np.corrcoef(seen_hw.ravel(), shown_hw.ravel())[0, 1])


def _apart(grey_HW: np.ndarray, drawn: list[tuple[np.ndarray, np.ndarray]], front: int) -> float:
    return float(((grey_HW - composed(drawn[front], drawn[1 - front])[0]) ** 2).sum())


def _refined(grey_HW, sprites, drawn: list[tuple[np.ndarray, np.ndarray]], centre_22: np.ndarray, front: int):
    """The places (2, 2) after one parabola over half a pixel to either side, digit by digit and axis by axis; ``drawn``
    becomes what is drawn there."""
    position_22 = np.array(centre_22)
    for own in (0, 1):
        for axis in (0, 1):
            misfits = []
            for step in (-0.5, 0.0, 0.5):
                moved_2 = position_22[own] + step * np.eye(2)[axis]
                drawn[own] = sprites[own].drawn(moved_2, *grey_HW.shape)
                misfits.append(_apart(grey_HW, drawn, front))
            bend = misfits[0] - 2.0 * misfits[1] + misfits[2]
            if bend > 0:
                position_22[own, axis] += np.clip(0.25 * (misfits[0] - misfits[2]) / bend, -0.5, 0.5)
        drawn[own] = sprites[own].drawn(position_22[own], *grey_HW.shape)
    return position_22
