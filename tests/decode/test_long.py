"""Clips in a row go on where the last ended, and given pixels can be pasted in."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.decode import extend


def ramp(given_BTHWC, number, frames=8, offset=0.0):
    """Counts on from the first given frame."""
    return given_BTHWC[:, :1] + jnp.arange(frames).reshape(1, -1, 1, 1, 1) + offset


VIDEO = jnp.broadcast_to(jnp.arange(10.0) + jnp.array([[0], [100]]), (4, 4, 3, 2, 10)).transpose(3, 4, 0, 1, 2)


@pytest.mark.parametrize("num_frames", [10, 11, 13, 40])
@pytest.mark.parametrize("given, overlap", [(1, 0), (1, 1), (5, 0), (5, 3), (7, 7)])
def test_a_video_of_any_length_continues_itself(num_frames, given, overlap):
    video = extend(ramp, VIDEO, num_frames, given=given, overlap=overlap)
    expected = np.arange(num_frames)[None] + np.array([[0], [100]])
    expected = np.broadcast_to(expected[..., None, None, None], (2, num_frames, 4, 4, 3))
    np.testing.assert_allclose(video, expected, rtol=1e-6)


def test_given_frames_are_kept_and_overlaps_fade_linearly():
    kept = extend(partial(ramp, offset=0.5), VIDEO, 30, given=5)
    np.testing.assert_array_equal(kept[:, :10], VIDEO)
    faded = extend(partial(ramp, offset=1.0), VIDEO, 13, given=5, overlap=4)
    added = [0, 0, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    np.testing.assert_allclose(faded[0, :, 0, 0, 0] - np.arange(13), added)


def test_each_clip_has_a_number_and_the_last_frames():
    seen = []

    def predict(given_BTHWC, number):
        seen.append((number, given_BTHWC[0, :, 0, 0, 0].tolist()))
        return ramp(given_BTHWC, number, frames=5)

    assert extend(predict, VIDEO, 15, given=3).shape[1] == 15
    assert seen == [(0, [7, 8, 9]), (1, [9, 10, 11]), (2, [11, 12, 13])]


@pytest.mark.parametrize("arguments, message", [
    ({"num_frames": 9, "given": 1}, "num_frames=9"), ({"num_frames": 20, "given": 11}, "given=11"),
    ({"num_frames": 20, "given": 2, "overlap": 3}, "overlap=3"),
    ({"num_frames": 20, "given": 8}, "expected more frames")])
def test_numbers_of_frames_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        extend(ramp, VIDEO, **arguments)
    with pytest.raises(ValueError, match="expected floats"):
        extend(ramp, VIDEO.astype(jnp.uint8), 20, given=2)
