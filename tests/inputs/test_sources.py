"""Sources: what is stored comes back, row by row, in any order, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from videogvt.inputs import sources
from videogvt.inputs.datasets import read_manifest, write_dataset
from videogvt.inputs.imports import IMPORTED_LAYOUTS

CLASSES = ("left", "right")
SHAPE = (2, 4, 4, 3)


def example(index):
    rng = np.random.default_rng(index)
    return {
        "video": rng.integers(0, 256, SHAPE, dtype=np.uint8),
        "raw": rng.integers(0, 256, SHAPE, dtype=np.uint8),
        "label": index % 2,
        "id": f"clip {index} é",
        "position": rng.normal(size=(2, 3)).astype(np.float32),
        "numbers": rng.normal(size=(2, 3)).astype(np.float32),
        "counts": rng.integers(-5, 5, (4,)),
        "fps": np.float32(index / 3),
        "odd": rng.integers(0, 256, (index % 3, 2), dtype=np.uint8),
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    tensor = tfds.features.Tensor
    features = tfds.features.FeaturesDict({
        "video": tensor(shape=SHAPE, dtype=np.uint8, encoding="zlib"),
        "raw": tensor(shape=SHAPE, dtype=np.uint8, encoding="bytes"),
        "label": tfds.features.ClassLabel(names=CLASSES),
        "id": tfds.features.Text(),
        "position": tensor(shape=(2, 3), dtype=np.float32, encoding="bytes"),
        "numbers": tensor(shape=(2, 3), dtype=np.float32),
        "counts": tensor(shape=(4,), dtype=np.int64),
        "fps": tfds.features.Scalar(np.float32),
        "odd": tensor(shape=(None, 2), dtype=np.uint8),
    })  # fmt: skip
    directory = tmp_path_factory.mktemp("data") / "demo" / "1.0.0"
    write_dataset(directory, features, {"train": (9, example), "test": (4, example)}, name="demo", workers=1)
    return directory


FIELDS = ("video", "raw", "label", "id", "position", "numbers", "counts", "fps")


def test_rows_come_back_as_stored_in_the_order_asked_for(directory):
    source = sources.RecordSource(directory, "train", FIELDS)
    indices = [7, 0, 8, 7]
    rows = source.read(np.array(indices))
    assert tuple(rows) == FIELDS == source.fields
    for row, index in enumerate(indices):
        for field, value in example(index).items():
            if field in FIELDS:
                np.testing.assert_array_equal(rows[field][row], value)
    assert rows["label"].dtype == np.int32 and rows["video"].dtype == np.uint8 and rows["fps"].dtype == np.float32
    assert rows["video"].flags.writeable


def test_a_source_knows_its_split(directory):
    source = sources.RecordSource(directory, "test")
    assert len(source) == 4 and source.class_names == CLASSES and tuple(source.read([0])) == ("video", "label")
    train = sources.RecordSource(directory, "train")
    assert source.split_hash == read_manifest(directory)["splits"]["test"]["content_sha256"] != train.split_hash


def test_an_imported_folder_is_found_under_the_data_root_or_by_its_path(directory):
    by_path = sources.open_source("imported", "test", path=directory)
    by_root = sources.open_source("imported", "test", path="demo/1.0.0", data_dir=directory.parents[1])
    np.testing.assert_array_equal(by_path.read([1])["video"], by_root.read([1])["video"])
    with pytest.raises(FileNotFoundError, match="demo/2.0.0 holds no finished data set.*--data_dir=DIR.*VIDEOGVT_DATA"):
        sources.open_source("imported", "test", path="demo/2.0.0", data_dir=directory.parents[1])


@pytest.mark.parametrize(
    ("split", "fields", "error", "message"),
    [
        ("training", ("video",), KeyError, "Unknown split 'training'.*Did you mean 'train'"),
        ("train", ("vidoe",), KeyError, "Unknown field 'vidoe'.*Did you mean 'video'"),
        ("train", (), ValueError, "No fields"),
        ("train", ("odd",), ValueError, "cannot be read without TensorFlow"),
    ],
)
def test_what_is_not_there_is_named(directory, split, fields, error, message):
    with pytest.raises(error, match=message):
        sources.RecordSource(directory, split, fields)


def test_a_folder_that_is_no_data_set_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished data set"):
        sources.RecordSource(tmp_path, "train")
    with pytest.raises(KeyError, match="Unknown source 'trajectory'.*'trajectories'"):
        sources.open_source("trajectory", "train")


def test_arrays_in_memory_are_a_source():
    source = sources.ArraySource({"video": np.arange(6).reshape(3, 2), "label": np.arange(3)}, ("a", "b", "c"))
    rows = source.read([2, 0])
    np.testing.assert_array_equal(rows["video"], [[4, 5], [0, 1]])
    assert len(source) == 3 and source.class_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="numbers of rows are"):
        sources.ArraySource({"video": np.zeros(3), "label": np.zeros(2)})


@pytest.fixture(scope="module")
def every(directory, tmp_path_factory):
    """Options for each registered source of clips; a new one needs some here. (Imports, codes: tested as such.)"""
    folder = tmp_path_factory.mktemp("files")
    for shade in range(3):
        Image.new("RGB", (9, 9), (shade, 0, 0)).save(folder / f"{shade}.png")
        frames = [Image.new("RGB", (16, 16), (40 * number, 0, 0)) for number in range(4)]
        frames[0].save(folder / f"{shade}.gif", save_all=True, append_images=frames[1:], duration=100)
    files = {"folder": folder, "shares": {"train": 1.0}, "height": 8, "width": 8}
    return {
        "trajectories": {"config": "tiny", "workers": 1},
        "digits": {"config": "digits_tiny", "workers": 1},
        "videos": {**files, "num_frames": 2, "workers": 1},
        "images": {**files, "workers": 1},
        "imported": {"path": directory},
    }


@pytest.mark.parametrize("name", sorted(set(sources.sources) - {*IMPORTED_LAYOUTS, "codes"}))
def test_every_source_builds_on_first_use_and_gives_clips(every, name, tmp_path):
    fields = ("video", "label", "id")
    source = sources.open_source(name, "train", fields=fields, data_dir=tmp_path, **every[name])
    rows = source.read(range(len(source)))
    assert tuple(rows) == source.fields == fields
    assert rows["video"].dtype == np.uint8 and rows["video"].ndim == 5 and rows["video"].shape[-1] == 3
    assert rows["label"].dtype == np.int32 and set(rows["label"]) <= set(range(len(source.class_names)))
    assert len(set(rows["id"])) == len(source) > 0 and len(source.split_hash) == 64
    again = sources.open_source(name, "train", fields=fields, data_dir=tmp_path, **every[name])
    assert again.split_hash == source.split_hash and repr(again) == repr(source)


READ_A_BATCH = """
import sys
from videogvt.inputs import builders, datasets, images, imports, pipeline, sources, transforms, videos
source = sources.open_source("imported", "train", path=sys.argv[1], fields=("video", "label", "id"))
batches = pipeline.train_batches(source, batch_size=4, seed=0, transforms=[transforms.RandomFlip()])
assert next(batches)["video"].shape == (4, 2, 4, 4, 3)
assert [batch["mask"].sum() for batch in pipeline.eval_batches(source, batch_size=6)] == [6, 3]
present = {name.partition(".")[0] for name in sys.modules} & {"tensorflow", "av", "apache_beam", "torch"}
assert not present, present
"""


def test_reading_a_batch_imports_no_tensorflow(directory):
    subprocess.run([sys.executable, "-c", READ_A_BATCH, str(directory)], check=True)
