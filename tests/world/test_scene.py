"""What a scene promises: framing, held-out ranges, and a first frame that does not know the class."""

from dataclasses import replace

import numpy as np
import pytest

from videogvt.world.example import augment, compose, example
from videogvt.world.scene import DRAWS, HELD_OUT, MARGIN, RELIEF
from videogvt.world.spec import SPECS, WorldSpec


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("split", ["train", "ood"])
def test_the_whole_ball_is_in_every_frame_of_every_camera(name, split):
    spec = SPECS[name]
    for index in range(15):
        clip = example(spec, split, index)
        drawn = slice(spec.drawn_frames)
        pixels, radius = clip["pixel_position"][:, drawn], clip["radius_px"][:, drawn, None]
        reach = radius + MARGIN * spec.pixel_unit - 1e-3
        assert (pixels - reach >= -0.5).all()
        assert (pixels + reach <= np.array([spec.width, spec.height]) - 0.5).all()


@pytest.mark.parametrize("name", ["mono64", "hard64", "ring64"])
def test_the_first_frame_is_the_same_whatever_the_class(name):
    """To one grey level: the paths' published parameters are rounded to a micrometre."""
    spec = replace(SPECS[name], motion_blur=0.0)  # a blurred frame sees a little of the motion
    for index in range(4):
        frames = [compose(spec, "train", index, family)["video"][0].astype(int) for family in spec.families]
        for frame in frames[1:]:
            assert np.abs(frame - frames[0]).max() <= 1 and (frame != frames[0]).sum() <= 10


def test_held_out_ranges_do_not_touch_the_others():
    assert HELD_OUT.keys() == {"elevation", "speed", "radius"}
    for name, bounds in HELD_OUT.items():
        assert bounds.low > DRAWS[name].high


@pytest.mark.parametrize("split, ranges", [("train", DRAWS), ("validation", DRAWS), ("ood", {**DRAWS, **HELD_OUT})])
def test_elevation_speed_and_radius_lie_in_their_ranges(split, ranges):
    for index in range(30):
        clip = example(SPECS["mono64"], split, index)
        R = clip["camera_R"][0, 0].astype(np.float64)
        focal, depth = clip["camera_K"][0, 0, 0, 0], (R @ clip["position"][0] + clip["camera_t"][0, 0])[2]
        velocity = R @ clip["velocity"][0]
        place = (clip["pixel_position"][0, 0] - 31.5) / focal
        across = velocity[:2] - place * velocity[2]
        measured = {
            "elevation": np.arcsin(-R[2, 2]),
            "radius": clip["radius_px"][0, 0] * depth / focal,
            "speed": np.hypot(*across),
        }
        for name, value in measured.items():
            assert ranges[name].low - 1e-3 <= value <= ranges[name].high + 1e-3, name


def test_paths_stay_near_their_start_depth():
    for index in range(30):
        clip = example(SPECS["mono64"], "train", index)
        depth = clip["position"] @ clip["camera_R"][0, 0, 2] + clip["camera_t"][0, 0, 2]
        assert np.ptp(depth) <= RELIEF * depth[0] + 1e-3


def test_mono128_shows_the_scenes_of_mono64():
    for index in range(5):
        small, large = (example(SPECS[name], "test", index) for name in ("mono64", "mono128"))
        np.testing.assert_array_equal(small["position"], large["position"])
        np.testing.assert_allclose(2 * small["pixel_position"] + 0.5, large["pixel_position"], atol=2e-2)


@pytest.mark.parametrize("changes", [{}, {"background": "grid", "sensor_noise": 0.02, "measurement_noise": 0.01}])
def test_a_clip_with_a_tail_begins_with_the_clip_without(changes):
    long = replace(SPECS["mono64_17"], **changes)
    short = replace(long, num_frames=16, tail=0)
    assert short == replace(SPECS["mono64"], name=short.name, **changes) and long.drawn_frames == 16
    for split, index in (("train", 0), ("train", 3), ("ood", 1)):
        begun, whole = example(short, split, index), example(long, split, index)
        for name in ("video", "position", "measured_position", "velocity"):
            np.testing.assert_array_equal(whole[name][:16], begun[name])
            assert len(whole[name]) == 17
        assert (whole["equation"], whole["caption"]) == (begun["equation"], begun["caption"])
        step = whole["position"][16] - whole["position"][15]
        np.testing.assert_allclose(step, whole["velocity"][15] / 24, atol=0.08)  # the motion goes on


def test_a_longer_clip_shows_a_larger_scene():
    spec = replace(SPECS["mono64"], num_frames=32)
    assert abs(spec.length_unit - (31 / 15) ** 2) < 1e-12
    clip = example(spec, "train", 3)
    assert clip["video"].shape == (32, 64, 64, 3)


def test_a_wide_picture_is_used():
    spec = replace(SPECS["mono64"], width=96)
    across = [example(spec, "train", index)["pixel_position"][0, :, 0] for index in range(40)]
    assert np.max(across) > 70


def test_augmented_clips_keep_their_class_and_truth():
    spec = SPECS["mono64"]
    for index in range(5):
        plain, mirrored = example(spec, "train", index), augment(spec, "train", index, mirror=True)
        assert mirrored["family"] == plain["family"]
        flipped = plain["pixel_position"] * [-1, 1] + [63, 0]
        np.testing.assert_allclose(mirrored["pixel_position"], flipped, atol=2e-3)
        backwards = augment(spec, "train", index, reverse=True)
        np.testing.assert_allclose(backwards["position"], plain["position"][::-1], atol=1e-4)
    turned = augment(spec, "train", 3, turn=0.3)
    np.testing.assert_allclose(turned["position"][:, 2], example(spec, "train", 3)["position"][:, 2], atol=1e-5)


def test_an_augmented_path_that_leaves_the_picture_is_refused(monkeypatch):
    monkeypatch.setattr("videogvt.world.example.in_view", lambda *_: False)
    with pytest.raises(ValueError, match="mono64/train/0 leaves a picture"):
        augment(SPECS["mono64"], "train", 0, turn=0.3)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rig": "sterio"}, "Did you mean 'stereo'"),
        ({"background": "blue"}, "Unknown background"),
        ({"num_cameras": 3}, "takes 1 to 1"),
        ({"tail": 9}, "tail of 9"),
        ({"tail": 1, "rig": "moving"}, "a moving camera rests"),
        ({"sensor_noise": 2.0}, "must lie in 0 to 0.2"),
        ({"height": 8}, "told apart"),
        ({"families": ("linear", "spiral")}, "Unknown family 'spiral'"),
        ({"families": ()}, "at least one family"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(wrong, message):
    with pytest.raises((ValueError, KeyError), match=message):
        example(WorldSpec("wrong", **wrong), "train", 0)
