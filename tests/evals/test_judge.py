"""The judge of a finished run of a classifier, and what it refuses."""

import json

import numpy as np
import pytest

from tests.evals import bank
from videogvt.evals.judge import Judge
from videogvt.jobs.judges import load_judge
from videogvt.train import journal


def finished(workdir, recipe="classifier", names=("a", "b"), network="judge"):
    journal.claim_workdir(workdir, {"recipe": recipe, "classifier": {"network": network}})
    journal.write_eval(workdir, {"eval/test/accuracy": 1.0}, {"evaluators": {"test": {"class_names": list(names)}}})


def test_columns_name_the_largest_logit():
    judge = Judge("sum", lambda params, video: (video.sum((1, 2, 3))[:, :2] * params, video.mean((1, 2))[:, 0]),
                  np.array([1.0, 2.0]))
    columns = judge.columns(np.full((3, 2, 4, 4, 3), 255, np.uint8))
    assert columns["judged"].tolist() == [1, 1, 1] and columns["features"].shape == (3, 3)
    np.testing.assert_allclose(columns["features"], 1.0)


def test_the_bank_knows_its_own_clips():
    clips = bank.clips("validation", 60)
    assert (bank.judge().columns(clips["video"])["judged"] == clips["label"]).all()


def test_what_is_no_judge_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_judge(tmp_path / "none", ("a", "b"))
    (tmp_path / "going").mkdir()
    (tmp_path / "going" / "config.json").write_text(json.dumps({}))
    with pytest.raises(FileNotFoundError, match="not finished"):
        load_judge(tmp_path / "going", ("a", "b"))
    finished(tmp_path / "tokenizer", "tokenizer")
    with pytest.raises(ValueError, match="holds a tokenizer"):
        load_judge(tmp_path / "tokenizer", ("a", "b"))
    finished(tmp_path / "probe", network="linear_probe")
    with pytest.raises(ValueError, match="holds a linear_probe; expected a judge"):
        load_judge(tmp_path / "probe", ("a", "b"))
    finished(tmp_path / "other")
    with pytest.raises(ValueError, match="names the classes a, b; those of the clips are b, a"):
        load_judge(tmp_path / "other", ("b", "a"))
