"""Resizing against numbers worked out by hand."""

import numpy as np
import pytest

from videogvt.ops.resize import resize_bilinear


def resized_row(row, size, places):
    video = np.asarray(row, np.float32).reshape(1, 1, 1, -1, 1)
    return np.asarray(resize_bilinear(video, (1, size), places))[0, 0, 0, :, 0]


@pytest.mark.parametrize("row, size, places, expected", [
    ([0, 8], 4, "corner", [0, 4, 8, 8]),  # at 0, 1/2, 1 and 3/2, where the last pixel is held
    ([0, 8], 4, "aligned", [0, 8 / 3, 16 / 3, 8]),
    ([0, 1, 2, 3, 4, 5], 3, "corner", [0, 2, 4]),  # no antialiasing: every other pixel is dropped
    ([0, 1, 2, 3, 4, 5], 3, "aligned", [0, 2.5, 5]),
    ([0, 3, 9], 2, "corner", [0, 6]),  # at 0 and 3/2
    ([5, 7], 1, "aligned", [5]),
    ([1, 2, 3], 3, "corner", [1, 2, 3]),
])
def test_one_row_by_hand(row, size, places, expected):
    np.testing.assert_allclose(resized_row(row, size, places), expected, rtol=1e-6)


def test_a_frame_by_hand_and_frames_and_channels_apart():
    frame = np.array([[0, 4], [8, 16]], np.float32)
    video = np.stack([frame, -frame], axis=-1)[None, None].repeat(3, axis=1) * np.arange(3.0).reshape(1, 3, 1, 1, 1)
    expected = np.array([[0, 2, 4, 4], [4, 7, 10, 10], [8, 12, 16, 16], [8, 12, 16, 16]])
    out = np.asarray(resize_bilinear(video, (4, 4)))
    assert out.shape == (1, 3, 4, 4, 2)
    for time in range(3):
        np.testing.assert_allclose(out[0, time, ..., 0], time * expected, rtol=1e-6)
        np.testing.assert_allclose(out[0, time, ..., 1], -time * expected, rtol=1e-6)


def test_unknown_ways_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'aligned'"):
        resize_bilinear(np.zeros((1, 1, 2, 2, 3)), (4, 4), "align")
