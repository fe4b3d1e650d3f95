"""The benchmark of both trackers in scenes runs, and its figures are those of its documentation."""

import importlib
import json
import pathlib

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scenes(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("scenes")


def test_rows(scenes, tmp_path, capsys):
    scenes.main(["--clips=2", "--only", "moving64", "mono64, occlusion 0.05", f"--output={tmp_path / 'rows.json'}"])
    rows = json.loads((tmp_path / "rows.json").read_text())
    whole = [row for row in rows if not row["part"]]
    assert [row["tracker"] for row in whole] == ["old", "new", "truth"] * 2
    assert all(row["clips"] == 2 and row["split"] == "validation" for row in whole)
    assert whole[2]["near"] == 1.0 and whole[2]["p95"] == 0.0
    assert sum(row["clips"] for row in rows if row["part"] and row["tracker"] == "new") == 2
    assert "| moving64 | 2 | new |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        scenes.main(["--only", "hrad64"])
    assert "'hard64'" in capsys.readouterr().err


def test_figures_by_hand(scenes):
    clips = {"position": np.zeros((2, 2, 2)), "visibility": np.array([[1, 0.05], [1, 1]]),
             "family": np.array(["linear", "circular"])}
    place = np.array([[[1.0, 0], [0, 3]], [[np.nan, np.nan], [0, 2]]])
    found = scenes.figures(clips, place, np.array(["linear", "random"]), np.array([[1.0, 1.0], [np.inf, 1.0]]))
    assert (found["told"], found["near"], found["median"], found["named"]) == (0.75, 0.5, 2.0, 0.5)
    assert found["inside"] == pytest.approx(2 / 3)  # of 1, 3 and 2 px; the circle's radius is 2.45
    assert found["hidden"] == 0.0 and found["hidden_frames"] == 1
    lost = scenes.figures(clips, np.full((2, 2, 2), np.nan), np.array(["unknown", "unknown"]), np.full((2, 2), np.inf))
    assert lost["told"] == lost["near"] == lost["named"] == 0 and np.isnan(lost["median"])
