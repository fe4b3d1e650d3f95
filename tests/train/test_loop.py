import gc
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.train.toys import ToyData, ToyEvaluator, ToyRecipe, leaves, toy_plan, toy_run
from videogvt.train import loop
from videogvt.train.checkpoint import finished_steps, load_params, read_meta, read_numbers
from videogvt.train.contracts import When
from videogvt.train.evaluation import evaluate_run, restore_state
from videogvt.train.journal import WorkdirError, read_eval, read_rows
from videogvt.train.lock import Stopped
from videogvt.train.loop import NonFinite, fit
from videogvt.train.program import Program

# A read that Orbax gave up on complains when it is collected, whenever that is.
pytestmark = [pytest.mark.optimized, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
ROOT = Path(__file__).parents[2]


def toy_evaluators(recipe, calls, **schedules):
    return {name: ToyEvaluator(recipe, when, name, calls) for name, when in schedules.items()}


def same(state, other):
    state, other = leaves(state), leaves(other)
    assert state.keys() == other.keys()
    assert [path for path in state if not np.array_equal(state[path], other[path])] == []


def rows_without_time(workdir):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in read_rows(workdir)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps in one piece: its data, state and directory."""
    data, workdir = ToyData(), tmp_path_factory.mktemp("whole") / "run"
    recipe = ToyRecipe()
    evaluators = toy_evaluators(recipe, [], validation=When(every=3), test=When(end=True))
    state = fit(*toy_run(12, recipe=recipe, data=data, evaluators=evaluators), workdir)
    return data, state, workdir


def test_the_order_of_the_loop(tmp_path, monkeypatch):
    calls = []
    recipe, data = ToyRecipe(calls=calls), ToyData(calls=calls)
    evaluators = toy_evaluators(recipe, calls, validation=When(every=2), test=When(end=True))

    def record(owner, name, label):
        real = getattr(owner, name)

        def recorded(self, *args, **kwargs):
            calls.append(label(self, *args))
            return real(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, recorded)

    record(loop.Checkpoints, "save", lambda self, step, *_: f"save@{step}")
    record(Program, "step", lambda *_: "step")
    record(loop._Run, "flush_metrics",
           lambda run: f"numbers of {run.pending.step}" if run.pending else "nothing pending")
    fit(*toy_run(4, recipe=recipe, data=data, evaluators=evaluators, save_every=3), tmp_path / "run")
    assert [call for call in calls if call != "nothing pending"] == [
        "fetch",  # a look at the shapes
        "warm_start",
        "fetch", "step",
        "fetch", "step", "numbers of 1",
        "numbers of 2", "save@2", "validation@2",
        "fetch", "step",
        "numbers of 3", "save@3",
        "fetch", "step",
        "numbers of 4", "save@4", "validation@4", "test@4",
    ]


def test_a_run_taken_up_again_ends_with_the_same_bits(tmp_path, whole):
    whole_data, state, whole_dir = whole
    recipe, workdir = ToyRecipe(), tmp_path / "run"
    evaluators = toy_evaluators(recipe, [], validation=When(every=3), test=When(end=True))
    with pytest.raises(Stopped) as stopped:
        fit(*toy_run(12, recipe=recipe, evaluators=evaluators, data=ToyData(stop_at=7)), workdir)
    assert stopped.value.code == 143 and "Stopped at step 7 of 12; saved in" in str(stopped.value)
    data = ToyData()
    again = fit(*toy_run(12, recipe=recipe, evaluators=evaluators, data=data), workdir)
    same(state, again)
    np.testing.assert_array_equal(next(data.batches)["x"], next(whole_data.batches)["x"])
    whole_data.batches.set_state({"position": 12})
    assert rows_without_time(workdir) == rows_without_time(whole_dir)
    assert read_eval(workdir)["eval/test/error"] == read_eval(whole_dir)["eval/test/error"]


KILLED = """
import sys
from tests.train.toys import ToyData, ToyEvaluator, ToyRecipe, toy_run
from videogvt.train.contracts import When
from videogvt.train.loop import fit
recipe = ToyRecipe()
evaluators = {"validation": ToyEvaluator(recipe, When(every=3)), "test": ToyEvaluator(recipe, When(end=True))}
data = ToyData(stop_at=int(sys.argv[2]), signals=sys.argv[3].split(","))
fit(*toy_run(12, recipe=recipe, evaluators=evaluators, data=data), sys.argv[1])
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


def in_a_process(workdir, stop_at, signals):
    return subprocess.run([sys.executable, "-c", KILLED, str(workdir), str(stop_at), signals], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, whole):
    _, state, whole_dir = whole
    killed = in_a_process(tmp_path / "run", 10, "SIGKILL")
    assert killed.returncode == -9 and finished_steps(tmp_path / "run")[-1:] in ([8], [9])
    (tmp_path / "run" / "metrics.jsonl").open("a").write('{"step": 11, "train/lo')
    recipe = ToyRecipe()
    evaluators = toy_evaluators(recipe, [], validation=When(every=3), test=When(end=True))
    same(state, fit(*toy_run(12, recipe=recipe, evaluators=evaluators), tmp_path / "run"))
    assert rows_without_time(tmp_path / "run") == rows_without_time(whole_dir)


def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    left = in_a_process(tmp_path / "run", 6, "SIGINT,SIGINT")
    assert left.returncode == 130 and "SIGINT: saving" in left.stderr and "Leaving at once" in left.stderr
    assert 6 not in finished_steps(tmp_path / "run")


def test_a_run_to_the_end_needs_no_tensorflow_and_writes_lines_without_a_terminal(tmp_path):
    done = in_a_process(tmp_path / "run", -1, "SIGTERM")
    assert done.returncode == 0, done.stderr
    assert "step 10/12  loss 0." in done.stderr and "ETA 00:0" in done.stderr


def test_a_finished_run_is_left_as_it_is(whole):
    _, state, workdir = whole
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    recipe, data = ToyRecipe(calls=(calls := [])), ToyData(calls=calls)
    evaluators = toy_evaluators(recipe, calls, validation=When(every=3), test=When(end=True))
    same(state, fit(*toy_run(12, recipe=recipe, data=data, evaluators=evaluators), workdir))
    after = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    assert calls == ["fetch"] and before == after


def test_a_run_that_begins_anew_leaves_nothing_of_the_evaluations_of_one_before(tmp_path, whole):
    workdir = tmp_path / "run"
    shutil.copytree(whole[2], workdir)
    for name in ("media/00000012/eval/ood/table.npz", "evals/other/eval.json"):
        (workdir / name).parent.mkdir(parents=True)
        (workdir / name).write_text("of the run before")
    shutil.rmtree(workdir / "checkpoints")
    recipe, data = ToyRecipe(), ToyData(stop_at=7)
    with pytest.raises(Stopped):
        fit(*toy_run(12, recipe=recipe, data=data, evaluators=toy_evaluators(recipe, [], test=When(end=True))), workdir)
    assert read_eval(workdir) is None
    assert not (workdir / "media").exists() and not (workdir / "evals").exists()


def test_evaluators_come_when_they_are_due_and_the_final_ones_judge_the_best_checkpoint(tmp_path, capsys):
    calls, recipe = [], ToyRecipe()
    evaluators = toy_evaluators(recipe, calls, validation=When(every=3, end=True), test=When(end=True))
    best = {"best": "eval/validation/step", "best_mode": "min", "save_every": 100}  # step 3 has the lowest step
    state = fit(*toy_run(7, recipe=recipe, evaluators=evaluators, **best), tmp_path / "run")
    assert calls == ["validation@3", "validation@6", "validation@7", "test@3"]
    lines = capsys.readouterr().err.splitlines()
    assert "step 3: eval/validation/step 3  (best so far)" in lines and "step 6: eval/validation/step 6" in lines
    assert finished_steps(tmp_path / "run") == [3, 6, 7] and int(state.step) == 7
    done = read_eval(tmp_path / "run")
    assert done["eval/test/step"] == done["eval/validation/step"] == done["about"]["step"] == 3
    assert done["about"]["evaluators"]["test"] == {"split": "validation", "weights": "ema"}
    assert done["about"]["examples"] == 24 and done["about"]["total_steps"] == 7

    plan = toy_plan(7, **best)
    last = restore_state(recipe, ToyData().train().__next__(), plan, tmp_path / "run", "last")
    same(last, state)
    numbers = evaluate_run(recipe, ToyData().train().__next__(), evaluators, plan, tmp_path / "run", "last")
    assert numbers["eval/test/step"] == 7 and read_eval(tmp_path / "run")["about"]["step"] == 7


def test_a_broken_newest_checkpoint_is_skipped_by_name(tmp_path, capfd, whole):
    workdir = tmp_path / "run"
    with pytest.raises(Stopped):
        fit(*toy_run(12, data=ToyData(stop_at=10)), workdir)
    assert finished_steps(workdir) == [8, 10]
    for path in (workdir / "checkpoints" / "10" / "state").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    same(whole[1], fit(*toy_run(12), workdir))
    message = capfd.readouterr().err
    assert "Skipped the checkpoint of step 10" in message and str(workdir / "checkpoints.broken" / "10") in message
    assert finished_steps(workdir) == [8, 12]
    gc.collect()


def test_without_a_sound_checkpoint_the_run_stops_rather_than_begin_anew(tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises(Stopped):
        fit(*toy_run(12, data=ToyData(stop_at=3)), workdir)
    (workdir / "checkpoints" / "3" / "data" / "metadata").write_text("{")
    with pytest.raises(RuntimeError, match=r"No checkpoint in .* can be read \(3: JSONDecodeError"):
        fit(*toy_run(12), workdir)
    gc.collect()


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path, whole):
    _, _, workdir = whole
    config = {"model": {"width": 16}, "seed": 0, "mesh": {"data": 8}}
    with pytest.raises(WorkdirError) as refused:
        fit(*toy_run(12, config=config, free=("mesh",)), workdir)
    assert "model.width: 8 there, 16 here" in str(refused.value)
    assert "seed" not in str(refused.value) and "mesh" not in str(refused.value)


def test_a_number_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(NonFinite, match="Step 10: 'loss' = inf .* the last good checkpoint: step 8"):
        fit(*toy_run(12, recipe=ToyRecipe(explode_at=10)), tmp_path / "run")
    batch = np.load(tmp_path / "run" / "nonfinite_step_10.npz")
    assert batch["x"].shape == (8, 4) and batch["id"][0] == "toy/9/0"
    assert finished_steps(tmp_path / "run") == [4, 8]


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(NonFinite, match="Step 8: .*last good checkpoint: step 4"):
        fit(*toy_run(12, recipe=ToyRecipe(poison_at=8)), tmp_path / "run")
    assert finished_steps(tmp_path / "run") == [4]
    assert (tmp_path / "run" / "nonfinite_step_8.npz").exists()


def stopped_at_7(workdir):
    with pytest.raises(Stopped):
        fit(*toy_run(12, data=ToyData(stop_at=7)), workdir)


def test_a_run_goes_on_only_with_the_examples_it_began_with(tmp_path, capfd, whole):
    workdir = tmp_path / "run"
    stopped_at_7(workdir)
    assert read_meta(workdir, 7)["split"] == {"examples": 64, "hash": "0123456789abcdef"}
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    for other in (ToyData(num_examples=96), ToyData(split_hash="f" * 16)):
        with pytest.raises(WorkdirError) as refused:
            fit(*toy_run(12, data=other, config={**toy_plan().config, "mesh": 1}, free=("mesh",)), workdir)
        assert re.search(r"step 7 on 64 examples \(hash 0123456789ab\); .* now has (64|96) \(hash (0123456789ab|f+)\). "
                         "Bring back the old examples .* another --workdir", str(refused.value))
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    capfd.readouterr()
    same(whole[1], fit(*toy_run(12), workdir))
    assert "goes on from step 7 of 12\n" in capfd.readouterr().err


def test_a_run_goes_on_only_where_its_best_step_is_chosen_on_the_same_examples(tmp_path, whole):
    def evaluators(digest, recipe):
        return {"validation": ToyEvaluator(recipe, When(every=3), facts={"split_hash": digest, "weights": "ema"})}

    workdir, recipe = tmp_path / "run", ToyRecipe()
    with pytest.raises(Stopped):
        fit(*toy_run(12, recipe=recipe, data=ToyData(stop_at=7), evaluators=evaluators("a" * 16, recipe)), workdir)
    with pytest.raises(WorkdirError, match="up to step 7 on other examples of 'validation' .hash a{12}; now b{12}"):
        fit(*toy_run(12, recipe=recipe, evaluators=evaluators("b" * 16, recipe)), workdir)
    same(whole[1], fit(*toy_run(12, recipe=recipe, evaluators=evaluators("a" * 16, recipe)), workdir))


def test_a_finished_run_keeps_the_config_that_its_figures_are_of(tmp_path):
    config = {"model": {"width": 8}, "evals": {"generation": 1}}
    fit(*toy_run(4, config=config), tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_text()
    other = {**config, "evals": {"generation": 2}}
    fit(*toy_run(4, config=other, free=("evals.generation",)), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_mistake_at_the_beginning_leaves_the_directory_free(tmp_path, monkeypatch):
    def mistaken(self, state):
        raise ValueError("there is no such run")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no such run"):
        patch.setattr(ToyRecipe, "warm_start", mistaken)
        fit(*toy_run(4, config={"init_from": "nowhere"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fit(*toy_run(4, config={"init_from": "somewhere"}), tmp_path / "run")


def test_a_run_from_before_splits_were_noted_goes_on_with_one_warning(tmp_path, capfd, whole):
    workdir = tmp_path / "run"
    stopped_at_7(workdir)
    path = workdir / "checkpoints" / "7" / "meta" / "metadata"
    meta = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("split", "total_steps")}
    path.write_text(json.dumps({**meta, "numbers": {}}))
    with pytest.raises(Stopped):
        fit(*toy_run(12, data=ToyData(stop_at=9)), workdir)
    told = capfd.readouterr().err
    assert "was to have" not in told
    assert told.count("does not say what it was trained on. From here on checkpoints say: 64 examples, hash 01") == 1
    same(whole[1], fit(*toy_run(12), workdir))
    assert "does not say" not in capfd.readouterr().err


def test_a_run_may_become_longer_and_says_what_that_does(tmp_path, capfd):
    def plan(steps):
        return {"config": {"train": {"steps": steps}}, "grows": ("train.steps",),
                "learning_rate": lambda step, total: 1.0 - step / total}

    workdir, recipe = tmp_path / "run", ToyRecipe()
    evaluators = {"test": ToyEvaluator(recipe, When(end=True))}
    fit(*toy_run(4, recipe=recipe, evaluators=evaluators, **plan(4)), workdir)
    data = ToyData(stop_at=6)
    with pytest.raises(Stopped):
        fit(*toy_run(8, recipe=recipe, evaluators=evaluators, data=data, **plan(8)), workdir)
    assert read_eval(workdir) is None  # it is not finished any more
    told = capfd.readouterr().err
    state = fit(*toy_run(8, recipe=recipe, evaluators=evaluators, **plan(8)), workdir)
    assert [row["step"] for row in read_rows(workdir) if "eval/test/error" in row] == [4, 8]
    assert "was to have" not in capfd.readouterr().err
    assert "goes on from step 4 of 8" in told and "was to have 4 steps and will have 8. " in told
    assert "at step 4 it was 0 and is 0.5. What comes out is not what 8 steps from the beginning" in told
    assert int(state.step) == 8 and read_eval(workdir)["about"]["total_steps"] == 8
    assert json.loads((workdir / "config.json").read_text())["train"]["steps"] == 8
    with pytest.raises(WorkdirError, match="train.steps: 8 there, 6 here"):
        fit(*toy_run(6, **plan(6)), workdir)


def test_frozen_networks_are_used_and_only_their_hash_is_saved(tmp_path):
    def recipe(value):
        return ToyRecipe(frozen={"offset": {"value": np.full(1, value, np.float32)}})

    with pytest.raises(Stopped):
        fit(*toy_run(6, recipe=recipe(2.0), data=ToyData(stop_at=3)), tmp_path / "run")
    assert set(read_meta(tmp_path / "run", 3)["frozen"]) == {"offset"}
    assert "offset" not in str(load_params(tmp_path / "run", "params"))
    with pytest.raises(ValueError, match="frozen networks have hashes"):
        fit(*toy_run(6, recipe=recipe(3.0)), tmp_path / "run")
    state = fit(*toy_run(6, recipe=recipe(2.0)), tmp_path / "run")
    assert float(state.frozen["offset"]["value"][0]) == 2.0


def test_the_number_that_chooses_must_exist(tmp_path):
    recipe = ToyRecipe()
    evaluators = toy_evaluators(recipe, [], validation=When(every=1), test=When(end=True))
    with pytest.raises(ValueError, match="an evaluator that runs every so many steps: validation"):
        fit(*toy_run(2, recipe=recipe, evaluators=evaluators, best="eval/test/error"), tmp_path / "a")
    with pytest.raises(KeyError, match="Did you mean 'eval/validation/error'"):
        fit(*toy_run(2, recipe=recipe, evaluators=evaluators, best="eval/validation/eror"), tmp_path / "b")


def test_an_evaluator_that_fails_is_named(tmp_path):
    class Failing(ToyEvaluator):
        def run(self, state):
            raise ArithmeticError("no such thing")
            yield

    with pytest.raises(ArithmeticError) as error:
        fit(*toy_run(2, evaluators={"judge": Failing(ToyRecipe(), When(every=1))}), tmp_path / "run")
    assert error.value.__notes__ == ["This happened in the evaluator 'judge' at step 1."]


def test_no_evaluator_can_lose_a_step_and_what_it_did_not_finish_is_done_again(tmp_path, whole):
    class Failing(ToyEvaluator):
        def run(self, state):
            yield "error", 1.0
            if int(state.step) == 6:
                raise ArithmeticError("no such thing")

    recipe, workdir = ToyRecipe(), tmp_path / "run"
    evaluators = {"validation": Failing(recipe, When(every=3)), "test": ToyEvaluator(recipe, When(end=True))}
    with pytest.raises(ArithmeticError):
        fit(*toy_run(12, recipe=recipe, evaluators=evaluators, save_every=100), workdir)
    assert finished_steps(workdir) == [3, 6] and read_numbers(workdir, 6) is None
    calls = []
    evaluators = toy_evaluators(recipe, calls, validation=When(every=3), test=When(end=True))
    same(whole[1], fit(*toy_run(12, recipe=recipe, evaluators=evaluators), workdir))
    assert calls == ["validation@6", "validation@9", "validation@12", "test@12"]
    later = [row for row in rows_without_time(workdir) if row["step"] > 3]
    assert later == [row for row in rows_without_time(whole[2]) if row["step"] > 3]


def test_a_run_killed_between_its_evaluations_writes_each_row_once(tmp_path, whole):
    """As if the process had ended after the rows of the last evaluations, and before anything noted that it had."""
    workdir = shutil.copytree(whole[2], tmp_path / "run")
    (workdir / "eval.json").unlink()
    (workdir / "checkpoints" / "12" / "numbers.json").unlink()
    calls, recipe = [], ToyRecipe()
    evaluators = toy_evaluators(recipe, calls, validation=When(every=3), test=When(end=True))
    fit(*toy_run(12, recipe=recipe, evaluators=evaluators), workdir)
    assert calls == ["validation@12", "test@12"]
    assert rows_without_time(workdir) == rows_without_time(whole[2])
    done, before = read_eval(workdir), read_eval(whole[2])
    assert {name: value for name, value in done.items() if name != "about"} == {
        name: value for name, value in before.items() if name != "about"}


def test_who_is_told_to_stop_before_an_evaluation_saves_leaves_and_evaluates_when_taken_up(tmp_path, whole):
    calls, recipe, workdir = [], ToyRecipe(), tmp_path / "run"
    evaluators = toy_evaluators(recipe, calls, validation=When(every=3), test=When(end=True))
    with pytest.raises(Stopped):
        fit(*toy_run(12, recipe=recipe, evaluators=evaluators, data=ToyData(stop_at=6)), workdir)
    assert calls == ["validation@3"] and finished_steps(workdir)[-1] == 6
    same(whole[1], fit(*toy_run(12, recipe=recipe, evaluators=evaluators), workdir))
    assert calls == ["validation@3", "validation@6", "validation@9", "validation@12", "test@12"]
    assert rows_without_time(workdir) == rows_without_time(whole[2])


def test_a_state_that_is_not_finite_is_not_evaluated(tmp_path):
    calls, recipe = [], ToyRecipe(poison_at=3)
    with pytest.raises(NonFinite, match="Step 3: .*last good checkpoint: none yet"):
        fit(*toy_run(12, recipe=recipe, evaluators=toy_evaluators(recipe, calls, validation=When(every=3))),
            tmp_path / "run")
    assert calls == [] and finished_steps(tmp_path / "run") == []


def test_data_that_end_and_steps_that_change_shapes_are_errors(tmp_path):
    with pytest.raises(RuntimeError, match="ended after 2 batches"):
        fit(*toy_run(4, data=ToyData(end_at=2)), tmp_path / "short")

    class Growing(ToyRecipe):
        def step(self, state, batch, key):
            state, numbers = super().step(state, batch, key)
            return state.replace(extra={"student": {"seen": state.extra["student"]["seen"] + 0.5}}), numbers

    with pytest.raises(TypeError, match="changed the shape or dtype of 1 leaves .*'extra/student/seen' was"):
        fit(*toy_run(4, recipe=Growing()), tmp_path / "growing")

    class Bare(ToyRecipe):
        def step(self, state, batch, key):
            return super().step(state, batch, key)[0], {"loss": 1.0}

    with pytest.raises(TypeError, match=r"gave \['loss'\]; expected a dict of Mean"):
        fit(*toy_run(4, recipe=Bare()), tmp_path / "bare")


def test_weights_of_another_run_are_filled_in_once(tmp_path):
    class Warm(ToyRecipe):
        def warm_start(self, state):
            super().warm_start(state)
            ones = {name: {"dense": {"kernel": np.ones((4, 8)), "bias": np.ones(8)}, "out": {"kernel": np.ones((8, 1))}}
                    for name in state.params}
            return state.replace(params=ones, ema={"student": ones["student"]})

    recipe = Warm()
    program = Program(recipe, toy_plan(), next(ToyData().train()))
    state = program.fresh()
    assert float(state.params["follower"]["dense"]["kernel"].sum()) == 32
    state, _ = program.step(state, next(ToyData().train()))  # donation: averages and parameters are separate arrays
    assert int(state.step) == 1 and recipe.calls == ["warm_start"]


def test_environment_and_config_are_written(whole):
    _, _, workdir = whole
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["packages"]["jax"] and environment["devices"] >= 1 and environment["host_cores"] >= 1
    assert json.loads((workdir / "config.json").read_text()) == {"model": {"width": 8}, "seed": 0}
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
