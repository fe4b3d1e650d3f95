"""Clips filmed anew: the truth follows the path, what does not change is not touched, and rows are independent."""

import numpy as np
import pytest

from tests.inputs.test_transforms import streams
from videogvt.inputs.refilmed import RandomPath
from videogvt.inputs.transforms import CenterCrop, fields_for
from videogvt.world.example import example
from videogvt.world.spec import SPECS

FIELDS = ("video", "label", "id", "pixel_position", "position", "equation")


@pytest.fixture(scope="module")
def batch():
    clips = [example(SPECS["tiny"], "train", index) for index in range(5)]
    rows = {name: np.stack([clip[name] for clip in clips]) for name in FIELDS}
    return rows | {"label": rows["label"].astype(np.int32)}


def test_mirrored_paths_take_all_fields_with_them(batch):
    made = RandomPath(mirror=1.0)(batch, streams(*range(5)))
    assert set(made) == {*FIELDS} - {"id"} and made["video"].dtype == np.uint8 and made["label"].dtype == np.int32
    np.testing.assert_array_equal(made["label"], batch["label"])
    np.testing.assert_allclose(made["pixel_position"], batch["pixel_position"] * [-1, 1] + [31, 0], atol=2e-3)
    darkest = (1 - made["video"][:, 0].min(-1) / 255.0).reshape(5, -1).argmax(-1)  # the ball of the first frame
    place = np.stack([darkest % 32, darkest // 32], axis=-1)
    assert np.abs(place - made["pixel_position"][:, 0, 0]).max() < 4
    assert (made["equation"] != batch["equation"]).all()


def test_backwards_is_backwards_and_what_leaves_the_picture_is_not_turned(batch, monkeypatch):
    made = RandomPath(mirror=0.0, reverse=1.0)(batch, streams(*range(5)))
    np.testing.assert_allclose(made["position"], batch["position"][:, ::-1], atol=1e-4)
    turned = RandomPath(mirror=0.0, turn=0.3)(batch, streams(*range(5)))
    np.testing.assert_allclose(turned["position"][..., 2], batch["position"][..., 2], atol=1e-4)
    assert (np.abs(turned["position"] - batch["position"]).max((1, 2)) > 1e-3).any()
    monkeypatch.setattr("videogvt.world.example.in_view", lambda *_: False)
    left = RandomPath(mirror=0.0, turn=0.3)(batch, streams(*range(5)))
    np.testing.assert_array_equal(left["video"], batch["video"])


def test_a_row_depends_on_its_own_stream_and_half_of_them_change(batch):
    half = RandomPath()
    made = half(batch, streams(*range(5)))
    changed = (made["video"] != batch["video"]).any((1, 2, 3, 4))
    assert 0 < changed.sum() < 5
    alone = half({name: rows[3:4] for name, rows in batch.items()}, streams(3))
    np.testing.assert_array_equal(alone["video"][0], made["video"][3])
    resized = batch | {"id": np.char.replace(batch["id"], "tiny/", "tiny_train7/")}
    np.testing.assert_array_equal(half(resized, streams(*range(5)))["video"], made["video"])


def test_it_needs_clips_of_a_world_as_they_were_stored(batch):
    assert fields_for([RandomPath(), CenterCrop(4, 4)]) == ("video", "label", "id") and fields_for([]) == (
        "video", "label")
    with pytest.raises(ValueError, match="knows none of id 'holiday.mp4/3'"):
        RandomPath()(batch | {"id": np.array(["holiday.mp4/3"] * 5)}, streams(*range(5)))
    with pytest.raises(ValueError, match="only .'label', 'video'. are read"):
        RandomPath()({name: batch[name] for name in ("video", "label")}, streams(*range(5)))
    with pytest.raises(ValueError, match="before the transforms that change sizes"):
        RandomPath(mirror=1.0)(batch | {"video": batch["video"][:, :, :8]}, streams(*range(5)))
