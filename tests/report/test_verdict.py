"""The verdict follows from the figures by rule."""

import pytest

from videogvt.report.verdict import QUALITY_TARGETS, plain_name, reconstruction_verdict

GOOD = {
    "clips": 2000.0, "psnr": 33.0, "object_found_share": 0.999, "track_error_px_median": 0.3, "track_error_px_p95": 1.1,
    "object_mse": 0.02, "oracle_vs_original": 0.99, "code_usage": 0.3, "code_perplexity": 20.0,
}
CODES = {"empty_share": 0.9995, "usage_speaking": 0.95, "noise_changed_speaking": 0.01, "duplicates": 0.0}
BACKGROUND = {"clips": 2000.0, "psnr": 27.0, "object_found_share": 0.0, "object_mse": 0.4}


def test_all_marks_met():
    verdict = reconstruction_verdict({"": GOOD, "background": BACKGROUND, "modelability": CODES})
    assert verdict.good and len(verdict.targets) == len(QUALITY_TARGETS) and all(met for _, _, met in verdict.targets)
    assert verdict.sentence == (
        "It keeps what matters in the video: on 2,000 clips of test, the object is found in 99.9% of frames, 0.30 px "
        "off in the median, at 33.0 dB PSNR against 27.0 dB of an all-background video. All 10 targets are met."
    )


@pytest.mark.parametrize("figure, value", [
    ("object_found_share", 0.992), ("track_error_px_median", 0.51), ("track_error_px_p95", 1.3), ("psnr", 32.9),
    ("object_mse", 0.21), ("oracle_vs_original", 0.984), ("empty_share", 0.998), ("usage_speaking", 0.89),
    ("noise_changed_speaking", 0.021), ("duplicates", 1.0),
])
def test_each_mark_can_be_missed_alone(figure, value):
    own, codes = ({name: value if name == figure else good for name, good in row.items()} for row in (GOOD, CODES))
    verdict = reconstruction_verdict({"": own, "background": BACKGROUND, "modelability": codes})
    assert not verdict.good and [met for _, _, met in verdict.targets].count(False) == 1
    assert "meets 9 of 10 targets" in verdict.sentence and "Missed: " in verdict.sentence


def test_a_tokenizer_below_a_baseline_is_said_to_be():
    verdict = reconstruction_verdict(
        {"": {**GOOD, "psnr": 26.0}, "background": BACKGROUND, "untrained": {"psnr": 20.0}})
    assert not verdict.good and verdict.sentence.startswith("It does not beat the baselines (all background)")


def test_without_truth_only_the_marks_that_apply_are_checked():
    """Without an object there is no background; the mean frame is the answer that knows the clip."""
    grid = {"": {"clips": 10.0, "psnr": 30.0}, "background": {"psnr": 20.0}, "mean_frame": {"psnr": 25.0}}
    verdict = reconstruction_verdict(grid)
    assert verdict.good and verdict.targets == ()
    assert verdict.sentence == ("It beats the baselines: on 10 clips of test, at 30.0 dB PSNR against 25.0 dB of "
                                "the clip's mean frame.")
    assert not reconstruction_verdict(grid | {"mean_frame": {"psnr": 31.0}}).good
    codes = {name: value for name, value in CODES.items() if name != "empty_share"}  # there are no blank cells
    found = reconstruction_verdict(grid | {"modelability": codes})
    assert [text for text, _, _ in found.targets] == [
        "at least 90 % of the codes used by speaking positions",
        "noise of 1/255 changes at most 2 % of speaking codes", "no two codes alike"]
    alone = reconstruction_verdict(grid | {"modelability": {"duplicates": 0}})
    assert alone.sentence.endswith("The only target is met.")


def test_rows_have_plain_names():
    assert plain_name("nearest_clip") == "nearest training clip" and plain_name("some_other") == "some other"
