"""The side-by-side benchmarks run, and what they compare agrees."""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

from tests.pretrained import conftest as runs
from videogvt.decode import SAMPLERS

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
SMALL = ["--filters=8", "--multipliers=1,2", "--clip=4,8,8", "--batch_size=1", "--repeats=1"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A masked transformer on the codes of a small tokenizer, and a root for its clips."""
    home = tmp_path_factory.mktemp("untrained")
    runs.write_tokenizer(home / "tokenizer")
    tasks = ("CG", "FP:4", "CFP:4")
    runs.write_run(home / "masked", home / "tokenizer", "transformer", tasks, runs.NETWORK, {"steps": 3})
    return home / "masked", home / "data"


def test_samplers_stand_side_by_side_and_are_measured_once(script, untrained, capsys, monkeypatch):
    samplers, (run, data) = script("samplers"), untrained
    flags = [f"--workdir={run}", f"--data_dir={data}", "--clips=5", "--best=1", "--best_clips=10", "--batch_size=5",
             "--only=draft_and_revise,speaking"]
    samplers.main(flags)
    found = json.loads((run / "samplers.json").read_text())
    assert [(row["name"], row["clips"], row["passes"]) for row in found["rows"][:4]] == [
        ("speaking, steps 32", 5, 32), ("speaking, steps 32, temperature 0.7", 5, 32), ("draft_and_revise", 5, 24),
        ("draft_and_revise, steps 16, nucleus 0.0, temperature 0.7", 5, 48)]
    assert len(found["rows"]) == 5 and found["rows"][4]["clips"] == 10 and 0 <= found["about"]["empty"] < 64
    assert all(row["ms_a_clip"] > 0 and 0 <= row["oracle_agreement"] <= 1 for row in found["rows"])
    assert "speaking, steps 32" in capsys.readouterr().out
    monkeypatch.setattr(samplers, "compare", lambda decoders, *others, **more: iter(list(decoders)))
    samplers.main(flags)  # a row to measure would lack its figures
    assert json.loads((run / "samplers.json").read_text()) == found
    monkeypatch.undo()
    samplers.main([*flags[:3], "--best=0", "--batch_size=5", "--set=steps=2,temperature=0.5"])
    own = json.loads((run / "samplers.json").read_text())["rows"][len(found["rows"]):]
    assert [(row["name"], row["passes"]) for row in own] == [("the run's own, steps 2, temperature 0.5", 2)]
    with pytest.raises(SystemExit):
        samplers.main([*flags, "--set=steps"])
    assert "expected name=value" in capsys.readouterr().err
    found["about"]["parameters"] = "others"
    (run / "samplers.json").write_text(json.dumps(found))
    with pytest.raises(SystemExit, match="parameters with the hash others"):
        samplers.main(flags)


def test_long_videos_are_measured_window_by_window(script, untrained, tmp_path, capsys):
    long_videos, (run, data) = script("long_videos"), untrained
    flags = [f"--workdir={run}", f"--data_dir={data}", "--frames=16", "--given=4", "--clips=5", "--batch_size=5"]
    long_videos.main([*flags, f"--output={tmp_path / 'rows.json'}"])
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["row"], row["from"]) for row in rows] == [
        ("real", 0), ("real, through the tokenizer", 0), ("predicted", 0), ("predicted", 4), ("predicted", 8)]
    assert rows[0]["one_object"] == rows[0]["found"] == 1.0 and rows[0]["fit_px"] < 0.5 < rows[0]["speed"]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("one_object", "found", "correct"))
    assert "from 8" in capsys.readouterr().out
    video = np.load(tmp_path / "rows.npz")["video"]
    assert video.shape == (5, 16, 32, 32, 3) and video.dtype == np.uint8
    long_videos.main([*flags, "--class", f"--output={tmp_path / 'told.json'}"])
    assert (np.load(tmp_path / "told.npz")["video"] != video).any()
    with pytest.raises(SystemExit):
        long_videos.main([*flags, "--given=8"])
    assert "expected 1 to 7 frames" in capsys.readouterr().err


def test_predictions_of_samplers_are_printed_by_task(script, untrained, tmp_path, capsys):
    samplers, (run, data) = script("samplers"), untrained
    output = tmp_path / "rows.json"
    flags = [f"--workdir={run}", f"--data_dir={data}", "--clips=5", "--batch_size=5", f"--output={output}"]
    samplers.main([*flags, "--predict", "--set=steps=2", "--set=steps=1"])
    found = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["name"], row["asked"]) for row in found] == [
        ("the run's own, steps 2", 5), ("the run's own, steps 1", 5)]
    assert all(row["predicted"][f"{task}/track_error_px"] > 0 for row in found for task in ("FP:4", "CFP:4"))
    assert "CFP:4" in capsys.readouterr().out


def test_the_chance_that_something_is_hidden_by_hand(script):
    calibration = script("calibration")
    speaks = np.zeros((1, 2, 4), bool)
    speaks[0, 0, 2], speaks[0, 1, :3] = True, True
    hidden = calibration.hidden_cells(speaks, 2)
    assert hidden.sum(-1).tolist() == [[2, 3]] and hidden[speaks].all()
    logits = np.zeros((1, 2, 4, 2))  # two codes, of which 0 is empty, as likely as each other
    logits[0, 0, 2] = [-30, 0]
    np.testing.assert_allclose(calibration.chance(logits, hidden, 0), [[1.0, 1 - 0.5**3]], atol=1e-6)


def test_calibration_is_printed_by_frame(script, untrained, capsys):
    calibration, (run, data) = script("calibration"), untrained
    calibration.main([f"--workdir={run}", f"--data_dir={data}", "--clips=3", "--hidden=1,4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 clips of validation") and len(lines) == 3
    assert all(0 <= float(value) <= 1 for line in lines[1:] for value in line.split(":")[1].split())


def test_the_table_of_samplers_is_short_and_each_has_two_rows(script):
    samplers = script("samplers")
    assert len(samplers.SETTINGS) + 3 <= 24
    names = [settings.get("sampler") for settings in samplers.SETTINGS]
    assert names[0] is None and set(names[1:]) == set(SAMPLERS)
    assert all(names.count(name) >= 2 for name in SAMPLERS)
    for rule in ({"sampler": "frames", "cells": "speaking"}, {"sampler": "bisection", "cells": "speaking"}):
        others = [settings for settings in samplers.SETTINGS if settings.get("sampler") == rule["sampler"]]
        assert any(rule.items() <= settings.items() for settings in others)
        assert any("cells" not in settings for settings in others)  # a row without the empty code


def test_both_lowerings_give_the_same(script, tmp_path, capsys):
    script("lowerings").main([*SMALL, f"--output={tmp_path / 'found.json'}"])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["train step", "encode", "decode"]
    assert all(row["difference"] < 1e-4 and row["faster"] > 0 and len(row["ours"]) == 3 for row in rows)
    assert "times faster" in capsys.readouterr().out


def test_winograd_gives_the_same_convolution(script, tmp_path, capsys):
    script("winograd").main(["--shapes", "1,3,6,4,5", "2,1,4,3", "--repeats=1", f"--output={tmp_path / 'found.json'}"])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [(row["shape"], row["name"]) for row in rows] == [
        (shape, name) for shape in ([1, 3, 6, 4, 5], [2, 1, 4, 3, 3]) for name in ("forward", "with gradients")]
    assert all(row["difference"] < 1e-4 and row["faster"] > 0 for row in rows)
    assert "times faster" in capsys.readouterr().out


def test_the_pytorch_network_is_of_the_same_size(script, tmp_path, capsys):
    pytest.importorskip("torch")
    script("pytorch").main([*SMALL, f"--output={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    counts = found["about"]["parameters"]
    assert counts["ours"] == counts["PyTorch"]
    assert all(len(row["PyTorch"]) == len(row["ours"]) == 3 for row in found["rows"])
    assert "ours / PyTorch" in capsys.readouterr().out


def test_the_pytorch_transformer_is_of_the_same_size(script, tmp_path, capsys):
    pytest.importorskip("torch")
    small = ["--batch_size=1", "--clip=4,8", "--hidden=64", "--repeats=1"]
    script("transformer").main([*small, f"--output={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    counts = found["about"]["parameters"]
    assert counts["ours"] == counts["PyTorch"]
    assert all(len(found["seconds"][name]) == 3 and found["processor"][name] > 0 for name in counts)
    assert "ours / PyTorch" in capsys.readouterr().out


def test_the_figures_of_scale_are_counted_and_read(script, tmp_path, capsys):
    flags = ["--networks=default", "--clips=20", "--codes=20", "--indices=1000"]
    script("scale").main([*flags, f"--output={tmp_path / 'found.json'}"])
    found = json.loads((tmp_path / "found.json").read_text())
    tokenizer, transformer = found["networks"]
    assert tokenizer["tokens"] == 128 and transformer["tokens"] == 129  # the class comes first
    assert 0 < tokenizer["gflop_encode"] < tokenizer["gflop"] < 2 and 1e6 < tokenizer["parameters"] < 2e6
    sizes = {row["name"]: row for row in found["bytes"]}
    assert [row["memory"] for row in sizes.values()] == [16 * 64 * 64 * 3, 16 * 128 * 128 * 3, 4 * 1024]
    assert all(0 < row["packed"] < row["record"] for row in list(sizes.values())[:2])
    assert all(row["disk"] > 0 for row in sizes.values())
    clips = {row["name"]: row["clips"] for row in found["timed"]}
    assert clips == {"reading mono64": 20, "reading mono128": 20, "reading codes of B": 20, "order of an epoch": 1000}
    assert all(len(row["seconds"]) == 3 and row["clips_per_s"] > 0 for row in found["timed"])
    assert "tokenizer default" in capsys.readouterr().out


def test_the_growth_of_a_step_is_measured_and_drawn(script, tmp_path, capsys):
    growth = script("growth")
    growth.main(["--quick", "--repeats=3", f"--output={tmp_path}"])
    found = json.loads((tmp_path / "growth.json").read_text())
    assert len(found["rows"]) == sum(len(list(sweep.settings())) for sweep in growth.QUICK.values())
    for row in found["rows"]:
        assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"] and row["memory"] > 0 and row["gflop"] > 0
    one, two = growth.along(found, "transformer", "batch")
    assert (one["batch"], two["batch"]) == (1, 2)
    assert one["gflop"] < two["gflop"] < 2 * one["gflop"]  # the codes' vectors are projected once a step
    assert one["parameters"] == two["parameters"]
    assert [row["remat"] for row in growth.along(found, "transformer", "batch", remat=True)] == [True, True]
    assert len(growth.along(found, "tokenizer", "pixels")) == 1
    for name in ("growth_time.png", "growth_memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "fastest to slowest" in capsys.readouterr().out


def test_a_sweep_changes_one_setting_at_a_time(script):
    growth = script("growth")
    for sweep in growth.FULL.values():
        settings = list(sweep.settings())
        assert len(set(settings)) == len(settings)
        for setting in settings:
            changed = [axis for axis in sweep.values if getattr(setting, axis) != getattr(sweep.middle, axis)]
            assert len(changed) <= 1
        assert all(getattr(sweep.middle, axis) in values for axis, values in sweep.values.items())


def test_tokenizers_stand_side_by_side_from_their_files(script, tmp_path, monkeypatch):
    geometry, said = script("geometry"), []
    network = {"stem": [2, 4, 4], "channel_multipliers": [1], "temporal_downsample": []}
    for name, psnr in (("a", 30.0), ("b", 31.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"tokenizer": network}))
        about = {"seconds": 90.0, "examples": 16000}
        (tmp_path / name / "eval.json").write_text(json.dumps(
            {"about": about, "eval/test/psnr": psnr, "eval/modelability/empty_share": 0.9996}))
    monkeypatch.setattr(sys, "argv", ["geometry.py", str(tmp_path / "a"), str(tmp_path / "b")])
    geometry.main(said.append)
    lines = said[0].splitlines()
    assert lines[0] == "|  | a | b |" and lines[2] == "| frames x rows x columns of a code | 2 x 4 x 4 | 2 x 4 x 4 |"
    assert "| training, minutes | 1.5 | 1.5 |" in lines and "| PSNR, dB | 30.00 | 31.25 |" in lines
    assert "| blank cells with the empty code | 99.96% | 99.96% |" in lines and "| object found | – | – |" in lines
    (tmp_path / "a" / "eval.json").write_text(json.dumps({"about": about}))
    with pytest.raises(SystemExit, match="no figures of reconstructions"):
        geometry.main()
    (tmp_path / "a" / "eval.json").unlink()
    with pytest.raises(SystemExit, match="has no eval.json"):
        geometry.main()
