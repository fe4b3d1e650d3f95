"""Measures of tracks by hand."""

import numpy as np
import pytest

from tests.evals import bank
from videogvt.evals import motion
from videogvt.inputs.sources import ArraySource

TIME = np.arange(8.0)


def line(dx: float, dy: float, x: float = 4.0, y: float = 5.0) -> np.ndarray:
    return np.stack([x + dx * TIME, y + dy * TIME], axis=-1)


def columns(count: int = 1) -> dict[str, np.ndarray]:
    return {"track": np.repeat(line(3.0, 0.0)[None], count, axis=0), "found": np.ones((count, 8), bool),
            "area": np.full((count, 8), 12.0), "stray": np.zeros((count, 8), int)}


def disc(video_THW3: np.ndarray, x: float, y: float, radius: float, colour=0) -> None:
    rows, places = np.arange(video_THW3.shape[1])[:, None], np.arange(video_THW3.shape[2])
    video_THW3[:, (rows - y) ** 2 + (places - x) ** 2 <= radius**2] = colour


def test_an_object_persists_or_not():
    def changed(name, place, value):
        case = columns()
        case[name][place] = value
        return motion.one_object(case, 64, longest_step=5.0)[0]

    assert motion.one_object(columns(3), 64, 5.0).all()
    assert not motion.one_object(columns(), 64, 2.9)[0]
    assert not changed("found", (0, 3), False)
    assert not changed("area", (0, 3), 25.0) and changed("area", (0, 3), 23.0)
    assert not changed("stray", (0, 0), 3) and changed("stray", (0, 0), 2)
    assert not changed("track", (0, 4), (40.0, 5.0))  # it leaps and comes back


def test_stray_pixels_are_those_beyond_the_object():
    video = np.full((3, 4, 64, 64, 3), 255, np.uint8)
    for clip in video:
        disc(clip, 20, 20, 3)
    disc(video[1], 45, 45, 9)  # too large for an object: the tracker overlooks it
    video[2, :, 60, 3] = 0  # a speck of one pixel
    table = motion.motion_columns(video)
    assert table["found"].all() and (table["stray"][0] == 0).all() and (table["stray"][2] == 1).all()
    assert (table["stray"][1] > 200).all()
    assert motion.one_object(table, 64, 5.0).tolist() == [True, False, True]


def test_a_stain_that_never_moves_is_an_object_on_a_plain_ground_only():
    plain = np.full((1, 8, 32, 32, 3), 255, np.uint8)
    disc(plain[0], 10, 10, 3)
    assert motion.motion_columns(plain)["found"].all()
    busy = np.random.default_rng(0).integers(0, 255, (1, 1, 32, 32, 3), np.uint8).repeat(8, axis=1)
    assert (motion.motion_columns(busy)["stray"] == 0).all() and not motion.motion_columns(busy)["found"].any()


def test_roughness_by_hand():
    accelerated = np.stack([0.5 * 2.0 * TIME**2, 0 * TIME], axis=-1)
    tracks = np.stack([line(3.0, 4.0), accelerated])
    np.testing.assert_allclose(motion.roughness(tracks, 1)[0], 5.0)
    np.testing.assert_allclose(motion.roughness(tracks, 2), [0.0, 2.0], atol=1e-9)
    np.testing.assert_allclose(motion.roughness(tracks, 3), 0.0, atol=1e-9)
    tracks[0, ::3] = np.nan  # no three frames in a row
    assert np.isnan(motion.roughness(tracks, 2)[0]) and motion.mean_speed(tracks)[0] == pytest.approx(5.0)


def test_spread_by_hand():
    tracks = np.stack([line(1, 0), line(1, 0, x=7.0, y=9.0), line(1, 0)])  # pairs are 5, 0 and 5 px apart
    assert motion.spread_px(tracks) == pytest.approx(10 / 3)
    assert motion.spread_px(tracks, shape_alone=True) == pytest.approx(0.0, abs=1e-9)
    tracks[2] = np.nan  # an empty clip adds pairs of 0
    assert motion.spread_px(tracks) == pytest.approx(5 / 3)
    turned = np.stack([line(1, 0), line(-1, 0, x=11.0)])  # the same places, run through backwards
    assert motion.spread_px(turned, shape_alone=True) == pytest.approx(np.sqrt(np.mean((2 * (TIME - 3.5)) ** 2)))


def test_nearest_track_by_hand():
    known = np.stack([line(1, 0), line(0, 1)])
    near = known[1] + (3.0, 4.0)
    part = near.copy()
    part[2:6] = np.nan
    found = motion.nearest_px(np.stack([known[0], near, part, np.full_like(near, np.nan)]), known)
    apart = np.sqrt(np.mean(((part - known) ** 2).sum(-1)[:, [0, 1, 6, 7]], axis=1)).min()
    np.testing.assert_allclose(found[:3], [0.0, min(5.0, np.sqrt(np.mean(((near - known[0]) ** 2).sum(-1)))), apart],
                               atol=1e-5)
    assert np.isnan(found[3])


@pytest.fixture(scope="module")
def training() -> motion.Training:
    return motion.Training.of(bank.source("train", 100))


def test_training_is_read_from_truth_or_tracked_alike(training):
    tracked = motion.Training.of(bank.source("train", 100, ("pixel_position", "radius_px")), limit=20)
    assert len(tracked.label_N) == 20 and training.families == bank.FAMILIES and training.size == 32
    rows = np.linspace(0, 99, 20).astype(int)
    np.testing.assert_allclose(tracked.columns["track"], training.columns["track"][rows], atol=0.15)
    np.testing.assert_allclose(motion.mean_radius(tracked.columns), motion.mean_radius(training.columns)[rows],
                               atol=0.15)


def test_plausible_is_the_band_of_the_training_clips_of_the_class(training):
    values, labels = np.array([1.0, 49.0, 99.5, np.nan, 1.0]), np.array([0, 0, 0, 0, 1])
    of_training = np.where(training.label_N == 0, np.linspace(0, 100, 100), 50.0)
    assert training.plausible(values, labels, of_training).tolist() == [True, True, False, False, False]
    speeds = motion.mean_speed(training.columns["track"])
    assert training.plausible(speeds, training.label_N, speeds).mean() == pytest.approx(0.9, abs=0.011)  # 18 of 20


def test_mean_tracks(training):
    tracks, labels = motion.mean_tracks(training)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and tracks["track"].shape == (10, 8, 2)
    np.testing.assert_allclose(tracks["track"][2], training.columns["track"][training.label_N == 1].mean(0))


def test_training_without_an_object_is_refused():
    blank = bank.source("train", 100, ("pixel_position", "radius_px"))
    fields = {**bank.clips("train", 100), "video": np.full_like(bank.clips("train", 100)["video"], 255)}
    blank = type(blank)({name: fields[name] for name in ("video", "label", "fps")}, bank.FAMILIES)
    with pytest.raises(ValueError, match="no motion to compare with"):
        motion.Training.of(blank, limit=4)


def test_clips_are_of_tracked_objects_if_they_say_so_or_can_be_tracked():
    def source(video, fields=("fps",)):
        columns = {"video": video} | {name: bank.clips("train", 100)[name][:len(video)] for name in fields}
        return ArraySource(columns, bank.FAMILIES)

    balls = bank.clips("train", 100)["video"][:8]
    noise = np.random.default_rng(0).integers(0, 256, balls.shape, np.uint8)
    assert motion.has_tracks(source(balls)) and motion.has_tracks(source(noise, ("fps", *motion.TRUTH)))
    assert not motion.has_tracks(source(balls, ())) and not motion.has_tracks(source(noise))
