"""What may spoil a video on its way to a classifier: noise, blur and occlusion, each at some strength."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from videogvt.core.registry import unknown_name

Rows = dict[str, np.ndarray]


def noise(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """Normal noise of this standard deviation, in units of full scale."""
    spoilt = video_BTHWC.astype(np.float32)
    for clip, index in zip(spoilt, indices, strict=True):
        clip += 255 * level * np.random.default_rng(int(index)).standard_normal(clip.shape, np.float32)
    return np.round(np.clip(spoilt, 0, 255)).astype(np.uint8)


def blur(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """A Gaussian of this standard deviation over every frame, in reference pixels (64 on the short side)."""
    height, width = video_BTHWC.shape[2:4]
    sigma = level * min(height, width) / 64
    spoilt = video_BTHWC.astype(np.float32)
    for axis, size in ((2, height), (3, width)):
        place = np.arange(size)
        weight = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)  # near the edge, of what there is
        weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
        spoilt = np.moveaxis(np.tensordot(weight, spoilt, (1, axis)), 0, axis)
    return np.round(spoilt).astype(np.uint8)


def occlusion(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """A grey square that stands still somewhere and hides this share of every frame."""
    height, width = video_BTHWC.shape[2:4]
    side = [max(1, round(level**0.5 * size)) for size in (height, width)]
    spoilt = video_BTHWC.copy()
    for clip, index in zip(spoilt, indices, strict=True):
        stream = np.random.default_rng(int(index))
        top, left = stream.integers(height - side[0] + 1), stream.integers(width - side[1] + 1)
        clip[:, top : top + side[0], left : left + side[1]] = 128
    return spoilt


CORRUPTIONS: Mapping[str, Callable[[np.ndarray, float, Sequence[int]], np.ndarray]] = {
    "noise": noise, "blur": blur, "occlusion": occlusion,
}


def corruption(name: str, level: float) -> Callable[[Rows, Sequence[int]], Rows]:
    """What ``inputs.edited.EditedSource`` wants: videos, uint8, spoilt; the same every time.

    Raises:
      ValueError: the name is unknown, or the level is no strength.
    """
    if name not in CORRUPTIONS:
        raise ValueError(unknown_name("corruption", name, CORRUPTIONS))
    if not level > 0 or (name == "occlusion" and level > 1):
        raise ValueError(f"The {name} has the level {level}; expected a positive one, of occlusion a share up to 1.")
    return lambda rows, indices: rows | {"video": CORRUPTIONS[name](rows["video"], level, indices)}
