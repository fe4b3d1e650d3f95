"""Figures of two digits in predicted clips: where they are, which they are, who is in front; and answers beside them.

A digit's *error* in a frame is the distance in px from its true place to that where ``world.digit_tracker`` finds one
of the two digit images of the clip. Which of both found places belongs to which true one is decided by the smallest sum
of distances, frame by frame, so that places are measured apart from identities. A digit that is not found counts as
half the picture's diagonal off. *Read* are digits in the last ``LAST_FRAMES`` frames, where the true ones do not
overlap, cut out at their found places; a digit is right if the classifier, over all these frames, names the true one of
that place.

Frames are grouped by the first asked frame in which the true digits overlap: ``before_overlap``, ``overlapping`` and
``after_overlap``, which are later frames without overlap.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from videogvt.evals.rows import Columns
from videogvt.inputs.digits import crop
from videogvt.world.digit_images import Sprite, sprite
from videogvt.world.digit_tracker import locate
from videogvt.world.digits import film_digits, reflected

DIGIT_TRUTH = ("position", "velocity", "digit", "image", "front", "overlap", "size")
"""Fields of a source that knows its two digits."""

LAST_FRAMES = 4
"""Last frames of a clip in which digits are read."""

_GROUPS = ("", "before_overlap", "overlapping", "after_overlap")


def sprites_of(batch: Mapping[str, np.ndarray], row: int) -> tuple[Sprite, Sprite]:
    """The two digits of a clip, as they are drawn."""
    return tuple(sprite(int(image), int(batch["size"][row])) for image in batch["image"][row])


def digit_columns(video_BTHWC: np.ndarray, batch: Mapping[str, np.ndarray], asked_T: np.ndarray) -> Columns:
    """A row for each clip, uint8, beside the true one; NaN in frames that are not asked.

    ``track`` (B, 2, T, 2) and ``error`` (B, 2, T), NaN where not found; ``mse`` (B, T) over pixels in [0, 1];
    ``front_right`` (B, T), whether the one in front is the true one, NaN where the true ones do not overlap or the
    order cannot be told; ``overlap`` and ``asked`` (B, T); ``digit`` (B, 2).
    """
    clips, (_, height, width) = len(video_BTHWC), video_BTHWC.shape[1:4]
    frames, half = len(asked_T), np.hypot(height, width) / 2.0
    grey_BTHW = video_BTHWC.mean(axis=-1) / 255.0
    apart_BTHW = grey_BTHW - batch["video"].mean(axis=-1) / 255.0
    columns = {
        "track": np.full((clips, 2, frames, 2), np.nan, np.float32), "error": np.full((clips, 2, frames), np.nan),
        "front_right": np.full((clips, frames), np.nan),
        "mse": np.where(asked_T, (apart_BTHW**2).mean(axis=(2, 3)), np.nan),
        "overlap": batch["overlap"], "asked": np.broadcast_to(asked_T, (clips, frames)), "digit": batch["digit"],
    }  # fmt: skip
    for row in range(clips):
        found = locate(grey_BTHW[row][asked_T], sprites_of(batch, row))
        for place, time in enumerate(np.flatnonzero(asked_T)):
            apart_222 = found.position_2T2[:, place, None] - batch["position"][row][None, :, time]
            distance_22 = np.linalg.norm(apart_222, axis=-1)  # (found, true)
            order_2 = linear_sum_assignment(np.where(np.isfinite(distance_22), distance_22, half).T)[1]  # true to found
            columns["track"][row, :, time] = found.position_2T2[order_2, place]
            columns["error"][row, :, time] = distance_22[order_2, (0, 1)]
            front = found.front_T[place]
            if batch["overlap"][row, time] and front >= 0:
                columns["front_right"][row, time] = order_2[batch["front"][row]] == front
    return columns


def read_columns(video_BTHWC: np.ndarray, columns: Columns, read, side: int) -> Columns:
    """``log_probability`` (B, 2, T, 10) of the digits that were read, NaN elsewhere.

    Args:
      columns: of ``digit_columns``.
      read: from crops uint8 (N, 1, side, side, 3) to the logarithms of the ten digits' probabilities (N, 10).
    """
    clips, _, frames = columns["error"].shape
    last = range(frames - min(LAST_FRAMES, frames), frames)
    where = [(row, own, time) for row in range(clips) for own in (0, 1) for time in last]  # as many in every batch
    found_BT = columns["asked"] & ~columns["overlap"]
    crops, counted = [], []
    for row, own, time in where:
        place_2 = columns["track"][row, own, time]
        counted.append(bool(found_BT[row, time] and np.isfinite(place_2).all()))
        crops.append(crop(video_BTHWC[row, time], np.where(np.isfinite(place_2), place_2, -1e4), side))
    log_NK, counted_N = np.asarray(read(np.stack(crops)[:, None])), np.array(counted)
    log_B2TK = np.full((clips, 2, frames, log_NK.shape[-1]), np.nan, np.float32)
    rows, owns, times = (np.array(part) for part in zip(*where))
    log_B2TK[rows[counted_N], owns[counted_N], times[counted_N]] = log_NK[counted_N]
    return {"log_probability": log_B2TK}


def groups(overlap_NT: np.ndarray, asked_NT: np.ndarray) -> dict[str, np.ndarray]:
    """The frames of every group, bool (N, T): the three are parts of "", the asked ones."""
    crossing_NT = overlap_NT & asked_NT
    begun_NT = np.maximum.accumulate(crossing_NT, axis=1)
    parts = asked_NT, asked_NT & ~begun_NT, crossing_NT, asked_NT & begun_NT & ~crossing_NT
    return dict(zip(_GROUPS, parts, strict=True))


def digit_figures(table: Columns, diagonal: float) -> dict[str, float]:
    """Figures over the asked frames and, as ``<group>/...``, over those of every group, as far as there are any.

    ``frames`` of all clips; ``found_share`` of both digits; ``position_error_px``, the mean over frames and digits, and
    ``position_error_px_median``, with half the ``diagonal`` (px) where a digit is not found; ``mse`` of pixels in
    [0, 1]; ``front_right_share`` of ``front_frames``, overlapping ones whose order can be told. Where digits were read,
    of the ``read_clips``: ``digit_right_share`` of both digits, ``pair_right_share`` of clips in which both are right.
    """
    numbers: dict[str, float] = {}
    for group, frame_NT in groups(table["overlap"], table["asked"]).items():
        numbers |= {f"{group}/{name}".lstrip("/"): float(value) for name, value in _of(table, frame_NT, diagonal)}
    return numbers


def _of(table: Columns, frame_NT: np.ndarray, diagonal: float):
    yield "frames", frame_NT.sum()
    if not frame_NT.any():
        return
    error_M2 = np.moveaxis(table["error"], 1, 2)[frame_NT]
    charged_M2 = np.where(np.isfinite(error_M2), error_M2, diagonal / 2.0)
    yield "found_share", np.isfinite(error_M2).mean()
    yield "position_error_px", charged_M2.mean(dtype=np.float64)
    yield "position_error_px_median", np.median(charged_M2)
    yield "mse", table["mse"][frame_NT].mean(dtype=np.float64)
    front_M = table["front_right"][frame_NT]
    told_M = np.isfinite(front_M)
    if told_M.any():
        yield "front_right_share", front_M[told_M].mean()
        yield "front_frames", told_M.sum()
    if "log_probability" in table:
        yield from _read(table, frame_NT & ~table["overlap"])


def _read(table: Columns, frame_NT: np.ndarray):
    frames = frame_NT.shape[1]
    last_NT = frame_NT & (np.arange(frames) >= frames - LAST_FRAMES)
    some_N = last_NT.any(axis=1)
    if not some_N.any():
        return
    log_N2TK = np.where(last_NT[:, None, :, None], table["log_probability"], np.nan)
    there_N2 = np.isfinite(log_N2TK).all(axis=-1).any(axis=-1)
    named_N2 = np.nan_to_num(log_N2TK).sum(axis=2).argmax(axis=-1)
    right_N2 = there_N2 & (named_N2 == table["digit"])  # one that is found in none of these frames is not right
    yield "read_clips", some_N.sum()
    yield "digit_right_share", right_N2[some_N].mean()
    yield "pair_right_share", right_N2[some_N].all(axis=1).mean()


# Answers that need no learning


def copied(batch: Mapping[str, np.ndarray], asked_T: np.ndarray) -> np.ndarray:
    """The last given frame over and over, uint8 (B, T, H, W, 3)."""
    first = int(np.argmax(asked_T))
    source_T = np.where(asked_T, first - 1, np.arange(len(asked_T)))
    return batch["video"][:, source_T]


def carried_on(batch: Mapping[str, np.ndarray], asked_T: np.ndarray) -> np.ndarray:
    """Both true digits carried on from the last given frame at their true velocities, reflected at the edges.

    Who is in front it knows if the digits overlap in a given frame; else it says the first, which is right in half of
    the clips.
    """
    first = int(np.argmax(asked_T))
    video_BTHWC, time_T = batch["video"].copy(), np.arange(len(asked_T) - first + 1)
    height, width = video_BTHWC.shape[2:4]
    for row in range(len(video_BTHWC)):
        own, ways = sprites_of(batch, row), []
        for place, one in enumerate(own):
            low, high = one.bounds(height, width)
            start_2 = np.clip(batch["position"][row, place, first - 1].astype(np.float64), low, high)
            velocity_2 = batch["velocity"][row, place, first - 1].astype(np.float64)
            ways.append(reflected(start_2, velocity_2, low, high, time_T)[0][1:])
        front = int(batch["front"][row]) if batch["overlap"][row, :first].any() else 0
        video_BTHWC[row, first:], _ = film_digits(own, np.stack(ways), front, height, width)
    return video_BTHWC
