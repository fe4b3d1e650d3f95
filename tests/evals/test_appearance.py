"""Hue and radius through a clip, and distances of distributions, by hand."""

import colorsys

import numpy as np
import pytest

from videogvt.evals import appearance, motion


def colours(*hues: float, saturation: float = 0.9, value: float = 0.8) -> np.ndarray:
    """(1, T, 3) bytes of hues in degrees."""
    return 255 * np.array([[colorsys.hsv_to_rgb(hue / 360, saturation, value) for hue in hues]])


def appearance_of(colour_BT3, radius_BT=None):
    radius_BT = np.full(colour_BT3.shape[:2], 3.0) if radius_BT is None else np.asarray(radius_BT)
    return appearance.appearance_columns(colour_BT3, radius_BT, min_frames=3)


@pytest.mark.parametrize("hue", [0.0, 45.0, 120.0, 240.0, 350.0])
def test_a_steady_hue_does_not_drift_whatever_white_is_mixed_in(hue):
    pale = 0.4 * colours(*[hue] * 4) + 0.6 * 255
    for clip in (colours(*[hue] * 4), pale):
        found = appearance_of(clip)
        assert min(abs(found["hue"][0] - hue), 360 - abs(found["hue"][0] - hue)) < 1.5  # hexagon against circle
        assert found["hue_drift"][0] < 1e-5


def test_drift_is_the_deviation_around_the_circle():
    found = appearance_of(colours(350, 10, 350, 10))  # 10 degrees either side of red, up to the hexagon's bend
    assert found["hue_drift"][0] == pytest.approx(10, abs=1.5) and found["hue"][0] % 360 < 1e-6
    assert appearance_of(colours(0, 120, 240))["hue_drift"][0] > 90


def test_without_a_hue_in_enough_frames_it_is_the_worst():
    clip = colours(10, 10, 10, 10)
    clip[:, :2] = np.nan
    grey = np.full((1, 4, 3), 90.0)
    assert appearance_of(clip)["hue_drift"][0] == appearance.WORST_HUE == appearance_of(grey)["hue_drift"][0]
    assert np.isnan(appearance_of(grey)["hue"][0]) and appearance_of(clip)["hue"][0] == pytest.approx(10, abs=1.5)


def test_drift_of_the_radius_is_relative():
    radii = [[2.0, 4.0, 2.0, 4.0], [6.0, 12.0, 6.0, 12.0], [3.0, 3.0, np.nan, 3.0], [3.0, np.nan, np.nan, 3.0]]
    found = appearance_of(np.repeat(colours(0, 0, 0, 0), 4, axis=0), radii)["radius_drift"]
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0.0, np.inf])


def test_a_ball_s_colour_is_measured_in_its_own_pixels():
    video = np.full((2, 8, 32, 32, 3), 255, np.uint8)
    rows, places = np.arange(32)[:, None], np.arange(32)
    for frame in range(8):
        disc = (rows - 15) ** 2 + (places - 8 - 2 * frame) ** 2 <= 9
        video[0, frame][disc] = colours(120)[0, 0]
        video[1, frame][disc] = colours(0 if frame < 4 else 240)[0, 0]
    columns = motion.motion_columns(video)
    found = appearance.appearance_columns(columns["colour"], motion.radii(columns), 3)
    assert found["hue"][0] == pytest.approx(120, abs=0.5) and found["hue_drift"][0] < 0.1
    assert found["hue_drift"][1] == pytest.approx(60, abs=1) and found["radius_drift"].max() < 0.02
    video[:] = 255
    assert np.isnan(motion.motion_columns(video)["colour"]).all()


def test_distances_around_the_circle():
    assert appearance.circular_distance(np.array([350.0]), np.array([10.0])) == pytest.approx(20)
    assert appearance.circular_distance(np.array([0.0, 90]), np.array([90.0, 180])) == pytest.approx(90)
    some = np.random.default_rng(0).uniform(0, 360, 50)
    assert appearance.circular_distance(some, some[::-1]) == pytest.approx(0, abs=1e-9)
    near = some / 18 + 350  # across 0
    assert appearance.circular_distance(near, (near + 5) % 360) == pytest.approx(5, abs=1e-6)
    assert np.isnan(appearance.circular_distance(some, np.array([np.nan])))


def test_distances_of_distributions_are_the_way_between_them():
    rng = np.random.default_rng(0)
    table = {"track": rng.uniform(10, 50, (40, 8, 2)), "radius": rng.uniform(2, 4, 40), "speed": rng.uniform(0, 3, 40),
             "hue": rng.uniform(0, 360, 40)}
    moved = {"track": table["track"] + [2.0, 4.0], "radius": table["radius"] + 0.5, "speed": table["speed"] + 0.25,
             "hue": table["hue"] + 7}
    expected = {"radius_distance_px": 0.5, "place_distance_px": 3.0, "speed_distance_px": 0.25, "hue_distance_deg": 7.0}
    assert appearance.appearance_distances(moved, table) == pytest.approx(expected)
    assert appearance.appearance_distances(table, table) == pytest.approx(dict.fromkeys(expected, 0.0), abs=1e-9)
    untracked = {name: np.full_like(column, np.nan) for name, column in table.items()}
    assert appearance.appearance_distances(untracked, table) == {}
