"""Datasets on disk: whole or absent, the same whoever builds them, and verifiable."""

import errno
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.inputs.fake_clips import FEATURES, clip, late_only, noted, nothing, odd_only
from videogvt.core.mistakes import is_mistake, message
from videogvt.inputs.datasets import INFO, locked, read_manifest, unless_complete, verify, write_dataset

ROOT = pathlib.Path(__file__).parents[2]


def build(folder, example=clip, size=10, **options):
    splits = {"train": (size, example), "test": (4, clip)}
    return write_dataset(folder / "x" / "1.0.0", FEATURES, splits, name="x", **options)


def test_tfds_reads_what_was_written(tmp_path):
    build(tmp_path, description="Noise.", metadata={"stride": 2})
    builder = tfds.builder_from_directory(tmp_path / "x" / "1.0.0")
    source = builder.as_data_source("train")
    assert len(source) == 10 and len(builder.as_data_source("test")) == 4
    for index in (0, 7, 9):
        np.testing.assert_array_equal(source[index]["video"], clip(index)["video"])
        assert source[index]["id"].decode() == f"clip/{index}"
    assert builder.info.description == "Noise." and builder.info.metadata["stride"] == 2
    assert builder.info.features["label"].names == ["left", "right"]


def test_a_finished_dataset_is_returned_as_it_is(tmp_path):
    build(tmp_path)
    before = read_manifest(tmp_path / "x" / "1.0.0")
    build(tmp_path, example=nothing)
    assert read_manifest(tmp_path / "x" / "1.0.0") == before


def test_left_out_examples_are_counted_and_leave_no_gap(tmp_path):
    source = build(tmp_path / "odd", example=odd_only).as_data_source("train")
    assert [source[i]["id"].decode() for i in range(len(source))] == [f"clip/{i}" for i in range(1, 10, 2)]
    assert read_manifest(tmp_path / "odd" / "x" / "1.0.0")["splits"]["train"]["left_out"] == 5
    late = build(tmp_path / "late", example=late_only, size=1500, workers=1)
    assert [shard["file"] for shard in read_manifest(late.data_dir)["splits"]["train"]["shards"]] == [
        "x-train.array_record-00000-of-00001"
    ]
    assert len(late.as_data_source("train")) == 500 and verify(late.data_dir) == 3


def test_an_empty_split_stops_the_build(tmp_path):
    with pytest.raises(ValueError, match="Split 'train' is empty: its example function returned None for every index"):
        build(tmp_path, example=nothing)
    assert not (tmp_path / "x" / "1.0.0").exists()


def test_the_check_may_refuse_the_dataset(tmp_path):
    def refuse(splits):
        raise ValueError(f"{splits['train']['left_out']} were left out")

    with pytest.raises(ValueError, match="5 were left out"):
        build(tmp_path, example=odd_only, check=refuse)
    assert [path.name for path in (tmp_path / "x").iterdir()] == [".1.0.0.lock"]


def test_a_foreign_folder_is_not_touched(tmp_path):
    foreign = tmp_path / "x" / "1.0.0"
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is no finished dataset \(dataset_info.json is missing\). Move it away"):
        build(tmp_path)
    assert (foreign / "thesis.txt").read_text() == "mine"


def test_verify_names_what_is_wrong(tmp_path):
    directory = pathlib.Path(build(tmp_path).data_dir)
    assert verify(directory) == 4
    shard = directory / "x-train.array_record-00001-of-00002"
    good = shard.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    shard.write_bytes(flipped)
    with pytest.raises(ValueError, match="x-train.array_record-00001-of-00002 has SHA-256 .*, the manifest says"):
        verify(directory)
    shard.unlink()
    (directory / "x-train.array_record-00009-of-00002").write_bytes(good)
    with pytest.raises(ValueError, match="(?s)00001-of-00002 is missing.*00009-of-00002 is not in the manifest"):
        verify(directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no manifest.json, so it is no finished dataset"):
        verify(directory)


BUILD = """
import functools, sys
from tests.inputs.fake_clips import FEATURES, clip, noted
from videogvt.inputs.datasets import write_dataset
folder, seconds, workers = sys.argv[1:]
splits = {"train": (20, functools.partial(noted, folder + "/pids", float(seconds))), "test": (4, clip)}
write_dataset(folder + "/x/1.0.0", FEATURES, splits, name="x", workers=int(workers))
"""


def start_build(folder, seconds, workers):
    (folder / "pids").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, folder, str(seconds), str(workers)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


def alive(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_leaves_nothing_finished_and_no_workers(tmp_path, workers):
    process = start_build(tmp_path, 0.4, workers)
    wait_for(lambda: len(list((tmp_path / "pids").iterdir())) >= workers)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "x" / "1.0.0").exists()
    assert list((tmp_path / "x").glob("incomplete.*"))
    wait_for(lambda: not any(alive(path.name) for path in (tmp_path / "pids").iterdir()))
    splits = {"train": (20, functools.partial(noted, str(tmp_path / "pids"), 0.0)), "test": (4, clip)}
    write_dataset(tmp_path / "x" / "1.0.0", FEATURES, splits, name="x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [".1.0.0.lock", "1.0.0"]
    assert verify(tmp_path / "x" / "1.0.0") == 4


def test_only_a_finished_dataset_in_the_way_is_taken_for_ones_own(tmp_path):
    with pytest.raises(OSError), unless_complete(tmp_path):
        raise OSError(errno.ENOTEMPTY, "not empty")
    (tmp_path / INFO).write_text("{}")
    with unless_complete(tmp_path):
        raise OSError(errno.ENOTEMPTY, "not empty")
    with pytest.raises(OSError, match="No space"), unless_complete(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_of_two_racing_builds_one_waits_for_the_other(tmp_path):
    first = start_build(tmp_path, 0.15, 1)
    wait_for(lambda: any((tmp_path / "pids").iterdir()))
    first.send_signal(signal.SIGSTOP)  # so that it is not done before the second one gets there
    second = start_build(tmp_path, 0.15, 1)
    said = next((line for line in second.stderr if "Another process is building" in line), "")
    first.send_signal(signal.SIGCONT)
    errors = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), errors
    assert "waiting for it" in said
    assert [path.name for path in (tmp_path / "pids").iterdir()] == [str(first.pid)]
    assert verify(tmp_path / "x" / "1.0.0") == 4


@pytest.mark.parametrize("root", ["/proc/nothing", "{}/file/below", "{}/file"])
def test_a_root_that_cannot_be_written_names_what_names_another(tmp_path, root):
    (tmp_path / "file").write_text("")
    folder = pathlib.Path(root.format(tmp_path)) / "trajectories/tiny/1.0.0"
    with pytest.raises(OSError, match=r"cannot be written: .*--data_dir=DIR, in Python data_dir, .* VIDEOGVT_DATA"):
        with locked(folder):
            raise AssertionError("never reached")


def test_a_disk_that_is_read_only_names_what_names_another(tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.EROFS, "", str(self))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(OSError, match="tiny: Read-only file system. Name another root .*VIDEOGVT_DATA") as refused:
        with locked(tmp_path / "trajectories/tiny/1.0.0"):
            raise AssertionError("never reached")
    assert is_mistake(refused.value) and message(refused.value).startswith("The data set")
