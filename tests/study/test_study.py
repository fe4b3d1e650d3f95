"""A study from its config to its report, every kind of row; and what its variants consist of."""

import collections
import dataclasses
import json
import math

import numpy as np
import pytest

from tests.pretrained.conftest import workdir as tokenizer_run  # noqa: F401  (a fixture)
from tests.test_classifier import variant
from videogvt import modes
from videogvt.study import protocol
from videogvt.train import journal
from videogvt.train.journal import WorkdirError, read_eval


def count(name):
    found = protocol.study_runs(variant("classifier_traj", name))
    assert len({member.name for member in found}) == len(found)
    return found, collections.Counter(member.control is None for member in found)


def test_the_default_is_three_rows_and_the_oracle_with_controls_for_codes():
    found, kinds = count("default")
    assert kinds == {True: 3 * 2 * 3 + 1, False: (3 + 2 * 2) * 3}  # controls to beat with every number of labels
    assert [member.name for member in found if member.row == "oracle"] == ["oracle-0-seed0"]
    assert not any(member.config["examples"]["also"] for member in found)
    assert {(member.control is None, *member.config["examples"]["also"]) for member in count("all")[0]} == {
        (True, "hard64"), (False,)}
    assert {member.row for member in found if member.control} == {"codes"}
    seen = {member.config["train"]["steps"] * member.config["data"]["batch_size"] for member in found
            if member.labels == 8000 and member.config["recipe"] == "classifier"}
    assert seen == {8000}  # every network passes over its labels as often


def test_every_row_can_be_asked_by_name_and_all_at_once():
    rows = {member.row for member in count("all")[0]}
    assert len(rows) == 13 and {"oracle", "i3d", "slowfast", "vivit", "linear_probe", "tracks_linear"} <= rows
    for row in rows:
        assert {member.row for member in count(row)[0]} == {row}
    assert {member.config["examples"]["target"] for member in count("positions")[0]} == {"next_pixel", "next_world"}
    assert all(member.config["examples"]["views"] for member in count("stereo")[0])
    assert {member.row for member in count("stereo/codes")[0]} == {"codes"}
    with pytest.raises(ValueError, match="variant 'stereo' has no method 'tracks'; it has cnn3d, codes"):
        variant("classifier_traj", "stereo/tracks")
    with pytest.raises(ValueError, match="variant 'judge' has no method 'codes'; it has none"):
        variant("classifier_traj", "judge/codes")


def test_learning_rates_are_tried_with_one_budget_for_every_row():
    config = variant("classifier_traj", "all")
    tried = protocol.learning_rate_sweep(config)
    assert not protocol.learning_rate_sweep(variant("classifier_traj", "default"))
    assert len(tried) == 12 * 3 and {(trial.labels, trial.seed) for trial in tried} == {(200, 0)}
    rates = {trial.rate: trial.config for trial in tried if trial.row == "codes"}
    assert [rates[rate]["optimizer"]["learning_rate"] for rate in (0.3, 1, 3)] == pytest.approx([3e-4, 1e-3, 3e-3])
    penalties = [trial.config["track_model"]["penalty"] for trial in tried if trial.row == "tracks_linear"]
    assert penalties == pytest.approx([0.3, 1, 3])
    same = next(member for member in protocol.study_runs(config) if member.name == "codes-200-seed0").config
    assert rates[1]["train"] == same["train"] and rates[1]["optimizer"] == same["optimizer"]
    config.study.rate_labels = 100
    with pytest.raises(ValueError, match="study.rate_labels is 100; rates are tried on one of study.labels"):
        protocol.learning_rate_sweep(config)


def test_a_trial_that_diverged_is_chosen_last(tmp_path):
    config = variant("classifier_traj", "all")
    for trial in protocol.learning_rate_sweep(config):
        number = math.nan if trial.rate == 3 else 0.5
        (tmp_path / "members" / trial.name).mkdir(parents=True)
        journal.write_eval(tmp_path / "members" / trial.name, {config.train.best: number}, {})
    found = protocol.choices(config, tmp_path)
    assert len(found) == 12 and {choice.factor for choice in found.values()} == {1}
    assert found["codes"].tried == {"0.3": 0.5, "1": 0.5, "3": None}


def test_misspelt_keys_are_named():
    config = variant("classifier_traj", "tiny")
    config.methods.codes.controls = ("first_frames",)
    with pytest.raises(ValueError, match="'first_frames'. Did you mean 'first_frame'"):
        protocol.study_runs(config)
    config = variant("classifier_traj", "tiny")
    config.study.epochs = (1,)
    with pytest.raises(ValueError, match="give as many passes as numbers of labels"):
        protocol.study_runs(config)
    config = variant("classifier_traj", "tiny")
    config.evals.splits = ()
    with pytest.raises(ValueError, match=r"evals.splits is \[\]; a study's verdict is about the test split"):
        protocol.study_runs(config)


def test_a_mode_for_one_run_says_so(tmp_path):
    with pytest.raises(ValueError, match="classifier_traj-tiny is a study, which is many runs"):
        modes.MODES["bench"](variant("classifier_traj", "tiny"), tmp_path, tmp_path)


@pytest.fixture(scope="module")
def done(tokenizer_run, tmp_path_factory):  # noqa: F811
    """The tiny study's directory, its config and the root of its data."""
    config, data_dir = variant("classifier_traj", "tiny"), tmp_path_factory.mktemp("data")
    config.methods.codes.tokenizer.run = str(tokenizer_run)
    config.study.also = ("tiny",)  # its test split once more, under the world's name
    workdir = tmp_path_factory.mktemp("runs") / "study"
    modes.train(config, workdir, data_dir)
    return workdir, config, data_dir


def test_a_study_trains_measures_and_reports(done):
    workdir, _, _ = done
    numbers = read_eval(workdir)
    about = numbers.pop("about")
    assert not about["unfinished"] and len(about["members"]) == 9 and len(about["verdict"]) == 2
    for row in ("codes", "cnn3d", "tracks", "ensemble"):
        for labels in (40, 20):
            figures = [numbers[f"test/{row}/{labels}/accuracy{end}"] for end in ("_low", "", "_high")]
            assert figures == sorted(figures) and figures[0] >= 0 and figures[2] <= 1
    assert {"test/codes+shuffled_labels/40/accuracy", "test/codes+start_position/40/accuracy"} <= set(numbers)
    assert numbers["test/codes/40/seeds"] == 1 and np.isfinite(numbers["ood/tracks/20/calibration_error"])
    facts = {one["name"]: one for one in about["members"]}
    assert facts["codes-40-seed0"]["parameters"] > 0 and facts["tracks-40-seed0"]["parameters"] is None
    assert facts["codes-40-seed0"]["split_hashes"]["test"] == facts["cnn3d-40-seed0"]["split_hashes"]["test"]
    assert about["splits"] == ["test", "ood", "tiny"]
    again = {name.replace("tiny/", "test/", 1): value for name, value in numbers.items() if name.startswith("tiny/")}
    assert {"test/oracle/0/accuracy", "test/codes/20/accuracy"} <= set(again) and "+" not in " ".join(again)
    assert again == pytest.approx({name: numbers[name] for name in again})
    assert numbers["test/oracle/0/accuracy"] > 0.7 and facts["oracle-0-seed0"]["examples"] == 0
    page = (workdir / "report.html").read_text()
    assert "Methods: tiny" in page and "oracle" in about["verdict"][0]
    sections = "Controls", "Labels that it takes", "How sure it is", "Confusions", "Where it looks"
    assert set(json.loads((workdir / "robustness.json").read_text())) == {"codes", "cnn3d", "tracks", "oracle"}
    for words in ("95 % interval", "beside codes", "none was tried", "milliseconds a clip", *sections):
        assert words in page


def test_a_start_in_words_needs_codes(done):
    workdir, config, data_dir = done
    cnn = next(member for member in protocol.study_runs(config) if member.row == "cnn3d")
    wrong = dataclasses.replace(cnn, config={**cnn.config, "init_from": {"token_embeddings": "codebook"}})
    with pytest.raises(ValueError, match="the inputs are no codes"):
        wrong.build(workdir, data_dir)
    wrong = dataclasses.replace(cnn, config={**cnn.config, "init_from": {"workdir": "runs/x"}})
    with pytest.raises(ValueError, match="init_from.*workdir"):
        wrong.build(workdir, data_dir)


def test_splits_that_are_measured_must_be_there(done):
    workdir, config, data_dir = done
    members = {member.row: member for member in protocol.study_runs(config)}
    for row in ("cnn3d", "tracks"):
        config = members[row].config
        of_test = dataclasses.replace(members[row], config={**config, "evals": {**config["evals"], "splits": ["test"]}})
        built = of_test.build(workdir, data_dir)
        assert {*(built.splits if row == "tracks" else built.evaluators)} == {"validation", "test", "tiny"}
        wrong = dataclasses.replace(members[row], config={**config, "evals": {**config["evals"], "splits": ["tset"]}})
        with pytest.raises(ValueError, match="split in config.evals.splits 'tset'.*Did you mean 'test'"):
            wrong.build(workdir, data_dir)


def test_clips_worth_looking_at_are_kept(done):
    with np.load(done[0] / "media" / "samples.npz") as arrays:
        samples = dict(arrays)
    assert (samples["choice"] == "example").sum() == 5 and samples["video"].shape[1:] == (8, 32, 32, 3)
    np.testing.assert_allclose(samples["attention"].sum((2, 3)), 1.0, rtol=1e-4)
    wrong = samples["choice"] == "mistake"
    assert (samples["prediction"][wrong] != samples["label"][wrong]).all()


def test_another_config_in_the_same_directory_is_refused(done):
    workdir, config, data_dir = done
    other = config.copy_and_resolve_references()
    other.methods.codes.optimizer.learning_rate = 1.0
    with pytest.raises(WorkdirError, match="optimizer.learning_rate"):
        modes.train(other, workdir, data_dir)
    assert json.loads((workdir / "config.json").read_text())["methods"]["codes"]["optimizer"]["learning_rate"] == 1e-3


def test_a_refused_config_leaves_nothing_behind(done, tmp_path):
    _, config, data_dir = done
    wrong = config.copy_and_resolve_references()
    wrong.evals.splits = ("test", "tset")
    with pytest.raises(ValueError, match="Did you mean 'test'"):
        modes.train(wrong, tmp_path / "run", data_dir)
    assert not (tmp_path / "run").exists()
