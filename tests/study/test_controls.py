"""Intervals, rules and calibration, by hand."""

import numpy as np
import pytest

from videogvt.ops.quality import calibration, coverage
from videogvt.study.controls import CONTROLS, Interval, above, defects, interval, verdict

CHANCE = 0.2


def known(mean, half=0.02):
    return Interval(mean, mean - half, mean + half, (mean,), 2000)


def rules(row, own, **controls):
    return [defect.rule for defect in defects(row, own, CHANCE, controls)]


def test_an_interval_knows_seeds_and_clips():
    one = interval([0.5], 96)  # 50 of 100 after two successes and two failures
    assert (one.low, one.high) == pytest.approx((0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05))
    three = interval([0.4, 0.5, 0.6], 96)
    assert three.high - 0.5 == pytest.approx(np.hypot(1.96 * 0.05, 4.3027 * 0.1 / np.sqrt(3)), rel=1e-4)
    many = interval([0.4, 0.6] * 6, 96)  # 11 degrees of freedom: 2.201, not the normal's 1.96
    assert many.high - 0.5 == pytest.approx(np.hypot(1.96 * 0.05, 2.201 * 0.1 / np.sqrt(11)), rel=1e-4)
    sure = interval([1.0, 1.0, 1.0], 2000)
    assert sure.high == 1.0 and 0.99 < sure.low < 1.0  # 100 % of some clips is not certainty


def test_a_sound_row_has_no_defect():
    controls = {"untrained": known(0.7), "shuffled_labels": known(0.21), "first_frame": known(0.19),
                "start_position": known(0.2), "shuffled_time": known(0.5)}
    assert set(controls) == set(CONTROLS) and not rules("codes", known(0.98), **controls)


def test_each_way_to_be_broken_is_named():
    assert rules("rolled", known(0.01)) == ["below chance"]
    assert rules("dead", known(0.21)) == ["not above chance"]
    for name in ("shuffled_labels", "first_frame", "start_position"):
        assert rules("codes", known(0.98), **{name: known(0.3)}) == ["off chance"]
        assert rules("codes", known(0.98), **{name: known(0.1)}) == ["off chance"]
    for name in ("untrained", "shuffled_time"):
        assert rules("codes", known(0.6), **{name: known(0.6)}) == ["not above its control"]
    words = defects("codes", known(0.98), CHANCE, {"first_frame": known(0.3)})[0].words
    assert "30.0%" in words and "off chance (20.0%): a still picture gives the class away." in words


def test_the_verdict_follows_from_the_numbers():
    rows = {"codes": known(0.93), "cnn3d": known(0.7), "tracks": known(0.99), "mlp": known(0.94)}
    few = {"codes": known(0.5), "cnn3d": known(0.6), "tracks": known(0.5)}
    inputs = {"codes": "codes", "cnn3d": "pixels", "tracks": "tracks", "mlp": "codes"}
    first, second = verdict({8000: rows, 200: few}, "codes", [], CHANCE, inputs)
    assert "it beats cnn3d (70.0%)" in first and "loses to tracks (99.0%)" in first
    assert first.endswith("; with 200 labels it loses to cnn3d (60.0%); so codes lose to tracks and pixels.")
    alone = verdict({8000: {"codes": known(0.93), "cnn3d": known(0.7)}}, "codes", [], CHANCE, inputs)[0]
    assert "lose" not in alone and "no row on codes" in verdict({200: few}, "latents", [], CHANCE, inputs)[0]
    assert "cannot be told from mlp (94.0%)" in first and second == "No row and no control breaks a rule."
    broken = defects("cnn3d", known(0.01), CHANCE, {})
    assert "1 defect was found, so the table is not to be believed yet: cnn3d is below chance" in verdict(
        {8000: rows}, "codes", broken, CHANCE, inputs)[1]
    assert above(known(0.9), known(0.8)) and not above(known(0.9), known(0.88))


def test_calibration_and_coverage():
    confidence, right = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5]), np.array([1, 1, 1, 0, 1, 0], bool)
    error, bins = calibration(confidence, right, bins=10)
    assert error == pytest.approx((4 * 0.15 + 2 * 0.0) / 6)
    np.testing.assert_allclose(bins["accuracy"], [0.5, 0.75])
    assert bins["clips"].tolist() == [2, 4]
    curve = coverage(np.array([0.2, 0.9, 0.5]), np.array([False, True, True]))
    np.testing.assert_allclose(curve["accuracy"], [1, 1, 2 / 3])
    np.testing.assert_allclose(curve["threshold"], [0.9, 0.5, 0.2])
