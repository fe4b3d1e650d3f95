"""Answers that need no learning: what a figure is worth shows only beside theirs.

A dot on white makes the all-background video score 26 dB PSNR, so no figure of a tokenizer stands alone.
Every answer maps clips, uint8 (B, T, H, W, 3), to clips of the same shape and type.

What PSNR cannot see: whether the object is there, where it is, and whether it still moves in the same way.

Positions are pixels, x right and y down, pixel centres at integers. An object is what differs from the background by at
least 0.15; the background is the original's own (``background``), for an answer as for the original.

Baselines to where an object is while it cannot be seen, from its track where it can.

``given_BT`` tells in which frames of a track (B, T, 2) the position is known; no answer looks at the others. A
polynomial may leave the picture: ``clamped`` puts it back, since the object never leaves it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from videogvt.world import oracle, tracker

Baseline = Callable[[np.ndarray], np.ndarray]


class TrainingClips(Protocol):
    """What is asked of a training split: its length and random access to its videos."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]: ...


def background(video_BTHWC: np.ndarray) -> np.ndarray:
    """The clip without its object, the same picture in every frame.

    A pixel is the median of its values over time. Where the object rests for half of the clip that is the object
    itself; so a pixel that ever comes within 5 % of the clip's most frequent colour takes that colour instead.
    """
    middle_BHWC = np.partition(video_BTHWC, video_BTHWC.shape[1] // 2, axis=1)[:, video_BTHWC.shape[1] // 2]
    usual_B111C = _most_frequent(video_BTHWC)[:, None, None, None]
    near_BTHWC = np.maximum(video_BTHWC, usual_B111C) - np.minimum(video_BTHWC, usual_B111C) <= 0.05 * 255
    plain_BHW1 = np.logical_and.reduce([channel.any(axis=1) for channel in np.moveaxis(near_BTHWC, -1, 0)])[..., None]
    still_BHWC = np.where(plain_BHW1, usual_B111C[:, 0], middle_BHWC)
    return np.broadcast_to(still_BHWC[:, None], video_BTHWC.shape)


def _most_frequent(video_BTHWC: np.ndarray) -> np.ndarray:
    """The most frequent value of every colour channel of every clip, uint8 (B, C), from a quarter of the pixels."""
    samples_BXC = video_BTHWC[:, :, ::2, ::2].reshape(len(video_BTHWC), -1, video_BTHWC.shape[-1])
    counts = [[np.bincount(channel, minlength=256) for channel in clip.T] for clip in samples_BXC]
    return np.argmax(counts, axis=-1).astype(np.uint8)


def mean_frame(video_BTHWC: np.ndarray) -> np.ndarray:
    """The mean over the clip's frames, in every frame."""
    mean_B1HWC = np.round(video_BTHWC.mean(axis=1, keepdims=True, dtype=np.float32)).astype(np.uint8)
    return np.broadcast_to(mean_B1HWC, video_BTHWC.shape)


def thumbnails(video_BTHWC: np.ndarray, grid: tuple[int, int, int] = (8, 16, 16)) -> np.ndarray:
    """Clips as vectors float32 (B, D): mean grey values, 0 to 255, in the cells of a coarse grid.

    A side that the grid does not divide gets as many cells as its greatest common divisor with the grid.
    """
    B, T, H, W, C = video_BTHWC.shape
    t, h, w = (math.gcd(size, cells) for size, cells in zip((T, H, W), grid))
    runs = video_BTHWC.reshape(-1, W // w * C).astype(np.float32).mean(axis=-1)
    return runs.reshape(B, t, T // t, h, H // h, w).mean(axis=(2, 4)).reshape(B, -1)


def spread_over(clips: int, count: int) -> np.ndarray:
    """The places of ``count`` clips, or of all there are, spread evenly over a split of so many clips."""
    return np.unique(np.linspace(0, clips - 1, min(count, clips)).astype(int))


class NearestClip:
    """The training clip that is nearest in the squared distance of thumbnails.

    Args:
      train: the training split.
      count: how many of its clips to search, spread evenly over it; fewer when it is smaller.
    """

    def __init__(self, train: TrainingClips, count: int = 2000):
        self.train = train
        self.indices = spread_over(len(train), count)
        self._library_ND: np.ndarray | None = None

    def __call__(self, video_BTHWC: np.ndarray) -> np.ndarray:
        if self._library_ND is None:
            chunks = np.array_split(self.indices, -(-len(self.indices) // 64))
            vectors = [thumbnails(self.train.read(chunk.tolist())["video"]) for chunk in chunks]
            self._library_ND = np.concatenate(vectors)
        query_BD = thumbnails(video_BTHWC)
        library_ND = self._library_ND
        distance_BN = (library_ND**2).sum(-1) - 2.0 * query_BD @ library_ND.T  # up to a constant of the query
        nearest = self.indices[distance_BN.argmin(axis=1)]
        return self.train.read(nearest.tolist())["video"]


@dataclasses.dataclass(frozen=True)
class Originals:
    """What is known of a batch of originals.

    Attributes:
      background_B1HWC: the clips without their object, uint8.
      track: the object as tracked in the originals.
      position_BT2, radius_BT: the true centre and radius in the picture of the first camera, in pixels.
      label_B, fps_B: the true family and the frames per second.
      families: names by label; () when the oracle does not know them.
    """

    background_B1HWC: np.ndarray
    track: tracker.Track
    position_BT2: np.ndarray
    radius_BT: np.ndarray
    label_B: np.ndarray
    fps_B: np.ndarray
    families: tuple[str, ...]

    @classmethod
    def of(cls, batch: Mapping[str, np.ndarray], families: tuple[str, ...]) -> "Originals":
        """Tracks the originals of a batch that has ``pixel_position``, ``radius_px`` and ``fps``."""
        background_B1HWC = background(batch["video"])[:, :1]
        return cls(
            background_B1HWC=background_B1HWC, track=tracker.track(batch["video"], background_B1HWC),
            position_BT2=batch["pixel_position"][:, 0], radius_BT=batch["radius_px"][:, 0],
            label_B=batch["label"], fps_B=batch["fps"], families=families,
        )


def object_columns(video_BTHWC: np.ndarray, originals: Originals) -> dict[str, np.ndarray]:
    """A row for each clip: ``found`` (B, T), ``track_error_px`` (B, T), ``track`` (B, T, 2) and ``correct`` (B).

    ``found`` is exactly one component that differs from the background by 0.15, of half to twice the true area, centred
    within 3 px of the true centre. ``track_error_px`` is the distance to the object as tracked in the original: NaN
    where the original has no track, and the diagonal of the frame, the most there can be, where only the clip has none,
    so that to lose the object is never better than to misplace it. ``correct`` tells whether the kinematic oracle
    names the true family from this track; it is missing without families.

    Args:
      video_BTHWC: clips that stand for the originals, uint8.
      originals: what is known of the originals.
    """
    track = tracker.track(video_BTHWC, originals.background_B1HWC)
    height, width = video_BTHWC.shape[2:4]
    gap_BT = np.linalg.norm(track.position_T2 - originals.track.position_T2, axis=-1)
    gap_BT = np.where(track.found_T, gap_BT, np.hypot(height, width))
    columns = {
        "found": tracker.agrees(track, originals.position_BT2, originals.radius_BT),
        "track_error_px": np.where(originals.track.found_T, gap_BT, np.nan).astype(np.float32),
        "track": track.position_T2.astype(np.float32),
    }
    if originals.families:
        named_B = name_families(track.position_T2, originals.fps_B, originals.families, min(height, width))
        columns["correct"] = named_B == np.array(originals.families)[originals.label_B]
    return columns


def name_families(track_BT2: np.ndarray, fps_B: np.ndarray, families: Sequence[str], size: int) -> np.ndarray:
    """The oracle's name for every track, str (B); tracks of one frame rate are named together."""
    names_B = np.full(len(track_BT2), oracle.UNKNOWN, dtype="U32")
    for fps in np.unique(fps_B):
        rows = fps_B == fps
        names_B[rows] = oracle.classify(track_BT2[rows], fps=float(fps), families=families, size=size)
    return names_B


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
