"""What an object looks like through a clip, and whether many clips look as real ones do.

A generator that draws one code after another may let the ball change its colour or its size on the way, and one that
has seen few clips may show few colours, sizes and places. Hues are degrees, 0 red, 120 green, 240 blue; of objects
without colour they are NaN.
"""

import numpy as np
from scipy import stats

from videogvt.evals.rows import Columns

_GREY = 0.05
"""Colourfulness, of full scale, below which a colour has no hue."""

WORST_HUE = 180.0
"""The drift in degrees of a clip whose object has a hue in too few frames to tell."""


def colourfulness(colour):
    """Colours (..., 3), bytes' scale, as complex numbers (...): the hue is the angle, 1 the length of pure red."""
    red, green, blue = np.moveaxis(np.asarray(colour, np.float64) / 255.0, -1, 0)
    return red - (green + blue) / 2 + 1j * np.sqrt(0.75) * (green - blue)


def appearance_columns(colour_BT3: np.ndarray, radius_BT: np.ndarray, min_frames: int) -> Columns:
    """A row for each clip: ``hue`` (the mean one), ``hue_drift`` (root mean square of the angle to it, degrees) and
    ``radius_drift`` (standard deviation over mean).

    Where fewer than ``min_frames`` frames have a hue, or a radius, the drift is the worst there is: ``WORST_HUE``, or
    infinity.

    Args:
      colour_BT3: of the object, bytes' scale; NaN where there is none.
      radius_BT: of the object; NaN where there is none.
      min_frames: as said.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        colour_BT = colourfulness(colour_BT3)
        coloured_BT = np.abs(colour_BT) >= _GREY
        unit_BT = np.where(coloured_BT, colour_BT / np.abs(colour_BT), 0)
    mean_B, frames_B = unit_BT.sum(axis=1), coloured_BT.sum(axis=1)
    apart_BT = np.where(coloured_BT, np.degrees(np.angle(unit_BT * np.conj(mean_B)[:, None])), 0.0)
    drift_B = np.sqrt((apart_BT**2).sum(axis=1) / np.maximum(frames_B, 1))
    known_BT = np.isfinite(radius_BT)
    count_B1 = np.maximum(known_BT.sum(axis=1, keepdims=True), 1)
    middle_B1 = np.where(known_BT, radius_BT, 0.0).sum(axis=1, keepdims=True) / count_B1
    square_BT = np.where(known_BT, radius_BT - middle_B1, 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share_B = np.sqrt(square_BT.sum(axis=1) / count_B1[:, 0]) / middle_B1[:, 0]
    return {
        "hue": np.where(frames_B > 0, np.degrees(np.angle(mean_B)) % 360.0, np.nan),
        "hue_drift": np.where(frames_B >= min_frames, drift_B, WORST_HUE),
        "radius_drift": np.where(known_BT.sum(axis=1) >= min_frames, share_B, np.inf),
    }


def appearance_distances(table: Columns, others: Columns) -> dict[str, float]:
    """How far the distributions of two sets of clips lie apart, as the mean way from one to the other (Wasserstein-1).

    ``hue_distance_deg`` (around the circle), ``radius_distance_px``, ``place_distance_px`` (of the clips' mean places,
    the mean of x and y) and ``speed_distance_px``; of clips that have the measure. Two halves of real clips are not 0
    apart: that is the control.
    """
    places = [np.nanmean(_tracked(part), axis=1) for part in (table, others)]
    numbers = {
        "radius_distance_px": _apart(table["radius"], others["radius"]),
        "speed_distance_px": _apart(table["speed"], others["speed"]),
        "place_distance_px": np.mean([_apart(places[0][:, axis], places[1][:, axis]) for axis in (0, 1)]),
    }
    if "hue" in table and "hue" in others:
        numbers["hue_distance_deg"] = circular_distance(table["hue"], others["hue"])
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _tracked(table: Columns) -> np.ndarray:
    """Tracks (B, T, 2) of the clips that have one."""
    track_BT2 = table["track"]
    return track_BT2[np.isfinite(track_BT2).all(axis=-1).any(axis=1)]


def _apart(values_N: np.ndarray, others_M: np.ndarray) -> float:
    values_N, others_M = (values[np.isfinite(values)] for values in (values_N, others_M))
    if not len(values_N) or not len(others_M):
        return np.nan
    return stats.wasserstein_distance(values_N, others_M)


def circular_distance(degrees_N: np.ndarray, others_M: np.ndarray) -> float:
    """Wasserstein-1 around the circle in degrees: the integral of |F - G| less its median, F and G being the two
    cumulative distributions (Rabin, Delon and Gousseau 2011); NaN where one has no value."""
    degrees_N, others_M = (np.sort(values[np.isfinite(values)] % 360.0) for values in (degrees_N, others_M))
    if not len(degrees_N) or not len(others_M):
        return np.nan
    edges = np.unique(np.concatenate([[0.0], degrees_N, others_M]))
    widths = np.diff(np.append(edges, 360.0))
    gap = (np.searchsorted(degrees_N, edges, "right") / len(degrees_N)
           - np.searchsorted(others_M, edges, "right") / len(others_M))
    order = np.argsort(gap)
    half = np.searchsorted(np.cumsum(widths[order]), 180.0)
    return float((widths * np.abs(gap - gap[order][half])).sum())
