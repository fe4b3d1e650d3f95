"""Batches: a function of seed and number alone, whole over hosts and epochs, and taken up where they were left."""

import itertools
import json

import numpy as np
import pytest

from videogvt.inputs import pipeline, transforms
from videogvt.inputs.pipeline import TransformedSource
from videogvt.inputs.sources import ArraySource
from videogvt.inputs.transforms import RandomFlip, TemporalWindow


def source(examples, frames=2, size=6):
    """Clips whose id and pixels both tell their index."""
    shape = (examples, frames, size, size, 3)
    video_BTHWC = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 251
    return ArraySource({"video": video_BTHWC.astype(np.uint8), "id": np.arange(examples)})


def ids(batches, count):
    return np.concatenate([batch["id"] for batch in itertools.islice(batches, count)])


def assert_equal(batch, other):
    assert batch.keys() == other.keys()
    for field in batch:
        np.testing.assert_array_equal(batch[field], other[field])


def test_every_epoch_is_a_new_permutation_and_epochs_meet_inside_batches():
    seen = ids(pipeline.train_batches(source(25), batch_size=10, seed=3), 15)  # six epochs; two end inside a batch
    epochs = seen[:150].reshape(6, 25)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(25))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_seed_decides_the_order():
    first, same, other = (ids(pipeline.train_batches(source(50), batch_size=10, seed=s), 5) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_the_shuffle_is_uniform_enough():
    """Where example 0 lands over 400 epochs of 10: a chi-square of 9 degrees of freedom, 99.9 % quantile 27.9."""
    seen = pipeline.shuffled(np.arange(4000), 10, seed=0).reshape(400, 10)
    counts = np.bincount((seen == 0).argmax(axis=1), minlength=10)
    assert ((counts - 40) ** 2 / 40).sum() < 27.9


RANDOM = (transforms.RandomCrop(4, 4), transforms.RandomFlip(), transforms.TemporalWindow(1))


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_same_global_batches(hosts):
    options = {"batch_size": 8, "seed": 5, "transforms": RANDOM}
    whole = pipeline.train_batches(source(20), **options)
    parts = [pipeline.train_batches(source(20), host_index=i, host_count=hosts, **options) for i in range(hosts)]
    for _ in range(6):
        batch, shares = next(whole), [next(part) for part in parts]
        assert all(len(share["id"]) == 8 // hosts for share in shares)
        assert_equal(batch, {field: np.concatenate([share[field] for share in shares]) for field in batch})


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 7])  # an epoch is 2.5 batches
def test_a_restored_iterator_goes_on_bit_for_bit(taken):
    def new(seed=9, **more):
        return pipeline.train_batches(source(20), batch_size=8, seed=seed, transforms=RANDOM, **more)

    straight = list(itertools.islice(new(), taken + 5))
    stopped = new()
    for _ in range(taken):
        next(stopped)
    state = json.loads(json.dumps(stopped.get_state()))
    assert state == {"next_index": taken}
    for options in ({}, {"num_threads": 0}, {"num_threads": 3, "prefetch": 1}):
        resumed = new(**options)
        next(resumed)
        resumed.set_state(state)
        for expected in straight[taken:]:
            assert_equal(next(resumed), expected)
    halves = [new(host_index=i, host_count=2) for i in range(2)]  # on another number of hosts
    for half in halves:
        half.set_state(state)
    np.testing.assert_array_equal(np.concatenate([next(half)["id"] for half in halves]), straight[taken]["id"])


def test_random_transforms_differ_between_examples_and_epochs():
    batches = pipeline.train_batches(
        ArraySource({"video": np.tile(np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8, 1), (6, 1, 1, 1, 3))}),
        batch_size=6, seed=0, transforms=[transforms.RandomCrop(2, 2)],
    )  # fmt: skip
    corners = [tuple(next(batches)["video"][:, 0, 0, 0, 0]) for _ in range(3)]
    assert len(set(corners)) == 3 and len(set(corners[0])) > 1


def test_a_batch_may_exceed_the_split():
    batch = next(pipeline.train_batches(source(3), batch_size=8, seed=0))
    np.testing.assert_array_equal(np.bincount(batch["id"])[np.bincount(batch["id"]) < 2], [])
    assert len(batch["id"]) == 8


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("examples", [1, 8, 19])
def test_evaluation_sees_every_example_once(hosts, examples):
    parts = [pipeline.eval_batches(source(examples), batch_size=8, host_index=i, host_count=hosts)
             for i in range(hosts)]  # fmt: skip
    for _ in range(2):  # an iterable, not an iterator
        passes = [list(part) for part in parts]
        assert {len(batches) for batches in passes} == {-(-examples // 8)}
        merged = [{field: np.concatenate([share[field] for share in shares]) for field in shares[0]}
                  for shares in zip(*passes)]  # fmt: skip
        assert all(batch["mask"].dtype == np.float32 and batch["video"].shape[0] == 8 for batch in merged)
        seen = np.concatenate([batch["id"][batch["mask"] == 1] for batch in merged])
        np.testing.assert_array_equal(seen, np.arange(examples))


def test_evaluation_stops_at_the_limit():
    batches = list(pipeline.eval_batches(source(20), batch_size=4, limit=6))
    assert [batch["mask"].tolist() for batch in batches] == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert len(list(pipeline.eval_batches(source(5), batch_size=4, limit=100))) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ArraySource({"video": np.zeros((0, 1, 2, 2, 3), np.uint8)})}, "is empty"),
        ({"batch_size": 6, "host_count": 4}, "A batch of 6 cannot be divided among 4 hosts.*such as 4"),
        ({"batch_size": 0}, "A batch of 0"),
        ({"host_index": 2, "host_count": 2}, "Host 2 of 2"),
    ],
)
def test_what_cannot_be_batched_is_named(change, message):
    options = {"source": source(4), "batch_size": 4} | change
    with pytest.raises(ValueError, match=message):
        pipeline.train_batches(**options, seed=0)
    with pytest.raises(ValueError, match=message):
        pipeline.eval_batches(**options)


def test_an_unusable_limit_or_seed_is_named():
    with pytest.raises(ValueError, match="limit=0"):
        pipeline.eval_batches(source(4), batch_size=4, limit=0)
    with pytest.raises(ValueError, match="seed of the batches is -1"):
        pipeline.train_batches(source(4), batch_size=4, seed=-1)


VIDEO = np.random.default_rng(0).integers(0, 256, (6, 10, 2, 3, 3), dtype=np.uint8)


def test_clips_are_transformed_and_the_rest_is_kept():
    source = ArraySource({"video": VIDEO, "label": np.arange(6)}, class_names=tuple("abcdef"))
    middle = TransformedSource.of(source, (TemporalWindow(num_frames=4, random=False),))
    assert len(middle) == 6 and middle.class_names == source.class_names and middle.available == source.available
    assert (middle.fields, middle.splits, middle.split_hash) == (source.fields, source.splits, source.split_hash)
    rows = middle.read([4, 1])
    np.testing.assert_array_equal(rows["video"], VIDEO[[4, 1], 3:7])
    np.testing.assert_array_equal(rows["label"], [4, 1])
    assert TransformedSource.of(source, ()) is source


def test_a_clip_looks_the_same_in_every_company():
    flipped = TransformedSource(ArraySource({"video": VIDEO}), (RandomFlip(),))
    together, alone = flipped.read(range(6))["video"], [flipped.read([index])["video"][0] for index in range(6)]
    np.testing.assert_array_equal(together, alone)
    assert 0 < sum(bool((a != b).any()) for a, b in zip(together, VIDEO)) < 6
