"""The oracle names what it sees, from truth, from pixels and under noise; and the generator never asks it."""

import subprocess
import sys

import numpy as np
import pytest

from videogvt.world.example import example
from videogvt.world.families import FAMILIES
from videogvt.world.oracle import MODELS, UNKNOWN, classify, residuals
from videogvt.world.spec import SPECS

TIME = np.arange(16) / 24


def right(clips, track_NT2, **options) -> float:
    return float(np.mean(classify(track_NT2, **options) == clips["family"]))


def test_noiseless_tracks(clips):
    assert right(clips, clips["pixel_position"][:, 0]) >= 0.995


def test_tracks_from_rendered_pixels(clips, tracked):
    assert right(clips, tracked.position_T2) >= 0.995


def test_half_a_pixel_of_noise(clips, rng=np.random.default_rng(0)):
    pixels = clips["pixel_position"][:, 0]
    assert right(clips, pixels + rng.normal(0, 0.5, pixels.shape)) >= 0.98


def test_missing_frames(clips, rng=np.random.default_rng(0)):
    pixels = clips["pixel_position"][:, 0].copy()
    pixels[rng.random(pixels.shape[:2]) < 0.15] = np.nan
    assert right(clips, pixels) >= 0.97
    lost = np.full((16, 2), np.nan)
    lost[:5] = pixels[0, 0]
    assert classify(lost) == UNKNOWN
    assert all(np.isinf(value) for value in residuals(lost).values())


def test_every_family_has_a_model_that_fits_its_own(clips):
    assert set(MODELS) == set(FAMILIES)
    for family, left in residuals(clips["pixel_position"][:, 0]).items():
        own = clips["family"] == family
        assert np.median(left[own]) < 0.25 and left[own].max() < 0.9, family


def test_fits_by_hand():
    line = np.stack([10 + 40 * TIME, 50 - 30 * TIME], axis=-1)
    throw = line + np.stack([0 * TIME, 0.5 * 9.81 * 17 * TIME**2], axis=-1)
    angle = 2 * np.pi * 0.9 * TIME / TIME[-1]
    ring = np.stack([30 + 8 * np.cos(angle), 30 + 6 * np.sin(angle)], axis=-1)
    for name, path in {"linear": line, "parabolic": throw, "circular": ring}.items():
        assert classify(path) == name
        assert residuals(path)[name] < 0.05
        assert classify(path, families=("linear", "parabolic", "circular", "random")) == name
    assert residuals(line + [[0, 1], [0, -1]] * 8, families=("linear",))["linear"] == pytest.approx(1.0, abs=0.02)


def test_larger_pictures_are_judged_on_their_scale(clips):
    assert right(clips, 2 * clips["pixel_position"][:, 0] + 0.5, size=128) >= 0.995


def test_an_upward_fall_is_no_throw():
    rise = np.stack([10 + 40 * TIME, 10 - 0.5 * 9.81 * 17 * TIME**2 + 70 * TIME], axis=-1)
    assert classify(rise) != "parabolic" or residuals(rise)["parabolic"] > 2


def test_the_generator_does_not_ask_the_oracle():
    code = "import videogvt.world.example, sys; assert 'videogvt.world.oracle' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name, split", [("mono64", "ood"), ("mono128", "test"), ("tiny", "train")])
def test_other_specs(name, split):
    spec = SPECS[name]
    clips = [example(spec, split, index) for index in range(40)]
    pixels = np.stack([clip["pixel_position"][0] for clip in clips])
    names = classify(pixels, fps=spec.fps, families=spec.families, size=spec.height)
    assert np.mean(names == [clip["family"] for clip in clips]) >= 0.95
