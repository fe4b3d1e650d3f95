"""Clips of fewer frames: which stay, at what pace, and that nothing else is promised of them."""

import numpy as np
import pytest

from videogvt.inputs.clip_shape import clip_pace, clip_shape
from videogvt.inputs.contracts import thinning
from videogvt.inputs.sources import open_source


@pytest.mark.parametrize("there, frames, stride", [
    (16, 5, 3), (16, 16, 1), (16, 9, 1), (17, 5, 4), (16, 2, 15), (8, 3, 3)])
def test_frames_span_as_much_as_can_be(there, frames, stride):
    assert thinning(there, frames) == stride
    assert (frames - 1) * stride < there <= (frames - 1) * (stride + 1)


@pytest.mark.parametrize("frames", [1, 17])
def test_more_frames_than_there_are_are_refused(frames):
    with pytest.raises(ValueError, match="expected 2 to 16"):
        thinning(16, frames)


def test_every_other_frame_of_a_world_at_its_pace(tmp_path):
    fields = ("video", "fps", "label", "id")
    whole, thin = (open_source("trajectories", "test", fields=fields, data_dir=tmp_path, config="tiny", **options)
                   for options in ({}, {"frames": 4}))
    one, other = whole.read([3, 1]), thin.read([3, 1])
    np.testing.assert_array_equal(other["video"], one["video"][:, [0, 2, 4, 6]])
    np.testing.assert_allclose(other["fps"], one["fps"] / 2)
    np.testing.assert_array_equal(other["label"], one["label"])
    assert thin.split_hash != whole.split_hash and thin.class_names == whole.class_names
    assert "pixel_position" in whole.available and "pixel_position" not in thin.available
    data = {"source": "trajectories", "options": {"config": "tiny", "frames": 4}}
    assert clip_shape(data) == other["video"].shape[1:4] and clip_pace(data) == (12.0, 2)
    asked = ("video", "pixel_position")
    with pytest.raises(ValueError, match="pixel_position may be of each frame"):
        open_source("trajectories", "test", fields=asked, data_dir=tmp_path, config="tiny", frames=4)
