"""A row that is broken on purpose (training labels rolled against test labels) is caught in the report, in words."""

import json
import pathlib

import pytest

from tests.test_classifier import variant
from videogvt import modes, study
from videogvt.study.controls import CONTROLS
from videogvt.train.journal import read_eval


@pytest.fixture(scope="module")
def config():
    config = variant("classifier_traj", "tiny")
    sound = config.methods.tracks
    config.methods = {"tracks": sound, "rolled": sound.to_dict()}
    config.methods.rolled.examples.edit = "rolled_labels"
    config.methods.tracks.controls = ("shuffled_labels", "first_frame")
    config.study.labels, config.study.epochs, config.study.seeds, config.study.subject = (40,), (1,), 3, "tracks"
    config.study.corrupted_clips = 0
    config.study.rates, config.study.rate_labels = (30.0, 1.0), 40
    return config


@pytest.fixture(scope="module")
def workdir(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "study"
    modes.train(config, workdir, tmp_path_factory.mktemp("data"))
    return workdir


def test_the_report_names_the_broken_row(workdir):
    about = json.loads((workdir / "eval.json").read_text())["about"]
    assert [(defect["row"], defect["rule"]) for defect in about["defects"]] == [("rolled", "below chance")]
    assert "not to be believed yet: rolled is below chance" in about["verdict"][1]
    page = (workdir / "report.html").read_text()
    assert "rolled (DEFECT)" in page and "labels of training and test do not mean the same" in page
    assert "tracks (DEFECT)" not in page and 'class="verdict short"' in page
    assert CONTROLS["first_frame"].text in page


def test_validation_chooses_learning_rates(workdir, config):
    about = read_eval(workdir)["about"]
    for row, choice in about["rates"].items():
        trials = {rate: read_eval(workdir / "members" / f"{row}+rate{rate}-40-seed0") for rate in ("30", "1")}
        assert all(set(one["about"]["evaluators"]) == {"validation"} for one in trials.values())
        assert choice["tried"] == {rate: one["eval/validation/accuracy"] for rate, one in trials.items()}
        assert choice["factor"] == max((1, 30), key=lambda rate: choice["tried"][str(rate)])
        made = json.loads((workdir / "members" / f"{row}-40-seed2" / "config.json").read_text())
        assert made["track_model"]["penalty"] == choice["factor"]
    assert set(about["rates"]) == {"tracks", "rolled"} and len(about["members"]) == 12
    assert "Learning rates" in (workdir / "report.html").read_text()


def test_finished_members_are_skipped(workdir, config, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("members/*/eval.json")}
    assert len(before) == 12 + 4
    told = []
    study.run_study(config, workdir, tmp_path, tell=told.append)
    assert len(told) == 12 + 4 and before == {path: pathlib.Path(path).stat().st_mtime_ns for path in before}
