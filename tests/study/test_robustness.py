"""Noise, blur and occlusion do what their levels say, the same every time."""

import numpy as np
import pytest

from videogvt.study.robustness import CORRUPTIONS, corruption

GREY = np.full((3, 2, 32, 32, 3), 100, np.uint8)


def corrupted(name, level, video=GREY):
    return corruption(name, level)({"video": video}, range(3))["video"]


def test_noise_has_its_deviation():
    off = corrupted("noise", 0.1).astype(float) - 100
    assert abs(off.std() - 25.5) < 0.5 and abs(off.mean()) < 0.5


def test_blur_spreads_a_point_and_keeps_a_plane():
    np.testing.assert_array_equal(corrupted("blur", 2.0), GREY)
    point = np.zeros_like(GREY)
    point[:, :, 16, 16] = 255
    frame = corrupted("blur", 4.0, point)[0, 0, :, :, 0].astype(float)  # 2 pixels here
    assert frame.argmax() == 16 * 32 + 16 and frame.max() == round(255 / (2 * np.pi * 4))


def test_occlusion_hides_its_share():
    hidden = (corrupted("occlusion", 0.25) == 128).all(-1)
    assert (hidden.mean((2, 3)) == 0.25).all() and (hidden[0] != hidden[1]).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_every_time_for_each_clip(name):
    video = np.random.default_rng(0).integers(0, 256, GREY.shape).astype(np.uint8)
    np.testing.assert_array_equal(corrupted(name, 0.2, video), corrupted(name, 0.2, video))
    alone = corruption(name, 0.2)({"video": video[1:2]}, [1])["video"]
    np.testing.assert_array_equal(alone[0], corrupted(name, 0.2, video)[1])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="'blurr'. Did you mean 'blur'"):
        corruption("blurr", 1.0)
    with pytest.raises(ValueError, match="level 1.5; expected a positive one, of occlusion a share up to 1"):
        corruption("occlusion", 1.5)
