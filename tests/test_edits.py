"""Random edits of shipped configs end in success or in one clear message; ``benchmarks/edits.py`` has more of them."""

import importlib.util
import pathlib
import sys

import pytest

BENCHMARK = pathlib.Path(__file__).parents[1] / "benchmarks" / "edits.py"
COUNT = 60


@pytest.fixture(scope="module")
def edits():
    spec = importlib.util.spec_from_file_location("edits", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["edits"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["edits"]


@pytest.fixture(scope="module")
def workshop(edits, tmp_path_factory):
    return edits.Workshop(tmp_path_factory.mktemp("edits"))


def test_edits_follow_from_seed_and_number_and_are_of_every_kind(edits):
    drawn = [edits.draw(number) for number in range(COUNT)]
    assert list(map(str, drawn)) == [str(edits.draw(number)) for number in range(COUNT)]
    assert {edit.kind for edit in drawn} == set(edits.KINDS) and {edit.config for edit in drawn} == set(edits.CONFIGS)
    assert len(set(map(str, drawn))) > COUNT * 0.9 and str(edits.draw(0, seed=1)) != str(drawn[0])


@pytest.mark.parametrize("part", range(4))
def test_an_edit_ends_in_success_or_one_message(part, edits, workshop):
    ended = []
    for number in range(part * COUNT // 4, (part + 1) * COUNT // 4):
        edit = edits.draw(number)
        outcome = workshop.here(edit, "plan", number)
        assert outcome.ended in ("success", "refused"), f"{number}: {edit}\n{outcome.said}"
        assert outcome.ended == "success" or len(outcome.said) > 20
        assert edit.kind != "misspelt" or outcome.ended == "refused", f"{number}: {edit}"
        ended.append(outcome.ended)
    assert {"success", "refused"} == set(ended)


@pytest.mark.parametrize(("config", "key", "value", "said"), [
    ("maskgvt_traj:tiny", "init_from.workdir", "nowhere", "nowhere"),
    ("vqvae_traj:tiny", "init_from.workdir", "traj64", "No parameter of the source fits the network"),
    ("classifier_traj:judge_tiny", "train.best", "eval/judge/accuracy", "runs every so many steps: validation"),
])
def test_an_edit_that_only_training_can_judge(config, key, value, said, edits, workshop):
    outcome = workshop.here(edits.Edit(config, "out of range", key, value, False), "train", 2000)
    assert outcome.ended == "refused" and said in outcome.said, outcome.said


def test_a_failure_is_seen(edits, workshop, monkeypatch):
    edit = edits.Edit("vqvae_traj:tiny", "missing", "train.show", None, True)
    monkeypatch.setattr(edits.run, "main", lambda arguments: print(1 / 0))
    assert workshop.here(edit, "plan", 1000).ended == "failed"

    def leaves_something(arguments):
        (workshop.home / "edit1001").mkdir()
        raise SystemExit(2)

    monkeypatch.setattr(edits.run, "main", leaves_something)
    outcome = workshop.here(edit, "plan", 1001)
    assert outcome.ended == "failed" and "left behind" in outcome.said
