"""Trajectory datasets: the world's bytes whoever builds them, without TensorFlow, from anywhere."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.inputs.fake_clips import BIG_FEATURES, noise
from videogvt.inputs import builders
from videogvt.inputs.builders import CITATION, Trajectories, data_root, main, prepared
from videogvt.inputs.datasets import note_unfinished, read_manifest, verify, write_dataset
from videogvt.inputs.shards import ExampleEncoder, content_digest
from videogvt.inputs.sources import open_source
from videogvt.inputs.worlds import WorldConfig, world_features
from videogvt.world.example import FIELDS, example, field_shapes
from videogvt.world.spec import SPECS, VERSION

ROOT = pathlib.Path(__file__).parents[2]
ENTRY_POINT = ROOT / "data" / "trajectories"
TINY = SPECS["tiny"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return prepared("tiny", tmp_path_factory.mktemp("data"), workers=1)


def shard_hashes(directory):
    manifest = read_manifest(directory)
    return {shard["file"]: shard["sha256"] for split in manifest["splits"].values() for shard in split["shards"]}


def as_plain(value):
    return value.decode() if isinstance(value, bytes) else value


def test_every_example_on_disk_is_the_worlds(tiny):
    builder = tfds.builder_from_directory(tiny.data_dir)
    for split, size in TINY.splits:
        source = builder.as_data_source(split)
        assert len(source) == size == builder.info.splits[split].num_examples
        for index in range(size):
            truth = example(TINY, split, index)
            found = {name: as_plain(value) for name, value in source[index].items()}
            assert found.keys() == truth.keys() == field_shapes(TINY).keys()
            for name, value in truth.items():
                np.testing.assert_array_equal(found[name], value, err_msg=f"{split}/{index}/{name}")
                assert getattr(found[name], "shape", ()) == field_shapes(TINY)[name][0]


def test_the_content_hash_is_that_of_the_worlds_examples(tiny):
    for split, size in TINY.splits:
        halves = []
        for indices in (range(size // 2), range(size // 2, size)):
            digests = b"".join(content_digest(example(TINY, split, index)) for index in indices)
            halves.append(hashlib.sha256(digests).hexdigest())
        assert read_manifest(tiny.data_dir)["splits"][split]["content_sha256"] == (
            hashlib.sha256("".join(halves).encode()).hexdigest()
        )


def test_classes_are_exactly_balanced(tiny):
    for split, size in TINY.splits:
        labels = [clip["label"] for clip in tiny.as_data_source(split)]
        assert np.bincount(labels).tolist() == [size // len(TINY.families)] * len(TINY.families)


@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_write_the_same_files(tiny, tmp_path, workers):
    assert shard_hashes(prepared("tiny", tmp_path, workers=workers).data_dir) == shard_hashes(tiny.data_dir)


def test_beam_writes_the_same_files(tiny, tmp_path):
    import apache_beam as beam

    builder = Trajectories(config="tiny", data_dir=tmp_path)
    config = tfds.download.DownloadConfig(beam_runner="DirectRunner", beam_options=beam.pipeline.PipelineOptions([]))
    builder.download_and_prepare(download_config=config)
    assert shard_hashes(builder.data_dir) == shard_hashes(tiny.data_dir)
    assert verify(builder.data_dir) == 8
    assert not list(builder.data_path.glob("*.note.json"))


def test_a_shuffled_order_gives_the_same_records():
    encode, order = ExampleEncoder(WorldConfig(spec=TINY).features()), list(range(40))
    random.Random(0).shuffle(order)
    np.random.seed(7)  # noqa: NPY002 - the legacy global state must not matter
    shuffled = {index: encode(example(TINY, "train", index)) for index in order}
    np.random.seed(8)  # noqa: NPY002
    assert all(encode(example(TINY, "train", index)) == shuffled[index] for index in range(40))


def test_tfds_sees_the_same_examples_through_its_generator():
    [(_, first), *_] = Trajectories(config="tiny", data_dir="/nowhere")._split_generators(None)["test"]
    np.testing.assert_array_equal(first["video"], example(TINY, "test", 0)["video"])


def test_building_and_reading_leave_tensorflow_and_jax_alone(tmp_path):
    code = """
import sys, tensorflow_datasets as tfds
from videogvt.inputs.builders import prepared
builder = prepared("tiny", sys.argv[1])
assert tfds.builder_from_directory(builder.data_dir).as_data_source("train")[3]["video"].shape == (8, 32, 32, 3)
assert not {"tensorflow", "jax", "apache_beam"} & set(sys.modules), "imported"
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100/100" in done.stderr and "examples/s" in done.stderr  # the progress bar


def test_a_second_call_uses_what_is_there(tiny, capsys):
    info = pathlib.Path(tiny.data_dir, "dataset_info.json")
    before = info.stat().st_mtime_ns
    for config in ("tiny", WorldConfig(spec=TINY)):
        assert prepared(config, tiny.data_dir_root).data_dir == tiny.data_dir
    assert info.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


def test_a_read_only_dataset_can_be_used(tiny, tmp_path):
    copy = tmp_path / "trajectories" / "tiny" / VERSION
    shutil.copytree(tiny.data_dir, copy)
    copy.parent.chmod(0o500)
    assert len(prepared("tiny", tmp_path).as_data_source("test")) == 20
    assert [path.name for path in copy.parent.iterdir()] == [VERSION]
    copy.parent.chmod(0o700)


def test_leftovers_of_killed_builds_go_and_foreign_folders_stay(tmp_path, monkeypatch, capfd):
    """The builds of other hosts, which no lock may reach, are foreign too."""
    folder = tmp_path / "trajectories" / "tiny"
    for name in ("AB12CD", "EF34GH", "IJ56KL"):
        (folder / f"incomplete.{name}_{VERSION}").mkdir(parents=True)
    note_unfinished(folder / VERSION, f"incomplete.AB12CD_{VERSION}")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "another")
        note_unfinished(folder / VERSION, f"incomplete.EF34GH_{VERSION}")
    (folder / VERSION).mkdir()
    with pytest.raises(FileExistsError, match="exists, and is no finished dataset .* Move it away"):
        prepared("tiny", tmp_path)
    (folder / VERSION).rmdir()
    prepared("tiny", tmp_path)
    stays = [f"incomplete.{name}_{VERSION}" for name in ("EF34GH", "IJ56KL")]
    assert sorted(path.name for path in folder.iterdir()) == [f".{VERSION}.lock", VERSION, *stays]
    assert (folder / f".{VERSION}.lock").read_text().splitlines()[0] == f"another {stays[0]}"
    told = capfd.readouterr().err
    assert all(f"{folder / name} is of another host, or of unknown origin; it stays" in told for name in stays)


def test_a_build_that_ends_after_that_of_another_host_uses_its_dataset(tmp_path, tiny, monkeypatch):
    """As on a shared disk whose locks do not reach other hosts."""
    target = tmp_path / "trajectories" / "tiny" / VERSION
    real = builders.write_splits

    def write_splits(*arguments, **keywords):
        infos = real(*arguments, **keywords)
        shutil.copytree(tiny.data_dir, target)
        return infos

    monkeypatch.setattr(builders, "write_splits", write_splits)
    assert len(prepared("tiny", tmp_path).as_data_source("test")) == 20
    assert sorted(path.name for path in target.parent.iterdir()) == [f".{VERSION}.lock", VERSION]


def test_the_info_says_what_it_is(tiny):
    info = tfds.builder_from_directory(tiny.data_dir).info
    assert (info.name, info.config_name, str(info.version)) == ("trajectories", "tiny", VERSION)
    assert info.supervised_keys == ("video", "label")
    assert info.features["label"].names == list(TINY.families)
    assert info.citation.startswith("@misc{") and info.release_notes[VERSION]
    assert json.loads((tiny.data_path / "metadata.json").read_text())["spec"]["fps"] == TINY.fps
    described = tiny.info.features["pixel_position"].doc.desc
    assert FIELDS["pixel_position"].doc in described and "(px)" in described


def test_there_is_a_config_for_every_spec_and_release_notes_for_the_version():
    assert {config.name: config.spec for config in Trajectories.BUILDER_CONFIGS} == dict(SPECS)
    assert Trajectories.DEFAULT_BUILDER_CONFIG_NAME == "mono64"
    assert str(Trajectories.VERSION) in Trajectories.RELEASE_NOTES
    for spec in SPECS.values():
        shapes = {name: feature.shape for name, feature in WorldConfig(spec=spec).features().items()}
        assert shapes == {name: shape for name, (shape, _) in field_shapes(spec).items()}


def test_features_are_decoded_fast():
    features = world_features(field_shapes(SPECS["stereo64"]), TINY.families)
    encodings = {
        name: feature.to_json_content().encoding
        for name, feature in features.items()
        if type(feature) is tfds.features.Tensor and feature.shape
    }
    assert {name for name, encoding in encodings.items() if encoding == "zlib"} == {"video", "views"}
    assert set(encodings.values()) == {"zlib", "bytes"}


def test_unknown_names_and_borrowed_names_are_refused(tmp_path):
    with pytest.raises(KeyError, match="Unknown trajectory dataset 'mono46'. Did you mean 'mono64'"):
        prepared("mono46", tmp_path)
    with pytest.raises(ValueError, match="The spec 'tiny' differs from the shipped one; give it a name of its own"):
        WorldConfig(spec=dataclasses.replace(TINY, seed=1))
    assert not list(tmp_path.iterdir())


def test_a_name_never_stands_for_two_worlds(tmp_path):
    small = dataclasses.replace(TINY, name="mine", splits=(("train", 5),))
    prepared(WorldConfig(spec=small), tmp_path)
    with pytest.raises(ValueError, match="was built from .*, the config says .*Remove the folder"):
        prepared(WorldConfig(spec=dataclasses.replace(small, seed=1)), tmp_path)


def test_other_file_formats_are_refused_with_the_remedy(tmp_path):
    builder = Trajectories(config="tiny", data_dir=tmp_path)
    with pytest.raises(ValueError, match="writes 'array_record' only. For tf.data, .*tfds convert_format"):
        builder.download_and_prepare(file_format="tfrecord")


def test_the_examples_per_split_may_be_capped(tmp_path):
    builder = Trajectories(config="tiny", data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(max_examples_per_split=3))
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == dict.fromkeys(
        dict(TINY.splits), 3
    )


def test_the_data_root_is_the_argument_then_the_variable_then_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv(builders.DATA_VARIABLE, str(tmp_path / "variable"))
    assert data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data_root() == tmp_path / "variable"
    monkeypatch.delenv(builders.DATA_VARIABLE)
    assert data_root() == pathlib.Path("~/.cache/videogvt/datasets").expanduser()
    monkeypatch.chdir(tmp_path)
    assert data_root("relative") == tmp_path / "relative"


def test_the_command_line_builds_and_verifies(tmp_path, capsys):
    assert main(["build", "tiny", "--data_dir", str(tmp_path), "--workers", "1"]) == 0
    directory = capsys.readouterr().out.strip()
    assert main(["verify", directory]) == 0
    assert "8 shards match the manifest" in capsys.readouterr().out
    shard = sorted(pathlib.Path(directory).glob("*.array_record*"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["verify", directory]) == 1
    assert f"{shard.name} has SHA-256" in capsys.readouterr().err
    assert main(["build", "mono46"]) == 1
    assert "Did you mean 'mono64'" in capsys.readouterr().err


def test_a_world_has_as_many_training_clips_as_asked_for(tmp_path, capsys):
    command = ["build", "tiny", "--clips", "43", "--data_dir"]
    beam = ["--beam_pipeline_options", "runner=DirectRunner"]
    assert main([*command, str(tmp_path / "two"), "--workers", "2"]) == 0
    assert main([*command, str(tmp_path / "beam"), *beam]) == 0
    here, on_beam = map(pathlib.Path, capsys.readouterr().out.split())
    assert here == tmp_path / "two" / "trajectories" / "tiny_train43" / VERSION
    assert shard_hashes(here) == shard_hashes(on_beam) and verify(on_beam) == 8
    source = open_source("trajectories", "train", fields=("video", "id"), data_dir=tmp_path / "two", config="tiny",
                         clips=43)
    assert len(source) == 43
    first, last = source.read([3]), source.read([42])
    np.testing.assert_array_equal(first["video"][0], example(TINY, "train", 3)["video"])  # the shipped world's clip
    assert (first["id"][0], last["id"][0]) == ("tiny_train43/train/000003", "tiny_train43/train/000042")
    sizes = {split: info.num_examples for split, info in tfds.builder_from_directory(here).info.splits.items()}
    assert sizes == dict(TINY.splits) | {"train": 43}


def test_a_number_of_clips_needs_a_shipped_world(tmp_path, capsys):
    with pytest.raises(ValueError, match="clips=5 changes a shipped world; the config 'tiny' says itself"):
        prepared(WorldConfig(spec=TINY), tmp_path, clips=5)
    assert main(["build", "tiny", "--clips", "0", "--data_dir", str(tmp_path)]) == 1
    assert "'tiny' was asked for 0 clips; it needs at least 1" in capsys.readouterr().err
    assert main(["build", "tracks.npz", "--clips", "5", "--data_dir", str(tmp_path)]) == 1


def run(command, folder, **variables):
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_tfds_build_writes_the_same_files(tiny, tmp_path):
    tool = pathlib.Path(sys.executable).with_name("tfds")
    run([tool, "build", ENTRY_POINT, "--config", "tiny", "--data_dir", tmp_path], tmp_path)
    assert shard_hashes(tmp_path / "trajectories" / "tiny" / VERSION) == shard_hashes(tiny.data_dir)


def test_the_files_beside_the_door_agree_with_the_package():
    from tensorflow_datasets.core import dataset_metadata

    assert (ENTRY_POINT / "CITATIONS.bib").read_text() == CITATION
    tags = [line.split("#")[0].strip() for line in (ENTRY_POINT / "TAGS.txt").read_text().splitlines()]
    assert tags and set(tags) <= set(dataset_metadata.valid_tags())


def card_row(spec):
    splits = dict(spec.splits)
    sizes = " | ".join(f"{splits[split]:,}" for split in ("train", "validation", "test", "ood"))
    clip = f"{spec.num_frames}x{spec.height}x{spec.width}, {spec.fps:g}/s"
    return f"| `{spec.name}` | {len(spec.families)} | {clip} | {spec.num_cameras} ({spec.rig}) | {sizes} |"


def test_the_card_states_the_counts_and_fields_of_the_code():
    card = (ENTRY_POINT / "README.md").read_text()
    assert re.findall(r"^\| `\w+` \| \d.*$", card, re.MULTILINE) == [card_row(spec) for spec in SPECS.values()]
    assert f"Version {VERSION}" in card
    fields = re.findall(r"^\| `(\w+)` \| (\w+) \| \(([^)]*)\) \| ([^|]*) \|", card, re.MULTILINE)
    assert fields == [
        (name, field.dtype, ", ".join(map(str, field.shape)), field.unit) for name, field in FIELDS.items()
    ]


def test_the_code_on_the_card_runs(tmp_path, monkeypatch):
    import apache_beam as beam

    monkeypatch.setenv(builders.DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    np.savez("tracks.npz", trajectories=np.random.default_rng(0).normal(size=(20, 8, 2)), labels=np.arange(20) % 2)
    blocks = re.findall("```python\n(.*?)```", (ENTRY_POINT / "README.md").read_text(), re.DOTALL)
    code = "\n".join(blocks).replace("mono64_30k", "tiny").replace('"mono64"', '"tiny"')
    code = code.replace("1_000_000", "10").replace("2_000", "5").replace('"train", 42', '"train", 5')
    names = {"DIR": tmp_path / "beam", "options": beam.pipeline.PipelineOptions([])}
    exec(code, names)
    assert names["train"][5]["id"].decode() == names["clip"]["id"] == "tiny/train/000005"
    assert names["names"] == list(TINY.families)
    large = read_manifest(tmp_path / "data" / "trajectories" / "mono64_1m" / VERSION)
    assert large["splits"]["train"]["examples"] == 10
    assert verify(tmp_path / "beam" / "trajectories" / "tiny" / VERSION) == 8
    assert names["builder"].info.features["source_position"].shape == (8, 2)


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_builds_from_an_empty_folder(tiny, tmp_path):
    source, venv, empty = tmp_path / "source", tmp_path / "venv", tmp_path / "empty"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "venv", "build", "*.egg-info", "runs"))
    empty.mkdir()
    options = ["--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", tmp_path / "dist"]
    run([sys.executable, "-m", "build", *options, source], empty)
    run([sys.executable, "-m", "venv", "--without-pip", venv], empty)
    python = venv / "bin" / "python"
    [wheel] = (tmp_path / "dist").glob("*.whl")
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel], empty)
    # The dependencies, without this checkout: a .pth file adds a folder, but not the .pth files inside it.
    [site] = (venv / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(str(pathlib.Path(tfds.__file__).parents[1]) + "\n")
    where = run([python, "-c", "import videogvt; print(videogvt.__file__)"], empty).stdout
    assert pathlib.Path(where).is_relative_to(venv)
    run([python, "-m", "videogvt.inputs.builders", "build", "tiny", "--data_dir", "data", "--workers", "2"], empty)
    assert shard_hashes(empty / "data" / "trajectories" / "tiny" / VERSION) == shard_hashes(tiny.data_dir)


@pytest.mark.slow
def test_a_noisy_split_above_the_shufflers_limit_builds_without_tensorflow(tmp_path):
    absent = tmp_path / "absent" / "tensorflow"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('TensorFlow is absent')")
    code = """
import sys, tensorflow_datasets as tfds
from tests.inputs import test_builders
builder = test_builders.build_noise(sys.argv[1])
assert "tensorflow" not in sys.modules
"""
    try:
        path = os.pathsep.join([str(tmp_path / "absent"), str(ROOT)])
        run([sys.executable, "-c", code, tmp_path / "noise" / "1.0.0"], tmp_path, PYTHONPATH=path)
        builder = tfds.builder_from_directory(tmp_path / "noise" / "1.0.0")
        assert builder.info.splits["train"].num_bytes > 1.5e9
        source = builder.as_data_source("train")
        assert len(source) == 7700
        for index in (0, 3849, 7699):
            np.testing.assert_array_equal(source[index]["video"], noise(index)["video"])
    finally:
        shutil.rmtree(tmp_path / "noise", ignore_errors=True)


def build_noise(directory):
    return write_dataset(directory, BIG_FEATURES, {"train": (7700, functools.partial(noise))}, name="noise", workers=2)
