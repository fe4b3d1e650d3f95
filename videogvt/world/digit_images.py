"""Handwritten digits as pictures to move about: which image is in which split, and how one is drawn anywhere.

The images are scikit-learn's ``load_digits``: 1,797 of 8 x 8 pixels, the test part of "Optical Recognition of
Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998, CC BY 4.0). Enlarged by a cubic
spline and with its contrast raised, a digit is white on black with an edge about two pixels soft.
"""

import dataclasses
import functools
import hashlib

import numpy as np
from scipy import ndimage

DIGITS = 10
BORDER = 1
"""Blank source pixels around an image, into which the spline may fade."""

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Of the images of each digit."""

FADE = (0.2, 0.7)
"""Values of the enlarged image that become black and white; between them lies the edge."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sprite:
    """A digit to be drawn.

    Attributes:
      ink_hw: float64 in [0, 1], white where the digit is; blank for two pixels around it.
      cover_hw: float64 in [0, 1], at least the ink: how much of what is behind it hides. It reaches a pixel farther,
        so that a digit in front has a dark rim where it crosses another.
      centre: (x, y) of the ink's centre of mass in the array, in px.
      reach: (left, up, right, down), how far the ink's outermost pixels are from the centre, in px.
    """

    ink_hw: np.ndarray
    cover_hw: np.ndarray
    centre: tuple[float, float]
    reach: tuple[float, float, float, float]

    def bounds(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest place of the centre, (2,) each, for which all ink is in a picture of this size.

        Raises:
          ValueError: the digit is larger than the picture.
        """
        left, up, right, down = self.reach
        low, high = np.array([left, up]), np.array([width - 1 - right, height - 1 - down])
        if (high <= low).any():
            raise ValueError(f"A digit of {left + right + 1:.0f} x {up + down + 1:.0f} px (width x height) has no "
                             f"room to move in a picture of {width} x {height}; expected a larger picture, or smaller "
                             "digits.")
        return low, high

    def drawn(self, position_2: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Ink and cover with the centre at (x, y), float64 (H, W) each.

        Between pixels both are interpolated linearly, which moves the centre of mass by exactly as much.
        """
        shift_2 = np.array([position_2[1] - self.centre[1], position_2[0] - self.centre[0]])
        whole_2 = np.floor(shift_2).astype(int)  # whole pixels by pasting, the rest by interpolation
        moved_2hw = ndimage.shift(np.stack([self.ink_hw, self.cover_hw]), (0, *(shift_2 - whole_2)), order=1,
                                  mode="grid-constant", prefilter=False)  # blank on all sides, so nothing is lost
        rows, columns = self.ink_hw.shape
        canvas_2HW = np.zeros((2, height + 2 * rows, width + 2 * columns))  # what leaves the picture is cut
        top, left = np.clip(whole_2 + (rows, columns), 0, (height + rows, width + columns))
        canvas_2HW[:, top : top + rows, left : left + columns] = moved_2hw
        ink_HW, cover_HW = canvas_2HW[:, rows : rows + height, columns : columns + width]
        return ink_HW, cover_HW


@functools.cache
def _images() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # takes a second, and only who draws digits needs it

    found = load_digits()
    return found.images / 16.0, found.target


def digit_of(image: int) -> int:
    """Which digit, 0 to 9, an image shows."""
    return int(_images()[1][image])


@functools.cache
def images_of(split: str) -> tuple[np.ndarray, ...]:
    """The indices of a split's images, an array for each digit; no image is in two splits.

    The images of a digit are ordered by the SHA-256 of their pixels, so that equal ones stay together, and are divided
    by ``SHARES``.

    Raises:
      KeyError: there is no such split.
    """
    if split not in SHARES:
        raise KeyError(f"Unknown split of digit images {split!r}; expected one of {', '.join(SHARES)}.")
    images_Nhw, digit_N = _images()
    place, ends, parts = list(SHARES).index(split), np.cumsum([0.0, *SHARES.values()]), []
    for digit in range(DIGITS):
        own = np.flatnonzero(digit_N == digit)
        keys = [hashlib.sha256((16 * images_Nhw[image]).astype(np.uint8).tobytes()).hexdigest() for image in own]
        own = own[np.argsort(keys, kind="stable")]
        first, last = np.round(ends[place : place + 2] * len(own)).astype(int)
        parts.append(own[first:last])
    return tuple(parts)


@functools.cache
def sprite(image: int, size: int) -> Sprite:
    """An image enlarged so that it is ``size`` px wide and high with its blank border.

    Raises:
      IndexError: there is no such image.
      ValueError: it would not be larger than the original.
    """
    images_Nhw, _ = _images()
    if not 0 <= image < len(images_Nhw):
        raise IndexError(f"There is no digit image {image}; expected 0 to {len(images_Nhw) - 1}.")
    side = images_Nhw.shape[1] + 2 * BORDER
    if size < side:
        raise ValueError(f"size is {size}; expected at least {side} px, the side of an image with its border.")
    padded_hw = np.pad(images_Nhw[image], BORDER)
    smooth_hw = ndimage.zoom(padded_hw, size / side, order=3, mode="grid-constant", grid_mode=True)
    ink_hw = np.clip((smooth_hw - FADE[0]) / (FADE[1] - FADE[0]), 0.0, 1.0)
    ink_hw = np.pad(ink_hw, 2)  # room for the rim, and for a move by a part of a pixel
    cover_hw = ndimage.grey_dilation(ink_hw, size=(3, 3))
    rows, columns = np.flatnonzero(ink_hw.any(axis=1)), np.flatnonzero(ink_hw.any(axis=0))
    y, x = ndimage.center_of_mass(ink_hw)
    reach = (x - columns[0], y - rows[0], columns[-1] - x, rows[-1] - y)
    return Sprite(ink_hw, cover_hw, (float(x), float(y)), tuple(map(float, reach)))
