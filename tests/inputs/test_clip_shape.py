"""The size of a config's clips is what its data set then holds, and unknown where only that could tell."""

import pytest

from videogvt.inputs.clip_shape import class_names, clip_pace, clip_shape

BAIR = {"num_frames": 30, "height": 64, "width": 48}


@pytest.mark.parametrize("source, options, transforms, shape", [
    ("trajectories", {"config": "mono64"}, {}, (16, 64, 64)),
    ("trajectories", {"config": "tiny"}, {"random_flip": {}}, (8, 32, 32)),
    ("trajectories", {}, {}, (16, 64, 64)),
    ("trajectories", {"config": "my_tracks.npz"}, {}, None),
    ("digits", {"config": "digits_tiny"}, {}, (8, 32, 32)),
    ("digits", {}, {}, (16, 64, 64)),
    ("digits", {"crops": 24}, {}, (1, 24, 24)),
    ("digits", {"config": "my_digits"}, {}, None),
    ("ucf101", BAIR, {}, (30, 64, 48)),
    ("ucf101", BAIR, {"temporal_window": {"num_frames": 16}, "center_crop": {"height": 32, "width": 40}}, (16, 32, 40)),
    ("ucf101", BAIR, {"sample_frames": {}}, (1, 64, 48)),
    ("ucf101", BAIR, {"resize_short_side": {"size": 32}}, None),
    ("images", {"folder": "x", "height": 128, "width": 128}, {}, (1, 128, 128)),
    ("videos", {"folder": "x"}, {}, None),
])
def test_sizes(source, options, transforms, shape):
    assert clip_shape({"source": source, "options": options, "transforms": transforms}) == shape


def test_classes():
    names = class_names({"source": "trajectories", "options": {"config": "classic4"}})
    assert names == ("linear", "circular", "helical", "parabolic")
    assert class_names({"source": "ucf101", "options": BAIR}) is None
    pairs = class_names({"source": "digits", "options": {}})
    assert len(pairs) == 55 and pairs[12] == "1-3"
    assert class_names({"source": "digits", "options": {"crops": 24}}) == tuple("0123456789")


@pytest.mark.parametrize(
    "source, options, transforms, pace",
    [
        ("digits", {}, {}, (10.0, 1)),
        ("trajectories", {"config": "tiny"}, {}, (12.0, 1)), ("trajectories", {}, {}, (24.0, 1)),
        ("videos", {"folder": "x", "fps": 10.0, "stride": 2}, {}, (10.0, 2)),
        ("videos", {"folder": "x"}, {}, (None, 1)),
        ("videos", {"stride": 2}, {"temporal_window": {"num_frames": 4, "stride": 3}}, (None, 6)),
    ],
)
def test_pace_is_told_from_the_config(source, options, transforms, pace):
    assert clip_pace({"source": source, "options": options, "transforms": transforms}) == pace
