"""The tracker, on rendered truth and on pictures made by hand."""

import numpy as np
import pytest

from videogvt.world.tracker import (
    PLAUSIBLE_AREA,
    THRESHOLD,
    agrees,
    border_colour,
    still_background,
    track,
    track_features,
    track_over_scenery,
)


def canvas(num_frames: int = 2, size: int = 64) -> np.ndarray:
    return np.ones((num_frames, size, size, 3), np.float32)


def test_rendered_truth(clips, tracked):
    error = np.linalg.norm(tracked.position_T2 - clips["pixel_position"][:, 0], axis=-1)
    assert tracked.found_T.all()
    assert np.median(error) <= 0.03 and error.max() <= 0.1
    assert agrees(tracked, clips["pixel_position"][:, 0], clips["radius_px"][:, 0]).all()


def test_floats_bytes_and_batches_agree(clips):
    video = clips["video"][:3]
    whole, real = track(video), track(video.astype(np.float32) / 255)
    np.testing.assert_allclose(whole.position_T2, real.position_T2, atol=1e-4)
    np.testing.assert_array_equal(whole.position_T2[1], track(video[1]).position_T2)


def test_a_square_by_hand():
    video = canvas()
    video[:, 10:13, 20:24] = [0.2, 0.9, 0.9]
    found = track(video)
    np.testing.assert_allclose(found.position_T2, [[21.5, 11.0]] * 2, atol=1e-6)
    np.testing.assert_allclose(found.area_T, 12.0, rtol=1e-5)


def test_found_means_exactly_one_plausible_component():
    video = canvas(6)
    video[0, 5:9, 5:9] = 0.0  # one
    video[1, 5:9, 5:9] = video[1, 30:34, 30:34] = 0.0  # two
    video[2, 5:40, 5:40] = 0.0  # too large
    video[3, 5:9, 5:9] = 1.0 - 0.9 * THRESHOLD  # too faint
    video[4, 5:9, 5:9] = video[4, 9:12, 9:12] = 0.0  # one: diagonal neighbours touch
    video[5, 5:9, 5:9] = video[5, 40, 40] = 0.0  # one and a speck
    found = track(video)
    np.testing.assert_array_equal(found.found_T, [True, False, False, False, True, True])
    assert np.isnan(found.position_T2[1]).all() and found.area_T[1] == 0.0
    np.testing.assert_allclose(found.position_T2[5], [6.5, 6.5], atol=1e-6)


def test_snaking_components_are_one():
    video = canvas(1)
    for column in range(4, 20, 2):
        video[0, 4:12, column] = 0.0
        video[0, 4 if column % 4 else 11, column + 1] = 0.0
    assert track(video).found_T.all()


def test_an_object_in_the_corner_and_an_empty_clip():
    video = canvas()
    video[0, :3, :3] = 0.0
    found = track(video)
    np.testing.assert_array_equal(found.found_T, [True, False])
    np.testing.assert_allclose(found.position_T2[0], [1.0, 1.0], atol=1e-6)
    assert not track(canvas()).found_T.any()


def test_backgrounds():
    video = np.full((4, 32, 32, 3), 0.5, np.float32)
    video[:, :4, 8:12] = [0.5, 0.1, 0.5]
    np.testing.assert_allclose(border_colour(video).reshape(3), 0.5)
    assert track(video).found_T.all()
    clip = np.tile(np.linspace(0, 1, 32, dtype=np.float32)[:, None, None], (4, 1, 32, 3))
    for t in range(4):
        clip[t, 8 * t : 8 * t + 3, 8 * t : 8 * t + 3] += 0.4
    assert not track(clip).found_T.all()
    assert track(clip, still_background(clip)).found_T.all()


def test_scenery_gives_way_to_the_median_over_time(clips):
    shade = np.linspace(0.4, 1, 64)[:, None, None]  # from row to row
    video = np.stack([clips["video"][1], (clips["video"][0] * shade).astype(np.uint8)])
    plain, over = track(video), track_over_scenery(video)
    np.testing.assert_array_equal(over.position_T2[0], plain.position_T2[0])
    assert not plain.found_T[1].any() and over.found_T[1].all()
    np.testing.assert_allclose(over.position_T2[1], clips["pixel_position"][0, 0], atol=0.2)


def test_agreement_needs_place_and_size():
    video = canvas(1)
    video[:, 10:15, 20:25] = 0.0
    found = track(video)
    assert agrees(found, np.array([[22.0, 12.0]]), np.array([2.8])).all()
    assert not agrees(found, np.array([[26.0, 12.0]]), np.array([2.8])).any()
    assert not agrees(found, np.array([[22.0, 12.0]]), np.array([6.0])).any()
    assert not agrees(track(canvas(1)), np.array([[22.0, 12.0]]), np.array([2.8])).any()


@pytest.mark.parametrize("wrong", [np.zeros((64, 64, 3), np.uint8), np.zeros((2, 64, 64, 3), np.int32)])
def test_what_is_not_a_video_is_refused(wrong):
    with pytest.raises(ValueError, match="uint8 or float"):
        track(wrong)


def parts_by_flooding(picture):
    """The sizes of the 8-connected parts of a small picture of truths."""
    left, sizes = {tuple(place) for place in np.argwhere(picture)}, []
    while left:
        front, size = [left.pop()], 0
        while front:
            y, x = front.pop()
            size += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        sizes.append(size)
    return sizes


def test_on_any_picture_found_means_one_plausible_part():
    rng = np.random.default_rng(3)
    density_T = 10 ** rng.uniform(-2.5, -0.7, 300)
    dark_THW = rng.random((300, 12, 12)) < density_T[:, None, None]
    dark_THW[:, [0, -1]] = dark_THW[:, :, [0, -1]] = False  # the border is the background
    scale = (12 / 64) ** 2
    least, most = max(1.0, PLAUSIBLE_AREA[0] * scale), PLAUSIBLE_AREA[1] * scale
    found = track(np.where(dark_THW[..., None], 0.0, 1.0).astype(np.float32).repeat(3, axis=-1)).found_T
    expected = [sum(least <= size <= most for size in parts_by_flooding(dark_HW)) == 1 for dark_HW in dark_THW]
    np.testing.assert_array_equal(found, expected)
    assert 0.05 < np.mean(expected) < 0.9


TIME = np.arange(16) / 24.0


def circle(radius=10.0, turns=1.0, centre=(30.0, 20.0)):
    angle = 2 * np.pi * turns * TIME / TIME[-1]
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], -1)


def test_a_straight_line_by_hand():
    track = np.stack([3.0 + 24.0 * TIME, 5.0 - 48.0 * TIME], -1)[None]
    features = track_features(track, np.linspace(2, 3.5, 16)[None])
    by_hand = {
        "position/x/first": 3.0, "position/y/last": 5.0 - 30.0, "position/x/mean": 10.5, "velocity/x/mean": 24.0,
        "velocity/y/last": -48.0, "velocity/x/std": 0.0, "acceleration/y/max": 0.0, "curvature/max": 0.0,
        "speed/min": np.hypot(24, 48), "path/length": 15 * np.hypot(1, 2), "path/straightness": 1.0, "path/turns": 0.0,
        "path/found": 1.0, "radius/max": 3.5, "radius_rate/mean": 2.4,
    }
    for name, value in by_hand.items():
        np.testing.assert_allclose(features[name], [value], atol=1e-3, err_msg=name)
        assert features[name].dtype == np.float32


def test_a_fall_has_its_acceleration():
    track = np.stack([20.0 * TIME, 0.5 * 90.0 * TIME**2], -1)[None]
    features = track_features(track)
    for kind in ("mean", "min", "max", "first", "last"):
        np.testing.assert_allclose(features[f"acceleration/y/{kind}"], 90.0, rtol=1e-4)
        np.testing.assert_allclose(features[f"acceleration/x/{kind}"], 0.0, atol=1e-3)


def test_a_circle_has_its_curvature_and_turns_in_its_direction():
    forth, back = (track_features(circle(turns=turns)[None]) for turns in (1.0, -1.0))
    np.testing.assert_allclose(forth["curvature/mean"], 0.1, rtol=0.05)
    np.testing.assert_allclose(forth["curvature/std"], 0.0, atol=1e-5)
    np.testing.assert_allclose(forth["path/turns"], 14 / 15, atol=1e-5)  # 15 steps turn 14 times
    np.testing.assert_allclose(back["path/turns"], -forth["path/turns"], atol=1e-5)
    np.testing.assert_allclose(forth["path/straightness"], 0.0, atol=1e-5)


def test_three_dimensions():
    helix = np.concatenate([circle(), 12.0 * TIME[:, None]], -1)[None]
    features = track_features(helix)
    np.testing.assert_allclose(features["velocity/z/mean"], 12.0, rtol=1e-5)
    rate = 2 * np.pi / TIME[-1]
    np.testing.assert_allclose(features["curvature/mean"], 10 * rate**2 / ((10 * rate) ** 2 + 12**2), rtol=0.05)
    assert "path/turns" not in features


def test_gaps_are_bridged_and_absence_is_told():
    track = np.stack([3.0 + 24.0 * TIME, 5.0 - 48.0 * TIME], -1)
    gaps, lost = track.copy(), track.copy()
    gaps[[0, 4, 5, 15]], lost[3:] = np.nan, np.nan
    features = track_features(np.stack([track, gaps, lost]))
    np.testing.assert_allclose(features["path/found"], [1.0, 0.75, 3 / 16])
    for name in ("position/x/mean", "velocity/y/max", "acceleration/std"):
        assert np.isfinite(features[name][:2]).all() and np.isnan(features[name][2])
    np.testing.assert_allclose(features["position/x/first"][1], 4.0, atol=1e-5)  # the nearest that was found
    np.testing.assert_allclose(features["velocity/x/max"][:2], 24.0, atol=1e-4)


def test_a_ball_at_rest_has_no_curvature_to_speak_of():
    track = 30.0 + np.random.default_rng(0).normal(0, 0.02, (1, 16, 2))
    features = track_features(track)
    assert features["curvature/max"] < 10.0 and all(np.isfinite(value).all() for value in features.values())


def test_errors_say_what_was_found():
    with pytest.raises(ValueError, match=r"Tracks are .*found \(16, 2\)"):
        track_features(circle())
    with pytest.raises(ValueError, match=r"T of 4 at least; found \(1, 3, 2\)"):
        track_features(circle()[None, :3])
    with pytest.raises(ValueError, match=r"Radii of tracks \(1, 16, 2\) are \(1, 16\); found \(16,\)"):
        track_features(circle()[None], np.ones(16))
