"""Trivial answers on tracks that are known for all times."""

import numpy as np
import pytest

from videogvt.evals import forecast

TIME = np.arange(8.0)
PARABOLA = np.stack([2.0 * TIME, 30.0 - 3.0 * TIME + TIME**2], axis=-1)[None]


def given(*frames: int) -> np.ndarray:
    mask = np.zeros((1, 8), bool)
    mask[0, list(frames)] = True
    return mask


def hidden(track: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], track, np.nan)  # no answer may look at what is hidden


def answer(order: int, *frames: int) -> np.ndarray:
    return forecast.extrapolated(hidden(PARABOLA, given(*frames)), given(*frames), order)[0]


def test_horizon_counts_frames_to_the_nearest_given_one():
    assert forecast.horizon(given(0, 1, 2))[0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert forecast.horizon(given(0, 7))[0].tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    assert forecast.horizon(given())[0].tolist() == [8] * 8


def test_copying():
    np.testing.assert_allclose(answer(0, 0, 1, 2)[3:], np.tile(PARABOLA[0, 2], (5, 1)))
    np.testing.assert_allclose(answer(0, 0, 7)[:4], np.tile(PARABOLA[0, 0], (4, 1)))
    np.testing.assert_allclose(answer(0, 0, 7)[4:], np.tile(PARABOLA[0, 7], (4, 1)))


def test_constant_velocity_by_hand():
    np.testing.assert_allclose(answer(1, 0, 1, 2)[5], PARABOLA[0, 2] + 3 * (PARABOLA[0, 2] - PARABOLA[0, 1]))
    np.testing.assert_allclose(answer(1, 0, 3)[5], PARABOLA[0, 3] + 2 / 3 * (PARABOLA[0, 3] - PARABOLA[0, 0]))
    np.testing.assert_allclose(answer(1, 5, 6)[2], PARABOLA[0, 5] - 3 * (PARABOLA[0, 6] - PARABOLA[0, 5]))


def test_constant_acceleration_is_exact_on_a_parabola():
    for frames in ((0, 1, 2), (5, 6, 7), (0, 1, 2, 5, 6, 7)):
        np.testing.assert_allclose(answer(2, *frames), PARABOLA[0], atol=1e-9)
    np.testing.assert_allclose(answer(2, 0, 2, 3)[3:], PARABOLA[0, 3:], atol=1e-9)


def test_order_falls_where_too_few_frames_are_given():
    np.testing.assert_allclose(answer(2, 0, 1), answer(1, 0, 1))
    np.testing.assert_allclose(answer(2, 0), answer(0, 0))
    np.testing.assert_allclose(answer(1, 0, 7), answer(0, 0, 7))  # one on either side


def test_nothing_given_is_no_answer():
    assert np.isnan(answer(1)).all() and np.isnan(forecast.interpolated(PARABOLA, given())).all()


def test_interpolation_is_exact_on_a_line_and_goes_on_beyond_the_ends():
    line = np.stack([3.0 * TIME, 5.0 - TIME], axis=-1)[None]
    for frames in ((0, 7), (1, 2, 6), (2, 5)):
        mask = given(*frames)
        straight = forecast.interpolated(hidden(line, mask), mask)[0]
        inside = slice(frames[0], frames[-1] + 1)
        np.testing.assert_allclose(straight[inside], line[0][inside], atol=1e-9)
    np.testing.assert_allclose(forecast.interpolated(hidden(line, given(1, 2, 6)), given(1, 2, 6))[0, 0], line[0, 0])
    mask = given(0, 4)
    assert forecast.interpolated(hidden(PARABOLA, mask), mask)[0, 2] == pytest.approx((PARABOLA[0, 0]
                                                                                      + PARABOLA[0, 4]) / 2)


def test_rows_do_not_mix():
    both = np.concatenate([PARABOLA, PARABOLA + 10.0])
    mask = np.concatenate([given(0, 1, 2), given(0)])
    found = forecast.extrapolated(hidden(both, mask), mask, 2)
    np.testing.assert_allclose(found[0], PARABOLA[0], atol=1e-9)
    np.testing.assert_allclose(found[1], np.tile(both[1, 0], (8, 1)))


def test_clamped_to_the_picture():
    assert forecast.clamped(np.array([[[-3.0, 70.0], [5.0, 6.0]]]), 64, 32).tolist() == [[[0.0, 63.0], [5.0, 6.0]]]
