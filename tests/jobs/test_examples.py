"""Examples of a classifier: which clips, what is seen of them, what is asked, and what each control takes away."""

import dataclasses
import itertools

import numpy as np
import pytest

from videogvt.evals.classification import TARGETS
from videogvt.inputs.sources import open_source
from videogvt.jobs.examples import Examples
from videogvt.jobs.tables import Opened
from videogvt.pretrained import VideoTokenizer
from videogvt.world.example import example
from videogvt.world.scene import draw_scene
from videogvt.world.spec import SPECS


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return Opened.of({"source": "trajectories", "options": {"config": "tiny"}}, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tokenizer(workdir):
    return VideoTokenizer.load(workdir, window=8, batch_size=32)


def whole(source):
    return source.read(range(len(source)))


def test_labels_choose_as_many_clips_of_each_class(opened):
    train = Examples("pixels", opened, labels=20, seed=1).split("train")
    rows = whole(train)
    assert np.bincount(rows["label"]).tolist() == [4] * 5 and set(train.fields) == {"video", "label", "id"}
    for label, name, video in zip(rows["label"], rows["id"], rows["video"], strict=True):
        truth = example(SPECS["tiny"], "train", int(name.split("/")[-1]))
        assert truth["label"] == label
        np.testing.assert_array_equal(truth["video"], video)
    other = Examples("pixels", opened, labels=20, seed=2).split("train").rows
    assert set(other) != set(train.rows) and len(Examples("pixels", opened, labels=20).split("test")) == 20
    with pytest.raises(ValueError, match="labels is 21; expected a multiple of the 5 classes, at most 40"):
        Examples("pixels", opened, labels=21).split("train")


def test_codes_are_the_tokenizers_and_kept(opened, tokenizer):
    test = whole(Examples("codes", opened, tokenizer=tokenizer).split("test"))
    video = open_source("trajectories", "test", config="tiny", data_dir=opened.data_dir).read(range(20))["video"]
    np.testing.assert_array_equal(test["codes"], tokenizer.codes(video))
    assert "video" not in test and len(list((opened.data_dir / "codes").glob("test-*"))) == 1


def test_a_mirror_shows_every_training_clip_a_second_time(opened, tokenizer):
    asked = Examples("codes", opened, tokenizer=tokenizer, labels=20, target="next_pixel", mirrored=True)
    plain = Examples("codes", opened, tokenizer=tokenizer, labels=20, target="next_pixel")
    train, seen = whole(asked.split("train")), whole(Examples("pixels", opened, labels=20).split("train"))["video"]
    assert len(train["codes"]) == 40
    for name, values in whole(plain.split("train")).items():
        np.testing.assert_array_equal(train[name][:20], values)
    np.testing.assert_array_equal(train["codes"][20:], tokenizer.codes(seen[:, :, :, ::-1]))
    np.testing.assert_array_equal(train["label"][20:], train["label"][:20])
    (mean_P, scale_P), width = asked.scale, seen.shape[3]
    x, y, radius = (train["position"] * scale_P + mean_P).T
    np.testing.assert_allclose(x[20:], width - 1 - x[:20], atol=1e-4)
    np.testing.assert_allclose([y[20:], radius[20:]], [y[:20], radius[:20]], atol=1e-4)
    for name, values in whole(plain.split("test")).items():
        np.testing.assert_array_equal(whole(asked.split("test"))[name], values)


@pytest.mark.parametrize("edit", ["untrained", "shuffled_labels", "first_frame", "shuffled_time"])
def test_a_control_does_to_the_mirror_image_what_it_does_to_the_clip(edit, opened, tokenizer):
    asked = Examples("codes", opened, tokenizer=tokenizer, labels=20, edit=edit, mirrored=True)
    train, plain = whole(asked.split("train")), whole(dataclasses.replace(asked, mirrored=False).split("train"))
    seen = whole(Examples("pixels", opened, labels=20, edit="first_frame" if edit == "first_frame" else None)
                 .split("train"))["video"]
    for name, values in plain.items():
        np.testing.assert_array_equal(train[name][:20], values)
    np.testing.assert_array_equal(train["label"][20:], plain["label"])
    of_mirror = asked.coder.codes(seen[:, :, :, ::-1])
    if edit == "shuffled_time":  # the same order of times
        np.testing.assert_array_equal(np.sort(train["codes"][20:], axis=1), np.sort(of_mirror, axis=1))
        straight = whole(Examples("codes", opened, tokenizer=tokenizer, labels=20).split("train"))["codes"]
        for clip in range(20):
            orders = [order for order in itertools.permutations(range(straight.shape[1]))
                      if (straight[clip][list(order)] == plain["codes"][clip]).all()]
            assert any((of_mirror[clip][list(order)] == train["codes"][20 + clip]).all() for order in orders)
    else:
        np.testing.assert_array_equal(train["codes"][20:], of_mirror)


def test_a_mirror_is_refused_where_it_shows_nothing_true(opened, tokenizer):
    for fields in ({"input": "pixels"}, {"input": "codes", "tokenizer": tokenizer, "views": True}):
        with pytest.raises(ValueError, match="mirrored is for codes of one camera"):
            Examples(opened=opened, mirrored=True, **fields)
    world = Examples("codes", opened, tokenizer=tokenizer, labels=20, target="next_world", mirrored=True)
    with pytest.raises(ValueError, match="places in the picture of one camera; found points in m"):
        world.split("train")


def test_controls_take_away_what_they_say(opened, tokenizer):
    def codes(**fields):
        return whole(Examples("codes", opened, tokenizer=tokenizer, **fields).split("test"))["codes"]

    kept = codes()
    still = codes(edit="first_frame")
    np.testing.assert_array_equal(
        still, tokenizer.codes(np.repeat(whole(Examples("pixels", opened).split("test"))["video"][:, :1], 8, axis=1)))
    shuffled = codes(edit="shuffled_time")
    assert (shuffled != kept).any()
    np.testing.assert_array_equal(np.sort(shuffled.reshape(20, kept.shape[1], -1).sum(-1)),
                                  np.sort(kept.reshape(20, kept.shape[1], -1).sum(-1)))
    assert (codes(edit="untrained") != kept).any()
    asked = Examples("codes", opened, tokenizer=tokenizer, edit="untrained", labels=20)
    assert asked.coder.hash != tokenizer.hash and asked.coder is asked.coder
    clips = open_source("trajectories", "test", config="tiny", data_dir=opened.data_dir, fields=("video",))
    expected = asked.coder.codes(clips.read([3])["video"])[0]
    np.testing.assert_array_equal(whole(asked.split("test"))["codes"][3], expected)
    label = {edit: {split: whole(Examples("pixels", opened, edit=edit).split(split))["label"]
                    for split in ("train", "test")} for edit in (None, "shuffled_labels", "rolled_labels")}
    for edit in ("shuffled_labels", "rolled_labels"):
        np.testing.assert_array_equal(label[edit]["test"], label[None]["test"])
        assert np.bincount(label[edit]["train"]).tolist() == [8] * 5
    np.testing.assert_array_equal(label["rolled_labels"]["train"], (label[None]["train"] + 1) % 5)
    assert 0 < (label["shuffled_labels"]["train"] == label[None]["train"]).mean() < 0.6


def test_tracks_are_statistics_and_the_start_alone_is_two_numbers(opened):
    features = Examples("tracks", opened, labels=20).features("train")
    assert {len(column) for column in features.values()} == {20} and "curvature/max" in features
    start = Examples("tracks", opened, edit="start_position").features("test")
    truth = open_source("trajectories", "test", config="tiny", data_dir=opened.data_dir,
                        fields=("pixel_position",)).read(range(20))["pixel_position"]
    assert set(start) == {"position/x/first", "position/y/first"}
    np.testing.assert_allclose(start["position/x/first"], truth[:, 0, 0, 0], atol=0.3)
    still = Examples("tracks", opened, edit="first_frame").features("test")
    assert (still["speed/max"] == 0).all()


def test_the_oracle_scores_families_and_learns_nothing(opened):
    asked = Examples("oracle", opened, labels=0)
    assert len(asked.split("train")) == 0 and asked.split("train").class_names == SPECS["tiny"].families
    scores = asked.features("test")
    named = np.stack(list(scores.values())).argmin(0)
    assert tuple(scores) == SPECS["tiny"].families and (named == whole(asked.split("test"))["label"]).mean() > 0.7
    video = whole(Examples("pixels", opened).split("test"))["video"]
    np.testing.assert_allclose(asked.see(video, SPECS["tiny"].fps)["circular"], scores["circular"])
    with pytest.raises(ValueError, match="learns from no label, tells no position and has no control; found labels 20"):
        Examples("oracle", opened, labels=20)


def test_other_worlds_are_further_test_splits(opened):
    asked = Examples("pixels", opened, also=("tiny",), target="next_pixel")
    assert asked.split("test").splits == ("train", "validation", "test", "ood", "tiny")
    for name, column in whole(asked.split("tiny")).items():
        np.testing.assert_array_equal(column, whole(asked.split("test"))[name])
    tracks = Examples("tracks", opened, also=("tiny",))
    np.testing.assert_array_equal(tracks.features("tiny")["speed/max"], tracks.features("test")["speed/max"])
    with pytest.raises(ValueError, match="only 'trajectories' has further worlds"):
        Examples("pixels", Opened("videos", "{}", None), also=("hard64",))


@pytest.mark.parametrize("name", ["next_pixel", "path", "next_world"])
def test_positions_are_those_of_the_world(opened, name):
    """One frame after the last, of the path itself, through the camera."""
    asked = Examples("pixels", opened, target=name)
    mean_P, scale_P = asked.scale
    position = whole(asked.split("test"))["position"] * scale_P + mean_P
    spec = SPECS["tiny"]
    for index in range(5):
        truth, scene = example(spec, "test", index), draw_scene(spec, "test", index)
        place_13 = scene.paths[spec.families[index]].position(np.array([spec.num_frames / spec.fps]))
        pixel, depth = scene.cameras[0, -1].project(place_13)
        expected = {
            "next_world": place_13[0],
            "next_pixel": np.append(pixel, scene.cameras[0, -1].K[0, 0] * scene.radius / depth),
            "path": np.concatenate([truth["pixel_position"][0], truth["radius_px"][0][:, None]], 1).ravel(),
        }[name]
        np.testing.assert_allclose(position[index], expected, rtol=1e-3, atol=1e-3)


def test_what_stereo_pictures_show_is_triangulated_to_metres():
    spec, target = SPECS["stereo64"], TARGETS["next_metric"]
    rows = [example(spec, "test", index) for index in range(5)]
    rows = {name: np.stack([row[name] for row in rows]) for name in target.fields}
    known = target.known(rows)
    point_N3 = target.points(known["position"], known["calibration"])
    for index in range(5):
        scene = draw_scene(spec, "test", index)
        place_13 = scene.paths[spec.families[index]].position(np.array([spec.num_frames / spec.fps]))
        pictures = [camera.project(place_13)[0] for camera in scene.cameras[:, -1]]
        expected = np.append(pictures[0], pictures[0][..., 0] - pictures[1][..., 0])
        np.testing.assert_allclose(known["position"][index], expected, atol=1e-3)
        left = scene.cameras[0, -1]
        np.testing.assert_allclose(point_N3[index], left.R @ place_13[0] + left.t, rtol=1e-4, atol=1e-4)
    far = target.points(np.full((1, 3), -1e3), known["calibration"][:1])
    assert np.isfinite(far).all() and far[0, 2] > 100


def test_errors_are_distances():
    true = np.array([[0.0, 0.0, 1.0], [0.0, 3.0, 4.0]])
    off = true + np.array([[3.0, 4.0, 0.5], [0.0, 0.0, 0.0]])
    pixel = TARGETS["next_pixel"].errors(off, true)
    np.testing.assert_allclose(pixel["position_error"], [5.0, 0.0])
    np.testing.assert_allclose(pixel["radius_error"], [0.5, 0.0])
    metric = TARGETS["next_metric"].errors(true + np.array([0.0, 0.3, 0.4]), true)
    np.testing.assert_allclose(metric["position_error"], [0.5, 0.5])
    np.testing.assert_allclose(metric["position_error_share"], [0.5, 0.1])


def test_what_does_not_fit_is_refused(opened):
    with pytest.raises(ValueError, match="input in config.examples 'code'. Did you mean 'codes'"):
        Examples("code", opened)
    with pytest.raises(ValueError, match="name a config.tokenizer.run for codes and latents"):
        Examples("codes", opened)
    with pytest.raises(ValueError, match="'next_metric' needs all cameras; set config.examples.views"):
        Examples("pixels", opened, target="next_metric")
    with pytest.raises(ValueError, match="asks for no class and no target"):
        Examples("pixels", opened, classes=False)
    with pytest.raises(ValueError, match="'untrained' cannot be done to pixels"):
        Examples("pixels", opened, edit="untrained")


def test_features_of_an_encoder_are_standardized_over_the_training_clips(opened):
    asked = Examples("features", opened, labels=20, encoder="tests.jobs.test_tables:mean_colour")
    train = whole(asked.split("train"))["codes"]
    assert train.shape == (20, 1, 1, 1, 3)
    np.testing.assert_allclose(train.mean(0).ravel(), 0, atol=1e-3)
    np.testing.assert_allclose(train.std(0).ravel(), 1, atol=1e-3)
