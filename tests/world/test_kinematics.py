"""Statistics of tracks, by hand and by law."""

import numpy as np
import pytest

from videogvt.world.kinematics import track_features

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
