"""Imports: data sets with the features that TFDS distributes become clips that are read without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from videogvt.inputs import imports, sources

LENGTHS = (9, 3, 4, 8, 5)  # frames of the videos of ucf101; with clips of four: 2, 0, 1, 2, 1


class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stored as TFRecord, by TFDS itself; examples are keyed by number, so their order on disk is TFDS's."""

    VERSION = tfds.core.Version("1.0.0")
    sizes = {"train": 5, "test": 5}
    ours = {}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=self.ours["features"], citation="@misc{original}")

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(size) for split, size in self.sizes.items()}

    def _generate_examples(self, size):
        for index in range(size):
            yield index, self.ours["example"](index)


def grey(index, frames, size, channels):
    """Frame t of video i is of the grey 20 i + 2 t."""
    shades_T = (20 * index + 2 * np.arange(frames)).astype(np.uint8)
    return np.broadcast_to(shades_T[:, None, None, None], (frames, *size, channels)).copy()


def build(directory, name, features, example, sizes):
    fake = type(name, (Fake,), {"ours": {"features": features, "example": example}, "sizes": sizes, "name": name},
                skip_registration=True)  # fmt: skip
    builder = fake(data_dir=directory)
    builder.download_and_prepare(file_format="tfrecord")
    return builder.data_dir


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    video, image = tfds.features.Video, tfds.features.Image
    ucf101 = tfds.features.FeaturesDict(
        {"video": video(shape=(None, None, None, 3)), "label": tfds.features.ClassLabel(names=["Archery", "Biking"])}
    )
    bair = tfds.features.Sequence({
        "action": tfds.features.Tensor(shape=(4,), dtype=np.float32), "image_main": image(shape=(8, 8, 3)),
        "image_aux1": image(shape=(8, 8, 3)),
    })  # fmt: skip

    def pushing(index):
        frames = 6
        main = np.zeros((frames, 8, 8, 3), np.uint8)
        return {"action": np.ones((frames, 4), np.float32), "image_main": main, "image_aux1": grey(index, 6, (8, 8), 3)}

    return {
        "ucf101": build(directory, "ucf101", ucf101,
                        lambda i: {"video": grey(i, LENGTHS[i], (16, 24), 3), "label": i % 2}, {"train": 5, "test": 5}),
        "moving_mnist": build(directory, "moving_mnist",
                              tfds.features.FeaturesDict({"image_sequence": video(shape=(5, 8, 8, 1))}),
                              lambda i: {"image_sequence": grey(i, 5, (8, 8), 1)}, {"test": 10}),
        "bair_robot_pushing_small": build(directory, "bair_robot_pushing_small", bair, pushing,
                                          {"train": 3, "test": 2}),
    }  # fmt: skip


SIZE = {"num_frames": 4, "height": 8, "width": 8}


@pytest.fixture(scope="module")
def data_dir(originals, tmp_path_factory):
    """A data root in which every original is imported at one size."""
    root = tmp_path_factory.mktemp("root")
    for name, source in originals.items():
        imports.import_tfds(name, source=source, data_dir=root, **SIZE)
    return root


def rows(name, split, data_dir, **cut):
    fields = ("video", "label", "id", "fps")
    source = sources.open_source(name, split, fields=fields, data_dir=data_dir, **(SIZE | cut))
    return source.read(range(len(source))), source


def test_ucf101_becomes_clips_of_its_long_enough_videos(data_dir):
    clips, source = rows("ucf101", "train", data_dir)
    assert source.directory == data_dir / "imported/ucf101-4x8x8/1.0.0"
    assert source.class_names == ("Archery", "Biking") and len(source) == 6 and len(source.split_hash) == 64
    shades_BT = clips["video"].mean(axis=(2, 3, 4))
    video_B = (shades_BT[:, 0] // 20).astype(int)
    assert sorted(video_B) == [0, 0, 2, 3, 3, 4]
    clip_B = np.array([int(name.partition("#")[2]) for name in clips["id"]])
    expected_BT = 20 * video_B[:, None] + 2 * (4 * clip_B[:, None] + np.arange(4))
    np.testing.assert_array_equal(shades_BT, expected_BT)
    np.testing.assert_array_equal(clips["label"], video_B % 2)
    assert set(clips["fps"]) == {25.0}
    info = tfds.builder_from_directory(source.directory).info
    assert info.metadata["left_out"] == {"too_short": {"train": 1, "test": 1}} and info.citation == "@misc{original}"


def test_moving_mnist_turns_its_one_split_into_three(originals, tmp_path):
    cut = {"num_frames": 2, "stride": 3, "height": 8, "width": 8}
    path = imports.import_tfds("moving_mnist", source=originals["moving_mnist"], data_dir=tmp_path, **cut)
    assert path.parts[-2] == "moving_mnist-2x8x8-stride3"
    splits = ("train", "validation", "test")
    found = {split: rows("moving_mnist", split, tmp_path, **cut)[0]["video"] for split in splits}
    assert {split: len(video) for split, video in found.items()} == {"train": 8, "validation": 1, "test": 1}
    shades_BT = np.concatenate(list(found.values())).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(np.sort(shades_BT[:, 0]), 20 * np.arange(10))
    np.testing.assert_array_equal(shades_BT[:, 1] - shades_BT[:, 0], 6)


def test_bair_takes_the_camera_that_sees_the_scene(data_dir):
    clips, source = rows("bair_robot_pushing_small", "train", data_dir)
    assert source.class_names == ("all",)
    np.testing.assert_array_equal(np.sort(clips["video"][:, 3, 0, 0, 0]), [6, 26, 46])


def test_a_finished_import_is_kept_and_never_mistaken(data_dir):
    manifest = data_dir / "imported/ucf101-4x8x8/1.0.0/manifest.json"
    written = manifest.stat().st_mtime_ns
    assert imports.import_tfds("ucf101", source="nowhere", data_dir=data_dir, **SIZE) == manifest.parent
    assert manifest.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="other settings"):
        rows("ucf101", "train", data_dir, crop="random")


@pytest.mark.slow
def test_several_workers_change_nothing(originals, data_dir, tmp_path):
    path = imports.import_tfds("ucf101", source=originals["ucf101"], data_dir=tmp_path, workers=2, **SIZE)
    one = data_dir / path.relative_to(tmp_path)
    assert (path / "manifest.json").read_bytes() == (one / "manifest.json").read_bytes()


READ = """
import sys
from videogvt.inputs import pipeline, sources
for name in ("moving_mnist", "ucf101", "bair_robot_pushing_small"):
    source = sources.open_source(name, "train", data_dir=sys.argv[1], num_frames=4, height=8, width=8)
    assert next(pipeline.train_batches(source, batch_size=2, seed=0))["video"].shape == (2, 4, 8, 8, 3)
assert "tensorflow" not in sys.modules
"""


def test_what_was_imported_is_read_without_tensorflow(data_dir):
    subprocess.run([sys.executable, "-c", READ, str(data_dir)], check=True)


def test_what_cannot_be_imported_is_named(originals, tmp_path, monkeypatch):
    ucf101 = {"source": originals["ucf101"], "data_dir": tmp_path}
    with pytest.raises(KeyError, match="Unknown import 'ucf'.*Did you mean 'ucf101'.*pass `layout`"):
        imports.import_tfds("ucf", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="ucf101 has not been imported.*--mode=import"):
        sources.open_source("ucf101", "train", data_dir=tmp_path)
    with pytest.raises(TypeError, match="hieght"):
        sources.open_source("ucf101", "train", data_dir=tmp_path, hieght=8)
    with pytest.raises(ValueError, match="stride=0"):
        imports.import_tfds("ucf101", **ucf101, stride=0)
    with pytest.raises(ValueError, match="'train' would be empty: none of the 5 videos"):
        imports.import_tfds("ucf101", **ucf101, num_frames=20)
    layout = imports.ImportedLayout("ucf101", "video", {"train": imports.SplitPart("training")})
    with pytest.raises(KeyError, match="Did you mean 'train'"):
        imports.import_tfds("mine", layout=layout, **ucf101)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"pip install 'videogvt\[tf\]'"):
        imports.import_tfds("ucf101", data_dir=tmp_path)
    assert not list(tmp_path.rglob("dataset_info.json"))
