"""A loaded generator: the recipe's own clips, each from its key; given videos, long ones, clear refusals, the mode."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import videogvt
from videogvt import modes
from videogvt.inputs.given import read_given
from videogvt.inputs.sources import open_source
from videogvt.pretrained import VideoGenerator, VideoTokenizer, bundle
from videogvt.pretrained.export import export
from videogvt.train.checkpoint import load_params
from videogvt.world.spec import SPECS

CLASSES = SPECS["tiny"].families
LIMIT = 15_000_000  # bytes of a generator that ships


@pytest.fixture(scope="module")
def generator(generator_run):
    return VideoGenerator.load(generator_run, batch_size=2)


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (4, 4, 4, 3), dtype=np.uint8).repeat(2, 0).repeat(8, 1).repeat(8, 2)


def test_package_offers_it():
    assert videogvt.VideoGenerator is VideoGenerator


def test_clips_are_those_of_the_generation_itself(generator, generator_run):
    made = generator.generate("CG", number=3, seed=5)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), np.arange(3))
    params = load_params(generator_run)["transformer"]
    wanted = generator.generation(
        params, generator.tokenizer.params, np.zeros(3, np.int32), np.arange(3),
        np.zeros((3, 8, 32, 32, 3), np.float32), keys,
    )
    np.testing.assert_array_equal(made.codes, wanted["codes"])
    np.testing.assert_allclose(made.videos, wanted["video"], atol=1e-5)
    assert made.labels.tolist() == [0, 1, 2] and made.videos.shape == (3, 8, 32, 32, 3)
    np.testing.assert_allclose(generator.tokenizer.video(made.codes), made.videos, atol=1e-5)


def test_guidance_of_a_network_that_always_knew_the_class_is_doubted(generator):
    with pytest.warns(UserWarning, match="guidance=1.0 leads away .*losses.class_dropout was 0"):
        generator.generate("CG", number=1, guidance=1.0)


def test_clip_i_depends_on_seed_and_i_alone(generator):
    many = generator.generate("CG", "helical", 5, seed=1)
    few = generator.generate("CG", CLASSES.index("helical"), 3, seed=1)
    np.testing.assert_array_equal(many.codes[:3], few.codes)
    assert (many.codes[0] != many.codes[1]).any()
    assert (generator.generate("CG", "helical", 1, seed=2).codes != many.codes[:1]).any()


def test_only_given_pixels_count_and_missing_frames_may_be_missing(generator, clip):
    whole = generator.generate("FP:4", number=2, video=clip)
    np.testing.assert_array_equal(whole.codes, generator.generate("FP:4", number=2, video=clip[:4]).codes)
    changed = clip.copy()
    changed[4:] = 255 - changed[4:]
    np.testing.assert_array_equal(whole.codes, generator.generate("FP:4", number=2, video=changed / 255.0).codes)
    assert (generator.generate("FP:4", number=2, video=255 - clip).codes != whole.codes).any()
    other = generator.generate("FP:2", number=2, video=clip[:2])  # not trained on, but of the same kind
    assert other.codes.shape == whole.codes.shape and other.labels.tolist() == [-1, -1]


def test_steps_and_decoding_can_be_asked_for(generator):
    made = generator.generate("CG", number=3, keep_steps=True, steps=4)
    assert made.tokens.shape == made.masked.shape == (3, 4, 2, 4, 4)
    np.testing.assert_array_equal(made.tokens[:, -1], made.codes)
    assert not made.masked[:, -1].any() and made.masked[:, 0].any()
    np.testing.assert_array_equal(made.codes, generator.generate("CG", number=3, steps=4).codes)
    assert (generator.generate("CG", number=3, temperature=0.0, steps=4).codes != made.codes).any()


def test_another_sampler_can_be_asked_for(generator):
    made = generator.generate("CG", number=2, keep_steps=True, sampler="frames", steps=3)
    assert made.tokens.shape == (2, 2 * 3, 2, 4, 4)  # three passes for each of two frames
    assert made.masked[:, :3, 1].all() and not made.masked[:, 3:, 0].any()
    changed = generator.generate("CG", number=2, sampler="draft_and_revise", steps=3, revisions=1)
    assert (changed.codes != made.codes).any()
    with pytest.raises(ValueError, match="decoding.sampler 'frame'. Did you mean 'frames'"):
        generator.generate("CG", sampler="frame")
    with pytest.raises(ValueError, match="decoding.empty=None, and decoding.sampler='speaking'"):
        generator.generate("CG", sampler="speaking")


def test_long_videos_go_on(generator, clip):
    video = np.stack([clip, clip])
    longer = generator.extend(video, 15, given=4, seed=1, overlap=2)
    assert longer.shape == (2, 15, 32, 32, 3)
    np.testing.assert_allclose(longer[:, :6], video[:, :6] / 255, atol=1e-6)
    np.testing.assert_array_equal(longer, generator.extend(video / np.float32(255), 15, given=4, seed=1, overlap=2))


def test_the_causal_one_generates_too(lm_run):
    generator = VideoGenerator.load(lm_run)
    made = generator.generate(label="circular", number=3, seed=1)
    assert made.codes.max() < 64 and made.videos.shape == (3, 8, 32, 32, 3)
    np.testing.assert_array_equal(made.codes[:1], generator.generate(label="circular", number=1, seed=1).codes)
    with pytest.raises(ValueError, match="decoding 'steps'.*Legal"):
        generator.generate(steps=3)
    with pytest.raises(ValueError, match="one after another|each decoding step"):
        generator.generate(keep_steps=True)


def test_refusals_list_what_is_legal(generator, generator_run, workdir, clip, tmp_path):
    with pytest.raises(ValueError, match="class 'helix'. Did you mean 'helical'.*circular"):
        generator.generate("CG", "helix")
    with pytest.raises(ValueError, match="no class 7; there are 0 linear"):
        generator.generate("CG", 7)
    with pytest.raises(ValueError, match="task of this generator 'OPC'.*CG, FP:4, IPC"):
        generator.generate("OPC", video=clip)
    with pytest.raises(ValueError, match="decoding 'step'. Did you mean 'steps'"):
        generator.generate("CG", step=3)
    with pytest.raises(ValueError, match="'FP:4' needs a video"):
        generator.generate("FP:4")
    with pytest.raises(ValueError, match="'CG' is given no pixels"):
        generator.generate("CG", video=clip)
    with pytest.raises(ValueError, match="expects 4 to 8 frames of 32 x 32 pixels"):
        generator.generate("FP:4", video=clip[:3])
    with pytest.raises(ValueError, match="found values from 0 to 249. Where white is 255, use video / 255"):
        generator.generate("FP:4", video=clip.astype(np.float32))
    with pytest.raises(ValueError, match="the task 'IPC' has no class here"):
        generator.generate("IPC", "helical", video=clip)
    with pytest.raises(FileNotFoundError, match="There is no generator 'nothing'"):
        VideoGenerator.load("nothing")
    with pytest.raises(ValueError, match="the run of a tokenizer, which generates nothing"):
        VideoGenerator.load(workdir)


@pytest.mark.parametrize(
    "change, wrong",
    [
        (lambda clip: clip[:3, :30, :, :], "frames = 3, not 4; height = 30, not 32"),
        (lambda clip: clip.transpose(3, 0, 1, 2), "looks like one channels-first clip"),
        (lambda clip: clip[..., 0], "looks like one grey clip"),
        (lambda clip: np.stack([clip] * 3).repeat(2, axis=1), "frames = 16, not 8; clips = 3, not 1 or 2"),
    ],
)
def test_all_that_is_wrong_with_a_given_video_is_named_with_what_mends_it(generator, clip, change, wrong):
    given = change(clip)
    with pytest.raises(ValueError, match=wrong) as refused:
        generator.generate("FP:4", video=given, number=2)
    hint = re.search(r"use (.*), or videogvt", str(refused.value))[1]
    made = eval(hint, {"np": np}, {"video": given})
    assert generator.generate("FP:4", video=made, number=2).videos.shape == (2, 8, 32, 32, 3)


def test_another_tokenizer_is_refused_with_both_hashes(generator_run):
    with pytest.raises(ValueError, match=r"have the hash [0-9a-f]{16}; .* has [0-9a-f]{16}. Name the one") as refused:
        VideoGenerator.load(generator_run, tokenizer="traj64")
    assert "parameters" in str(refused.value)


def test_export_keeps_half_precision_and_names_its_tokenizer(generator, generator_run, workdir, tmp_path, monkeypatch):
    for folder, step in ((workdir, 2), (generator_run, 2)):
        about = {"step": step, "total_steps": 2, "seconds": 1.0, "trained_by_commit": "abc"}
        numbers = {"eval/test/loss": 3.5, "eval/test/real/loss": 1.25}
        (folder / "eval.json").write_text(json.dumps({"about": about, **numbers}))
        (folder / "environment.json").write_text(json.dumps({"devices": 1, "device": "cpu", "host_cores": 2}))
    monkeypatch.setattr(bundle, "HOME", tmp_path)
    with pytest.raises(ValueError, match="Export the tokenizer below"):
        export(generator_run, tmp_path / "maker")
    export(workdir, tmp_path / "small", tmp_path / "data")
    folder = export(generator_run, tmp_path / "maker")
    assert set(bundle.shipped()) == {"small"} and set(bundle.shipped("generator")) == {"maker"}
    shipped = VideoGenerator.load("maker")
    assert shipped.class_names == generator.class_names and shipped.tasks == generator.tasks
    for ours, theirs in zip(jax.tree.leaves(generator.params), jax.tree.leaves(shipped.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    golden = bundle.read_golden(folder)
    assert golden["video"].shape == (5, 8, 32, 32, 3) and golden["label"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(golden["codes"], shipped.generate("CG", number=5).codes)
    card = (folder / "card.md").read_text()
    for text in ('VideoGenerator.load("maker")', "CG, FP:4, IPC", "`small`, 32 codes a clip", "| loss | 3.5 | 1.25 |"):
        assert text in card, text
    with pytest.raises(ValueError, match="holds a tokenizer; load it with VideoTokenizer"):
        VideoGenerator.load(tmp_path / "small")
    with pytest.raises(ValueError, match="holds a generator; load it with VideoGenerator"):
        VideoTokenizer.load(folder)


@pytest.mark.optimized
def test_who_is_asked_where_nobody_is_named_ships():
    assert bundle.GENERATOR in bundle.shipped("generator")


@pytest.mark.parametrize("name", bundle.shipped("generator"))
def test_shipped_generators_are_small_whole_and_still_right(name):
    folder = bundle.shipped("generator")[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
    generator, golden = VideoGenerator.load(name), bundle.read_golden(folder)
    made = generator.generate("CG", number=len(golden["label"]))
    np.testing.assert_array_equal(made.labels, golden["label"])
    assert np.mean(made.codes == golden["codes"]) >= 0.8  # other machines round otherwise, and then draw another code


def test_the_mode_writes_clips_codes_and_sheets(generator_run, clip, tmp_path, capsys):
    np.savez(tmp_path / "clip.npz", video=clip)
    request = modes.Request(task="FP:4", number=2, video=str(tmp_path / "clip.npz"), output=str(tmp_path / "out"),
                            sampler="random", steps=2, show_steps=True)
    modes.generate(None, str(generator_run), None, request)
    written = {path.split("/")[-1] for path in capsys.readouterr().out.split()}
    assert {"clip-000.gif", "clip-001.gif", "all.webp", "contact_sheet.png", "codes.npz", "steps.png", "steps.webp",
            "about.json"} <= written
    with Image.open(tmp_path / "out" / "clip-001.gif") as picture:
        assert picture.n_frames == 8 and picture.size == (256, 256)
    codes = np.load(tmp_path / "out" / "codes.npz")["codes"]
    wanted = VideoGenerator.load(generator_run).generate("FP:4", number=2, video=clip, sampler="random", steps=2)
    np.testing.assert_array_equal(codes, wanted.codes)
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["task"] == "FP:4" and about["seed"] == 0 and about["clips"] == ["clip-000", "clip-001"]


def test_the_mode_takes_a_clip_of_the_data_and_goes_on(generator_run, tmp_path, capsys):
    request = modes.Request(task="FP:4", number=1, index=3, frames=12, output=str(tmp_path / "out"))
    modes.generate(None, str(generator_run), str(tmp_path / "data"), request)
    with Image.open(tmp_path / "out" / "clip-000.gif") as picture:
        assert picture.n_frames == 12
    with pytest.raises(ValueError, match="index=20: the split 'test' has clips 0 to 19"):
        modes.generate(None, str(generator_run), str(tmp_path / "data"), modes.Request(task="FP:4", index=20))


def test_a_clip_of_the_test_split_does_not_ask_for_all_training_clips(generator_run, tmp_path):
    run = shutil.copytree(generator_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"]["options"]["clips"] = 30
    (run / "config.json").write_text(json.dumps(config))
    request = modes.Request(task="FP:4", number=1, index=3, output=str(tmp_path / "out"))
    modes.generate(None, str(run), str(tmp_path / "data"), request)
    built = lambda: sorted(folder.name for folder in (tmp_path / "data" / "trajectories").glob("tiny*"))  # noqa: E731
    assert built() == ["tiny"]
    where = {"fields": ("video",), "data_dir": tmp_path / "data", "config": "tiny"}
    clips = [open_source("trajectories", "test", **where, **options) for options in ({}, {"clips": 30})]
    np.testing.assert_array_equal(*(source.read([0, 3])["video"] for source in clips))
    assert len(built()) == 2


def test_clips_are_read_from_arrays_pictures_and_videos(clip, tmp_path):
    np.save(tmp_path / "clip.npy", clip / 255.0)
    np.testing.assert_array_equal(read_given(tmp_path / "clip.npy", 8, 32, 32), clip)
    frames = [Image.fromarray(frame) for frame in clip]
    frames[0].save(tmp_path / "clip.webp", save_all=True, append_images=frames[1:], lossless=True, duration=40)
    found = read_given(tmp_path / "clip.webp", 4, 32, 32)
    assert found.shape == (4, 32, 32, 3) and np.abs(found.astype(int) - clip[[0, 2, 4, 6]]).max() <= 2
    assert read_given(tmp_path / "clip.webp", 2, 16, 24).shape == (2, 16, 24, 3)
    with pytest.raises(FileNotFoundError, match="There is no video .*nothing.gif"):
        read_given(tmp_path / "nothing.gif", 8, 32, 32)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="broken.mp4 cannot be read as a video"):
        read_given(tmp_path / "broken.mp4", 8, 32, 32)
