"""The baselines: each does what its name says, and knows nothing else."""

import numpy as np
import pytest

from videogvt.evals import baselines
from videogvt.evals.baselines import NearestClip, Originals, background, mean_frame, object_columns, thumbnails
from videogvt.inputs.sources import ArraySource
from videogvt.world.example import example
from videogvt.world.spec import SPECS


def tiny_clips(split: str, count: int) -> np.ndarray:
    return np.stack([example(SPECS["tiny"], split, index)["video"] for index in range(count)])


def test_background_is_the_clip_without_its_ball():
    assert (background(tiny_clips("test", 5)) == 255).all()


def test_background_does_not_keep_a_ball_that_rests():
    video = np.full((1, 8, 32, 32, 3), 255, np.uint8)
    video[:, :6, 10:14, 10:14] = (200, 10, 10)
    video[:, 6:, 20:24, 10:14] = (200, 10, 10)
    assert (background(video) == 255).all()


def test_background_keeps_what_stands_still():
    video = np.full((1, 8, 32, 32, 3), 255, np.uint8)
    video[:, :, 16] = (120, 120, 120)
    still = video.copy()
    for frame in range(8):
        video[:, frame, 14:18, 4 + 2 * frame : 7 + 2 * frame] = (10, 10, 200)
    np.testing.assert_array_equal(background(video), still)


def test_mean_frame_by_hand():
    video = np.zeros((1, 2, 1, 1, 3), np.uint8)
    video[:, 1] = 100
    np.testing.assert_array_equal(mean_frame(video), np.full_like(video, 50))


def test_thumbnails_are_means_over_cells():
    video = np.zeros((1, 2, 4, 4, 3), np.uint8)
    video[:, 0, :2, :2] = 120
    np.testing.assert_allclose(thumbnails(video, (1, 2, 2)), [[60.0, 0, 0, 0]])


def test_nearest_clip_finds_a_clip_of_the_training_split():
    train = tiny_clips("train", 10)
    nearest = NearestClip(ArraySource({"video": train}), count=10)
    np.testing.assert_array_equal(nearest(train[[7, 2]]), train[[7, 2]])


def test_nearest_clip_searches_only_as_many_as_it_may():
    train = tiny_clips("train", 10)
    nearest = NearestClip(ArraySource({"video": train}), count=2)  # the first and the last
    assert all((clip == train[[0, 9]]).all(axis=(1, 2, 3, 4)).any() for clip in nearest(train))


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
    assert columns["correct"].mean() >= 0.9


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
    assert not columns["found"].any() and not columns["correct"].any()
    np.testing.assert_allclose(columns["track_error_px"], np.hypot(32, 32), rtol=1e-6)


def test_two_objects_are_not_one(batch, originals):
    twice = np.minimum(batch["video"], np.roll(batch["video"], 16, axis=2))
    assert object_columns(twice, originals)["found"].mean() < 0.2


def test_frames_without_a_track_in_the_original_have_no_error(batch):
    blank = {**batch, "video": np.full_like(batch["video"], 255)}
    columns = object_columns(batch["video"], Originals.of(blank, SPEC.families))
    assert np.isnan(columns["track_error_px"]).all()


def test_classes_the_oracle_does_not_know_are_not_named(batch):
    assert "correct" not in object_columns(batch["video"], Originals.of(batch, ()))


TIME = np.arange(8.0)
PARABOLA = np.stack([2.0 * TIME, 30.0 - 3.0 * TIME + TIME**2], axis=-1)[None]


def given(*frames: int) -> np.ndarray:
    mask = np.zeros((1, 8), bool)
    mask[0, list(frames)] = True
    return mask


def hidden(track: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], track, np.nan)  # no answer may look at what is hidden


def answer(order: int, *frames: int) -> np.ndarray:
    return baselines.extrapolated(hidden(PARABOLA, given(*frames)), given(*frames), order)[0]


def test_horizon_counts_frames_to_the_nearest_given_one():
    assert baselines.horizon(given(0, 1, 2))[0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert baselines.horizon(given(0, 7))[0].tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    assert baselines.horizon(given())[0].tolist() == [8] * 8


def test_copying():
    np.testing.assert_allclose(answer(0, 0, 1, 2)[3:], np.tile(PARABOLA[0, 2], (5, 1)))
    np.testing.assert_allclose(answer(0, 0, 7)[:4], np.tile(PARABOLA[0, 0], (4, 1)))
    np.testing.assert_allclose(answer(0, 0, 7)[4:], np.tile(PARABOLA[0, 7], (4, 1)))


def test_constant_velocity_by_hand():
    np.testing.assert_allclose(answer(1, 0, 1, 2)[5], PARABOLA[0, 2] + 3 * (PARABOLA[0, 2] - PARABOLA[0, 1]))
    np.testing.assert_allclose(answer(1, 0, 3)[5], PARABOLA[0, 3] + 2 / 3 * (PARABOLA[0, 3] - PARABOLA[0, 0]))
    np.testing.assert_allclose(answer(1, 5, 6)[2], PARABOLA[0, 5] - 3 * (PARABOLA[0, 6] - PARABOLA[0, 5]))


def test_constant_acceleration_is_exact_on_a_parabola():
    for frames in ((0, 1, 2), (5, 6, 7), (0, 1, 2, 5, 6, 7)):
        np.testing.assert_allclose(answer(2, *frames), PARABOLA[0], atol=1e-9)
    np.testing.assert_allclose(answer(2, 0, 2, 3)[3:], PARABOLA[0, 3:], atol=1e-9)


def test_order_falls_where_too_few_frames_are_given():
    np.testing.assert_allclose(answer(2, 0, 1), answer(1, 0, 1))
    np.testing.assert_allclose(answer(2, 0), answer(0, 0))
    np.testing.assert_allclose(answer(1, 0, 7), answer(0, 0, 7))  # one on either side


def test_nothing_given_is_no_answer():
    assert np.isnan(answer(1)).all() and np.isnan(baselines.interpolated(PARABOLA, given())).all()


def test_interpolation_is_exact_on_a_line_and_goes_on_beyond_the_ends():
    line = np.stack([3.0 * TIME, 5.0 - TIME], axis=-1)[None]
    for frames in ((0, 7), (1, 2, 6), (2, 5)):
        mask = given(*frames)
        straight = baselines.interpolated(hidden(line, mask), mask)[0]
        inside = slice(frames[0], frames[-1] + 1)
        np.testing.assert_allclose(straight[inside], line[0][inside], atol=1e-9)
    np.testing.assert_allclose(baselines.interpolated(hidden(line, given(1, 2, 6)), given(1, 2, 6))[0, 0], line[0, 0])
    mask = given(0, 4)
    assert baselines.interpolated(hidden(PARABOLA, mask), mask)[0, 2] == pytest.approx((PARABOLA[0, 0]
                                                                                      + PARABOLA[0, 4]) / 2)


def test_rows_do_not_mix():
    both = np.concatenate([PARABOLA, PARABOLA + 10.0])
    mask = np.concatenate([given(0, 1, 2), given(0)])
    found = baselines.extrapolated(hidden(both, mask), mask, 2)
    np.testing.assert_allclose(found[0], PARABOLA[0], atol=1e-9)
    np.testing.assert_allclose(found[1], np.tile(both[1, 0], (8, 1)))


def test_clamped_to_the_picture():
    assert baselines.clamped(np.array([[[-3.0, 70.0], [5.0, 6.0]]]), 64, 32).tolist() == [[[0.0, 63.0], [5.0, 6.0]]]
