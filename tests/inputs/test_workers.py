"""Workers: they write the same files, their failures are told in full, and they need nothing of the caller's script."""

import os
import pathlib
import resource
import subprocess
import sys

import pytest

from tests.inputs.fake_clips import FEATURES, broken, clip, killed
from videogvt.core.mistakes import is_mistake
from videogvt.inputs.datasets import read_manifest, write_dataset

ROOT = pathlib.Path(__file__).parents[2]


def build(tmp_path, example, workers):
    return write_dataset(tmp_path / "x" / "1.0.0", FEATURES, {"train": (10, example)}, name="x", workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_example_names_itself_and_leaves_nothing(tmp_path, workers):
    with pytest.raises((ZeroDivisionError, RuntimeError)) as caught:
        build(tmp_path, broken, workers)
    told = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "no clip three" in told and "This happened in example 3 of split 'train'" in told
    assert [path.name for path in (tmp_path / "x").iterdir()] == [".1.0.0.lock"]


def test_a_killed_worker_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="ended with signal 9 before its shard was done"):
        build(tmp_path, killed, 2)
    assert [path.name for path in (tmp_path / "x").iterdir()] == [".1.0.0.lock"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_with_the_root_and_leaves_nothing(tmp_path, workers):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # less than a shard takes
    try:
        with pytest.raises(OSError, match="cannot be written: .*File too large.*--data_dir=DIR.*VIDEOGVT_DATA") as told:
            build(tmp_path, clip, workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_mistake(told.value) and "\n" not in str(told.value)
    assert [path.name for path in (tmp_path / "x").iterdir()] == [".1.0.0.lock"]


def test_zero_workers_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="workers is 0; pass 1 or more, or None for one per core"):
        build(tmp_path, clip, 0)


SCRIPT = """
import sys
from tests.inputs.fake_clips import FEATURES, clip
from videogvt.inputs.datasets import write_dataset
def own(index):
    return clip(index)
print("script runs")
example = clip if sys.argv[2] == "module" else own
write_dataset(sys.argv[1] + "/x/1.0.0", FEATURES, {"train": (10, example)}, name="x", workers=2)
"""


def run_script(tmp_path, kind):
    (tmp_path / "script.py").write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path, kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_script_may_build_at_its_top_level(tmp_path):
    done = run_script(tmp_path, "module")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("script runs") == 1
    assert read_manifest(tmp_path / "x" / "1.0.0")["splits"]["train"]["examples"] == 10


def test_a_function_of_the_script_is_refused_with_the_remedy(tmp_path):
    done = run_script(tmp_path, "own")
    assert done.returncode != 0
    assert "Move it to a module, or pass workers=1" in done.stderr
