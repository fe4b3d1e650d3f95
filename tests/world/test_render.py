"""The renderer against the truth it is given."""

from dataclasses import replace

import numpy as np
import pytest

from videogvt.world.example import example
from videogvt.world.spec import BACKGROUNDS, SPECS
from videogvt.world.tracker import agrees, still_background, track

MONO = SPECS["mono64"]


def centroids(video_NTHWC: np.ndarray) -> np.ndarray:
    """Centroids (N, T, 2) of the summed difference from white."""
    difference = np.abs(255.0 - video_NTHWC).sum(axis=-1)
    mass = difference.sum(axis=(-1, -2))
    x = (difference.sum(axis=-2) * np.arange(difference.shape[-1])).sum(axis=-1) / mass
    y = (difference.sum(axis=-1) * np.arange(difference.shape[-2])).sum(axis=-1) / mass
    return np.stack([x, y], axis=-1)


def test_the_rendered_centroid_is_the_projected_position(clips):
    error = np.linalg.norm(centroids(clips["video"][:200]) - clips["pixel_position"][:200, 0], axis=-1)
    assert np.median(error) <= 0.05 and error.max() <= 0.2


def test_radii_and_track_lengths(clips):
    radius = clips["radius_px"]
    assert radius.min() >= 1.5 - 1e-3 and radius.max() <= 4.0 and np.median(radius) <= 3.0
    length = np.linalg.norm(np.diff(clips["pixel_position"][:, 0], axis=1), axis=-1).sum(axis=1)
    assert np.median(length) >= 20.0
    assert all(np.median(length[clips["family"] == family]) >= 20.0 for family in MONO.families)


def test_the_drawn_area_follows_perspective(clips, tracked):
    share = tracked.area_T / (np.pi * clips["radius_px"][:, 0] ** 2)
    assert np.percentile(share, 1) > 0.95 and np.percentile(share, 99) < 1.08


def test_every_view_shows_the_ball_where_it_projects():
    for name in ("stereo64", "ring64"):
        clip = example(SPECS[name], "train", 1)
        shots = np.concatenate([clip["video"][None], clip["views"]])
        found = track(shots)
        assert found.found_T.all()
        assert np.abs(found.position_T2 - clip["pixel_position"]).max() < 0.15


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_ball_stands_out_from_every_background(background):
    spec = replace(MONO, background=background)
    agreed = []
    for index in range(15):
        clip = example(spec, "train", index)
        found = track(clip["video"], still_background(clip["video"]))
        agreed.append(agrees(found, clip["pixel_position"][0], clip["radius_px"][0]).mean())
    assert np.mean(agreed) > 0.97


def test_backgrounds_differ_and_white_is_white():
    assert (example(MONO, "train", 0)["video"][0, 0, 0] == 255).all()
    corners = {b: example(replace(MONO, background=b), "train", 0)["video"][0] for b in BACKGROUNDS}
    assert all(np.unique(corners[b].reshape(-1, 3), axis=0).shape[0] > 60 for b in ("grid", "texture"))


def test_a_trail_follows_and_the_first_frame_has_none():
    plain, trailed = (example(replace(MONO, trail=n), "train", 0)["video"] for n in (0, 4))
    np.testing.assert_array_equal(plain[0], trailed[0])
    inked = [(video[8].min(axis=-1) < 250).sum() for video in (plain, trailed)]
    assert inked[1] > 1.8 * inked[0]


def test_blur_keeps_the_centre_and_widens_the_ball():
    sharp, blurred = (example(replace(MONO, motion_blur=share), "train", 0) for share in (0.0, 1.0))
    apart = centroids(blurred["video"]) - blurred["pixel_position"][0]
    assert np.abs(apart).max() < 0.15
    assert (blurred["video"].min(axis=-1) < 250).sum() > 1.2 * (sharp["video"].min(axis=-1) < 250).sum()


def test_sensor_noise_has_its_deviation_and_differs_by_camera():
    spec = replace(SPECS["stereo64"], sensor_noise=0.05, background="plain")
    clip = example(spec, "train", 0)
    dark = example(replace(spec, sensor_noise=0.0), "train", 0)
    residue = clip["video"].astype(float) - dark["video"]
    assert abs(np.median(np.abs(residue[dark["video"] < 235])) / 255 / 0.6745 - 0.05) < 0.005
    assert not np.array_equal(residue, clip["views"][0].astype(float) - dark["views"][0])


def test_posts_hide_what_they_cover():
    spec = replace(MONO, occluders=2)
    clips = [example(spec, "train", index) for index in range(20)]
    seen = np.stack([clip["visibility"][0] for clip in clips])
    assert seen.min() < 0.1 and seen.max() == 1.0 and ((seen > 0) & (seen < 1)).any()
    for clip in clips:
        for t in np.flatnonzero(clip["visibility"][0] == 0.0):
            x, y = np.rint(clip["pixel_position"][0, t]).astype(int)
            assert np.ptp(clip["video"][t, y, x].astype(int)) == 0  # posts are grey, balls are not
    assert example(MONO, "train", 0)["visibility"].min() == 1.0


def test_distractors_stand_still_behind_the_ball():
    for index in range(8):
        clip = example(MONO, "train", index)
        plain, busy = clip["video"], example(replace(MONO, distractors=3), "train", index)["video"]
        assert (plain != busy).any()
        x, y = np.rint(clip["pixel_position"][0]).astype(int).T
        np.testing.assert_array_equal(plain[np.arange(16), y, x], busy[np.arange(16), y, x])
        clear = ~(plain < 255).any(axis=(0, 3))
        assert (busy[:, clear] == busy[:1, clear]).all()
