"""Moving digits from end to end: who reads them, who predicts and generates them, and what the reports say."""

import json

import jax
import numpy as np
import pytest

from tests.test_configs import module
from tests.test_stages import small_fields
from videogvt import jobs, modes
from videogvt.core.trees import frozen
from videogvt.jobs.judges import load_reader
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.train import journal
from videogvt.train.checkpoint import Checkpoints
from videogvt.train.state import TrainState
from videogvt.world.digits import DIGIT_SPECS, digit_example


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def tokenizer(home):
    """A run of a small tokenizer of digits, written without training it."""
    folder, fields = home / "tokenizer", small_fields((2, 8, 8))
    network = TokenizerNetwork(**frozen(fields))
    params = jax.jit(network.init)(jax.random.key(0), np.zeros((1, 8, 32, 32, 3), np.float32))["params"]
    state = TrainState.create(params={"generator": params}, opt={}, ema={"generator": params})
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, state, {}, {"step": 1, "numbers": {}})
    data = {"source": "digits", "options": {"config": "digits_tiny"}, "transforms": {}}
    (folder / "config.json").write_text(json.dumps({"recipe": "tokenizer", "tokenizer": fields, "data": data}))
    return folder


@pytest.fixture(scope="module")
def reader(home):
    """A run of the classifier of single digits, of two steps."""
    modes.train(module("classifier_digits").get_config("tiny"), home / "reader", home / "data")
    return home / "reader"


def test_the_classifier_of_single_digits_trains_and_reads(reader):
    numbers = journal.read_eval(reader)
    assert 0 <= numbers["eval/test/accuracy"] <= 1 and numbers["eval/test/clips"] == 40  # two digits of each clip
    assert numbers["about"]["evaluators"]["test"]["class_names"] == [*"0123456789"]
    read = load_reader(reader)
    assert read.side == 12
    log_NK = read.judge.log_probabilities(np.zeros((3, 1, 12, 12, 3), np.uint8))
    np.testing.assert_allclose(np.exp(log_NK).sum(-1), 1.0, rtol=1e-5)


def test_a_classifier_of_whole_clips_is_no_reader(reader, tmp_path):
    for name in ("eval.json", "config.json"):
        (tmp_path / name).write_text((reader / name).read_text())
    with pytest.raises(FileNotFoundError, match="classifier_digits.py --workdir="):
        load_reader(tmp_path / "none")
    config = json.loads((tmp_path / "config.json").read_text())
    del config["data"]["options"]["crops"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "checkpoints").symlink_to(reader / "checkpoints")
    with pytest.raises(ValueError, match="looks at whole clips; expected one of single digits"):
        load_reader(tmp_path)


def test_the_masked_transformer_predicts_and_generates_digits(home, tokenizer, reader, capsys):
    config, workdir, data_dir = module("maskgvt_digits").get_config("tiny"), home / "masked", home / "data"
    config.tokenizer.run, config.evals.generation.reader = str(tokenizer), str(reader)
    modes.train(config, workdir, data_dir)
    numbers = journal.read_eval(workdir)
    assert numbers["eval/digits/prediction_tasks"] == 1 and "eval/prediction/tasks" not in numbers
    facts = numbers["about"]["evaluators"]["digits"]
    assert facts["tasks"] == ["FP:3"] and facts["reader"] == str(reader) and len(facts["reader_hash"]) > 8
    rows = {row: numbers[f"eval/digits/FP:3/{row}position_error_px"] for row in (
        "", "copy/", "constant_velocity/", "other_pair/", "reconstructed/", "real/")}
    assert rows["real/"] < 0.2 > rows["constant_velocity/"] and rows["copy/"] > 1.0 < rows["other_pair/"]
    assert 0 <= numbers["eval/digits/FP:3/real/digit_right_share"] <= 1
    page = (workdir / "report.html").read_text()
    assert "Digits: digits (4 clips of test)" in page and "Predicted clips: digits" in page
    assert "px off (copying " in capsys.readouterr().out
    request = modes.Request(task="CG", label="3-5", number=1)
    modes.generate(config, str(workdir), str(data_dir), request)
    assert list((workdir / "generated").glob("CG-3-5-seed0/*.gif"))
    modes.generate(config, str(workdir), str(data_dir), modes.Request(task="FP:3", index=2, number=1))


def test_the_causal_transformer_generates_digits(home, tokenizer):
    config = module("lmgvt_digits").get_config("tiny")
    config.tokenizer.run = str(tokenizer)
    modes.train(config, home / "causal", home / "data")
    assert 0 < journal.read_eval(home / "causal")["eval/test/loss"] < 20


def test_a_reader_needs_clips_that_are_continued(home, tokenizer, reader):
    config = module("lmgvt_digits").get_config("tiny")
    config.tokenizer.run = str(tokenizer)
    config.evals.generation.reader = str(reader)
    with pytest.raises(ValueError, match="config.evals.generation.reader names digits .*found the tasks CG"):
        jobs.build(config, home / "unused", home / "data")


def test_who_names_pairs_sees_whole_clips(home):
    built = jobs.build(module("classifier_digits").get_config("pairs_tiny"), home / "unused", home / "data")
    assert built.recipe.model.num_classes == 55 and built.data.first_batch["video"].shape == (4, 8, 32, 32, 3)
    clip = digit_example(DIGIT_SPECS["digits_tiny"], "train", 12)
    names = built.data.source.class_names
    assert names[clip["label"]] == "-".join(map(str, sorted(clip["digit"].tolist())))


def test_the_preview_shows_clips(home, capsys):
    modes.preview(module("vqvae_digits").get_config("tiny"), home / "preview", home / "data")
    assert (home / "preview").exists() and "preview" in capsys.readouterr().out


def test_the_causal_baseline_has_the_data_and_size_of_the_masked_transformer():
    masked, causal = (module(name).get_config() for name in ("maskgvt_digits", "lmgvt_digits"))
    assert masked.data == causal.data and masked.tokenizer.run == causal.tokenizer.run
    for field in ("layers", "hidden", "heads", "mlp"):
        assert masked.transformer[field] == causal.lm[field], field
