"""The object's columns on clips that are shifted, emptied or doubled."""

import numpy as np
import pytest

from videogvt.evals.objects import Originals, object_columns
from videogvt.world.example import example
from videogvt.world.spec import SPECS

SPEC = SPECS["tiny"]


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    examples = [example(SPEC, "test", index) for index in range(10)]
    return {name: np.stack([item[name] for item in examples])
            for name in ("video", "label", "fps", "pixel_position", "radius_px")}


@pytest.fixture(scope="module")
def originals(batch) -> Originals:
    return Originals.of(batch, SPEC.families)


def test_the_original_itself_has_no_error(batch, originals):
    columns = object_columns(batch["video"], originals)
    assert columns["found"].all()
    np.testing.assert_array_equal(columns["track_error_px"], 0.0)
    assert columns["named_right"].mean() >= 0.9


def shifted(batch: dict[str, np.ndarray], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """The clips moved down, and the frames whose ball is whole after that."""
    video = np.roll(batch["video"], pixels, axis=2)
    video[:, :, :pixels] = 255
    return video, batch["pixel_position"][:, 0, :, 1] + batch["radius_px"][:, 0] + pixels < SPEC.height - 2


def test_a_clip_shifted_by_a_pixel_is_off_by_a_pixel(batch, originals):
    video, whole = shifted(batch, 1)
    columns = object_columns(video, originals)
    assert whole.mean() > 0.8 and columns["found"][whole].all()
    np.testing.assert_allclose(columns["track_error_px"][whole], 1.0, atol=0.02)


def test_beyond_three_pixels_the_object_is_tracked_but_not_found(batch, originals):
    video, whole = shifted(batch, 4)
    columns = object_columns(video, originals)
    assert whole.mean() > 0.5 and not columns["found"].any()
    np.testing.assert_allclose(columns["track_error_px"][whole], 4.0, atol=0.02)


def test_a_lost_object_is_as_far_off_as_can_be(batch, originals):
    columns = object_columns(np.full_like(batch["video"], 255), originals)
    assert not columns["found"].any() and not columns["named_right"].any()
    np.testing.assert_allclose(columns["track_error_px"], np.hypot(32, 32), rtol=1e-6)


def test_two_objects_are_not_one(batch, originals):
    twice = np.minimum(batch["video"], np.roll(batch["video"], 16, axis=2))
    assert object_columns(twice, originals)["found"].mean() < 0.2


def test_frames_without_a_track_in_the_original_have_no_error(batch):
    blank = {**batch, "video": np.full_like(batch["video"], 255)}
    columns = object_columns(batch["video"], Originals.of(blank, SPEC.families))
    assert np.isnan(columns["track_error_px"]).all()


def test_classes_the_oracle_does_not_know_are_not_named(batch):
    assert "named_right" not in object_columns(batch["video"], Originals.of(batch, ()))
