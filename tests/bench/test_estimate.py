"""The estimate of what the benchmark of accelerators takes: what is compiled once counts for programs alike."""

import importlib
import pathlib
import types

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


def test_seconds_add_up(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    estimate, job = (importlib.import_module(f"on_device.{name}") for name in ("estimate", "job"))
    compiled = []

    def skipped():
        raise job.Skip("not here")

    def found(each):
        if each.part is skipped:
            raise job.Skip("not here")
        compiled.append(each.name)
        return 30.0, 5.0

    programs = [job.Job("step", part=lambda: None), job.Job("step, quarter of the batch", part=lambda: None),
                job.Job("step by cuDNN", part=skipped), job.Job("decode, batch 1", part=lambda: None),
                job.Job("decode, batch 8", part=lambda: None), job.Job("other", row=dict, seconds=4.0)]
    module = types.SimpleNamespace(jobs=lambda bench: programs)
    monkeypatch.setattr(estimate.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(estimate, "_compiled", found)
    row = estimate.expected("tokenizer", limit_s=100.0)
    assert compiled == ["step", "decode, batch 1"]
    assert row == {"programs": 6, "compile_s": 150.0, "unlimited_s": estimate.START_S + 179.0, "seconds": 100.0,
                   "limit_s": 100.0}


def test_calls_take_as_long_as_their_flop(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    estimate, job = (importlib.import_module(f"on_device.{name}") for name in ("estimate", "job"))
    lowered = types.SimpleNamespace(compile=lambda: None)
    part = types.SimpleNamespace(flops=790e12, dtype="bfloat16", lowered=lambda: lowered)
    _, running = estimate._compiled(job.Job("step", part=lambda: part, share=0.5))
    assert running == pytest.approx((1 + 3) * 2.0)  # seconds of a call; one first, and three that are timed
    _, running = estimate._compiled(job.Job("step", part=lambda: part, share=0.5, seconds=1.0))
    assert running == pytest.approx((1 + 3) * 2.0)
    part.flops = 790e10
    _, running = estimate._compiled(job.Job("step", part=lambda: part, share=0.5))
    assert running == pytest.approx((1 + 5) * 0.02)
