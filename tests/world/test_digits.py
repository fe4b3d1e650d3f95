"""Moving digits: exact motion, truth that agrees with the pixels, splits without a common image, bytes by index."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from tests.world.test_example import digest
from videogvt.world.digit_images import SHARES, images_of, sprite
from videogvt.world.digits import (
    CLASS_NAMES,
    DIGIT_FIELDS,
    DIGIT_SPECS,
    DIGITS_VERSION,
    PAIRS,
    digit_example,
    digit_shapes,
    draw_digits,
    film_digits,
    reflected,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "digit_hashes.json"
FULL, TINY = DIGIT_SPECS["digits64"], DIGIT_SPECS["digits_tiny"]


@pytest.fixture(scope="module")
def clips():
    return [digit_example(FULL, "test", index) for index in range(20)]


def golden_hashes() -> dict[str, str]:
    return {f"{name}/{split}/{index}": digest(digit_example(spec, split, index))
            for name, spec in DIGIT_SPECS.items() for split, index in (("train", 0), ("train", 40), ("test", 7))}


def test_nothing_changed_without_a_new_version():
    """To accept a change: bump VERSION in world/digits.py, then run this file as a module to write the hashes anew."""
    golden = json.loads(GOLDEN.read_text())
    assert golden["version"] == DIGITS_VERSION, (
        f"DIGITS_VERSION is {DIGITS_VERSION}: write the hashes anew (python -m {__name__}).")
    changed = [name for name, value in golden_hashes().items() if golden["hashes"].get(name) != value]
    assert not changed, f"The bytes of {changed} changed: bump VERSION in world/digits.py and write the hashes anew."


def test_reflection_by_hand():
    """A room from 2 to 12: from 9 at 4 px a frame the wall is met after 3/4 of a frame, and then 1 px is left."""
    walls = np.array([2.0, 0.0]), np.array([12.0, 10.0])
    position_T2, velocity_T2 = reflected(np.array([9.0, 5.0]), np.array([4.0, 0.0]), *walls, np.arange(6))
    np.testing.assert_allclose(position_T2[:, 0], [9, 11, 7, 3, 5, 9])  # 13 -> 11; 7; 3; -1 -> 5; 9
    np.testing.assert_allclose(velocity_T2[:, 0], [4, -4, -4, -4, 4, 4])
    np.testing.assert_array_equal(position_T2[:, 1], 5.0)
    fast_T2, _ = reflected(np.array([7.0, 5.0]), np.array([-35.0, 0.0]), *walls, np.arange(2))
    assert fast_T2[1, 0] == pytest.approx(12.0)  # 5 to the wall, 10 across, 10 back, 10 across again


def test_reflection_backwards_in_time_is_the_same_way():
    rng = np.random.default_rng(0)
    low, high, time_T = np.array([3.0, 4.0]), np.array([50.0, 60.0]), np.arange(16)
    for _ in range(20):
        start, velocity = rng.uniform(low, high), rng.normal(size=2) * 10
        there_T2, speed_T2 = reflected(start, velocity, low, high, time_T)
        back_T2, _ = reflected(there_T2[-1], -speed_T2[-1], low, high, time_T)
        np.testing.assert_allclose(back_T2[::-1], there_T2, atol=1e-9)
        assert (there_T2 >= low).all() and (there_T2 <= high).all()
        np.testing.assert_allclose(np.abs(speed_T2), np.abs(velocity)[None].repeat(16, 0))


def test_no_digit_image_is_in_two_splits_and_none_is_left_out():
    digit_N = load_digits().target
    seen = {split: np.concatenate(images_of(split)) for split in SHARES}
    everything = np.concatenate(list(seen.values()))
    assert len(everything) == len(set(everything.tolist())) == 1797
    pixels = load_digits().images.reshape(1797, -1)
    looks = [{pixels[image].tobytes() for image in own} for own in seen.values()]
    assert not looks[0] & looks[1] and not looks[0] & looks[2] and not looks[1] & looks[2]  # nor an equal one
    for split, share in SHARES.items():
        for digit, own in enumerate(images_of(split)):
            assert (digit_N[own] == digit).all() and len(own) == pytest.approx(share * 180, abs=4)
    with pytest.raises(KeyError, match="Unknown split of digit images 'ood'; expected one of train"):
        images_of("ood")


def test_images_of_a_clip_are_of_its_split_and_show_its_class(clips):
    digit_N = load_digits().target
    for clip in clips:
        assert clip["image"][0] != clip["image"][1]
        np.testing.assert_array_equal(digit_N[clip["image"]], clip["digit"])
        assert tuple(sorted(clip["digit"])) == PAIRS[clip["label"]]
        assert {*clip["image"].tolist()} <= {*np.concatenate(images_of("test")).tolist()}
    assert len(CLASS_NAMES) == 55 and CLASS_NAMES[:2] == ("0-0", "0-1") and CLASS_NAMES[-1] == "9-9"
    assert {clip["front"] for clip in clips} == {0, 1}


def test_a_digit_is_where_the_truth_says():
    """Its centre of mass is its position at any part of a pixel, and all its ink stays in the picture."""
    own = sprite(7, 25)
    low, high = own.bounds(64, 64)
    for place_2 in (low, high, np.array([20.25, 30.8])):
        ink_HW, cover_HW = own.drawn(place_2, 64, 64)
        y, x = ndimage.center_of_mass(ink_HW)
        np.testing.assert_allclose([x, y], place_2, atol=1e-9)
        assert ink_HW.sum() == pytest.approx(own.ink_hw.sum()) and (cover_HW >= ink_HW - 1e-12).all()
    left, up, _, _ = own.reach
    np.testing.assert_allclose(low, [left, up])
    ink_HW, _ = own.drawn(high, 64, 64)
    assert np.flatnonzero(ink_HW.any(axis=0))[-1] == np.flatnonzero(ink_HW.any(axis=1))[-1] == 63
    assert not own.drawn(np.array([-40.0, 200.0]), 64, 64)[0].any()


def test_truth_agrees_with_pixels(clips):
    apart = crossed = 0
    for clip in clips:
        grey_THW = clip["video"][..., 0] / 255.0
        np.testing.assert_array_equal(clip["video"], clip["video"][..., :1].repeat(3, -1))
        own = [sprite(int(image), int(clip["size"])) for image in clip["image"]]
        assert not clip["overlap"][0]
        for time, grey_HW in enumerate(grey_THW):
            ink = [one.drawn(place_2, 64, 64)[0] for one, place_2 in zip(own, clip["position"][:, time])]
            hidden = np.abs(ink[0] + ink[1] - grey_HW).max() * 255 > 1.1
            assert hidden == clip["overlap"][time] or abs(ink[0] + ink[1] - grey_HW).max() * 255 < 1.6
            front_HW = ink[clip["front"]]
            assert (grey_HW >= front_HW - 0.003).all()  # nothing dims the one in front
            apart, crossed = apart + (not hidden), crossed + hidden
    assert apart > 100 and crossed > 30


def test_who_is_in_front_is_seen():
    own = sprite(0, 25), sprite(1, 25)
    near_22 = np.array([[30.0, 30.0], [33.0, 31.0]])
    (first, crossed), (second, again) = (draw_digits(own, near_22, front, 64, 64) for front in (0, 1))
    assert crossed and again and np.abs(first - second).max() > 0.7
    far_22 = np.array([[20.0, 30.0], [45.0, 31.0]])
    (first, crossed), (second, again) = (draw_digits(own, far_22, front, 64, 64) for front in (0, 1))
    assert not crossed and not again
    np.testing.assert_array_equal(first, second)


def test_motion_keeps_its_speed_and_the_clip_follows_from_the_truth(clips):
    for clip in clips:
        speed_2T = np.linalg.norm(clip["velocity"], axis=-1)
        assert (speed_2T >= 1.999).all() and (speed_2T <= 4.001).all() and np.ptp(speed_2T, axis=1).max() < 1e-5
        step_2T2, v = np.diff(clip["position"], axis=1), clip["velocity"]
        straight = (np.sign(v[:, 1:]) == np.sign(v[:, :-1])).all(axis=-1)
        np.testing.assert_allclose(step_2T2[straight], v[:, :-1][straight], atol=1e-4)
    own = tuple(sprite(int(image), 25) for image in clips[0]["image"])
    video_THWC, _ = film_digits(own, clips[0]["position"].astype(float), int(clips[0]["front"]), 64, 64)
    assert np.abs(video_THWC.astype(int) - clips[0]["video"]).max() <= 1  # positions are stored in single precision


def test_clips_depend_on_their_index_alone():
    forwards = [digest(digit_example(TINY, "train", index)) for index in range(5)]
    np.random.seed(7)  # noqa: NPY002 - the legacy global state must not matter
    assert [digest(digit_example(TINY, "train", index)) for index in reversed(range(5))] == forwards[::-1]
    assert len(set(forwards)) == 5
    more = digit_example(TINY.with_train(500), "train", 3)
    np.testing.assert_array_equal(more["video"], digit_example(TINY, "train", 3)["video"])
    assert more["id"] == "digits_tiny_train500/train/000003"


@pytest.mark.parametrize("spec", DIGIT_SPECS.values(), ids=list(DIGIT_SPECS))
def test_fields_have_their_shapes_types_and_ranges(spec):
    clip, shapes = digit_example(spec, "validation", 11), digit_shapes(spec)
    assert clip.keys() == shapes.keys() == DIGIT_FIELDS.keys()
    for field, (shape, dtype) in shapes.items():
        if dtype == "str":
            assert isinstance(clip[field], str) and clip[field]
            continue
        assert clip[field].shape == shape and clip[field].dtype == dtype, field
        low, high = DIGIT_FIELDS[field].range
        assert low is None or clip[field].min() >= low
        assert high is None or clip[field].max() <= high


def test_what_cannot_be_is_refused_with_a_remedy():
    with pytest.raises(IndexError, match="Index 20 lies outside split 'test' of digits_tiny, which holds 20 examples"):
        digit_example(TINY, "test", 20)
    with pytest.raises(KeyError, match="Unknown split 'tests'. Did you mean 'test'"):
        digit_example(TINY, "tests", 0)
    with pytest.raises(ValueError, match="size is 40 in pictures of 64 x 64 px; expected at most half"):
        replace(FULL, size=40)
    with pytest.raises(ValueError, match="speed is .*; expected two numbers above 0"):
        replace(FULL, speed=(3.0, 2.0))
    with pytest.raises(ValueError, match="Unknown split of a world of digits 'ood'"):
        replace(FULL, splits=(("ood", 5),))
    with pytest.raises(ValueError, match="was asked for 0 clips"):
        FULL.with_train(0)
    with pytest.raises(ValueError, match="size is 5; expected at least 10 px"):
        sprite(0, 5)
    with pytest.raises(IndexError, match="no digit image 1797; expected 0 to 1796"):
        sprite(1797, 25)
    with pytest.raises(ValueError, match="no room to move in a picture of 12 x 64"):
        sprite(0, 25).bounds(64, 12)


def test_the_images_are_those_of_the_version_that_was_hashed():
    assert hashlib.sha256(load_digits().images.astype(np.uint8).tobytes()).hexdigest() == (
        json.loads(GOLDEN.read_text())["images"])


if __name__ == "__main__":
    images = hashlib.sha256(load_digits().images.astype(np.uint8).tobytes()).hexdigest()
    golden = {"version": DIGITS_VERSION, "images": images, "hashes": golden_hashes()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
