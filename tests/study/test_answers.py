"""Answers that learn nothing and the tokenizer's own error, by hand, and beside the rows of a study of positions."""

import dataclasses

import numpy as np
import pytest

from tests.pretrained.conftest import workdir as tokenizer_run  # noqa: F401  (a fixture)
from tests.test_classifier import variant
from videogvt import modes
from videogvt.evals.classification import TARGETS
from videogvt.study import answers
from videogvt.study.findings import _beside, _position_verdict, read_answers
from videogvt.train.journal import read_eval
from videogvt.world.example import example
from videogvt.world.spec import SPECS
from videogvt.world.tracker import Track

STEREO = dataclasses.replace(SPECS["tiny"], name="tiny_stereo", rig="stereo", num_cameras=2, height=64, width=64)


def rows_of(spec, count=10):
    clips = [example(spec, "test", index) for index in range(count)]
    return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}


class Shifted:
    """A tokenizer that moves all it sees by one pixel to the right, and loses it in the first frame."""

    def reconstruct(self, video_BTHWC):
        video = np.roll(video_BTHWC, 1, axis=3).astype(np.float32) / 255
        video[:, 0] = 1.0
        return video


@pytest.fixture(scope="module")
def stereo():
    return rows_of(STEREO)


def test_cameras_triangulate(stereo):
    tracks = [Track(stereo["pixel_position"][:, view], np.ones((10, 8), bool), np.ones((10, 8))) for view in (0, 1)]
    np.testing.assert_allclose(answers.triangulated(tracks, stereo), stereo["position"], atol=1e-3)
    lost = Track(np.full((10, 8, 2), np.nan), np.zeros((10, 8), bool), np.zeros((10, 8)))
    assert np.isfinite(answers.triangulated([lost, lost], stereo)).all()  # rays that do not meet


def test_from_stereo_tracks_the_place_is_known_to_a_few_per_cent(stereo):
    target = TARGETS["next_metric"]
    errors = answers._answered(stereo, target, np.zeros(3))
    assert np.median(errors["copied/position_error_share"]) < 0.2 and "copied/position_error" in errors
    linear = np.flatnonzero(stereo["family"] == "linear")
    assert errors["continued/position_error_share"][linear].max() < 0.05
    kept = answers._kept(stereo, target, Shifted())
    assert kept["position_error_share"].max() < 0.1 and kept["found"].mean() == 7 / 8


def test_on_a_straight_line_velocity_tells_the_next_position():
    rows, target = rows_of(SPECS["tiny"]), TARGETS["next_pixel"]
    errors = answers._answered(rows, target, np.full(3, 16.0))
    linear = np.flatnonzero(rows["family"] == "linear")
    assert errors["continued/position_error"][linear].max() < 0.5
    step = np.linalg.norm(np.diff(rows["pixel_position"][:, 0], axis=1)[:, -1], axis=-1)
    np.testing.assert_allclose(errors["copied/position_error"][linear], step[linear], atol=0.5)
    kept = answers._kept(rows, target, Shifted())
    np.testing.assert_allclose(kept["position_error"], 1.0, atol=0.2)
    assert kept["position_error"].shape == (10 * 7,) and kept["found"].mean() == 7 / 8
    lost = answers._answered(rows | {"video": np.full_like(rows["video"], 255)}, target, np.full(3, 16.0))
    centre = target.errors(np.full((10, 3), 16.0), target.values(rows))["position_error"]
    np.testing.assert_allclose(lost["copied/position_error"], centre)


def test_the_excess_is_a_difference_and_the_verdict_says_it():
    beside = _beside({"position_error": 0.9}, {"split": "test", "tokenizer": "abc", "tokenizer/position_error": 0.5,
                                               "copied/position_error": 3.0})
    assert beside["beyond_tokenizer/position_error"] == pytest.approx(0.4) and "tokenizer" not in beside
    numbers = {f"test/codes/40/{name}": value for name, value in (beside | {"position_error": 0.9}).items()}
    numbers |= {"test/tracks/40/position_error": 0.3}
    told = {row: {"name": "next_pixel", "unit": "px"} for row in ("codes", "tracks")}
    first, second = _position_verdict(numbers, "codes", {("codes", None, 40): (), ("tracks", None, 40): ()}, told)
    assert first == "codes is 0.9 px off, +0.4 px beyond the tokenizer's own error: it loses to tracks (0.3 px)."
    assert second == "Beside it, copying the last tracked position is 3 px off."


def test_a_study_of_positions_has_them_in_its_table(tokenizer_run, tmp_path_factory, monkeypatch):  # noqa: F811
    config = variant("classifier_traj", "tiny")
    del config.methods.cnn3d, config.methods.oracle
    for row in config.methods.values():
        row.controls = ()
        row.examples.update({"target": "next_pixel", "classes": False})
    config.methods.codes.tokenizer.run = str(tokenizer_run)
    config.losses.position, config.train.best, config.train.best_mode = 1.0, "eval/validation/position_error", "min"
    config.train.show = ("loss",)
    config.study.labels, config.study.epochs = (40,), (1,)
    workdir, data_dir = tmp_path_factory.mktemp("runs") / "study", tmp_path_factory.mktemp("data")
    modes.train(config, workdir, data_dir)
    numbers = read_eval(workdir)
    for split in ("test", "ood"):
        for row in ("codes", "tracks"):
            assert numbers[f"{split}/{row}/40/continued/position_error"] < numbers[
                f"{split}/{row}/40/copied/position_error"] < numbers[f"{split}/{row}/40/chance/position_error"]
            assert 0 <= numbers[f"{split}/{row}/40/tokenizer/found"] <= 1
    page, kept = (workdir / "report.html").read_text(), read_answers(workdir)
    assert "last velocity off by" in page and "px off" in numbers["about"]["verdict"][0]
    assert set(kept) == {"codes", "tracks"} and kept["tracks"] == kept["codes"]  # of the subject's tokenizer
    monkeypatch.setattr(answers, "_measured", None)
    answers.write_answers(config, workdir, data_dir)  # nothing is left to measure
    assert read_answers(workdir) == kept
