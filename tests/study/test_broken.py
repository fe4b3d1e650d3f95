"""A row that is broken on purpose (training labels rolled against test labels) is caught in the report, in words."""

import json
import pathlib

import pytest

from tests.test_classifier import variant
from videogvt import modes, study
from videogvt.evals.controls import CONTROLS


@pytest.fixture(scope="module")
def config():
    config = variant("classifier_traj", "tiny")
    sound = config.rows.tracks
    config.rows = {"tracks": sound, "rolled": sound.to_dict()}
    config.rows.rolled.examples.edit = "rolled_labels"
    config.rows.tracks.controls = ("shuffled_labels", "first_frame")
    config.study.labels, config.study.epochs, config.study.seeds, config.study.subject = (40,), (1,), 3, "tracks"
    config.study.stress = 0
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


def test_finished_members_are_skipped(workdir, config, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in workdir.glob("members/*/eval.json")}
    assert len(before) == 12
    told = []
    study.run_study(config, workdir, tmp_path, tell=told.append)
    assert len(told) == 12 and before == {path: pathlib.Path(path).stat().st_mtime_ns for path in before}
