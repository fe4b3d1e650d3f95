"""Balls before photographs: nothing but the background differs from an example, and the truth says so."""

from dataclasses import replace

import numpy as np
import pytest

from videogvt.world.example import example
from videogvt.world.photographs import PHOTOGRAPHS, photograph, photographed
from videogvt.world.spec import SPECS

MONO = SPECS["mono64"]


def test_the_truth_of_a_still_clip_is_the_example_s():
    own, clip = example(MONO, "test", 1), photographed(MONO, "test", 1, name="flower")
    np.testing.assert_allclose(clip.position_T2, own["pixel_position"][0], atol=1e-4)
    np.testing.assert_array_equal(clip.still_T2, clip.position_T2)
    assert clip.family == own["family"] and (clip.visibility_T == 1).all() and (clip.contrast_T > 0).all()
    again = photographed(MONO, "test", 1, name="flower")
    np.testing.assert_array_equal(clip.video_THWC, again.video_THWC)


def test_the_ball_is_cut_out_exactly():
    own, clip = example(MONO, "test", 1)["video"], photographed(MONO, "test", 1, name="flower").video_THWC
    scenery = np.median(clip, axis=0)
    outside = (own == 255).all(axis=-1)
    assert np.abs(clip - scenery)[outside].max() <= 1
    x, y = np.rint(photographed(MONO, "test", 1, name="flower").position_T2[0]).astype(int)
    assert np.abs(clip[0, y, x].astype(int) - own[0, y, x]).max() <= 2  # the middle of the ball hides all behind it


def test_a_pan_moves_the_ball_and_the_scenery_alike():
    spec = replace(MONO, name="own")
    clip = photographed(spec, "validation", 2, name="china", pan=1.5, zoom=0.1)
    assert (clip.position_T2 > 0).all() and (clip.position_T2 < 63).all()
    steps_T2 = np.diff(clip.position_T2 - example(MONO, "validation", 2)["pixel_position"][0], axis=0)
    assert 0.5 < np.linalg.norm(steps_T2, axis=-1).mean() < 4
    np.testing.assert_allclose(clip.still_T2[8], clip.position_T2[8])
    assert np.abs(np.diff(clip.video_THWC.astype(int), axis=0)).mean() > 3


def test_noise_has_the_stated_strength():
    clean, noisy = (photographed(MONO, "test", 1, name="flower", noise=noise).video_THWC for noise in (0.0, 0.02))
    inside = (clean > 30) & (clean < 225)  # nothing is cut off there
    apart = noisy[inside].astype(float) - clean[inside]
    assert np.std(apart) == pytest.approx(255 * 0.02, rel=0.02) and abs(apart.mean()) < 0.1


def test_no_photograph_is_in_two_splits():
    names = [name for each in PHOTOGRAPHS.values() for name in each]
    assert len(set(names)) == len(names)
    pytest.importorskip("skimage", reason="photographs of scikit-image")
    assert all(min(photograph(name, 80).shape[:2]) == 80 for name in names)


def test_what_is_no_photograph_is_refused():
    with pytest.raises(ValueError, match="chnia"):
        photographed(MONO, "test", 0, name="chnia")
    with pytest.raises(ValueError, match="expected mono"):
        photographed(SPECS["moving64"], "test", 0, name="china")
    with pytest.raises(ValueError, match="pan=-1"):
        photographed(MONO, "test", 0, name="china", pan=-1)
    with pytest.raises(ValueError, match="expected less"):
        photographed(MONO, "test", 0, name="china", pan=30)
