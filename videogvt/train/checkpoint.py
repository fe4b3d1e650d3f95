"""Checkpoints: one directory per step, written in the background, finished or invisible. The only home of Orbax.

    <workdir>/checkpoints/<step>/state/   the arrays of ``SAVED_FIELDS``
                                 data/    the position of the data iterator, JSON
                                 meta/    clock, hashes and versions, JSON
                                 numbers.json    what evaluators found, once they have judged it

A directory gets its name when the first three are on disk, so one that was cut short is never taken for a finished
one. What a finished one holds may still be damaged later; restoring then falls back to the one before and says so.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from videogvt.train.damage import first_line, is_broken, is_full
from videogvt.train.state import SAVED_FIELDS, TrainState

FOLDER = "checkpoints"
_BROKEN = "checkpoints.broken"
NUMBERS = "numbers.json"
_WEIGHTS = ("params", "ema", "model_state", "extra")


class Restored(NamedTuple):
    """What a checkpoint gives back: the state (``frozen`` empty), the position of the data, the metadata, and whether
    evaluators have judged it."""

    state: TrainState
    data: dict[str, Any]
    meta: dict[str, Any]
    judged: bool


class Checkpoints:
    """The checkpoints of one run. Use it as a context manager: leaving it waits for saves in the background.

    Args:
      workdir: directory of the run.
      keep: number of newest checkpoints to keep.
      best: name of the evaluators' number that chooses the best, which is kept too; None for the last.
      best_mode: "max" or "min".
    """

    def __init__(self, workdir: epath.PathLike, *, keep: int = 2, best: str | None = None, best_mode: str = "min"):
        self.workdir = epath.Path(workdir).absolute()
        self._best, self._best_mode = best, best_mode
        self._scores = _scores(self.workdir, self.steps(), best)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LatestAndBest(keep, self), cleanup_tmp_directories=True, save_root_metadata=False
        )
        self._manager = ocp.CheckpointManager(self.workdir / FOLDER, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, Exception) and jax.process_count() > 1:
            return  # closing waits for the other processes, which may be gone; this one is about to end
        if error is None:
            self.wait()
        self._manager.close()

    def steps(self) -> list[int]:
        """Finished steps on disk, oldest first."""
        return finished_steps(self.workdir)

    def best_step(self) -> int | None:
        """The step with the best number, the first among equals; None without any."""
        return _best_step(self._scores, self._best_mode)

    def is_better(self, numbers: Mapping[str, float]) -> bool:
        """Whether these numbers beat every saved checkpoint's."""
        score = numbers.get(self._best) if self._best else None
        if score is None or not math.isfinite(score):
            return False
        best = self.best_step()
        return best is None or _sign(self._best_mode) * (score - self._scores[best]) > 0

    def save(self, step: int, state: TrainState, data: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Begins to save; arrays are copied off the device before it returns, so the state may be donated.

        Errors of an earlier save in the background are raised here and by ``wait``.
        """
        self.wait()
        arrays = {name: getattr(state, name) for name in SAVED_FIELDS}
        self._manager.save(step, force=True, args=ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays), data=ocp.args.JsonSave(dict(data)),
            meta=ocp.args.JsonSave({**meta, "best": self._best, "best_mode": self._best_mode}),
        ))

    def note_numbers(self, step: int, numbers: Mapping[str, float]) -> None:
        """Notes what evaluators found of a saved step, which may make it the best; waits for the save first."""
        self.wait()
        score = numbers.get(self._best) if self._best else None
        if score is not None and math.isfinite(score):
            self._scores[step] = score
        if jax.process_index() == 0:
            path = _step_folder(self.workdir, step) / NUMBERS
            half = path.with_name(f"{NUMBERS}.tmp")
            half.write_text(json.dumps(dict(numbers)))
            half.replace(path)

    def wait(self) -> None:
        """Waits for the save in the background and raises what went wrong in it."""
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            if not is_full(error):
                raise
            steps = self.steps()
            raise RuntimeError(
                f"No space is left in {self.workdir / FOLDER} for a checkpoint; the last finished one is "
                f"{f'of step {steps[-1]}' if steps else 'none'}. Make room and give the same command again: it goes on "
                "from there."
            ) from error

    def unfinished(self) -> list[int]:
        """Steps of folders that have a checkpoint's name and are none."""
        folders = (entry.name for entry in (self.workdir / FOLDER).iterdir())
        return sorted({int(name) for name in folders if name.isdecimal()} - {*self.steps()})

    def set_aside(self, step: int) -> epath.Path:
        """Moves a checkpoint to ``checkpoints.broken``, from where nothing is ever deleted; for process 0 alone."""
        target = self.workdir / _BROKEN / str(step)
        while target.exists():
            target = target.with_name(target.name + "_")
        target.parent.mkdir(exist_ok=True)
        (self.workdir / FOLDER / str(step)).rename(target)
        return target

    def reload(self) -> None:
        """Looks again at what lies on disk."""
        self._scores = {step: score for step, score in self._scores.items() if step in self.steps()}
        self._manager.reload()


def restore(workdir: epath.PathLike, step: int, abstract: TrainState) -> Restored:
    """Reads one checkpoint onto the devices that ``abstract`` names, whatever devices wrote it.

    Each process reads its own part and waits for no other, so that one of them may fail alone.
    """
    item = {name: getattr(abstract, name) for name in SAVED_FIELDS}
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        arrays = reader.restore(_step_folder(workdir, step) / "state", args=_restore_args(item))
    return Restored(
        TrainState(**arrays, frozen={}), _read_json(workdir, step, "data"), _read_json(workdir, step, "meta"),
        read_numbers(workdir, step) is not None,
    )


class _LatestAndBest(PreservationPolicy):
    """Keeps the newest checkpoints and the best one."""

    def __init__(self, keep: int, owner: Checkpoints):
        self._keep, self._owner = keep, owner

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        newest = [info.step for info in checkpoints][-self._keep:]
        return [info.step in newest or info.step == self._owner.best_step() for info in checkpoints]


def finished_steps(workdir: epath.PathLike) -> list[int]:
    """Steps of the finished checkpoints of a run, oldest first."""
    folder = epath.Path(workdir) / FOLDER
    return sorted(found.step for found in ocp.step.standard_name_format().find_all(folder)) if folder.exists() else []


def choose_step(workdir: epath.PathLike, step: int | str = "best") -> int:
    """The step of a run that "best", "last" or a number names. Without a best one, "best" is the last.

    Raises:
      FileNotFoundError: there is no such checkpoint.
    """
    steps = finished_steps(workdir)
    if not steps:
        raise FileNotFoundError(f"No finished checkpoint in {epath.Path(workdir) / FOLDER}; train there first.")
    if step == "last":
        return steps[-1]
    if step == "best":
        meta = read_meta(workdir, steps[-1])
        best = _best_step(_scores(workdir, steps, meta["best"]), meta["best_mode"])
        return steps[-1] if best is None else best
    if step not in steps:
        raise FileNotFoundError(f"No checkpoint of step {step!r} in {workdir}; there are {steps}, 'best' and 'last'.")
    return step


def read_meta(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    """The metadata of one checkpoint: clock, hashes and versions."""
    return _read_json(workdir, step, "meta")


def read_numbers(workdir: epath.PathLike, step: int) -> dict[str, float] | None:
    """What evaluators found of a checkpoint; None as long as they have not judged it."""
    path = _step_folder(workdir, step) / NUMBERS
    return json.loads(path.read_text()) if path.exists() else read_meta(workdir, step).get("numbers")  # as of old


def load_weights(
    workdir: epath.PathLike, step: int | str = "best", fields: Iterable[str] = _WEIGHTS
) -> dict[str, dict[str, Any]]:
    """Fields of a saved state as numpy trees, by field and network name; optimizer states are not read.

    Args:
      workdir: directory of the run that trained them.
      step: "best", "last" or a number.
      fields: names among ``SAVED_FIELDS``.
    """
    folder = _step_folder(workdir, choose_step(workdir, step)) / "state"
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:  # waits for no other process
        saved = reader.metadata(folder).tree
        wanted = {name: saved[name] for name in fields if saved.get(name)}
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        tree = reader.restore(folder, args=ocp.args.PyTreeRestore(wanted, restore_args=how, partial_restore=True))
    return {name: tree[name] if name in wanted else {} for name in fields}


def load_params(workdir: epath.PathLike, which: str = "ema", step: int | str = "best") -> dict[str, Any]:
    """Parameters for inference, as numpy trees by network name.

    Args:
      workdir: directory of the run that trained them.
      which: "ema" for the moving averages, and for networks without them the parameters; "params" for the latter.
      step: "best", "last" or a number.
    """
    if which not in ("ema", "params"):
        raise ValueError(f"Parameters {which!r}; expected 'ema' or 'params'.")
    fields = load_weights(workdir, step, ("params",) if which == "params" else ("params", "ema"))
    return {name: tree for field in fields.values() for name, tree in field.items()}


def restore_weights(workdir: epath.PathLike, step: int | str, state: TrainState) -> TrainState:
    """The state with step, parameters, averages, statistics and extras of a checkpoint, placed like its own; the
    optimizer states and ``frozen`` stay as they are."""
    target = {name: getattr(state, name) for name in ("step", *_WEIGHTS)}
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), target)
    folder = _step_folder(workdir, choose_step(workdir, step)) / "state"
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        return state.replace(**reader.restore(folder, args=_restore_args(abstract, partial=True)))


def _step_folder(workdir: epath.PathLike, step: int) -> epath.Path:
    return epath.Path(workdir).absolute() / FOLDER / str(step)


def _read_json(workdir: epath.PathLike, step: int, item: str) -> dict[str, Any]:
    with contextlib.closing(ocp.JsonCheckpointHandler()) as reader:
        return reader.restore(_step_folder(workdir, step) / item)


def _restore_args(abstract: Any, partial: bool = False) -> ocp.args.PyTreeRestore:
    how = ocp.checkpoint_utils.construct_restore_args(abstract)
    return ocp.args.PyTreeRestore(abstract, restore_args=how, partial_restore=partial)


def _scores(workdir: epath.PathLike, steps: Iterable[int], best: str | None) -> dict[int, float]:
    """The numbers that choose the best checkpoint, of the steps whose metadata can be read and has one."""
    scores = {}
    for step in steps if best else ():
        try:
            score = (read_numbers(workdir, step) or {}).get(best)
        except Exception as error:
            if not is_broken(error):  # it may be the best, which must not be lost
                raise
            logging.warning("The numbers of checkpoint %d cannot be read: %s", step, first_line(error))
            continue  # restoring names it
        if score is not None and math.isfinite(score):
            scores[step] = score
    return scores


def _sign(mode: str) -> int:
    return 1 if mode == "max" else -1


def _best_step(scores: Mapping[int, float], mode: str) -> int | None:
    return max(sorted(scores), key=lambda step: _sign(mode) * scores[step], default=None)
