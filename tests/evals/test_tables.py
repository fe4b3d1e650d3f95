"""Figures computed by hand from small tables."""

import numpy as np
import pytest

from videogvt.evals.tables import choose, code_figures, figures


def test_figures_by_hand():
    columns = {
        "index": np.arange(2), "psnr": np.array([20.0, 30.0]), "ssim": np.array([0.5, 1.0]), "l1": np.array([0.1, 0.3]),
        "found": np.array([[True, False], [True, True]]), "named_right": np.array([True, False]),
        "track_error_px": np.array([[1.0, np.nan], [2.0, 6.0]]),
        "object_sse": np.array([1.0, 2.0]), "object_pixels": np.array([10, 20]),
    }
    numbers = figures(columns)
    assert numbers == pytest.approx({
        "clips": 2, "psnr": 25, "ssim": 0.75, "l1": 0.2, "object_found_share": 0.75, "track_error_px_median": 2.0,
        "track_error_px_p95": 5.6, "object_mse": 0.1, "oracle_accuracy": 0.5,
    })


def test_what_is_not_in_the_table_has_no_figure():
    assert set(figures({"index": np.arange(1), "psnr": np.ones(1)})) == {"clips", "psnr"}
    nothing_tracked = {"index": np.arange(1), "track_error_px": np.full((1, 3), np.nan)}
    assert set(figures(nothing_tracked)) == {"clips"}


def test_code_figures_by_hand():
    numbers = code_figures(np.array([2, 2, 0, 4]), pixels=64.0)
    assert numbers == pytest.approx({
        "codes_used": 3, "code_usage": 0.75, "code_perplexity": 2 * np.sqrt(2), "bits_per_pixel": 8 * 2 / 64,
    })


def test_one_code_used_has_perplexity_one():
    assert code_figures(np.array([0, 5]), 1.0)["code_perplexity"] == pytest.approx(1.0)


def test_clips_are_chosen_by_track_error_and_then_by_psnr():
    columns = {
        "index": np.arange(5), "psnr": np.array([10.0, 20, 30, 40, 50]),
        "track_error_px": np.array([[3.0, 5], [1, np.nan], [1, 1], [np.nan, np.nan], [9, 9]]),
    }
    chosen = choose(columns, 1)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {
        "first": [0], "best": [2], "median": [1], "worst": [4]}


def test_clips_without_truth_are_chosen_by_psnr():
    chosen = choose({"index": np.arange(5), "psnr": np.array([30.0, 10, 50, 20, 40])}, 2)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {
        "first": [0, 1], "best": [2, 4], "median": [0, 4], "worst": [1, 3]}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_three_clips_the_middle_one_is_the_first_median(count):
    chosen = choose({"index": np.arange(3), "psnr": np.array([30.0, 10, 20])}, count)
    assert (chosen["best"][0], chosen["median"][0], chosen["worst"][0]) == (0, 2, 1)


def test_no_more_clips_are_chosen_than_there_are():
    chosen = choose({"index": np.arange(2), "psnr": np.array([1.0, 2.0])}, 5)
    assert all(len(rows) == 2 for rows in chosen.values())
