"""Shards: the plan covers every example once; records are TFDS's, the same every time, and checked as they come in."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.inputs.fake_clips import BIG_FEATURES, FEATURES, clip
from videogvt.inputs.shards import SHARD_BYTES, SHARD_EXAMPLES, ExampleEncoder, content_digest, filename, plan_shards


@pytest.mark.parametrize("size", [1, 2, 3, 999, 2001, 30000])
def test_the_plan_covers_every_index_once(size):
    shards = sorted(plan_shards({"train": (size, clip)}, FEATURES), key=lambda shard: shard.index)
    assert [index for shard in shards for index in range(shard.start, shard.stop)] == list(range(size))
    assert {shard.count for shard in shards} == {len(shards)}
    assert all(0 < shard.stop - shard.start <= SHARD_EXAMPLES for shard in shards)
    assert len(shards) >= min(size, 2)


def test_shards_of_large_clips_are_bounded_in_bytes():
    large = tfds.features.FeaturesDict(
        {"video": tfds.features.Tensor(shape=(64, 256, 256, 3), dtype=np.uint8, encoding="zlib")}
    )
    shards = plan_shards({"train": (1000, clip)}, large)
    assert max(shard.stop - shard.start for shard in shards) * 64 * 256 * 256 * 3 <= SHARD_BYTES
    assert len(plan_shards({"train": (8000, clip)}, BIG_FEATURES)) == 8


def test_an_empty_split_is_an_error():
    with pytest.raises(ValueError, match="Split 'test' has 0 examples; every split needs at least one"):
        plan_shards({"test": (0, clip)}, FEATURES)


def test_file_names_are_those_of_tfds():
    template = tfds.core.ShardedFileTemplate(
        data_dir="/d", dataset_name="x", split="train", filetype_suffix="array_record"
    )
    assert filename("x", "train", 1, 3) == template.sharded_filepath(shard_index=1, num_shards=3).name


def test_records_decode_to_the_example_and_are_the_same_every_time():
    example = clip(5)
    record = ExampleEncoder(FEATURES)(example)
    assert record == ExampleEncoder(FEATURES)(dict(reversed(example.items())))
    decoded = FEATURES.deserialize_example_np(record)
    np.testing.assert_array_equal(decoded["video"], example["video"])
    assert (decoded["label"], decoded["id"].decode()) == (1, "clip/5")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"video": np.zeros((2, 4, 4, 3), np.float32)}, r"Field 'video' is float32 \(2, 4, 4, 3\); the feature is"),
        ({"video": np.zeros((2, 4, 5, 3), np.uint8)}, r"Field 'video' is uint8 \(2, 4, 5, 3\); the feature is"),
        ({"video": [0]}, "Field 'video' is list; the feature is"),
        ({"extra": 1}, r"fields \['extra', 'id', 'label', 'video'\]; the features are \['id', 'label', 'video'\]"),
    ],
)
def test_a_wrong_example_says_what_was_found(change, message):
    with pytest.raises(ValueError, match=message):
        ExampleEncoder(FEATURES)({**clip(0), **change})


def test_the_content_digest_sees_every_field_and_no_order():
    example = clip(0)
    digest = content_digest(example)
    assert content_digest(dict(reversed(example.items()))) == digest
    video = example["video"].copy()
    video[0, 0, 0, 0] ^= 1
    changed = [{"video": video}, {"label": 1}, {"id": "other"}, {"video": example["video"].reshape(4, 2, 4, 3)}]
    assert len({digest, *(content_digest({**example, **change}) for change in changed)}) == 5
