"""Frames: uint8 RGB pictures on white, scaled to cover a given size and cropped to it."""

import dataclasses
import hashlib
import math

import numpy as np
from PIL import Image

CROPS = ("center", "random")
_ROWS = 64  # that are floats at once
MAX_SCALED = 2**26  # pixels of a frame that is scaled whole; a strip of 65,535 x 1 would become a giant


class Unusable(Exception):
    """Why a file cannot be read."""


def resize_frame(frame_HWC: np.ndarray, height: int, width: int) -> np.ndarray:
    """The uint8 frame at another size (Pillow: bicubic, with antialiasing when it shrinks)."""
    if frame_HWC.shape[:2] == (height, width):
        return frame_HWC
    return np.asarray(Image.fromarray(frame_HWC).resize((width, height), Image.Resampling.BICUBIC))


def resize_short_side(frame_HWC: np.ndarray, size: int) -> np.ndarray:
    """The frame scaled so that its shorter side has ``size`` pixels; the longer one is rounded."""
    height, width = frame_HWC.shape[:2]
    scale = size / min(height, width)
    return resize_frame(frame_HWC, max(size, round(height * scale)), max(size, round(width * scale)))


def on_white(frame_HWC: np.ndarray) -> np.ndarray:
    """An RGBA frame (straight alpha, uint8) laid over white: RGB."""
    laid_HWC = np.empty((*frame_HWC.shape[:2], 3), np.uint8)
    for row in range(0, len(frame_HWC), _ROWS):
        part_HWC = frame_HWC[row : row + _ROWS]
        alpha_HW1 = part_HWC[..., 3:].astype(np.float32) / 255
        laid_HWC[row : row + _ROWS] = np.rint(part_HWC[..., :3] * alpha_HW1 + 255 * (1 - alpha_HW1))
    return laid_HWC


@dataclasses.dataclass(frozen=True)
class Framing:
    """How frames of any size become frames of one size: scaled to cover it, keeping proportions, and then cropped.

    Attributes:
      height, width: in pixels.
      crop: "center", or "random": somewhere along the longer side, one place per clip.
      seed: of the random places.
    """

    height: int
    width: int
    crop: str = "center"
    seed: int = 0

    def __post_init__(self):
        if self.crop not in CROPS:
            raise ValueError(f"crop is {self.crop!r}; it must be one of {', '.join(map(repr, CROPS))}.")
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Frames of {self.height}x{self.width} pixels cannot be; both sides need at least 1.")

    def place(self, clip: str) -> tuple[float, float]:
        """Where to crop a clip of that name: 0 is the top or left end, 1 the bottom or right one."""
        if self.crop == "center":
            return 0.5, 0.5
        digest = hashlib.sha256(f"{self.seed}/{clip}".encode()).digest()
        down, right = np.frombuffer(digest[:16], "<u8") / 2**64
        return float(down), float(right)

    def __call__(self, frame_HWC: np.ndarray, place: tuple[float, float]) -> np.ndarray:
        """The frame, ``height`` x ``width``, cropped at the place."""
        rows, columns = frame_HWC.shape[:2]
        scale = max(self.height / rows, self.width / columns)
        if rows * scale * columns * scale > MAX_SCALED:
            needed = min(rows, math.ceil(self.height / scale)), min(columns, math.ceil(self.width / scale))
            top, left = int(place[0] * (rows - needed[0])), int(place[1] * (columns - needed[1]))
            frame_HWC = frame_HWC[top : top + needed[0], left : left + needed[1]]
            rows, columns = needed
        scaled = resize_frame(frame_HWC, max(self.height, round(rows * scale)), max(self.width, round(columns * scale)))
        top = int(place[0] * (scaled.shape[0] - self.height))
        left = int(place[1] * (scaled.shape[1] - self.width))
        return scaled[top : top + self.height, left : left + self.width]
