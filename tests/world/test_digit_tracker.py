"""Both digits are found on real clips to a part of a pixel, and what shows none of them is not taken for one."""

import numpy as np
import pytest

from videogvt.world.digit_images import sprite
from videogvt.world.digit_tracker import locate
from videogvt.world.digits import DIGIT_SPECS, digit_example, film_digits


def located(spec, index, split="test"):
    clip = digit_example(spec, split, index)
    own = tuple(sprite(int(image), spec.size) for image in clip["image"])
    return clip, own, locate(clip["video"][..., 0] / 255.0, own)


@pytest.mark.parametrize("name, indices", [("digits64", (3, 5, 10, 14)), ("digits_tiny", (5, 12, 18))])
def test_real_clips_to_half_a_pixel_also_where_digits_cross(name, indices):
    crossed = 0
    for index in indices:
        clip, _, found = located(DIGIT_SPECS[name], index)
        error_2T = np.linalg.norm(found.position_2T2 - clip["position"], axis=-1)
        assert error_2T.max() < 0.5 and np.median(error_2T) < 0.15
        assert found.match_2T.min() > 0.9
        told_T = found.front_T >= 0
        assert (found.front_T[told_T] == clip["front"]).all() and not (told_T & ~clip["overlap"]).any()
        crossed += told_T.sum()
    assert crossed > 1


def test_what_shows_no_digit_is_not_found():
    own = sprite(0, 25), sprite(1, 25)
    for grey_HW in (np.zeros((64, 64)), np.full((64, 64), 1.0), np.tile([0.0, 1.0], (64, 32))):
        assert np.isnan(locate(grey_HW[None], own).position_2T2).any(axis=-1).all()


def test_a_digit_alone_is_found_and_a_part_beyond_the_edge_does_no_harm():
    own = sprite(0, 25), sprite(20, 25)
    alone_HW, _ = own[1].drawn(np.array([40.0, 20.0]), 64, 64)
    found = locate(alone_HW[None], own)
    np.testing.assert_allclose(found.position_2T2[1, 0], [40.0, 20.0], atol=0.1)
    cut_HW, _ = own[1].drawn(np.array([60.0, 20.0]), 64, 64)
    np.testing.assert_allclose(locate(cut_HW[None], own).position_2T2[1, 0], [60.0, 20.0], atol=0.3)


def test_frames_are_looked_at_one_by_one():
    spec = DIGIT_SPECS["digits_tiny"]
    clip, own, found = located(spec, 5)
    other = locate(clip["video"][3:5, ..., 0] / 255.0, own)
    np.testing.assert_allclose(other.position_2T2, found.position_2T2[:, 3:5], atol=1e-9)
    still_2T2 = np.repeat(clip["position"][:, :1].astype(float), 2, axis=1)
    video_THWC, _ = film_digits(own, still_2T2, 0, spec.height, spec.width)
    twice = locate(video_THWC[..., 0] / 255.0, own)
    np.testing.assert_array_equal(twice.position_2T2[:, 0], twice.position_2T2[:, 1])
