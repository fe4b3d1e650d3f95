"""The tracker for scenes, on a ball drawn by hand before a painted wall, and on a few clips of a world."""

import numpy as np
import pytest
from scipy import ndimage

from videogvt.world.example import example
from videogvt.world.scene_tracker import BRIDGED, LOST, SEEN, classify_scenes, track_scenes
from videogvt.world.spec import SPECS
from videogvt.world.tracker import track

TIME = np.arange(16)
LINE = np.stack([8 + 3 * TIME, 48 - 1.5 * TIME], axis=-1)


@pytest.fixture(scope="module")
def wall() -> np.ndarray:
    """A wall of soft blobs, float (130, 130, 3) in 0..255."""
    soft = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((130, 130, 3)), (2, 2, 0))
    return 128 + 30 * soft / soft.std()


def filmed(wall, corner_T2=None, noise: float = 0.0, post: tuple[int, int] | None = None) -> np.ndarray:
    """A red ball of 3 px on ``LINE``, as a camera sees it whose top left corner lies at whole places of the wall; with
    ``corner_T2`` the ball is at ``LINE`` less the corner's move since frame 8. uint8 (1, 16, 64, 64, 3)."""
    corner_T2 = np.full((16, 2), 30) if corner_T2 is None else corner_T2
    y, x = np.mgrid[:64, :64]
    frames = []
    for (left, top), (at_x, at_y) in zip(corner_T2, LINE - corner_T2 + corner_T2[8]):
        cover = np.clip(3.5 - np.hypot(x - at_x, y - at_y), 0, 1)[..., None]
        frames.append((1 - cover) * wall[top : top + 64, left : left + 64] + cover * [230, 20, 20])
    video = np.stack(frames)
    if post:
        video[:, :, slice(*post)] = 90.0
    video += 255 * noise * np.random.default_rng(1).standard_normal(video.shape)
    return video.clip(0, 255).astype(np.uint8)[None]


def apart(place_BT2, true_T2=LINE) -> np.ndarray:
    return np.linalg.norm(place_BT2[0] - true_T2, axis=-1)


def test_a_ball_before_a_wall(wall):
    found = track_scenes(filmed(wall))
    assert (found.state_BT == SEEN).all() and not found.moving_B.any()
    assert np.median(apart(found.position_BT2)) < 0.1 and apart(found.position_BT2).max() < 0.5
    np.testing.assert_allclose(np.median(found.area_BT), 9 * np.pi, rtol=0.15)
    assert classify_scenes(found) == ["linear"]


def test_a_ball_behind_a_post_is_bridged(wall):
    found = track_scenes(filmed(wall, post=(25, 37)))
    hidden = np.isin(LINE[:, 0], (29, 32))  # whole, behind columns 25 to 36
    assert hidden.sum() == 2 and (found.state_BT[0, hidden] == BRIDGED).all() and (found.state_BT != LOST).all()
    assert apart(found.position_BT2)[hidden].max() < 0.7 and apart(found.position_BT2).max() < 2.0
    assert found.std_BT[0, hidden].min() > found.std_BT[0, 2]
    assert found.area_BT[0, hidden].max() == 0


def test_a_camera_that_pans_gives_the_same_track(wall):
    corner_T2 = np.stack([20 + TIME, 40 - TIME + TIME % 3], axis=-1)
    found = track_scenes(filmed(wall, corner_T2))
    assert found.moving_B.all() and (found.state_BT == SEEN).all()
    assert apart(found.still_BT2).max() < 0.5
    assert apart(found.position_BT2, LINE - corner_T2 + corner_T2[8]).max() < 0.5
    assert classify_scenes(found) == ["linear"]


def test_noise(wall):
    found = track_scenes(filmed(wall, noise=0.1))
    assert (found.state_BT != LOST).all() and apart(found.position_BT2).max() < 1.0


@pytest.mark.parametrize("video", [
    np.full((2, 16, 64, 64, 3), 200, np.uint8),
    np.random.default_rng(0).integers(0, 256, (1, 16, 64, 64, 3), np.uint8),
])
def test_nothing_in_the_clip_is_lost_in_every_frame(video):
    found = track_scenes(video)
    assert (found.state_BT == LOST).all() and np.isnan(found.position_BT2).all() and np.isnan(found.still_BT2).all()
    assert np.isinf(found.std_BT).all() and (found.area_BT == 0).all()
    assert (classify_scenes(found) == "unknown").all()


def test_clips_of_a_world():
    rows = [example(SPECS["hard64"], "validation", index) for index in range(4)]
    found = track_scenes(np.stack([row["video"] for row in rows]))
    error_BT = np.linalg.norm(found.position_BT2 - [row["pixel_position"][0] for row in rows], axis=-1)
    assert np.mean(error_BT < 2) > 0.95 and np.nanmedian(error_BT) < 0.15
    assert (classify_scenes(found) == [row["family"] for row in rows]).mean() >= 0.75


def test_the_other_tracker_agrees_on_a_plain_scene():
    video = example(SPECS["mono64"], "validation", 0)["video"]
    apart_T = np.linalg.norm(track_scenes(video[None]).position_BT2[0] - track(video).position_T2, axis=-1)
    assert apart_T.max() < 0.3


def test_other_clips_are_refused():
    with pytest.raises(ValueError, match=r"uint8 \(B, T, H, W, 3\); found float64 \(1, 8, 64, 64, 3\)"):
        track_scenes(np.zeros((1, 8, 64, 64, 3)))
