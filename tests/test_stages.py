"""Every shipped config of the second stage: each variant builds and steps in the abstract, "tiny" ones all the way."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.test_configs import CONFIGS, BlackClips, module, variants
from videogvt import VideoTokenizer, jobs, modes
from videogvt.core.trees import frozen
from videogvt.decode import FrameDecoding
from videogvt.inputs.pipeline import TrainingData
from videogvt.inputs.sources import open_source
from videogvt.jobs import experiment
from videogvt.nn import tokenizer as networks
from videogvt.train import journal
from videogvt.train.checkpoint import Checkpoints
from videogvt.train.parallel import global_shapes, numeric
from videogvt.train.program import Program
from videogvt.train.state import TrainState

LARGE = ("L", "debiased_L", "multitask_L", "released_L")
STAGES = [
    pytest.param(path.stem, variant, marks=[pytest.mark.slow] if variant in LARGE else [])
    for pattern in ("maskgvt*.py", "lmgvt*.py") for path in sorted(CONFIGS.glob(pattern))
    for variant in variants(path.stem)
]
PARAMETERS = {  # of the transformers of MAGVIT's tables
    ("maskgvt_ucf101", "B"): 87_301_991, ("maskgvt_ucf101", "L"): 305_567_847,
    ("maskgvt_bair", "multitask"): 87_236_625, ("maskgvt_bair", "multitask_L"): 305_480_721,
}
CLASSES = {"ucf101": 101, "bair_robot_pushing_small": 0, "trajectories": 5, "digits": 55}


class BlackStage(BlackClips):
    """Such clips with the data set's number of classes, which never change."""

    split_hash = "black"

    def __init__(self, name, split, **options):
        super().__init__(name, split, **options)
        self.class_names = tuple(map(str, range(CLASSES[name])))


def small_fields(stem):
    return {
        "filters": 8, "channel_multipliers": [1], "temporal_downsample": [], "encoder_blocks": [1, 0],
        "decoder_blocks": [1, 0], "norm_groups": 4, "stem": list(stem), "conv": "split", "padding": "zero",
        "quantizer": {"name": "vq", "num_codes": 1024, "embedding_dim": 4},
    }


def untrained_tokenizer(source, *, step):
    """In the place of the trained one, small, of the same strides and codes."""
    assert step == "best"
    large = "ucf101" in source or source in ("runs/vqvae_traj-B", "runs/vqvae_traj-L")
    fields = small_fields((4, 8, 8) if large else (4, 4, 4))
    if source.startswith("runs/vqvae_digits"):
        fields = small_fields((2, 8, 8))
    network = networks.TokenizerNetwork(**frozen(fields))
    shapes = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 16, 16, 3), np.float32))["params"]
    return VideoTokenizer(fields, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))


@pytest.mark.parametrize("name, variant", STAGES)
def test_every_variant_builds_and_steps_in_the_abstract(name, variant, monkeypatch, tmp_path):
    config = module(name).get_config(variant)
    assert config.name.startswith(name) and (variant in config.name or "-" not in config.name)
    if "generation" in config.evals:
        config.evals.generation.judge = None
        config.evals.generation.reader = None
    monkeypatch.setattr(experiment, "open_source", BlackStage)
    monkeypatch.setattr(VideoTokenizer, "load", untrained_tokenizer)
    built = jobs.build(config, tmp_path)
    recipe, batch = built.recipe, built.data.first_batch
    state = Program(recipe, built.plan, batch).abstract
    after, numbers = jax.eval_shape(recipe.step, state, global_shapes(numeric(batch)), jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state) and numbers
    if (name, variant) in PARAMETERS:
        assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == PARAMETERS[name, variant]
    assert set(built.evaluators) >= {"validation", "test"}
    generation, rows = recipe.generation, 2
    assert len(generation.latent_shape) == 3 and generation.num_tokens in (64, 128, 512, 1024)
    inputs = np.zeros(rows, np.int32), np.full(rows, -1), np.zeros((rows, *generation.video_shape, 3), np.float32)
    made = jax.eval_shape(recipe.predict_fns["generate"], state, *inputs, jax.random.split(jax.random.key(0), rows))
    assert made["codes"].shape == (rows, *generation.latent_shape) and made["video"].shape == inputs[2].shape


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="module")
def tokenizer_run(home):
    """A run of a small tokenizer of clips of the world "tiny", written without training it."""
    folder, fields = home / "tokenizer", small_fields((4, 4, 4))
    network = networks.TokenizerNetwork(**frozen(fields))
    params = jax.jit(network.init)(jax.random.key(0), np.zeros((1, 8, 32, 32, 3), np.float32))["params"]
    state = TrainState.create(params={"generator": params}, opt={}, ema={"generator": params})
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state, {}, {"step": 1, "numbers": {}})
    data = {"source": "trajectories", "options": {"config": "tiny"}, "transforms": {}}
    (folder / "config.json").write_text(json.dumps({"recipe": "tokenizer", "tokenizer": fields, "data": data}))
    return folder


def tiny(name, tokenizer_run):
    config = module(name).get_config("tiny")
    config.tokenizer.run = str(tokenizer_run)
    return config


@pytest.mark.parametrize("name", ["maskgvt_traj", "lmgvt_traj"])
def test_tiny_variants_train_evaluate_report_and_generate(name, home, tokenizer_run, capsys):
    config, workdir, data_dir = tiny(name, tokenizer_run), home / name, home / "data"
    if name == "maskgvt_traj":  # what the run finds out of its clips, a command with the same config need not know
        config.decoding = ConfigDict({"sampler": "frames", "cells": "speaking", "empty": "most_frequent", "steps": 2})
    modes.train(config, workdir, data_dir)
    numbers = journal.read_eval(workdir)
    assert set(numbers["about"]["evaluators"]) >= {"validation", "test", "ood"}
    assert 0 < numbers["eval/test/loss"] < 20 and 0 <= numbers["eval/ood/accuracy"] <= 1
    assert set(numbers["about"]["frozen"]) == {"tokenizer"} and (workdir / "report.html").exists()
    assert list((data_dir / "codes").glob("train-*"))
    capsys.readouterr()
    modes.generate(config, str(workdir), str(data_dir), modes.Request(task="CG", label="helical", number=2))
    assert (workdir / "generated" / "CG-helical-seed0" / "helical-001.gif").exists()


def test_the_empty_code_is_found_in_the_training_clips_and_kept(home, tokenizer_run):
    config = tiny("maskgvt_traj", tokenizer_run)
    config.decoding = ConfigDict({"sampler": "frames", "cells": "speaking", "empty": "most_frequent", "steps": 2})
    built = jobs.build(config, home / "unused", home / "data")
    clips = open_source("trajectories", "train", data_dir=home / "data", config="tiny")
    codes = built.data.tokenizer.codes(clips.read(range(min(1000, len(clips))))["video"])
    empty = int(np.bincount(codes.ravel()).argmax())
    grid = codes.shape[1:]
    assert built.recipe.generation.decoding == FrameDecoding(steps=2, cells="speaking", empty=empty, grid=grid)
    assert built.plan.config["decoding"]["empty"] == empty  # what a generator is loaded from
    assert built.evaluators["validation"].tasks == built.recipe.generation.tasks.names
    assert config.decoding.empty == "most_frequent"


def test_kept_codes_are_those_of_the_clips(home, tokenizer_run):
    config = tiny("lmgvt_traj", tokenizer_run)
    built = jobs.build(config, home / "unused", home / "data")
    batch = next(built.data.train())
    assert batch["codes"].shape == (4, 2, 8, 8) and set(batch) == {"codes", "label"}
    assert {name: rows.shape for name, rows in built.data.first_batch.items()} == {
        name: rows.shape for name, rows in batch.items()
    }
    clips = open_source("trajectories", "train", data_dir=home / "data", config="tiny")
    online = TrainingData(clips, 4, config.seed)
    first = next(online.train())
    np.testing.assert_array_equal(first["label"], batch["label"])
    np.testing.assert_array_equal(built.data.tokenizer.codes(first["video"]), batch["codes"])


def test_tasks_that_are_given_pixels_have_the_clips_beside_their_kept_codes(home, tokenizer_run):
    config = tiny("maskgvt_traj", tokenizer_run)
    built = jobs.build(config, home / "unused", home / "data")
    batch = next(built.data.train())
    assert set(batch) == {"codes", "video", "label"}
    assert {name: rows.shape for name, rows in built.data.first_batch.items()} == {
        name: rows.shape for name, rows in batch.items()
    }
    np.testing.assert_array_equal(built.data.tokenizer.codes(batch["video"]), batch["codes"])
    config.data.transforms.random_flip = ConfigDict()  # changes clips from one time to the next
    assert "codes" not in jobs.build(config, home / "unused", home / "data").data.first_batch


@pytest.fixture
def codec_config(tokenizer_run, monkeypatch):
    """The masked transformer on the tokenizer as anybody's codec, which is asked from the host alone."""
    monkeypatch.setitem(globals(), "CODEC", VideoTokenizer.load(tokenizer_run))
    config = tiny("maskgvt_traj", f"codec:{__name__}:CODEC")
    config.evals.generation = None
    return config


def test_kept_conditions_of_a_codec_are_what_would_be_made_online(home, tokenizer_run, codec_config):
    config = codec_config
    online = jobs.build(tiny("maskgvt_traj", tokenizer_run), home / "unused", home / "data")
    built = jobs.build(config, home / "unused", home / "data")
    batch, clips = next(built.data.train()), next(online.data.train())
    assert batch["conditions"].shape == (4, len(config.tasks.names), 2, 8, 8)
    assert {name: rows.shape for name, rows in built.data.first_batch.items()} == {
        name: rows.shape for name, rows in batch.items()
    }
    for task, name in enumerate(config.tasks.names):
        kept, made = (jax.jit(one.recipe.generation.tokens)(one.recipe.frozen["tokenizer"], rows, np.full(4, task))
                      for one, rows in ((built, batch), (online, clips)))
        np.testing.assert_array_equal(kept[0], made[0])
        np.testing.assert_array_equal(kept[1], 0 * made[1] if name == "CG" else made[1])  # that one is given nothing
    config.tasks.background = 1.0  # other conditions, which lie elsewhere
    other = next(jobs.build(config, home / "unused", home / "data").data.train())
    changed = [(other["conditions"][:, n] != batch["conditions"][:, n]).any() for n in range(3)]
    assert changed == [False, False, True]  # nothing, whole frames, parts of frames
    np.testing.assert_array_equal(other["codes"], batch["codes"])


def test_a_codec_is_not_asked_for_clips_that_change(home, codec_config):
    codec_config.data.transforms.random_flip = ConfigDict()
    with pytest.raises(ValueError, match="transforms change its clips.*asked before training"):
        jobs.build(codec_config, home / "unused", home / "data")


def test_a_tokenizer_that_does_not_fit_is_refused(home, tokenizer_run):
    config = tiny("maskgvt_traj", tokenizer_run)
    config.tokenizer.run = "traj64"
    with pytest.raises(ValueError, match=r"\(T, H, W\) = \(8, 32, 32\); config.tokenizer.run = 'traj64' was trained on "
                                         r"\(16, 64, 64\). Name the run of a tokenizer of such clips"):
        jobs.build(config, home / "unused", home / "data")
    config.tokenizer.run = "runs/nowhere"
    with pytest.raises(FileNotFoundError, match="no tokenizer 'runs/nowhere'.*traj64"):
        jobs.build(config, home / "unused", home / "data")
    config = tiny("maskgvt_traj", tokenizer_run)
    config.masking.block = (1, 3, 1)
    with pytest.raises(ValueError, match="block"):
        jobs.build(config, home / "unused", home / "data")
    config = tiny("maskgvt_traj", tokenizer_run)
    config.tasks.names = ("CG", "FP:8")
    with pytest.raises(ValueError, match="'FP:8' gives 8 frames of clips of 8"):
        jobs.build(config, home / "unused", home / "data")


def test_a_run_goes_on_only_with_its_own_tokenizer(home, tokenizer_run, tmp_path):
    """Retrained under the same name, a tokenizer has other parameters, and the checkpoint says so."""
    config = tiny("lmgvt_traj", tokenizer_run)
    built = jobs.build(config, tmp_path / "run", home / "data")
    built.fit()
    (tmp_path / "run" / "eval.json").unlink()
    other = jax.tree.map(lambda leaf: leaf + 1, built.recipe.frozen)
    changed = dataclasses.replace(built, recipe=dataclasses.replace(built.recipe, frozen=other))
    with pytest.raises(ValueError, match="frozen networks have hashes .*Give the same weights"):
        changed.fit()


def test_weights_of_published_figures_are_checked_before_training(home, tokenizer_run):
    config = tiny("maskgvt_traj", tokenizer_run)
    config.evals.generation.i3d = "nowhere.pt"
    with pytest.raises(FileNotFoundError, match="config.evals.generation.i3d: The weights 'nowhere.pt' do not exist"):
        jobs.build(config, home / "none", home / "data")
    assert not (home / "none").exists()
