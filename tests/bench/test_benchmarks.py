"""The side-by-side benchmarks run, and what they compare agrees."""

import importlib
import json
import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
SMALL = ["--filters=8", "--multipliers=1,2", "--clip=4,8,8", "--batch_size=1", "--repeats=1"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for name in ("lowerings", "pytorch"):
        sys.modules.pop(name, None)


def test_both_lowerings_give_the_same(script, tmp_path, capsys):
    script("lowerings").main([*SMALL, f"--output={tmp_path / 'found.json'}"])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["train step", "encode", "decode"]
    assert all(row["difference"] < 1e-4 and row["faster"] > 0 and len(row["ours"]) == 3 for row in rows)
    assert "times faster" in capsys.readouterr().out


def test_the_pytorch_network_is_of_the_same_size(script, tmp_path, capsys):
    pytest.importorskip("torch")
    script("pytorch").main([*SMALL, f"--output={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    counts = found["about"]["parameters"]
    assert counts["ours"] == counts["PyTorch"]
    assert all(len(row["PyTorch"]) == len(row["ours"]) == 3 for row in found["rows"])
    assert "ours / PyTorch" in capsys.readouterr().out
