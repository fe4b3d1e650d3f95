"""The benchmark of accelerators: what runs its parts, what it keeps and shows, and all of it at tiny sizes."""

import argparse
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.optimized

ROOT = pathlib.Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
TIMED = {"clips": 4, "ms": 1.0, "ms_low": 0.5, "ms_high": 2.0, "clips_per_s": 4000.0}


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def accelerator():
    return importlib.import_module("accelerator")


@pytest.fixture
def ledger(tmp_path):
    return importlib.import_module("on_device.ledger").Ledger(tmp_path / "accelerator.json")


def flags(**changes):
    return argparse.Namespace(**{"dry_run": True, "more": False, "patience": 10.0, **changes})


def test_what_goes_wrong_is_told_and_the_next_program_runs(accelerator, ledger, monkeypatch, capfd):
    monkeypatch.setitem(accelerator.child.MODULES, "pipeline", "tests.bench.broken_part")
    accelerator.measure("pipeline", 300, flags(), ledger)
    rows = {row["name"]: row for row in json.loads(ledger.file.read_text())["rows"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "works": "measured", "is skipped": "skipped", "raises": "failed", "works after that": "measured",
        "ends the process": "failed", "works in another process": "measured"}
    assert rows["works"]["clips_per_s"] == 4000.0 and rows["works"]["took_s"] >= 0
    assert rows["is skipped"]["why"] == "there is no such library"
    assert rows["raises"]["why"] == "ValueError: a | message of two lines"
    assert rows["ends the process"]["why"] == "the process ended with exit code 7"
    shown = capfd.readouterr()
    assert "pipeline: raises: failed: ValueError" in shown.out and "Traceback" in shown.err
    table = ledger.file.with_suffix(".md").read_text()
    assert "| raises | not measured: failed, ValueError: a / message of two lines | – | – |" in table
    assert "| works | 4 | 1 (0.5 to 2) | 4,000 |" in table
    assert ledger.settled("pipeline") == {"works", "works after that", "works in another process"}
    accelerator.measure("pipeline", 300, flags(), ledger)  # the others are tried again
    tried = [row["name"] for row in ledger.rows][3:]
    assert sorted(tried) == ["ends the process", "is skipped", "raises"]


def test_a_part_is_stopped_at_its_limit(accelerator, ledger):
    accelerator.measure("pipeline", 0.03, flags(), ledger)
    [row] = ledger.rows
    assert (row["name"], row["status"], row["why"]) == ("start", "stopped", "at the part's limit of 0.03 s")
    ledger.begin("pipeline")
    assert not ledger.rows


def test_a_program_that_is_tried_again_takes_its_rows_place(ledger):
    ledger.add({"part": "machine", "name": "copy", "status": "failed", "why": "it did"})
    ledger.add({"part": "machine", "name": "float32", "status": "measured", "rate": 1.0})
    ledger.add({"part": "machine", "name": "copy", "status": "measured", "rate": 2.0})
    again = type(ledger)(ledger.file)
    assert [(row["name"], row["status"]) for row in again.rows] == [("float32", "measured"), ("copy", "measured")]
    assert not type(ledger)(ledger.file, fresh=True).rows
    assert [path.name for path in ledger.file.parent.iterdir()] == ["accelerator.old.json"]  # and no draft is left


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_file_of_something_else_is_named(ledger, text):
    ledger.file.write_text(text)
    with pytest.raises(ValueError, match="accelerator.json (is no JSON|holds no figures)"):
        type(ledger)(ledger.file)


def test_a_dry_run_is_not_taken_up_by_another_nor_put_into_documents(accelerator, ledger, monkeypatch, tmp_path):
    ledger.identify({"dry_run": True, "commit": "abc"})
    ledger.add({"part": "PyTorch", "name": "encode", "status": "measured", **TIMED})
    with pytest.raises(ValueError, match="dry_run = True, and this is dry_run = False"):
        type(ledger)(ledger.file).identify({"dry_run": False, "commit": "abc"})
    monkeypatch.setattr(accelerator, "DOCUMENT", tmp_path / "results.md")
    monkeypatch.setattr(accelerator, "FIGURES", tmp_path / "figures.json")
    with pytest.raises(ValueError, match="dry run"):
        accelerator.document(ledger.file)
    unknown = type(ledger)(tmp_path / "unknown.json")
    unknown.identify({"dry_run": False})
    unknown.add({"part": "PyTorch", "name": "encode", "status": "measured", **TIMED})
    with pytest.raises(ValueError, match="'machine'"):
        accelerator.document(unknown.file)
    assert not (tmp_path / "figures.json").exists()


def test_the_figures_of_a_run_go_into_documents_beside_the_estimate(accelerator, ledger, monkeypatch, tmp_path):
    document = importlib.import_module("on_device.document")
    monkeypatch.setattr(accelerator, "DOCUMENT", tmp_path / "results.md")
    monkeypatch.setattr(accelerator, "FIGURES", tmp_path / "figures.json")
    part = {"programs": 1, "compile_s": 1.0, "unlimited_s": 2.0, "seconds": 2.0, "limit_s": 20}
    accelerator.FIGURES.write_text(json.dumps({"estimate": {"machine": part}}))
    accelerator.DOCUMENT.write_text(f"{document.BEGIN}\n{document.END}\n")
    ledger.identify({"device": "H200", "devices": 1, "driver": "580", "runtime": "13", "python": "3.12",
                     "packages": {"jax": "0.11.2"}, "dry_run": False, "commit": "abc"})
    ledger.add({"part": "machine", "name": "bfloat16", "status": "measured", "rate": 7e14})
    accelerator.document(ledger.file)
    found = json.loads(accelerator.FIGURES.read_text())
    assert found["estimate"] == {"machine": part} and found["rows"][0]["commit"] == "abc"
    assert accelerator.DOCUMENT.read_text() == document.section(found)


def test_being_told_to_stop_ends_the_process_of_the_part(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--dry_run", "--parts=tokenizer",
               f"--output={tmp_path}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)  # no PYTHONPATH
    assert process.stdout.readline().startswith("tokenizer: ")
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [child for child in children if "spawn_main" in _command(child)]
    process.terminate()
    assert process.wait(60) == 143
    assert workers and not [child for child in workers if "spawn_main" in _command(child)]


def _command(process):
    path = pathlib.Path("/proc", process, "cmdline")
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("change", [{"device": "another"}, {"dry_run": False}, {"packages": {"jax": "0.11.2"}}])
def test_figures_of_two_machines_are_not_mixed(ledger, change):
    about = {"device": "one", "devices": 1, "dry_run": True, "packages": {"jax": "0.10.2"}}
    ledger.identify(about)
    ledger.identify(about | change)  # there are no rows yet
    ledger.identify(about)
    ledger.add({"part": "machine", "name": "copy", "status": "measured", "rate": 1.0})
    with pytest.raises(ValueError, match="Give another --output"):
        ledger.identify(about | change)


def test_a_cpu_is_refused(accelerator, ledger):
    with pytest.raises(accelerator.NoAccelerator, match="--dry_run"):
        accelerator.identify(ledger, {"backend": "cpu"}, flags(dry_run=False))


def test_several_devices_are_refused(accelerator, ledger):
    with pytest.raises(ValueError, match="one device, and jax sees 4"):
        accelerator.identify(ledger, {"backend": "tpu", "devices": 4}, flags(dry_run=False))


def test_unknown_parts_are_named(accelerator):
    assert accelerator.parts("machine,PyTorch") == ["machine", "PyTorch"]
    with pytest.raises(argparse.ArgumentTypeError, match="'gpu'; the parts are machine, tokenizer"):
        accelerator.parts("machine,gpu")
    assert sum(accelerator.LIMITS.values()) < 600 and list(accelerator.LIMITS) == list(accelerator.child.MODULES)


def test_the_section_of_the_results_is_that_of_the_figures(accelerator):
    document = importlib.import_module("on_device.document")
    found = json.loads(accelerator.FIGURES.read_text())
    text = accelerator.DOCUMENT.read_text()
    [shown] = re.findall(re.escape(document.BEGIN) + ".*?" + re.escape(document.END) + "\n", text, re.DOTALL)
    assert shown == document.section(found), "run `python benchmarks/accelerator.py --document`"


def test_a_section_takes_the_place_of_another(tmp_path):
    document = importlib.import_module("on_device.document")
    rows = [{"part": "decoding", "name": f"{name}, batch 1", "status": "measured", **TIMED, "ms": ms, "gflop": 500.0,
             "matrix_share": share, "copy_share": None, "ms_per_frame": 1.0, "memory": 2**30, "compile_s": 3.0}
            for name, ms, share in (("12 steps", 2.0, 0.5), ("one after another", 50.0, 0.1))]
    about = {"device": "H200", "devices": 1, "driver": "580", "runtime": "cuda 13", "python": "3.12", "packages": {},
             "commit": "abc"}
    found = {"about": about, "rows": rows, "estimate": {}}
    path = tmp_path / "results.md"
    path.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    document.replace(path, found)
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "1 x H200, driver 580" in text and "12 steps are 25.0 times faster at batch 1." in text
    assert "| 12 steps, batch 1 | 4 | 2 (0.5 to 2) | 4,000 | 1 | 0.5 | 50.0% | – | matrix | 1.00 | 3.0 |" in text
    assert "| one after another, batch 8 | not measured | – |" in text
    with pytest.raises(ValueError, match="dry run"):
        document.replace(path, found | {"about": about | {"dry_run": True}})
    path.write_text("nothing\n")
    with pytest.raises(ValueError, match="has no section"):
        document.replace(path, found)


BLOCK = """
    import importlib.machinery, os, sys

    OURS = {"jax", "jaxlib", "flax", "optax", "numpy", "videogvt", "on_device", "accelerator", *sys.stdlib_module_names}
    NOWHERE = {"ml_collections", "grain", "array_record", "tensorflow_datasets", "tensorflow", "orbax", "PIL", "scipy",
               "matplotlib", "sklearn", "tensorboardX", "tqdm", "dm_pix", "torch", "safetensors", "tests"}

    def hidden(name):
        top, frame = name.partition(".")[0], sys._getframe(2)
        while frame and ("importlib" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
            frame = frame.f_back
        ours = frame is not None and os.path.realpath(frame.f_code.co_filename).startswith(os.environ["CHECKOUT"])
        return top in NOWHERE or ours and top not in OURS

    class Finder(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if hidden(name) else super().find_spec(name, path, target)

    sys.meta_path[:] = [Finder if each is importlib.machinery.PathFinder else each for each in sys.meta_path
                        if "editable" not in str(each)]
"""


@pytest.fixture
def with_four_libraries(tmp_path):
    """Runs the benchmark where our files can import jax, flax, optax and numpy alone, and nobody what the package needs
    besides; returns what it leaves and what it prints."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(BLOCK))
    environment = {**os.environ, "CHECKOUT": str(ROOT), "JAX_PLATFORMS": "cpu",
                   "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--dry_run", f"--output={tmp_path}", "--patience=10"]

    def run(*further):
        done = subprocess.run([*command, *further], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads((tmp_path / "accelerator.json").read_text())
        assert {row["status"] for row in found["rows"]} <= {"measured", "skipped"}, done.stdout + done.stderr
        return found, done.stdout

    return run


def test_every_part_at_tiny_sizes(with_four_libraries):
    found, _ = with_four_libraries()
    skipped = {(row["part"], row["why"].split(";")[0].split(":")[0]) for row in found["rows"]
               if row["status"] == "skipped"}
    assert skipped == {
        ("transformer", "cuDNN's attention runs on NVIDIA GPUs"), ("decoding", "cuDNN's attention runs on NVIDIA GPUs"),
        ("PyTorch", "PyTorch is not installed."), ("pipeline", "Not installed")}
    assert found["about"]["dry_run"] and found["about"]["backend"] == "cpu"
    _check_figures({(row["part"], row["name"]): row for row in found["rows"] if row["status"] == "measured"})
    again, shown = with_four_libraries("--resume", "--parts=machine")
    assert "machine:" not in shown and again["rows"] == found["rows"]


@pytest.mark.slow
def test_what_more_asks_for_at_tiny_sizes(with_four_libraries):
    found, _ = with_four_libraries("--more", "--parts=tokenizer,transformer")
    names = {(row["part"], row["name"]) for row in found["rows"] if row["status"] == "measured"}
    assert {("tokenizer", "L: train step with GAN and R1"), ("tokenizer", "train step, rematerialised"),
            ("tokenizer", "train step with GAN and R1, discriminator in bf16"),
            ("transformer", "L: train step, attention by XLA")} <= names


def _check_figures(rows):
    timed = [row for row in rows.values() if "gflop" in row]
    assert len(timed) >= 14
    for row in timed:
        assert 0 < row["ms_low"] <= row["ms"] <= row["ms_high"] and row["gflop"] > 0 and row["compile_s"] > 0
        rate = 1e9 * row["gflop"] / (row["ms"] / 1e3)
        assert row["matrix_share"] == pytest.approx(rate / rows["machine", row["dtype"]]["rate"])
    full, quarter = (rows["tokenizer", name] for name in ("train step", "train step, quarter of the batch"))
    assert full["clips"] == 2 and quarter["clips"] == 1 and full["gflop"] == pytest.approx(2 * quarter["gflop"])
    gan, encode = (rows["tokenizer", name] for name in ("train step with GAN and R1", "encode"))
    assert gan["gflop"] > full["gflop"] > encode["gflop"]
    taps = rows["tokenizer", "train step, time taps in channels"]
    assert taps["gflop"] == full["gflop"]  # counted from the network, not from how it is computed
    for kind in ("tokenizer", "transformer"):
        trained = rows["default networks", f"default {kind}"]
        assert trained["compared"] == trained["steps"] == 40 and trained["agrees"]
        assert trained["difference_first"] < 1e-3


def test_the_pipeline_is_read_where_its_libraries_are(accelerator, tmp_path):
    accelerator.main(["--dry_run", "--parts=pipeline", f"--output={tmp_path}", "--patience=10"])
    rows = json.loads((tmp_path / "accelerator.json").read_text())["rows"]
    assert [(row["name"], row["status"], row["clips"]) for row in rows] == [
        ("2 threads", "measured", 4), ("8 threads", "measured", 4)]
    assert all(row["clips_per_s"] > 0 for row in rows)
