"""A user's own trajectories: in view in every camera, split without leaks, and refused with the reason if unusable."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from videogvt.inputs.builders import main, prepared
from videogvt.inputs.tracks import read_tracks, split_tracks
from videogvt.inputs.user_tracks import UserTracksConfig
from videogvt.world.spec import SPECS
from videogvt.world.tracker import track

RNG = np.random.default_rng(0)


def paths(count=30, frames=12, dims=3):
    return np.cumsum(RNG.normal(size=(count, frames, dims)), axis=1) * 50 + 1000


def labels(count=30):
    return np.array(["zig", "arc", "bee"])[np.arange(count) % 3]


def save(folder, name="tracks.npz", **arrays):
    np.savez(folder / name, **arrays)
    return folder / name


@pytest.mark.parametrize("rig", ["mono64", "stereo64", "ring64", "moving64", "mono128"])
@pytest.mark.parametrize("dims, fit", [(2, "file"), (2, "clip"), (3, "file"), (3, "clip")])
def test_the_whole_ball_is_in_view_in_every_frame_of_every_camera(tmp_path, rig, dims, fit):
    spec = SPECS[rig]
    config = UserTracksConfig(path=save(tmp_path, trajectories=paths(dims=dims), labels=labels()), spec=spec, fit=fit)
    low, high = [], []
    for split, (size, example) in config.splits().items():
        for index in range(size) if split == "train" else [0]:
            clip = example(index)
            radius = clip["radius_px"][..., None]
            low.append((clip["pixel_position"] - radius).min() + 0.5)
            high.append((clip["pixel_position"] + radius).max() + 0.5)
            assert {name: getattr(clip[name], "shape", ()) for name in clip} == {
                name: feature.shape for name, feature in config.features().items()
            }
    assert min(low) >= 0.999 * spec.pixel_unit and max(high) <= spec.height - 0.999 * spec.pixel_unit
    if rig == "mono64":  # and it fills the picture: the ball comes within a pixel of the margin somewhere
        assert min(min(low), spec.height - max(high)) <= 2.0


def test_the_ball_is_where_the_positions_say(tmp_path):
    config = UserTracksConfig(path=save(tmp_path, trajectories=paths(dims=2), labels=labels()), y_down=True)
    _, example = config.splits()["train"]
    clip = example(0)
    found = track(clip["video"])
    assert np.abs(found.position_T2 - clip["pixel_position"][0]).max() < 0.25
    source = clip["source_position"]
    framing = json.loads(clip["parameters"])
    flat = (source - framing["centre"]) * framing["scale"] @ np.array([[1, 0, 0], [0, 0, -1]])
    np.testing.assert_allclose(clip["position"], framing["target"] + flat, atol=1e-4)
    steps = np.diff(clip["pixel_position"][0], axis=0) / np.diff(source, axis=0)
    np.testing.assert_allclose(steps, steps[0, 0], rtol=1e-2)  # one scale; x right, y down


def test_y_points_up_unless_told(tmp_path):
    rising = np.zeros((30, 10, 2)) + np.linspace(0, 1, 10)[:, None] * np.arange(1, 31)[:, None, None]
    config = UserTracksConfig(path=save(tmp_path, trajectories=rising, labels=labels()))
    pixels = config.splits()["train"][1](0)["pixel_position"][0]
    assert pixels[-1, 0] > pixels[0, 0] and pixels[-1, 1] < pixels[0, 1]


def test_clips_keep_their_relative_size_unless_told(tmp_path):
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]] * 2, float)
    trajectories = square * np.linspace(0.1, 1, 30)[:, None, None]
    file = save(tmp_path, trajectories=trajectories, labels=labels())
    for fit, check in (("file", lambda ratio: ratio > 2), ("clip", lambda ratio: abs(ratio - 1) < 1e-3)):
        size, example = UserTracksConfig(path=file, fit=fit).splits()["train"]
        widths = [np.ptp(example(index)["pixel_position"][0, :, 0]) for index in range(size)]
        assert check(max(widths) / min(widths))


def test_it_builds_and_reads_like_any_other(tmp_path):
    trajectories = paths()
    config = UserTracksConfig(path=save(tmp_path, trajectories=trajectories, labels=labels()))
    builder = prepared(config, tmp_path / "data", workers=2)
    info = tfds.builder_from_directory(builder.data_dir).info
    assert info.features["label"].names == ["arc", "bee", "zig"]
    rows = []
    for split in info.splits:
        for clip in builder.as_data_source(split):
            row = clip["source_index"]
            np.testing.assert_array_equal(clip["source_position"], trajectories[row].astype("float32"))
            assert clip["family"].decode() == labels()[row] == info.features["label"].names[clip["label"]]
            rows.append(row)
    assert sorted(rows) == list(range(30))
    assert read_tracks(config.path).sha256[:16] in builder.data_dir


def test_different_files_and_settings_never_share_a_folder(tmp_path):
    first = save(tmp_path, "a.npz", trajectories=paths(), labels=labels())
    second = save(tmp_path, "b.npz", trajectories=paths(), labels=labels())
    configs = [UserTracksConfig(path=first), UserTracksConfig(path=second), UserTracksConfig(path=first, fit="clip")]
    configs += [UserTracksConfig(path=first, y_down=True), UserTracksConfig(path=first, spec=SPECS["stereo64"])]
    assert len({config.name for config in configs}) == 5
    copy = tmp_path / "copy.npz"
    copy.write_bytes(first.read_bytes())
    assert UserTracksConfig(path=copy).name == configs[0].name
    assert prepared(UserTracksConfig(path=copy), tmp_path).data_dir == prepared(configs[0], tmp_path).data_dir


def test_splits_are_disjoint_stratified_and_keep_copies_together(tmp_path):
    trajectories = paths(300)
    trajectories[200:220] = trajectories[100]
    tracks = read_tracks(save(tmp_path, trajectories=trajectories, labels=np.arange(300) % 3))
    rows = split_tracks(tracks)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(300))
    for label in range(3):
        counts = [int((tracks.label_N[rows[split]] == label).sum()) for split in ("train", "validation", "test")]
        assert counts[0] >= 70 and min(counts[1:]) >= 5
    assert sum(bool({100, *range(200, 220)} & set(members.tolist())) for members in rows.values()) == 1


GOOD = dict(trajectories=paths(), labels=labels())


def moving(trajectories):
    return {**GOOD, "trajectories": trajectories}


def labelled(values):
    return {**GOOD, "labels": values}


def spoiled(index, value):
    trajectories = paths()
    trajectories[index] = value
    return trajectories


@pytest.mark.parametrize(
    "arrays, message",
    [
        (dict(labels=labels()), "has no array 'trajectories'; needed are 'trajectories'"),
        (dict(trajectories=paths()), "has no array 'labels'; needed are"),
        (dict(x=1), "has no array 'trajectories' or 'labels'; needed are"),
        (moving(paths(dims=4)), r"'trajectories' has shape \(30, 12, 4\); needed are .*\(N, T, 2 or 3\)"),
        (moving(paths()[0]), r"'trajectories' has shape \(12, 3\); needed"),
        (moving(paths(frames=7)), r"'trajectories' has shape \(30, 7, 3\); needed are .*T >= 8"),
        (moving(paths().astype(str)), "'trajectories' has dtype <U.*; needed are .*finite numbers"),
        (moving(paths().astype(complex)), "'trajectories' has dtype complex128; needed"),
        (moving(spoiled(4, np.nan)), "NaN or infinity in 1 of 30 trajectories, the first at index 4;"),
        (moving(spoiled((7, 3, 1), np.inf)), "NaN or infinity in 1 of 30 .* the first at index 7;"),
        (labelled(labels(29)), r"'labels' has shape \(29,\) beside 30 trajectories; needed are .*'labels' \(N,\)"),
        (labelled(np.eye(3)[np.arange(30) % 3]), r"'labels' has shape \(30, 3\) beside 30 trajectories"),
        (labelled(np.arange(30) % 3 * 1.0), "'labels' has dtype float64; needed are .*integers or strings"),
        (labelled(np.zeros(30, int)), "clips per class are {0: 30}; needed are .*2 or more classes"),
        (labelled(np.arange(30) // 25), "clips per class are {0: 25, 1: 5}; needed are .*10 or more clips each"),
        (moving(np.array([paths()[0], paths()[0][:5]] * 15, object)), "holds an object array .*unequal"),
        (labelled(labels().astype(object)), "holds an object array .*which is not loaded; needed"),
        ({**GOOD, "class_names": np.array(["a", "b", "c"])}, "'labels' are <U3; beside 3 'class_names' they must be"),
        (
            {**GOOD, "labels": np.arange(30) % 3, "class_names": np.array(["a", "b"])},
            "beside 2 'class_names' they must be integers from 0 to 1",
        ),
        ({**GOOD, "class_names": np.array([["a"]])}, r"'class_names' is <U1 \(1, 1\); it may be left out"),
        (moving(np.zeros((30, 12, 3))), "Of 30 trajectories only 1 are distinct, too few for a split"),
    ],
)
def test_an_unusable_file_says_what_was_found_and_what_is_needed(tmp_path, arrays, message):
    file = save(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message):
        UserTracksConfig(path=file)
    assert main(["build", str(file), "--data_dir", str(tmp_path / "data")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.npz"]  # nothing was written


def test_what_is_no_npz_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npz is no file; needed are"):
        UserTracksConfig(path=tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="text.npz is no .npz file; needed are"):
        UserTracksConfig(path=tmp_path / "text.npz")
    np.save(tmp_path / "array.npy", paths())
    with pytest.raises(ValueError, match="array.npy is no .npz file; needed are"):
        UserTracksConfig(path=tmp_path / "array.npy")
    file = save(tmp_path, **GOOD)
    content = bytearray(file.read_bytes())
    content[2000:2100] = bytes(100)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="tracks.npz is a damaged .npz file .*; needed are"):
        UserTracksConfig(path=file)


def test_an_unknown_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fit is 'best'; it must be one of 'file', 'clip'"):
        UserTracksConfig(path=save(tmp_path, **GOOD), fit="best")


def test_class_names_may_be_given(tmp_path):
    file = save(tmp_path, trajectories=paths(), labels=np.arange(30) % 3, class_names=np.array(["c", "a", "b"]))
    assert UserTracksConfig(path=file).features()["label"].names == ["c", "a", "b"]
