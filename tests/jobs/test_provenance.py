"""A run's files say what was measured: evaluations of other data, or with another config, lie beside its own."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.test_configs import module
from videogvt import modes
from videogvt.command import override
from videogvt.jobs import experiment, provenance
from videogvt.train import journal
from videogvt.train.checkpoint import Checkpoints
from videogvt.train.journal import WorkdirError
from videogvt.train.state import TrainState


def tiny(*assignments, name="vqvae_traj"):
    config = override(module(name).get_config("tiny"), assignments)
    return config


def plain(config):
    return experiment.plain(config.to_dict())


def evaluators(**hashes):
    return {name: SimpleNamespace(facts={"split_hash": digest}) for name, digest in hashes.items()}


@pytest.fixture
def run(tmp_path):
    """The directory of a finished run, as far as comparisons look at it."""
    params = {"generator": {"kernel": np.zeros(2, np.float32)}}
    journal.claim_workdir(tmp_path, plain(tiny()))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, TrainState.create(params=params, opt={}, ema={}), {}, {"step": 2, "numbers": {}})
    journal.write_eval(tmp_path, {"eval/test/psnr": 1.0},
                       {"evaluators": {name: one.facts for name, one in evaluators(test="a", ood="b").items()}})
    return tmp_path


def place(run, *assignments, **hashes):
    return provenance.place_of(run, plain(tiny(*assignments)), evaluators(**(hashes or {"test": "a", "ood": "b"})))


def test_the_trainings_own_evaluation_lies_in_its_directory(run):
    for same in ((), [("train.log_every", "7")], [("mesh.fsdp", "True")], [("optimizer.b2", "0.99")],  # the default
                 [("name", "other")]):
        found = place(run, *same)
        assert found.own and found.folder == run and found.about == {}


def test_what_differs_has_a_folder_by_config_and_data(run):
    seed, data = place(run, ("seed", "7")), place(run, test="c", ood="b")
    assert seed.differs == {"seed": (0, 7)} and not seed.splits and not seed.own
    assert data.splits == {"test": ("a", "c")} and not data.differs and not data.own
    folders = [one.folder for one in (seed, data, place(run, ("seed", "8")), place(run, ("seed", "7"), test="c"))]
    assert len(set(folders)) == 4 and all(folder.parent == run / "evals" for folder in folders)
    config, split = folders[0].name.split("-")
    assert config == journal.config_hash(plain(tiny(("seed", "7")))) and split != folders[1].name.split("-")[1]
    assert folders[1].name.split("-")[0] == journal.config_hash(plain(tiny()))
    assert seed.about == {"differs": {"seed": [0, 7]}, "other_data": {}}


@pytest.mark.parametrize("path, text", [
    ("tokenizer.output_scale", "5"), ("tokenizer.quantizer.num_codes", "16"), ("losses.ema_decay", "0.5"),
    ("optimizer.muon", "False"), ("train.steps", "4"), ("init_from.workdir", "runs/other"),
])
def test_what_the_checkpoint_does_not_hold_is_refused(run, path, text):
    with pytest.raises(WorkdirError, match=f"trained with another config. These keys differ:\n  {path}: .* there, "):
        place(run, (path, text))


def test_another_judge_at_the_same_place_is_another_evaluation(run):
    def judged(digest):
        return {"generation": SimpleNamespace(facts={"split_hash": "a", "judge": "runs/judge", "judge_hash": digest})}

    journal.write_eval(run, {}, {"evaluators": {name: one.facts for name, one in judged("first").items()}})
    assert provenance.place_of(run, plain(tiny()), judged("first")).own
    place = provenance.place_of(run, plain(tiny()), judged("second"))
    assert place.folder != run and place.splits == {"generation's judge": ("first", "second")}


def test_what_changes_how_a_network_is_computed_is_another_evaluation_and_no_other_network(run):
    assert place(run, ("tokenizer.lowering", "native")).differs == {"tokenizer.lowering": ("auto", "native")}
    provenance.check_network(run, plain(tiny(("tokenizer.lowering", "native"), ("optimizer.muon", "False"))))
    with pytest.raises(WorkdirError, match="another network .*\n  tokenizer.output_scale: 0.1 there"):
        provenance.check_network(run, plain(tiny(("tokenizer.output_scale", "5"))))


def test_a_second_stages_tokenizer_is_known_by_its_hash_not_by_its_place(tmp_path):
    config = tiny(name="maskgvt_traj")
    there = plain(config)
    here = plain(override(config, [("tokenizer.run", "elsewhere"), ("decoding.steps", "12")]))
    found = provenance.differences(there, here)
    assert set(found) == {"tokenizer.run", "decoding.steps"}
    journal.claim_workdir(tmp_path, there)
    provenance.check_network(tmp_path, here)


def test_what_the_run_was_to_find_out_is_no_difference():
    asked = module("maskgvt_traj").get_config()
    there = plain(override(asked, [("losses.empty", "7"), ("decoding.empty", "7")]))
    assert provenance.differences(there, plain(asked)) == {}
    asked.decoding.empty = 8
    assert provenance.differences(there, plain(asked)) == {"decoding.empty": (7, 8)}


def test_a_folder_that_is_not_named_is_the_runs():
    there = plain(tiny(("data.options.folder", "/videos"), name="vqvae_videos"))
    assert provenance.differences(there, plain(tiny(name="vqvae_videos"))) == {}
    other = plain(tiny(("data.options.folder", "/other"), name="vqvae_videos"))
    assert provenance.differences(there, other) == {"data.options.folder": ("/videos", "/other")}


def test_transforms_are_there_or_not_whatever_their_defaults(run):
    assert set(place(run, ("evals.transforms.random_flip.probability", "0.5")).differs) == {
        "evals.transforms.random_flip.probability"}


def test_a_report_is_about_the_evaluation_with_its_config(run):
    config = plain(tiny(("seed", "7")))
    assert provenance.reported_folder(run, plain(tiny())) == (run, {})
    assert provenance.reported_folder(run, config) == (run, {"seed": (0, 7)})
    assert provenance.measurable({"seed": (0, 7)}) and not provenance.measurable({"tokenizer.filters": (8, 9)})
    folder = place(run, ("seed", "7")).folder
    folder.mkdir(parents=True)
    (folder / "eval.json").write_text("{}")
    assert provenance.reported_folder(run, config) == (folder, {})


def test_directories_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        provenance.place_of(tmp_path, plain(tiny()), {})
    provenance.check_network(tmp_path, plain(tiny()))


def test_a_real_run_is_measured_otherwise_without_a_word_lost(tmp_path, capsys):
    workdir, data_dir = tmp_path / "run", tmp_path / "data"
    modes.train(tiny(), workdir, data_dir)
    kept = {name: (workdir / name).read_bytes() for name in ("eval.json", "config.json")}
    own = json.loads(kept["eval.json"])["about"]
    other = tiny(("seed", "7"), ("evals.splits", "test"))
    capsys.readouterr()
    modes.evaluate(other, workdir, data_dir)
    assert {name: (workdir / name).read_bytes() for name in kept} == kept
    (folder,) = (workdir / "evals").iterdir()
    about = journal.read_eval(folder)["about"]
    assert about["config_hash"] == own["config_hash"] == own["measured_config_hash"]
    assert about["measured_config_hash"] == folder.name.split("-")[0] != own["config_hash"]
    assert about["differs"] == {"seed": [0, 7], "evals.splits": [["test", "ood"], ["test"]]}
    assert json.loads((folder / "config.json").read_text())["seed"] == 7
    for text in (capsys.readouterr().out, (folder / "report.html").read_text()):
        assert about["measured_config_hash"] in text and about["config_hash"] in text
        assert about["evaluators"]["test"]["split_hash"][:12] in text and "Not the training" in text
    assert f"evals/{folder.name}" in (workdir / "report.html").read_text()
    modes.report(other, workdir, data_dir)
    assert str(folder / "report.html") in capsys.readouterr().out
    modes.evaluate(tiny(), workdir, data_dir)  # the training's own, again
    again = journal.read_eval(workdir)
    assert again == json.loads(kept["eval.json"]) and len(list((workdir / "evals").iterdir())) == 1
    for mode in (modes.evaluate, modes.tokenize):
        with pytest.raises(WorkdirError, match="tokenizer.output_scale: 0.1 there, 5"):
            mode(tiny(("tokenizer.output_scale", "5"), ("seed", "7")), workdir, data_dir)
    assert not (data_dir / "codes").exists() and (workdir / "config.json").read_bytes() == kept["config.json"]
