"""Every kind of config is measured on untrained weights; the numbers of a row belong together."""

import functools
import json

import jax
import jax.numpy as jnp
import pytest

from tests.test_configs import module
from tests.test_stages import home, tiny, tokenizer_run  # noqa: F401
from videogvt import modes
from videogvt.bench import measure
from videogvt.train import timing

PREDICTIONS = {
    "vqvae_traj": ["encode", "decode", "reconstruct"], "classifier_traj": ["classify"],
    "maskgvt_traj": ["encode", "decode", "reconstruct", "generate, {} steps", "generate, {} steps"],
    "lmgvt_traj": ["encode", "decode", "reconstruct", "generate, one by one", "generate, one by one"],
}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name == "lmgvt_traj" else []) for name in PREDICTIONS])
def test_tiny_variants_are_measured(name, home, request, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(timing, "matrix_rate", functools.partial(timing.matrix_rate, size=128))
    monkeypatch.setattr(timing, "copy_rate", functools.partial(timing.copy_rate, megabytes=1))
    token_model = name in ("maskgvt_traj", "lmgvt_traj")
    variant = "judge_tiny" if name == "classifier_traj" else "tiny"  # its "tiny" is a study of many classifiers
    config = tiny(name, request.getfixturevalue("tokenizer_run")) if token_model else module(name).get_config(variant)
    if token_model:
        config.evals.generation.judge = "runs/nowhere"  # which nothing here needs
    modes.MODES["bench"](config, str(home / f"bench-{name}"), str(home / "data"))
    shown = capsys.readouterr().out
    found = json.loads((home / f"bench-{name}" / "bench.json").read_text())
    rows, about = found["rows"], found["about"]
    steps = config.decoding.steps if name == "maskgvt_traj" else None
    expected = ["train step", *(row.format(steps) for row in PREDICTIONS[name]), "input pipeline"]
    assert [row["name"] for row in rows] == expected and all(row in shown for row in expected)
    assert not token_model or config.evals.generation.judge == "runs/nowhere"  # the config is not changed
    for row in rows:
        assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"] and row["repeats"] >= 3
        assert row["clips_per_s"] == pytest.approx(1e3 * row["clips"] / row["ms"])
        assert row["ms_per_frame"] == pytest.approx(row["ms"] / row["clips"] / about["clip"][0])
    for row in rows[:-1]:
        assert row["compile_s"] > 0 and row["memory"] > 0 and row["gflop"] > 0
        rate = 1e9 * row["gflop"] / (row["ms"] / 1e3)
        assert row["matrix_share"] == pytest.approx(rate / about["ceilings"][row["dtype"]] / jax.device_count())
        assert (row["copy_share"] is None) == row["name"].startswith("generate")
    if token_model:
        assert {row["clips"] for row in rows if row["name"].startswith("generate")} == {1, config.data.batch_size}
    assert about["peak_memory"]["host"] > 1e8 and about["config"] == config.name


def test_the_ceilings_are_rates():
    assert 1e7 < timing.matrix_rate(jnp.bfloat16, size=128, products=2) < 1e16
    assert 1e7 < timing.copy_rate(megabytes=1) < 1e14


def test_unknown_figures_are_dashes():
    row = {"name": "input pipeline", "clips": 8, "ms": 2.0, "ms_low": 1.5, "ms_high": 3.25, "clips_per_s": 4000.0,
           "ms_per_frame": 0.015625}
    headings, lines = measure.bench_table([row, {**row, "name": "encode", "memory": 2_000_000, "matrix_share": 0.25}])
    assert lines[0] == ["input pipeline", "8", "2", "1.5 – 3.25", "4,000", "0.0156", *["–"] * 5]
    assert lines[1][headings.index("memory, MB")] == "2" and lines[1][headings.index("of matrix rate")] == "25.0%"
