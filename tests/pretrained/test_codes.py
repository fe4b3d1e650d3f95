"""Data sets of codes: they decode to what the tokenizer reconstructs, carry the texts, and know their tokenizer."""

import json
import re

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from tests.pretrained.conftest import FIELDS as FIELDS_OF_RUN
from videogvt import modes
from videogvt.inputs.sources import ArraySource, open_source
from videogvt.pretrained import VideoTokenizer
from videogvt.pretrained import codes as codes_lib

FIELDS = ("video", "label", "id", "caption", "equation", "family")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def tokenizer(workdir):
    return VideoTokenizer.load(workdir, window=8, batch_size=32)


@pytest.fixture(scope="module")
def clips(data_dir):
    splits = ("test", "ood")
    return {split: open_source("trajectories", split, fields=FIELDS, data_dir=data_dir, config="tiny")
            for split in splits}


@pytest.fixture(scope="module")
def folder(tokenizer, clips, data_dir):
    return codes_lib.write_codes(tokenizer, clips, "small", data_dir)


def test_codes_decode_to_the_reconstruction(tokenizer, clips, folder, data_dir):
    for split, source in clips.items():
        coded = open_source("imported", split, path=folder, fields=("codes", *FIELDS[1:]))
        assert len(coded) == len(source) == 20 and coded.class_names == source.class_names
        rows, original = coded.read([3, 17]), source.read([3, 17])
        assert rows["codes"].shape == (2, 2, 4, 4) and rows["codes"].dtype == np.int32
        np.testing.assert_array_equal(rows["codes"], tokenizer.codes(original["video"]))
        np.testing.assert_array_equal(tokenizer.video(rows["codes"]), tokenizer.reconstruct(original["video"]))
        for field in FIELDS[1:]:
            np.testing.assert_array_equal(rows[field], original[field])
    relative = folder.relative_to(data_dir)
    assert relative.parts[:2] == ("codes", f"small-{tokenizer.hash[:8]}")
    assert len(open_source("imported", "ood", path=relative, fields=("codes",), data_dir=data_dir)) == 20


def test_tfds_reads_them_and_the_metadata_name_the_tokenizer(tokenizer, clips, folder):
    builder = tfds.builder_from_directory(folder)
    row = builder.as_data_source("test")[5]
    np.testing.assert_array_equal(row["codes"], tokenizer.codes(clips["test"].read([5])["video"])[0])
    metadata = builder.info.metadata
    assert metadata["tokenizer"]["hash"] == tokenizer.hash and metadata["tokenizer"]["num_codes"] == 64
    assert metadata["grid"] == [2, 4, 4] and metadata["video"] == [8, 32, 32]
    assert metadata["splits"] == {split: source.split_hash for split, source in clips.items()}


def test_lines_say_the_same_as_the_records(tokenizer, clips, folder):
    paths = codes_lib.write_jsonl(folder)
    assert [path.name for path in paths] == ["test.jsonl", "ood.jsonl"]
    lines = [json.loads(line) for line in paths[0].read_text().splitlines()]
    assert len(lines) == 20
    rows = clips["test"].read(range(20))
    for index in (0, 19):
        line = lines[index]
        codes = np.array(line["codes"].split(), int).reshape(line["grid"])
        np.testing.assert_array_equal(codes, tokenizer.codes(rows["video"][[index]])[0])
        assert line["tokenizer"] == tokenizer.hash
        assert {name: line[name] for name in FIELDS[2:]} == {name: rows[name][index] for name in FIELDS[2:]}
        assert clips["test"].class_names[line["label"]] == line["class"]


def test_finished_codes_are_kept_and_never_mistaken(tokenizer, clips, folder, data_dir, tmp_path):
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert codes_lib.write_codes(tokenizer, clips, "small", data_dir) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="holds the codes of other clips"):
        codes_lib.write_codes(tokenizer, {"test": clips["ood"]}, "small", data_dir)


def test_a_second_data_set_is_refused_with_the_flags_that_keep_both(workdir, data_dir, capsys):
    def config(clips, name="second"):
        data = {"source": "trajectories", "options": {"config": "tiny", "clips": clips}}
        return ConfigDict({"name": name, "recipe": "tokenizer", "tokenizer": FIELDS_OF_RUN, "data": data, "evals": {}})

    modes.tokenize(config(10), workdir, data_dir)
    assert "Warning: This tokenizer was trained on trajectories alone" in capsys.readouterr().err  # it is random
    names = []
    for clips in (15, 20):
        with pytest.raises(ValueError, match="holds the codes of other clips") as refused:
            modes.tokenize(config(clips), workdir, data_dir)
        name, where = re.search(r"--config.name=(\S+) --workdir=(.+?); or", str(refused.value)).groups()
        modes.tokenize(config(clips, name), where, data_dir)
        names.append(name)
    assert len(list((data_dir / "codes").glob("second-*/1.0.0"))) == 3 and len(set(names)) == 2


def test_clips_without_texts_have_none(tokenizer, tmp_path):
    video = np.zeros((3, 4, 16, 16, 3), np.uint8)
    folder = codes_lib.write_codes(tokenizer, {"train": ArraySource({"video": video})}, "bare", tmp_path)
    assert set(tfds.builder_from_directory(folder).info.features) == {"codes"}
    (path,) = codes_lib.write_jsonl(folder)
    assert set(json.loads(path.read_text().splitlines()[0])) == {"codes", "grid", "tokenizer"}


def test_independent_codes_are_those_of_training_clips_of_the_class_in_their_place(tokenizer, clips):
    source = clips["test"]
    rows, keys_B = source.read(range(20)), jax.random.split(jax.random.key(0), 64)
    known, label_B = tokenizer.codes(rows["video"]), np.arange(64) % 5
    generate = codes_lib.independent_codes(tokenizer, source, lambda state, codes_Bthw: codes_Bthw + state)
    made = jax.jit(generate)(1, None, label_B, None, keys_B)
    codes = np.asarray(made["codes"])
    np.testing.assert_array_equal(made["video"], codes + 1)
    mixed = 0
    for label in range(5):
        same_BMthw = codes[label_B == label][:, None] == known[rows["label"] == label]
        assert same_BMthw.any(1).all()
        mixed += (~same_BMthw.all((2, 3, 4)).any(1)).sum()
    assert mixed > 0  # clips that are none of the training clips as they are
    again = generate(1, None, label_B[:2], None, keys_B[:2])["codes"]
    np.testing.assert_array_equal(again, codes[:2])  # each clip follows from its own key


def test_independent_codes_need_clips_of_every_class(tokenizer, clips):
    rows = clips["test"].read(range(20))
    some = {name: rows[name][rows["label"] != 2] for name in ("video", "label")}
    source = ArraySource(some, clips["test"].class_names)
    with pytest.raises(ValueError, match="codes of every class are asked for"):
        codes_lib.independent_codes(tokenizer, source, None)
