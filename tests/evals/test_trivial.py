"""The trivial answers: each does what its name says, and knows nothing else."""

import numpy as np

from videogvt.evals.trivial import NearestClip, background, mean_frame, thumbnails
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
