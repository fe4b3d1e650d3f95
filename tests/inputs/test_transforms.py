"""Transforms: what they keep, where they cut, and that a row does not depend on its neighbours."""

import numpy as np
import pytest

from videogvt.inputs import transforms
from videogvt.inputs.transforms import CenterCrop, RandomPath, fields_for
from videogvt.world.example import example
from videogvt.world.spec import SPECS

RNG = np.random.default_rng(0)
VIDEO_BTHWC = RNG.integers(0, 256, (3, 5, 6, 8, 3), dtype=np.uint8)
ALL = (
    transforms.CenterCrop(4, 4), transforms.RandomCrop(4, 5), transforms.ResizeShortSide(3), transforms.RandomFlip(),
    transforms.TemporalWindow(2, stride=2), transforms.SampleFrames(), transforms.RandomColours(),
)  # fmt: skip


def streams(*keys):
    return [np.random.Generator(np.random.Philox(key=[0, key])) for key in keys]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_videos_stay_uint8_and_rows_independent(transform):
    batch = {"video": VIDEO_BTHWC, "label": np.arange(3), "fps": np.full(3, 24, np.float32)}
    whole = transform(batch, streams(7, 8, 9))
    assert whole["video"].dtype == np.uint8 and whole.keys() == batch.keys()
    np.testing.assert_array_equal(whole["label"], batch["label"])
    alone = transform({field: rows[1:2] for field, rows in batch.items()}, streams(8))
    for field in whole:
        np.testing.assert_array_equal(alone[field][0], whole[field][1])


def test_center_crop_takes_the_middle():
    cropped = transforms.CenterCrop(4, 5)({"video": VIDEO_BTHWC}, streams(0, 1, 2))["video"]
    np.testing.assert_array_equal(cropped, VIDEO_BTHWC[:, :, 1:5, 1:6])


def test_random_crop_reaches_every_place_and_treats_frames_alike():
    places_HW = np.arange(4, dtype=np.uint8).reshape(2, 2)
    video_BTHWC = np.broadcast_to(places_HW[None, None, :, :, None], (64, 2, 2, 2, 3))
    cropped = transforms.RandomCrop(1, 1)({"video": video_BTHWC}, streams(*range(64)))["video"]
    assert set(cropped[:, 0, 0, 0, 0]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(cropped[:, 0], cropped[:, 1])


def test_random_flip_mirrors_left_to_right_as_often_as_asked():
    flipped = transforms.RandomFlip(1.0)({"video": VIDEO_BTHWC}, streams(0, 1, 2))["video"]
    np.testing.assert_array_equal(flipped, VIDEO_BTHWC[:, :, :, ::-1])
    kept = transforms.RandomFlip(0.0)({"video": VIDEO_BTHWC}, streams(0, 1, 2))["video"]
    np.testing.assert_array_equal(kept, VIDEO_BTHWC)


def test_colours_change_with_the_clip_and_stay_in_order():
    ramp_BTHWC = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, None, None, :, None], (40, 2, 1, 256, 3))
    changed = transforms.RandomColours(0.4, 0.2)({"video": ramp_BTHWC}, streams(*range(40)))["video"].astype(int)
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])
    assert (np.diff(changed, axis=3) >= 0).all()
    middle_B3 = changed[:, 0, 0, 128]
    assert (np.abs(middle_B3 - 128) <= 0.2 * 255 + 2).all() and middle_B3.std() > 20
    assert len({tuple(row) for row in middle_B3}) == 40 and (middle_B3[:, 0] != middle_B3[:, 1]).any()
    kept = transforms.RandomColours(0, 0)({"video": VIDEO_BTHWC}, streams(0, 1, 2))["video"]
    np.testing.assert_array_equal(kept, VIDEO_BTHWC)
    with pytest.raises(ValueError, match="contrast is 1.5 and brightness 0.2; expected both at least 0"):
        transforms.RandomColours(contrast=1.5)


def test_temporal_window_keeps_order_and_corrects_fps():
    video_BTHWC = np.broadcast_to(np.arange(7, dtype=np.uint8)[None, :, None, None, None], (40, 7, 2, 2, 3))
    batch = {"video": video_BTHWC, "fps": np.full(40, 24, np.float32)}
    window = transforms.TemporalWindow(3, stride=2)(batch, streams(*range(40)))
    starts = window["video"][:, 0, 0, 0, 0]
    assert set(starts) == {0, 1, 2}
    np.testing.assert_array_equal(window["video"][:, :, 0, 0, 0], starts[:, None] + [0, 2, 4])
    assert set(window["fps"]) == {12.0}
    middle = transforms.TemporalWindow(3, random=False)(batch, streams(*range(40)))
    assert middle["video"][0, :, 0, 0, 0].tolist() == [2, 3, 4]


def test_sample_frames_gives_clips_of_one_frame():
    sampled = transforms.SampleFrames()({"video": VIDEO_BTHWC}, streams(0, 1, 2))["video"]
    assert sampled.shape == (3, 1, 6, 8, 3)
    assert all((row[0] == frames).all(axis=(1, 2, 3)).sum() == 1 for row, frames in zip(sampled, VIDEO_BTHWC))


def test_resizing_keeps_proportions_and_colours():
    tall_BTHWC = np.full((1, 2, 90, 60, 3), (9, 99, 199), np.uint8)
    resized = transforms.ResizeShortSide(40)({"video": tall_BTHWC}, streams(0))["video"]
    np.testing.assert_array_equal(resized, np.full((1, 2, 60, 40, 3), (9, 99, 199), np.uint8))


@pytest.mark.parametrize(
    ("transform", "batch", "message"),
    [
        (transforms.CenterCrop(7, 4), {"video": VIDEO_BTHWC}, "does not fit into frames of 6x8"),
        (transforms.TemporalWindow(4, stride=2), {"video": VIDEO_BTHWC}, "at least 7 frames, but these have 5"),
        (transforms.RandomFlip(), {"video": VIDEO_BTHWC, "pixel_position": np.zeros((3, 1, 5, 2))},
         "not \\['pixel_position'\\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_named(transform, batch, message):
    with pytest.raises(ValueError, match=message):
        transform(batch, streams(0, 1, 2))


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
