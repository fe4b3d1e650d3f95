"""A classifier from its config to its report, and then as the tokenizer's frozen perceptual network."""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

from videogvt import jobs, modes
from videogvt.jobs import judges
from videogvt.train import journal
from videogvt.train.checkpoint import choose_step
from videogvt.train.program import Program

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def variant(name, variant="tiny"):
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    """The directory of a tiny classifier's finished run."""
    workdir = tmp_path_factory.mktemp("runs") / "classifier"
    modes.train(variant("classifier_traj", "judge_tiny"), workdir, data_dir)
    return workdir


def test_a_classifier_trains_evaluates_and_reports(run):
    numbers = journal.read_eval(run)
    assert set(numbers["about"]["evaluators"]) == {"validation", "test", "ood"}
    assert numbers["about"]["evaluators"]["validation"]["clips"] == 10
    assert 0 <= numbers["eval/test/accuracy"] <= 1 and np.isfinite(numbers["eval/test/loss"])
    assert numbers["eval/test/clips"] == 20 and numbers["eval/test/chance/accuracy"] == pytest.approx(0.2)
    assert numbers["eval/test/chance/loss"] == pytest.approx(np.log(5))
    assert sum(name.startswith("eval/ood/by_class/") for name in numbers) == 5
    step = numbers["about"]["step"]
    confusion = np.load(run / "media" / f"{step:08d}" / "eval/test/confusion.npz")
    assert confusion["counts_KK"].sum() == 20 and confusion["counts_KK"].shape == (5, 5)
    assert "classifier_traj-judge_tiny" in (run / "report.html").read_text()


def test_a_misspelt_number_to_choose_by_costs_no_step(tmp_path, data_dir, capfd):
    config = variant("classifier_traj", "judge_tiny")
    config.train.best = "eval/validation/acuracy"
    with pytest.raises(KeyError, match="Did you mean 'eval/validation/accuracy'"):
        modes.train(config, tmp_path / "run", data_dir)
    saved = choose_step(tmp_path / "run", "last")
    assert saved > 0
    config.train.best = "eval/validation/accuracy"
    modes.train(config, tmp_path / "run", data_dir)
    assert f"goes on from step {saved} of" in capfd.readouterr().err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["best"] == "eval/validation/accuracy"


@pytest.fixture(scope="module")
def tokenizer(run, data_dir, tmp_path_factory):
    """A tiny tokenizer that learns from the judge's features alone, and its state before and after one step."""
    config = variant("vqvae_traj")
    config.perceptual.network, config.perceptual.workdir = "judge", str(run)
    config.losses.perceptual, config.losses.reconstruction = 1.0, 0.0
    config.optimizer.warmup_steps = 0
    built = jobs.build(config, tmp_path_factory.mktemp("runs") / "tokenizer", data_dir)
    program = Program(built.recipe, built.plan, built.data.first_batch)
    before = program.fresh()
    kept = jax.device_get(before)
    after, numbers = program.step(before, built.data.first_batch)
    return kept, jax.device_get(after), {name: mean.compute() for name, mean in numbers.items()}


def test_the_judge_moves_the_generator(tokenizer):
    """Nothing but the perceptual loss reaches the decoder here."""
    before, after, numbers = tokenizer
    assert numbers["perceptual"] > 0 and numbers["grad_norm/generator"] > 0
    pairs = zip(*(jax.tree.leaves(state.params["generator"]["decoder"]) for state in (before, after)), strict=True)
    assert all(np.isfinite(new).all() and (old != new).any() for old, new in pairs)


def test_the_judge_itself_stays(run, tokenizer):
    before, after, _ = tokenizer
    for state in (before, after):
        assert set(state.params) == set(state.opt) == set(state.ema) == {"generator"}
    jax.tree.map(np.testing.assert_array_equal, after.frozen, {"perceptual": judges.judge_features(run).params})


def test_missing_weights_name_what_to_do(tmp_path, run):
    command = r"python run.py --config=configs/classifier_traj.py:judge --workdir=.*"
    with pytest.raises(FileNotFoundError, match=f"which holds no run. Train it first: {command}nowhere"):
        judges.load_perceptual("judge", workdir=tmp_path / "nowhere")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"a run that is not finished. Train it first: {command}"):
        judges.load_perceptual("judge", workdir=unfinished)
    with pytest.raises(FileNotFoundError, match="nothing.pth' do not exist. Save torchvision's ResNet-50 there"):
        judges.load_perceptual("resnet50", weights="nothing.pth")
    with pytest.raises(ValueError, match="config.perceptual has no 'weights'"):
        judges.load_perceptual("resnet50")
    with pytest.raises(ValueError, match="Did you mean 'resnet50'"):
        judges.load_perceptual("resnet")
    with pytest.raises(ValueError, match="Did you mean 'workdir'"):
        judges.load_perceptual("judge", work_dir="runs/classifier_traj-judge")


def test_a_judge_starts_from_no_words(tmp_path, data_dir):
    config = variant("classifier_traj", "judge_tiny")
    config.init_from = {"token_embeddings": "codebook"}
    with pytest.raises(ValueError, match="the inputs are no codes of a tokenizer. Ask for codes"):
        jobs.build(config, tmp_path, data_dir)


def test_clips_can_be_filmed_anew_for_the_training_alone(tmp_path, data_dir):
    config = variant("classifier_traj", "judge_tiny")
    stored = jobs.build(config, tmp_path, data_dir).data.first_batch
    config.data.transforms = variant("classifier_traj", "judge_refilmed").data.transforms
    made = jobs.build(config, tmp_path, data_dir).data.first_batch
    assert {*made} == {*stored} == {"video", "label"} and made["video"].shape == stored["video"].shape
    np.testing.assert_array_equal(made["label"], stored["label"])
    assert (made["video"] != stored["video"]).any()
    config.evals.transforms = {"random_path": {}}
    with pytest.raises(ValueError, match="key of config.evals.transforms 'random_path'"):
        jobs.build(config, None, data_dir)


def test_another_kind_of_run_is_no_judge(tmp_path, run):
    for name in ("eval.json", "config.json"):
        (tmp_path / name).write_text((run / name).read_text())
    config = json.loads((tmp_path / "config.json").read_text()) | {"recipe": "tokenizer"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="which holds a tokenizer; expected a judge"):
        judges.load_perceptual("judge", workdir=tmp_path)


def test_configs_that_do_not_fit(data_dir):
    config = variant("classifier_traj", "judge_tiny")
    config.recipe = "clasifier"
    with pytest.raises(ValueError, match="config.recipe 'clasifier'. Did you mean 'classifier'"):
        jobs.build(config, None, data_dir)
    config = variant("classifier_traj", "judge_tiny")
    config.losses.smoothing = 0.1
    with pytest.raises(ValueError, match="key of config.losses 'smoothing'. Did you mean 'label_smoothing'"):
        jobs.build(config, None, data_dir)
    config = variant("classifier_traj", "judge_tiny")
    del config.classifier
    with pytest.raises(ValueError, match="config.classifier.network is missing"):
        jobs.build(config, None, data_dir)
    config = variant("vqvae_traj")
    config.losses.perceptual = 0.1
    with pytest.raises(ValueError, match="no perceptual network; configure both, or neither"):
        jobs.build(config, None, data_dir)
