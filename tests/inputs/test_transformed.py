"""A source seen through transforms reads like one, the same in any order."""

import numpy as np

from videogvt.inputs.sources import ArraySource
from videogvt.inputs.transformed import TransformedSource
from videogvt.inputs.transforms import RandomFlip, TemporalWindow

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
