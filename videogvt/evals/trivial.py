"""Answers that need no learning: what a figure is worth shows only beside theirs.

A dot on white makes the all-background video score 26 dB PSNR, so no figure of a tokenizer stands alone.
Every answer maps clips, uint8 (B, T, H, W, 3), to clips of the same shape and type.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

Answer = Callable[[np.ndarray], np.ndarray]


class Clips(Protocol):
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

    def __init__(self, train: Clips, count: int = 2000):
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
