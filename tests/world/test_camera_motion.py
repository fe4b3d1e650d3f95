"""The camera's motion, on a painted wall whose windows are cut by hand."""

import numpy as np
import pytest
from scipy import ndimage

from videogvt.world.camera_motion import Motion, behind, estimate, mosaic

FRAMES = 8


@pytest.fixture(scope="module")
def wall() -> np.ndarray:
    """A wall of soft blobs, float (120, 120, 3) in 0..255."""
    noise = np.random.default_rng(0).standard_normal((120, 120, 3))
    soft = ndimage.gaussian_filter(noise, (2, 2, 0))
    return 128 + 40 * soft / soft.std()


def windows(wall, corners_T2) -> np.ndarray:
    """What a camera sees whose top left corner lies at whole places (x, y) of the wall, uint8 (T, 64, 64, 3)."""
    return np.stack([wall[y : y + 64, x : x + 64] for x, y in corners_T2]).clip(0, 255).astype(np.uint8)


def test_a_pan_by_hand(wall):
    corners_T2 = np.array([(20 + 2 * t, 30 - t + t % 2) for t in range(FRAMES)])
    motion = estimate(windows(wall, corners_T2))
    assert motion.moving
    moved_T2 = corners_T2 - corners_T2[FRAMES // 2]  # a place of frame t lies there in the middle frame
    np.testing.assert_allclose(motion.shift_T, moved_T2 @ [1, 1j], atol=0.1)
    np.testing.assert_allclose(motion.turn_T, 1.0, atol=0.005)
    places_T2 = np.full((FRAMES, 2), 10.0)
    np.testing.assert_allclose(motion.to_middle(places_T2), places_T2 + moved_T2, atol=0.3)
    np.testing.assert_allclose(motion.to_frames(motion.to_middle(places_T2)), places_T2, atol=1e-9)


def test_a_zoom_that_rolls(wall):
    centre, frames, turns = 59.5, [], 1 + np.linspace(-0.05, 0.05, FRAMES) * (1 + 0.5j)
    turns = turns / turns[FRAMES // 2]
    for turn in turns:
        place = turn * (np.arange(64) - 31.5 + 1j * (np.arange(64) - 31.5)[:, None])
        frames.append(np.stack([ndimage.map_coordinates(wall[..., c], [centre + place.imag, centre + place.real])
                                for c in range(3)], axis=-1))
    motion = estimate(np.stack(frames).clip(0, 255).astype(np.uint8))
    np.testing.assert_allclose(motion.turn_T, turns, atol=0.005)
    np.testing.assert_allclose(motion.shift_T, 0.0, atol=0.1)


@pytest.mark.parametrize("noise", [0.0, 12.0])
def test_a_camera_that_stands_still(wall, noise):
    video = windows(wall, [(20, 20)] * FRAMES).astype(np.float32)
    video += noise * np.random.default_rng(1).standard_normal(video.shape)
    for t in range(FRAMES):  # what moves before it does not move the camera
        video[t, 30:36, 5 * t : 5 * t + 6] = 255.0
    motion = estimate(video.clip(0, 255).astype(np.uint8))
    assert not motion.moving and (motion.shift_T == 0).all() and (motion.turn_T == 1).all()


def test_a_plain_scene_counts_as_still():
    assert not estimate(np.full((FRAMES, 32, 32, 3), 200, np.uint8)).moving


def test_what_is_behind_the_object_by_hand(wall):
    corners_T2 = np.array([(20 + 2 * t, 30) for t in range(FRAMES)])
    video = windows(wall, corners_T2)
    motion = Motion(np.ones(FRAMES, complex), (corners_T2 - corners_T2[4]) @ [1, 1j], 31.5 + 31.5j, True)
    corrupted = video.copy()
    corrupted[3, 20:30, 20:30] = 0
    np.testing.assert_allclose(behind(corrupted, motion)[:, 1:-1, 15:-15], video[:, 1:-1, 15:-15], atol=1e-3)
    canvas_HWC, corner = mosaic(video, motion)
    row, column = int(-31.5 - corner.imag), int(-31.5 - corner.real)
    np.testing.assert_allclose(canvas_HWC[row + 5, column + 40], video[4, 5, 40], atol=1e-3)
    assert np.isnan(canvas_HWC[0]).all() and np.isnan(canvas_HWC[-1]).all()  # no frame lies there
    still = Motion.still(FRAMES, 64, 64)
    np.testing.assert_array_equal(behind(video, still), np.median(video, axis=0, keepdims=True))
