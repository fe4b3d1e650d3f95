"""Moving digits on disk: the world's bytes, its card and its entry point; single digits that are cut out of clips."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.svm import SVC

from videogvt.inputs import builders
from videogvt.inputs.datasets import read_manifest, verify
from videogvt.inputs.digits import DIGITS_CITATION, DigitConfig, Digits, crop, prepared_digits
from videogvt.inputs.sources import open_source
from videogvt.world.digit_images import digit_of, images_of, sprite
from videogvt.world.digits import CLASS_NAMES, DIGIT_FIELDS, DIGIT_SPECS, DIGITS_VERSION, digit_example, digit_shapes

ENTRY_POINT = pathlib.Path(__file__).parents[2] / "data" / "digits"
TINY = DIGIT_SPECS["digits_tiny"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    prepared_digits("digits_tiny", root, workers=1)
    return root


def shard_hashes(directory):
    splits = read_manifest(directory)["splits"].values()
    return {shard["file"]: shard["sha256"] for split in splits for shard in split["shards"]}


def test_every_field_on_disk_is_the_worlds(root):
    for split, size in TINY.splits:
        source = open_source("digits", split, fields=tuple(DIGIT_FIELDS), data_dir=root, config="digits_tiny")
        assert len(source) == size and source.class_names == CLASS_NAMES
        rows = source.read([0, size - 1])
        for row, index in enumerate((0, size - 1)):
            for name, value in digit_example(TINY, split, index).items():
                np.testing.assert_array_equal(rows[name][row], value, err_msg=name)


def test_the_command_lines_write_the_same_files(root, tmp_path, capsys):
    command = ["build", "digits_tiny", "--workers", "2", "--data_dir", str(tmp_path / "two")]
    assert builders.main(command) == 0
    here = pathlib.Path(capsys.readouterr().out.strip())
    own = root / "digits" / "digits_tiny" / DIGITS_VERSION
    assert here == tmp_path / "two" / "digits" / "digits_tiny" / DIGITS_VERSION
    assert shard_hashes(here) == shard_hashes(own) and verify(here) == 6
    tool = pathlib.Path(sys.executable).with_name("tfds")
    done = subprocess.run([tool, "build", ENTRY_POINT, "--config", "digits_tiny", "--data_dir", tmp_path], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert shard_hashes(tmp_path / "digits" / "digits_tiny" / DIGITS_VERSION) == shard_hashes(own)


def test_names_and_numbers_of_clips(tmp_path):
    with pytest.raises(KeyError, match="Unknown data set of digits 'digits46'. Did you mean 'digits64'"):
        prepared_digits("digits46", tmp_path)
    with pytest.raises(ValueError, match="clips=5 changes a shipped world; the config 'digits_tiny' says itself"):
        prepared_digits(DigitConfig(spec=TINY), tmp_path, clips=5)
    with pytest.raises(ValueError, match="The spec 'digits64' differs from the shipped one"):
        DigitConfig(spec=DIGIT_SPECS["digits64"].__class__("digits64", seed=1))
    more = open_source("digits", "train", fields=("id",), data_dir=tmp_path, config="digits_tiny", clips=63)
    assert len(more) == 63 and more.read([62])["id"][0] == "digits_tiny_train63/train/000062"


def test_single_digits_are_centred_and_named(root):
    source = open_source("digits", "train", fields=("video", "label", "id"), data_dir=root, config="digits_tiny",
                         crops=12)
    assert len(source) == 120 and source.class_names == tuple("0123456789") and len(source.split_hash) == 64
    rows = source.read([7, 6, 119])
    assert rows["video"].shape == (3, 1, 12, 12, 3) and rows["label"].dtype == np.int32
    clip = digit_example(TINY, "train", 3)
    assert rows["label"][:2].tolist() == clip["digit"][::-1].tolist()
    assert rows["id"].tolist() == [f"digits_tiny/train/{name}" for name in ("000003#1", "000003#0", "000059#1")]
    found = [np.abs(rows["video"][0, 0].astype(int) - crop(frame, place, 12)).max()
             for frame, place in zip(clip["video"], clip["position"][1])]
    assert min(found) == 0
    with pytest.raises(ValueError, match="crops asks for single digits, which have video, label, id and no position"):
        open_source("digits", "train", fields=("video", "position"), data_dir=root, config="digits_tiny", crops=12)


def test_a_crop_by_hand():
    frame_HWC = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    np.testing.assert_array_equal(crop(frame_HWC, np.array([2.6, 3.4]), 2)[..., 0], [[20, 21], [26, 27]])
    np.testing.assert_array_equal(crop(frame_HWC, np.array([0.0, 0.0]), 3)[..., 0], [[0, 0, 0], [0, 0, 1], [0, 6, 7]])
    assert not crop(frame_HWC, np.array([90.0, -70.0]), 3).any()


def test_digits_can_be_read_by_who_never_saw_their_images():
    """97 %, which a classifier of single digits is asked for, is what a support vector machine on them reaches."""

    def pictures(split):
        images = np.concatenate(images_of(split))
        drawn = [sprite(int(image), 25).drawn(np.array([11.5, 11.5]), 24, 24)[0].ravel() for image in images]
        return np.stack(drawn), [digit_of(int(image)) for image in images]

    assert SVC(C=10.0).fit(*pictures("train")).score(*pictures("test")) > 0.975


def test_the_files_beside_the_door_agree_with_the_package():
    assert (ENTRY_POINT / "CITATIONS.bib").read_text() == DIGITS_CITATION
    card = (ENTRY_POINT / "README.md").read_text()
    assert f"Version {DIGITS_VERSION}" in card and "CC BY 4.0" in card
    counts = re.findall(r"^\| `(\w+)` \| (\w+), (\d+)/s \| (\d+) px \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", card,
                        re.MULTILINE)
    assert counts == [
        (spec.name, f"{spec.num_frames}x{spec.height}x{spec.width}", f"{spec.fps:g}", str(spec.size),
         *(f"{size:,}" for _, size in spec.splits)) for spec in DIGIT_SPECS.values()]
    fields = re.findall(r"^\| `(\w+)` \| (\w+) \| \(([^)]*)\) \| ([^|]*) \|", card, re.MULTILINE)
    assert fields == [(name, field.dtype, ", ".join(map(str, field.shape)), field.unit)
                      for name, field in DIGIT_FIELDS.items()]
    for spec in DIGIT_SPECS.values():
        features = DigitConfig(spec=spec).features()
        assert {name: feature.shape for name, feature in features.items()} == {
            name: shape for name, (shape, _) in digit_shapes(spec).items()}
    assert {config.name for config in Digits.BUILDER_CONFIGS} == set(DIGIT_SPECS)
    assert str(Digits.VERSION) in Digits.RELEASE_NOTES and Digits.DEFAULT_BUILDER_CONFIG_NAME == "digits64"


def test_the_code_on_the_card_runs(root, monkeypatch):
    monkeypatch.setenv(builders.DATA_VARIABLE, str(root))
    blocks = re.findall("```python\n(.*?)```", (ENTRY_POINT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec("\n".join(blocks).replace("digits64", "digits_tiny"), names)
    assert names["clip"]["id"] == "digits_tiny/train/000042" and len(names["train"]) == 60
    assert tfds.builder_from_directory(names["builder"].data_dir).info.name == "digits"
