import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from videogvt.core.trees import parameter_count, tree_hash
from videogvt.train import checkpoint, resume
from videogvt.train.checkpoint import (
    Checkpoints,
    choose_step,
    finished_steps,
    load_params,
    load_weights,
    read_numbers,
    restore,
    restore_weights,
)
from videogvt.train.damage import is_broken
from videogvt.train.parallel import MeshShape, abstract_state, make_state
from videogvt.train.resume import restore_newest
from videogvt.train.state import TrainState

# A read that Orbax gave up on complains when it is collected, whenever that is.
pytestmark = [pytest.mark.optimized, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
RULES = ((".*", PartitionSpec()),)


def init(key, batch):
    params = {name: {"kernel": jax.random.normal(key, (256, 300))} for name in ("generator", "discriminator")}
    return TrainState.create(params=params, opt={"generator": {"count": jnp.zeros((), jnp.int32)}},
                             ema={"generator": params["generator"]}, extra={"lecam": jnp.ones(())})


@pytest.fixture(scope="module")
def state():
    key, mesh = jax.random.key(0), MeshShape().build(jax.devices()[:1])
    return make_state(init, key, {}, abstract_state(init, key, {}, RULES, mesh))


def abstract(state):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def copy(state):
    return jax.tree.map(jnp.copy, state)


def at(state, step):
    return copy(state).replace(step=jnp.int32(step))


def numbers(**values):
    return {"numbers": {f"eval/validation/{name}": value for name, value in values.items()}}


def save_all(workdir, state, scores, **fields):
    with Checkpoints(workdir, **fields) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, at(state, step), {"position": step}, {})
            checkpoints.note_numbers(step, {} if score is None else {"eval/validation/error": score})
    return checkpoints


def test_the_saved_arrays_are_those_of_the_moment_whatever_donation_does_later(tmp_path, state):
    update = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), state), donate_argnums=0)
    running, kept = copy(state), {}
    with Checkpoints(tmp_path, keep=4) as checkpoints:
        for step in range(4):
            kept[step] = np.array(running.params["generator"]["kernel"])
            checkpoints.save(step, running, {"position": step}, numbers())
            for _ in range(3):
                running = update(running)
    for step in range(4):
        restored = restore(tmp_path, step, abstract(state))
        np.testing.assert_array_equal(restored.state.params["generator"]["kernel"], kept[step])
        assert restored.data == {"position": step} and restored.state.frozen == {}


def test_the_newest_and_the_best_are_kept(tmp_path, state):
    best = {"best": "eval/validation/error", "keep": 2}
    checkpoints = save_all(tmp_path, state, {1: 3.0, 2: 1.0, 3: 1.0, 4: float("nan"), 5: None, 6: 2.0}, **best)
    assert finished_steps(tmp_path) == [2, 5, 6] and checkpoints.best_step() == 2
    assert choose_step(tmp_path) == 2 and choose_step(tmp_path, "last") == 6 and choose_step(tmp_path, 5) == 5
    with Checkpoints(tmp_path, **best) as again:
        assert again.best_step() == 2
        assert again.is_better({"eval/validation/error": 0.5})
        assert not again.is_better({"eval/validation/error": 1.0}) and not again.is_better({})
    save_all(tmp_path, state, {7: 0.5, 8: 4.0, 9: 5.0}, **best)
    assert finished_steps(tmp_path) == [7, 8, 9]
    assert read_numbers(tmp_path, 7) == {"eval/validation/error": 0.5} and read_numbers(tmp_path, 9)


def test_numbers_may_come_later_or_never_or_stand_in_the_metadata_as_they_once_did(tmp_path, state):
    best = {"best": "eval/validation/error", "keep": 4}
    with Checkpoints(tmp_path, **best) as checkpoints:
        checkpoints.save(1, at(state, 1), {}, numbers(error=2.0))
        checkpoints.save(2, at(state, 2), {}, {})
    assert read_numbers(tmp_path, 1) == {"eval/validation/error": 2.0} and read_numbers(tmp_path, 2) is None
    assert choose_step(tmp_path) == 1
    with Checkpoints(tmp_path, **best) as checkpoints:
        assert not restore_newest(checkpoints, abstract(state), print).judged
        checkpoints.note_numbers(2, {"eval/validation/error": 1.0})
        assert checkpoints.best_step() == 2 and restore_newest(checkpoints, abstract(state), print).judged


def test_a_high_number_can_be_the_best_one(tmp_path, state):
    save_all(tmp_path, state, {1: 3.0, 2: 1.0, 3: 2.0}, best="eval/validation/error", best_mode="max")
    assert finished_steps(tmp_path) == [1, 2, 3] and choose_step(tmp_path) == 1


def test_parameters_for_inference_by_network(tmp_path, state):
    averaged = state.replace(ema=jax.tree.map(lambda leaf: leaf + 1, state.ema))
    save_all(tmp_path, averaged, {3: None})
    params, ema = load_params(tmp_path, "params"), load_params(tmp_path, "ema", "last")
    assert params.keys() == ema.keys() == {"generator", "discriminator"}
    np.testing.assert_array_equal(ema["generator"]["kernel"], params["generator"]["kernel"] + 1)
    np.testing.assert_array_equal(ema["discriminator"]["kernel"], params["discriminator"]["kernel"])
    assert isinstance(params["generator"]["kernel"], np.ndarray)
    weights = load_weights(tmp_path)
    assert weights["model_state"] == {} and weights["extra"]["lecam"] == 1 and "opt" not in weights
    with pytest.raises(ValueError, match="expected 'ema' or 'params'"):
        load_params(tmp_path, "average")


def test_weights_replace_those_of_a_state_and_leave_its_optimizer(tmp_path, state):
    save_all(tmp_path, jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), state), {3: None})
    restored = restore_weights(tmp_path, "best", state.replace(frozen={"net": 1}))
    assert int(restored.step) == 3 and float(restored.extra["lecam"]) == 2 and restored.frozen == {"net": 1}
    assert int(restored.opt["generator"]["count"]) == 0


def test_a_step_that_is_not_there_is_an_error_that_lists_the_others(tmp_path, state):
    with pytest.raises(FileNotFoundError, match="No finished checkpoint"):
        choose_step(tmp_path)
    save_all(tmp_path, state, {3: None})
    with pytest.raises(FileNotFoundError, match=r"there are \[3\]"):
        load_params(tmp_path, step=4)


def test_what_was_cut_short_is_never_taken_for_finished(tmp_path, state):
    save_all(tmp_path, state, {3: None})
    (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp-1" / "state").mkdir(parents=True)
    assert finished_steps(tmp_path) == [3]
    (tmp_path / "checkpoints" / "4").mkdir()
    said = []
    with Checkpoints(tmp_path) as checkpoints:
        assert int(restore_newest(checkpoints, abstract(state), said.append).state.step) == 3
        checkpoints.save(4, at(state, 4), {}, numbers())
    assert len(said) == 1 and "Skipped the checkpoint of step 4: FileNotFoundError" in said[0]
    assert finished_steps(tmp_path) == [3, 4]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(resume, "PAUSES_S", (0.0, 0.0))


def test_a_checkpoint_of_other_shapes_is_an_error_and_stays(tmp_path, state, at_once):
    save_all(tmp_path, state, {2: None, 3: None})
    wider = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*leaf.shape[:-1], 301) if leaf.ndim else (), leaf.dtype,
                                                           sharding=leaf.sharding), abstract(state))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(RuntimeError, match="step 3 .* stays there .ValueError"):
        restore_newest(checkpoints, wider, print)
    assert finished_steps(tmp_path) == [2, 3]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError("no"), MemoryError(),
                                   ValueError("UNAVAILABLE: the server is down")])
def test_a_checkpoint_that_cannot_be_read_now_is_tried_again_and_never_moved(
        tmp_path, state, monkeypatch, at_once, error):
    save_all(tmp_path, state, {2: None, 3: None})
    real, fails, said = resume.restore, [2], []

    def restore(*arguments):
        if fails[0]:
            fails[0] -= 1
            raise error
        return real(*arguments)

    monkeypatch.setattr(resume, "restore", restore)
    with Checkpoints(tmp_path) as checkpoints:
        assert int(restore_newest(checkpoints, abstract(state), said.append).state.step) == 3
        fails[0] = 3
        with pytest.raises(RuntimeError, match="step 3 .* nothing shows that it is broken, so it stays there"):
            restore_newest(checkpoints, abstract(state), said.append)
    assert finished_steps(tmp_path) == [2, 3] and not said and not (tmp_path / "checkpoints.broken").exists()


@pytest.mark.parametrize("other, newest", [((1, 0), 3), ((0,), 4), ((2,), None)])
def test_processes_take_the_step_that_all_can_read(tmp_path, state, monkeypatch, other, newest):
    """What another process says of the checkpoints in turn: sound, broken or unreadable; here all are sound."""
    save_all(tmp_path, state, {3: None, 4: None})
    theirs, said = iter(other), []
    monkeypatch.setattr(resume, "multihost_utils", types.SimpleNamespace(
        process_allgather=lambda mine: np.array([mine, next(theirs)]), broadcast_one_to_all=lambda mine: mine,
        sync_global_devices=lambda name: None))
    with Checkpoints(tmp_path) as checkpoints:
        if newest is None:
            with pytest.raises(RuntimeError, match="step 4 .* stays there .another process cannot read it"):
                restore_newest(checkpoints, abstract(state), said.append)
        else:
            assert int(restore_newest(checkpoints, abstract(state), said.append).state.step) == newest
    assert finished_steps(tmp_path) == ([3] if newest == 3 else [3, 4]) and len(said) == (newest == 3)


def test_a_transient_error_does_not_forget_the_best(tmp_path, state, monkeypatch):
    best = {"best": "eval/validation/error"}
    save_all(tmp_path, state, {1: 1.0, 2: 2.0}, **best)

    def unreadable(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoint, "read_numbers", unreadable)
    with pytest.raises(OSError, match="Input/output"):
        Checkpoints(tmp_path, **best)


def test_what_was_set_aside_is_never_deleted(tmp_path, state):
    said = []
    for _ in range(3):
        save_all(tmp_path, state, {3: None, 4: None})
        (tmp_path / "checkpoints" / "4" / "meta" / "metadata").write_text("{")
        with Checkpoints(tmp_path) as checkpoints:
            assert int(restore_newest(checkpoints, abstract(state), said.append).state.step) == 3
        for folder in (tmp_path / "checkpoints").iterdir():
            shutil.rmtree(folder)
    assert sorted(path.name for path in (tmp_path / "checkpoints.broken").iterdir()) == ["4", "4_", "4__"]
    assert len(said) == 3


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [truncated, lambda path: path.unlink()])
@pytest.mark.parametrize("pattern", ["state/d/*", "state/ocdbt.process_0/d/*", "state/manifest.ocdbt", "data/metadata"])
def test_damage_is_known_for_what_it_is(tmp_path, state, pattern, harm):
    save_all(tmp_path, state, {3: None})
    for path in (tmp_path / "checkpoints" / "3").glob(pattern):
        harm(path)
    with pytest.raises(Exception) as error:
        restore(tmp_path, 3, abstract(state))
    assert is_broken(error.value)


def test_what_else_went_wrong_before_is_no_damage():
    try:
        try:
            raise FileNotFoundError("a file that need not be there")
        except FileNotFoundError:
            raise OSError(5, "Input/output error")  # noqa: B904  as libraries do
    except OSError as error:
        assert not is_broken(error)
    assert not is_broken(ValueError('UNAVAILABLE: Error reading local file "/runs/decoding"'))


def test_an_error_in_the_background_is_raised(tmp_path, state):
    with pytest.raises(TypeError, match="not JSON serializable"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state, {}, {"numbers": {}, "what": object()})
        checkpoints.wait()
    assert finished_steps(tmp_path) == []


def test_a_full_disk_is_told_with_what_is_saved(tmp_path, state, monkeypatch):
    save_all(tmp_path, state, {3: None})

    def full():
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 7 bytes: No space left on device [os_error_code='28']")

    with Checkpoints(tmp_path) as checkpoints:
        told = "last finished one is of step 3. Make room"
        with monkeypatch.context() as disk, pytest.raises(RuntimeError, match=told):
            disk.setattr(checkpoints._manager, "check_for_errors", full)
            checkpoints.save(4, at(state, 4), {}, {})


def test_hashes_and_counts_of_trees():
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(2)}
    assert parameter_count(tree) == 8 and len(tree_hash(tree)) == 16
    assert tree_hash(tree) == tree_hash(dict(reversed(tree.items()))) != tree_hash({**tree, "b": np.ones(2)})
    assert tree_hash(tree) != tree_hash({"a": tree["a"].reshape(3, 2), "b": tree["b"]})
