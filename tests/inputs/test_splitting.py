"""Few files: every split gets one where there are as many; fewer are divided by time, with gaps."""

import itertools

import numpy as np
import pytest

from tests.inputs.test_videos import greys, write_video
from videogvt.inputs.folders import SAME_RECORDING, SPLIT_SHARES
from videogvt.inputs.splitting import Footage, shared
from videogvt.inputs.videos import VideoFolderConfig, prepared_videos


def footage(clips=1, frames=4, step=1):
    """So many consecutive clips; with ``step`` 0.5 every frame is shown twice."""
    frames_NT = (np.arange(clips * frames) * step).astype(np.int32).reshape(clips, frames)
    return Footage(frames_NT, frames_NT[:, 0] / 25, 25.0)


def split(files, shares=SPLIT_SHARES, same=SAME_RECORDING):
    return shared(files, shares, same)


def names(found):
    return {name: sorted(files) for name, files in found.footage.items()}


def test_splits_that_hold_something_are_those_of_the_hash():
    files = {f"class{number % 3}/{number}.mp4": footage() for number in range(60)}
    found = split(files | {"class0/été 1.avi": footage(), "class1/v_x_g01_c02.avi": footage()})
    assert found.notes == () and len(found.footage["train"]) == 48
    assert names(found)["test"] == ["class0/57.mp4", "class0/6.mp4", "class1/49.mp4", "class2/29.mp4", "class2/53.mp4"]
    assert names(found)["validation"] == [
        "class0/0.mp4", "class0/48.mp4", "class1/13.mp4", "class1/34.mp4", "class2/2.mp4", "class2/20.mp4",
        "class2/26.mp4", "class2/47.mp4", "class2/59.mp4"]  # as ever


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("prefix", ["", "video", "clip_"])
def test_every_split_gets_a_file_where_there_are_as_many(count, prefix):
    files = {f"{prefix}{number}.mp4": footage() for number in range(count)}
    found = split(files)
    sizes = [len(part) for part in found.footage.values()]
    assert min(sizes) >= 1 and sum(sizes) == count
    assert names(found) == names(split(dict(reversed(files.items()))))  # whatever order the folder is in


def test_moved_files_are_named_and_leave_their_class_in_training():
    files = {f"{name}/{number}.mp4": footage() for name in ("a", "b") for number in range(2)}
    shares = (("train", 0.9998), ("validation", 0.0001), ("test", 0.0001))  # so that all are in train by their hashes
    found = split(files, shares)
    assert {path[0] for path in found.footage["train"]} == {"a", "b"}
    moved = [*found.footage["validation"], *found.footage["test"]]
    assert len(moved) == len(found.notes) == 2
    for path, place, note in zip(moved, ("validation", "test"), found.notes):
        assert note == f"By the hashes of their names no file is in {place}; {path} goes there from train."


def test_files_of_one_recording_move_together():
    files = {f"v_g{group}_c0{cut}.avi": footage() for group in range(3) for cut in (1, 2)}
    for part in split(files).footage.values():
        assert len(part) == 2 and len({path[:4] for path in part}) == 1


def used(part):
    return {(path, int(frame)) for path, found in part.items() for frame in found.frames_NT.ravel()}


@pytest.mark.parametrize("step", [1, 0.5, 0.1])
@pytest.mark.parametrize("clips", [5, 6, 9, 40])
@pytest.mark.parametrize("files", [{"a.mp4"}, {"a.mp4", "b.mp4"}, {"v_c01.mp4", "v_c02.mp4", "v_c03.mp4"}])
def test_fewer_recordings_are_divided_by_time_with_gaps(files, clips, step):
    found = split({path: footage(clips, step=step) for path in files})
    parts = found.footage
    if step < 1 and not all(parts.values()):
        assert "as a whole" in found.notes[1]  # too few frames are left
        return
    assert all(parts.values()) and "divided by time" in found.notes[0]
    for one, other in itertools.combinations(parts, 2):
        for path, frame in used(parts[one]):
            assert not {(path, frame - 1), (path, frame), (path, frame + 1)} & used(parts[other])
    if "a.mp4" in files:
        starts = [part["a.mp4"].first for part in parts.values()]
        assert starts == sorted(starts) and all(len(part["a.mp4"]) for part in parts.values())
    if clips == 40 and files == {"a.mp4"} and step == 1:
        assert [len(part["a.mp4"]) for part in parts.values()] == [30, 4, 4]


def test_recordings_too_short_to_divide_go_to_the_largest_split():
    found = split({"short.mp4": footage(4), "long.mp4": footage(9)})
    assert set(found.footage["train"]) == {"short.mp4", "long.mp4"} and set(found.footage["test"]) == {"long.mp4"}
    assert found.notes[1] == ("short.mp4 has 4 clips, of 5 or more that it takes to divide it; it goes to train as a "
                              "whole.")


def make(folder, count, frames):
    for number in range(count):
        shades = [40 * number + frame for frame in range(frames)]
        write_video(folder / f"{number}.avi", greys(shades), "mjpeg", "yuvj420p")
    return VideoFolderConfig(folder=folder, num_frames=4, height=8, width=8)


@pytest.mark.parametrize(("count", "frames"), [(4, 5), (3, 4), (2, 20), (1, 24)])
def test_a_folder_of_few_videos_is_a_data_set(tmp_path, capsys, count, frames):
    builder = prepared_videos(make(tmp_path / "in", count, frames), tmp_path / "out", workers=1)
    assert all(builder.info.splits[name].num_examples for name in ("train", "validation", "test"))
    ids = [row["id"].decode() for name in builder.info.splits for row in builder.as_data_source(name)]
    assert len(set(ids)) == len(ids)
    assert ("divided by time" if count < 3 else "goes there from") in capsys.readouterr().err


def test_too_little_for_every_split_says_what_helps(tmp_path):
    config = make(tmp_path / "in", 2, 19)
    with pytest.raises(ValueError, match=r"Nothing is left for validation, test .*Needed are 3 or more videos that can "
                                         r"be read and have a clip, or fewer that have 5 clips or more; or name fewer"):
        prepared_videos(config, tmp_path / "out", workers=1)
