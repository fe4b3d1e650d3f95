"""How a run begins: where its own newest sound checkpoint left off, or fresh."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from videogvt.train import journal as records
from videogvt.train.checkpoint import FOLDER, Checkpoints, Restored, restore
from videogvt.train.contracts import Data, Evaluator, Plan
from videogvt.train.damage import first_line, is_broken
from videogvt.train.program import Program
from videogvt.train.state import TrainState

PAUSES_S = (0.5, 2.0)
"""Seconds to wait before reading again what could not be read and is not broken."""

_SOUND, _BROKEN, _UNREADABLE = range(3)


@dataclasses.dataclass
class Memory:
    """What a run remembers besides the state: its step, time trained, the numbers since the last row, whether the
    checkpoint that it goes on from has been judged, and how many steps that one was to be followed by in all (None for
    checkpoints that do not tell)."""

    step: int = 0
    seconds: float = 0.0
    examples: int = 0
    sums: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    judged: bool = True
    total_steps: int | None = None


def begin(
    program: Program, checkpoints: Checkpoints, batches: Any, data: Data, evaluators: Mapping[str, Evaluator]
) -> tuple[TrainState, Memory]:
    """The state that the run goes on from, with the batches of the data at their place."""
    restored = restore_newest(checkpoints, program.abstract, records.announce)
    if restored is None:
        return program.fresh(), Memory()
    meta = restored.meta
    if meta["frozen"] != program.frozen_hashes:
        raise ValueError(
            f"The frozen networks have hashes {program.frozen_hashes}; the checkpoint of step {meta['step']} was "
            f"trained with {meta['frozen']}. Give the same weights, or another --workdir."
        )
    _check_split(checkpoints.workdir, meta, data)
    _check_measured(checkpoints.workdir, meta, evaluators)
    batches.set_state(restored.data)
    memory = Memory(
        meta["step"], meta["clock"]["seconds"], meta["clock"]["examples"], meta["sums"], restored.judged,
        meta.get("total_steps"),
    )
    return program.with_frozen(restored.state), memory


def described(data: Data) -> dict[str, Any]:
    """What a checkpoint says of the training split: how many examples, and their hash."""
    return {"examples": data.num_examples, "hash": data.split_hash}


def _check_split(workdir: epath.PathLike, meta: Mapping[str, Any], data: Data) -> None:
    now, then = described(data), meta.get("split")
    if then is None:
        records.announce(
            f"The checkpoint of step {meta['step']} does not say what it was trained on. From here on checkpoints say: "
            f"{now['examples']:,} examples, hash {now['hash'][:12] or 'none'}. If examples were added or taken away "
            "since, stop and bring back the old ones."
        )
    elif now != then:
        raise records.WorkdirError(
            f"{workdir} was trained up to step {meta['step']} on {then['examples']:,} examples (hash "
            f"{then['hash'][:12] or 'none'}); the training split now has {now['examples']:,} (hash "
            f"{now['hash'][:12] or 'none'}). Bring back the old examples to go on with that run; or train on the new "
            "ones in another --workdir, from its weights if you like (config.init_from, where the config has it)."
        )


def splits_of(evaluators: Mapping[str, Evaluator]) -> dict[str, Any]:
    """What a checkpoint says of the examples that the best one is chosen on: hashes by the names of the evaluators."""
    return {name: evaluator.facts["split_hash"] for name, evaluator in evaluators.items()
            if evaluator.when.every is not None and "split_hash" in evaluator.facts}


def _check_measured(workdir: epath.PathLike, meta: Mapping[str, Any], evaluators: Mapping[str, Evaluator]) -> None:
    now, then = splits_of(evaluators), meta.get("measured", {})
    for name in sorted(now.keys() & then.keys()):
        if now[name] != then[name]:
            raise records.WorkdirError(
                f"{workdir} was measured up to step {meta['step']} on other examples of {name!r} (hash "
                f"{then[name][:12] or 'none'}; now {now[name][:12] or 'none'}), and its best step cannot be chosen "
                "among figures of both. Bring back the old examples, or train in another --workdir.")


def forget_earlier(workdir: epath.PathLike) -> None:
    """Takes away what an earlier run's evaluations left in a directory in which one begins anew, its checkpoints being
    gone: no report shall set them beside the new run's. Its rows of numbers go when the journal is opened."""
    if jax.process_index() == 0:
        records.remove_eval(workdir)
        for name in ("media", "evals"):
            if (epath.Path(workdir) / name).exists():
                (epath.Path(workdir) / name).rmtree()


def say_how_it_goes_on(
    workdir: epath.PathLike, plan: Plan, memory: Memory, grown: bool = False, finished: bool = False
) -> None:
    """Tells the person where the run goes on, and what more steps do to the learning rate.

    Args:
      workdir: directory of the run; the final numbers of one that was ``finished`` are taken away, since it is not.
      grown: whether its config asks for more steps than before.
    """
    records.announce(f"goes on from step {memory.step} of {plan.total_steps}")
    before, now = memory.total_steps, plan.total_steps
    if finished:
        records.announce(f"It was finished at step {memory.step}; what was measured then stays in metrics.jsonl, and "
                         "eval.json will be written at the new end.")
        records.remove_eval(workdir)
    if before == now or (before is None and not grown):
        return
    text = f"This run was to have {'fewer' if before is None else before} steps and will have {now}."
    if plan.learning_rate is not None:
        rates = [f"{plan.learning_rate(memory.step, total):.3g}" for total in (before, now) if total is not None]
        was = f"it was {rates[0]} and is {rates[1]}" if len(rates) == 2 else f"it is now {rates[0]}"
        text += f" Its learning rate is laid over all of them: at step {memory.step} {was}."
    records.announce(f"{text} What comes out is not what {now} steps from the beginning would have given.")


def restore_newest(checkpoints: Checkpoints, abstract: TrainState, say: Callable[[str], None]) -> Restored | None:
    """Reads the newest checkpoint that is sound; None when there is none at all.

    Broken and unfinished ones that are newer are named by ``say`` and set aside. All processes take the same step:
    that which all of them can read.

    Raises:
      RuntimeError: one cannot be read and is not broken, so that it stays where it is; or all are broken.
    """
    failures = dict.fromkeys(checkpoints.unfinished(), "it was never finished")
    folder, tried = checkpoints.workdir / FOLDER, set()
    while (step := _of_process_0(max({*checkpoints.steps()} - tried, default=-1))) >= 0:
        tried.add(step)
        restored, error = _try_to_restore(checkpoints, step, abstract)
        verdict = _SOUND if error is None else _BROKEN if is_broken(error) else _UNREADABLE
        verdict = int(np.max(multihost_utils.process_allgather(np.int32(verdict))))
        failures[step] = "another process cannot read it" if error is None else first_line(error)
        if verdict == _UNREADABLE:
            raise RuntimeError(
                f"The checkpoint of step {step} in {folder} cannot be read, though nothing shows that it is broken, so "
                f"it stays there ({failures[step]}). If the disk or the network failed, give the same command again. "
                "If the code has changed since, go back to the commit in environment.json. To go on from the "
                "checkpoint before, move this one away yourself."
            ) from error
        if verdict == _SOUND:
            del failures[step]
            _set_aside(checkpoints, failures, say)
            return restored._replace(judged=bool(_of_process_0(restored.judged)))
    if not tried:
        return None
    listing = "; ".join(f"{step}: {reason}" for step, reason in failures.items())
    raise RuntimeError(f"No checkpoint in {folder} can be read ({listing}). Bring them back from a copy if there is "
                       "one; otherwise begin anew in another --workdir.")


def _try_to_restore(
    checkpoints: Checkpoints, step: int, abstract: TrainState
) -> tuple[Restored | None, Exception | None]:
    """A checkpoint, or what is wrong with it; what is not broken is tried again after a while."""
    for pause_s in (*PAUSES_S, None):
        try:
            return restore(checkpoints.workdir, step, abstract), None
        except Exception as error:  # the processes have to agree on it before anything is raised
            if pause_s is None or is_broken(error):
                return None, error
            logging.warning("The checkpoint of step %d could not be read, trying again: %s", step, first_line(error))
            time.sleep(pause_s)
    raise AssertionError("the last try has no pause")


def _set_aside(checkpoints: Checkpoints, failures: Mapping[int, str], say: Callable[[str], None]) -> None:
    for step in sorted(failures) if jax.process_index() == 0 else ():
        place = checkpoints.set_aside(step)
        say(f"Skipped the checkpoint of step {step}: {failures[step]}. It now lies in {place}.")
    multihost_utils.sync_global_devices("broken checkpoints are set aside")
    checkpoints.reload()


def _of_process_0(value: int) -> int:
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def made_again(
    evaluators: Mapping[str, Evaluator], memory: Memory, total_steps: int
) -> Callable[[Mapping[str, Any]], bool]:
    """Of a row on disk, whether the run will write it again: of the final evaluations, if it stopped among them, and of
    the checkpoint's own where they did not come to their end."""
    final, periodic = (
        tuple(f"eval/{name}/" for name, evaluator in evaluators.items() if (evaluator.when.every is None) == last)
        for last in (True, False)
    )

    def again(row: Mapping[str, Any]) -> bool:
        if any(name.startswith(final) for name in row):
            return memory.step == total_steps
        return row["step"] == memory.step and not memory.judged and any(name.startswith(periodic) for name in row)

    return again


def peek(batches: Any) -> dict[str, np.ndarray]:
    """The first batch, which stays the next."""
    position = batches.get_state()
    batch = next(batches)
    batches.set_state(position)
    return batch
