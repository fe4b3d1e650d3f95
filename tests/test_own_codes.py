"""The codec of docs/tokens.md from end to end: codes, a transformer of them, and the codec's decode of its codes."""

import json
import pathlib
import re
import sys

import numpy as np
import pytest
from sklearn.cluster import KMeans

from tests.test_configs import module
from videogvt import VideoGenerator, jobs, modes
from videogvt.inputs.sources import open_source
from videogvt.train import journal

DOCUMENT = pathlib.Path(__file__).parents[1] / "docs" / "tokens.md"
CODEC = "codec:my_codec:Patches"
GRID = (8, 4, 4)  # of clips of 8 frames of 32 x 32 pixels


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def clips(home):
    fields = ("video", "label")
    return {split: open_source("trajectories", split, fields=fields, data_dir=home / "data", config="tiny")
            for split in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def own(home, clips):
    """The module that the document shows, with centres of its own, in the place that it says."""
    text = re.search(r"```python\n# my_codec.py.*?\n(.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    assert len([line for line in text.splitlines() if line.strip()]) <= 20
    (home / "my_codec.py").write_text(text.replace('"centres.npy"', repr(str(home / "centres.npy"))))
    sys.path.insert(0, str(home))
    import my_codec

    video = clips["train"].read(range(16))["video"] / np.float32(255)
    patches_ND = my_codec.cut(video).reshape(-1, 192)
    np.save(home / "centres.npy", KMeans(64, n_init=1, max_iter=5, random_state=0).fit(patches_ND).cluster_centers_)
    yield my_codec.Patches()
    sys.path.remove(str(home))
    del sys.modules["my_codec"]


@pytest.fixture(scope="module")
def files(home, clips, own):
    """The codes of all clips as the files that the document describes."""
    folder = home / "files"
    folder.mkdir()
    for split, source in clips.items():
        rows = source.read(range(len(source)))
        np.savez(folder / f"{split}.npz", codes=own.codes(rows["video"] / np.float32(255)), label=rows["label"],
                 class_names=np.array([f"one/{name}" for name in source.class_names]), num_codes=np.int64(64),
                 strides=np.array([1, 8, 8]), hash=np.array("patches-64"))
    return folder


def imported(variant, home, files, codec):
    config = module("own_codes").get_config(variant)
    config.data.options.files, config.tokenizer.run = str(files), codec
    modes.import_data(config, None, str(home / "data"))
    return config


@pytest.mark.parametrize("variant, codec", [("tiny", None), ("tiny_causal", CODEC)])
def test_files_of_codes_train_and_what_is_generated_is_decoded_by_their_own_codec(variant, codec, home, files, own):
    config, data_dir = imported(variant, home, files, codec), home / "data"
    workdir = home / variant
    modes.train(config, workdir, data_dir)
    numbers = journal.read_eval(workdir)
    assert 0 < numbers["eval/test/loss"] < 10 and {"validation", "test"} <= set(numbers["about"]["evaluators"])
    generator = VideoGenerator.load(workdir, data_dir=data_dir)
    made = generator.generate("CG", number=6)
    assert made.codes.shape == (6, *GRID) and 0 <= made.codes.min() <= made.codes.max() < 64
    assert made.labels.tolist() == [0, 1, 2, 3, 4, 0]
    videos = own.video(made.codes)
    if codec is None:
        assert made.videos is None
    else:
        np.testing.assert_allclose(made.videos, np.clip(videos, 0, 1), atol=1e-6)
    folder = home / f"{variant}-made"
    modes.generate(config, str(workdir), str(data_dir), modes.Request(number=2, output=str(folder)))
    written = np.load(folder / "codes.npz")["codes"]
    np.testing.assert_array_equal(written, generator.generate("CG", number=2).codes)
    assert (folder / "all.webp").exists() == (codec is not None)
    names = {f"one_{generator.class_names[clip].removeprefix('one/')}-{clip:03d}" for clip in range(2)}
    assert {path.stem for path in folder.glob("*.gif")} == (names if codec else set())
    assert json.loads((folder / "about.json").read_text())["tokenizer"] == generator.tokenizer.hash


def test_a_codec_reads_videos_for_every_task_and_decodes_what_is_made(home, own, clips):
    config = module("maskgvt_traj").get_config("tiny")
    config.tokenizer.run, config.transformer.codebook_embeddings = CODEC, False
    config.init_from.token_embeddings = "random"
    data_dir, workdir = home / "data", home / "videos"
    with pytest.raises(ValueError, match="config.evals.generation decodes"):
        jobs.build(config, workdir, data_dir)
    with config.unlocked(), config.ignore_type():
        config.evals.generation = None
    config.tasks.names, config.evals.splits, config.evals.every = ("CG", "FP:4"), ("test",), 2
    config.evals.limit = 10  # of which five clips are asked each task
    config.masking.condition = "cond->cond"
    config.decoding.keep_condition = True  # so that what is given can be seen in what is made
    jobs.build(config, workdir, data_dir).fit()
    numbers = journal.read_eval(workdir)
    assert {f"eval/test/by_task/{task}/loss" for task in ("CG", "FP:4")} <= set(numbers)
    video = clips["test"].read([1])["video"]
    generator = VideoGenerator.load(workdir, data_dir=data_dir)
    made = generator.generate("FP:4", video=video, number=2)
    given = own.codes(video[:, :4] / np.float32(255))
    assert (made.codes[:, :4] == given).mean() > 0.98  # up to the last digit of a pixel
    np.testing.assert_allclose(made.videos, np.clip(own.video(made.codes), 0, 1), atol=1e-6)
    assert generator.extend(video, 12, given=4).shape == (1, 12, 32, 32, 3)


def test_a_run_knows_its_codec_again(home, own, monkeypatch):
    from videogvt.pretrained import codec

    codec._own.cache_clear()
    monkeypatch.setattr(type(own), "hash", "patches-65")
    with pytest.raises(ValueError, match="was trained on a tokenizer whose parameters"):
        VideoGenerator.load(home / "videos", data_dir=home / "data")
    with pytest.raises(ValueError, match="with hash .*Name the tokenizer that made them"):
        VideoGenerator.load(home / "tiny_causal", data_dir=home / "data")
    codec._own.cache_clear()


@pytest.mark.parametrize("keys, message", [
    ({"tasks.names": ("CG", "FP:4")}, "has FP:4, which are given pixels.*config.data has codes alone"),
    ({"transformer.codebook_embeddings": True}, "outside the compiled program.*codebook_embeddings"),
    ({"init_from.token_embeddings": "codebook"}, "has no vectors of its codes"),
])
def test_what_codes_alone_are_not_enough_for_says_so(keys, message, home, files):
    config = imported("tiny", home, files, None)
    for key, value in keys.items():
        section, _, name = key.rpartition(".")
        with config.unlocked():
            config[section][name] = value
    with pytest.raises(ValueError, match=message):
        jobs.build(config, home / "refused", home / "data").summary()


def probe(home, files, network="attention_pooling", **changed):
    config = module("own_codes").get_config("classes")
    config.study.update({"labels": (20,), "epochs": (1,), "seeds": 1, "validations": 1, "rate_labels": 20} | changed)
    config.data.options.files = str(files)
    modes.import_data(config, None, str(home / "data"))
    config.evals.update({"limit": 10, "batch_size": 10})
    with config.unlocked():
        for row in [name for name in config.methods if name != network]:
            del config.methods[row]
    return config


def test_probes_and_their_controls_run_on_files_of_codes(home, files):
    config = probe(home, files)
    config.methods.attention_pooling.classifier.update({"width": 8, "features": 8, "queries": 3, "hidden": 8})
    modes.train(config, str(home / "study"), str(home / "data"))
    page = (home / "study" / "report.html").read_text()
    assert "shuffled_time" in page or "shuffled time" in page


@pytest.mark.parametrize("mode", ["preview", "tokenize"])
def test_modes_that_look_at_videos_say_that_there_are_none(mode, home):
    with pytest.raises(ValueError, match=f"--mode={mode} looks at videos, and config.data has codes alone"):
        modes.MODES[mode](module("own_codes").get_config("tiny"), None, str(home / "data"))


@pytest.mark.parametrize("control", ["untrained", "first_frame"])
def test_controls_that_need_videos_are_refused(control, home, files):
    config = probe(home, files)
    config.methods.attention_pooling.controls = (control,)
    with pytest.raises(ValueError, match="leave the control out|config.data has codes and no videos"):
        modes.plan(config, str(home / "refused"), str(home / "data"))
        modes.train(config, str(home / "refused"), str(home / "data"))
