"""The one loop of every training.

Its order is a contract. For every step:

    1. save if due                before the data advance, so that the saved position is that of the saved weights, and
                                  before anything is evaluated, so that no evaluator can lose a step
    2. evaluate what is due       the numbers are noted in the checkpoint just saved, and may make it the best
    3. fetch the batch
    4. start the step             the device works on while the host goes on
    5. write the numbers of the step before, one step late
    6. stop loudly if one of them is not finite

and at the end: final evaluations, done. A save is due every so many steps, at the end, when told to stop, and before
every evaluation. When one is due, what 5 and 6 would have done is done first, and the whole state is looked at: nothing
that is not finite is saved or evaluated, and the rows on disk reach up to the checkpoint. Who is told to stop saves and
leaves; an evaluation that was due, or did not come to its end, is done when the run is taken up again.

A run begins in one of three ways, in this order: where its own newest sound checkpoint left off; else with the weights
that the recipe's ``warm_start`` brings; else from scratch. All that is random follows from the seed and the step, and
the position of the data lies in the checkpoint: a run that was stopped and taken up again ends with the same bits.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

import videogvt
from videogvt.core.processes import first_alone
from videogvt.core.registry import unknown_name
from videogvt.train import journal as records
from videogvt.train.checkpoint import Checkpoints, choose_step, read_numbers, restore_weights
from videogvt.train.contracts import Data, Evaluator, Plan, Recipe
from videogvt.train.evaluation import about_run, run_evaluators
from videogvt.train.lock import Stopped, StopSignal, sole_run
from videogvt.train.program import Program
from videogvt.train.resume import (
    begin,
    described,
    forget_earlier,
    made_again,
    peek,
    say_how_it_goes_on,
    splits_of,
)
from videogvt.train.state import TrainState


class NonFinite(FloatingPointError):
    """A number of the training, or a parameter, is not finite."""


def fit(
    recipe: Recipe, data: Data, evaluators: Mapping[str, Evaluator], plan: Plan, workdir: epath.PathLike
) -> TrainState:
    """Trains, or goes on training, and leaves everything in ``workdir``.

    Args:
      recipe: what to train and how.
      data: training batches.
      evaluators: by name; numbers become "eval/<name>/<number>". Those with ``When(end=True)`` alone run once, after
        the final save, on the best checkpoint (on the last when the plan names no number to choose by).
      plan: how long and how often.
      workdir: directory of the run, on a file system that all hosts share. That of a finished run is left as it is.

    Returns:
      The state after the last step.

    Raises:
      WorkdirError: the directory holds another configuration, was trained on other examples, or is in use.
      NonFinite: a number is not finite; the batch lies in ``nonfinite_step_<step>.npz``.
      Stopped: a signal came; the state is saved. It is a ``SystemExit`` with code 128 + the signal's number.
    """
    workdir = epath.Path(workdir).absolute()
    _check_best(plan, evaluators)
    with sole_run(workdir):
        return _fit(recipe, data, evaluators, plan, workdir)


def _fit(recipe, data, evaluators, plan, workdir) -> TrainState:
    new = not (workdir / "config.json").exists()
    grown = records.claim_workdir(workdir, plan.config, plan.free, plan.grows, renew=False)
    with contextlib.ExitStack() as stack:
        try:
            with first_alone():  # codes are made here
                batches = data.train()
            program = Program(recipe, plan, peek(batches))
            best = {"best": plan.best, "best_mode": plan.best_mode}
            checkpoints = stack.enter_context(Checkpoints(workdir, keep=plan.keep, **best))
            stop = stack.enter_context(StopSignal(plan.log_every))
            state, memory = begin(program, checkpoints, batches, data, evaluators)
        except Exception:
            if new:  # a mistake in what was given must not bind the directory
                stack.close()
                records.give_up_workdir(workdir)
            raise
        start, finished = memory.step, _finished(workdir, memory.step)
        if finished and start == plan.total_steps:
            return state  # of whose figures config.json stays the config
        records.write_config(workdir, plan.config)
        if start:
            say_how_it_goes_on(workdir, plan, memory, grown, finished)
        else:
            forget_earlier(workdir)
        again = made_again(evaluators, memory, plan.total_steps)
        with records.Journal(workdir, start=start, total=plan.total_steps, show=plan.show, again=again) as journal:
            run = _Run(program, plan, data, evaluators, workdir, checkpoints, journal, stop, batches, memory)
            for step in range(start, plan.total_steps + 1):
                signum = stop.requested(step)
                if step > start:
                    run.save(step, state, force=bool(signum))
                if signum:
                    run.leave(step, signum)
                if step > start or not memory.judged:
                    run.evaluate(step, state)
                if step == plan.total_steps:
                    break
                batch = run.fetch(step)
                state, metrics = program.step(state, batch)
                run.flush_metrics()
                run.keep_pending(step + 1, batch, metrics)
            run.final_evaluations(state)
    return state


class _PendingStep(NamedTuple):
    """A step that was started and whose numbers are not known yet, with the batch it was given."""

    step: int
    batch: Mapping[str, np.ndarray]
    metrics: Mapping[str, Any]


class _Run:
    """The moves of the loop, in the order it makes them."""

    def __init__(self, program, plan, data, evaluators, workdir, checkpoints, journal, stop, batches, memory):
        self.program, self.plan, self.data, self.evaluators, self.workdir = program, plan, data, evaluators, workdir
        self.checkpoints, self.journal, self.stop, self.batches = checkpoints, journal, stop, batches
        self.memory = memory
        self.pending: _PendingStep | None = None
        self.flushed: _PendingStep | None = None
        self.began = time.monotonic() - memory.seconds
        self.all_finite = jax.jit(_all_finite)

    def save(self, step: int, state: TrainState, force: bool) -> None:
        """1. Saves when it is time, at the end, when told to stop, and what is about to be evaluated."""
        due = step % self.plan.save_every == 0 or step == self.plan.total_steps
        if not (due or force or self.to_evaluate(step)):
            return
        self.flush_metrics()
        if not self.all_finite(state.replace(frozen={})):
            raise self.non_finite(self.flushed, "a parameter or a moment of the optimizer")
        clock = {"seconds": self.seconds(), "examples": self.memory.examples}
        self.checkpoints.save(step, state, self.batches.get_state(), {
            "step": step, "clock": clock, "sums": dict(self.memory.sums), "seed": self.plan.seed,
            "config_hash": records.config_hash(self.plan.config), "code_version": videogvt.__version__,
            "commit": records.commit(), "frozen": self.program.frozen_hashes, "split": described(self.data),
            "measured": splits_of(self.evaluators),
            "total_steps": self.plan.total_steps,
        })

    def evaluate(self, step: int, state: TrainState) -> None:
        """2. The periodic evaluators that are due, on the checkpoint of this step."""
        due = self.to_evaluate(step)
        if not due:
            return
        self.checkpoints.wait()
        numbers, media = run_evaluators(due, state)
        if self.plan.best and self.plan.best.split("/")[1] in due and self.plan.best not in numbers:
            raise KeyError(unknown_name("number for Plan.best", self.plan.best, numbers))
        self.journal.write(step, numbers, self.seconds(), self.memory.examples)
        records.keep_media(self.workdir, step, media)
        if self.plan.best in numbers:
            mark = "  (best so far)" if self.checkpoints.is_better(numbers) else ""
            records.announce(f"step {step}: {self.plan.best} {numbers[self.plan.best]:.4g}{mark}")
        self.checkpoints.note_numbers(step, numbers)

    def to_evaluate(self, step: int) -> dict[str, Evaluator]:
        """The periodic evaluators that are due, last turn before the final evaluations included."""
        return {name: evaluator for name, evaluator in self.evaluators.items()
                if evaluator.when.every is not None and evaluator.when.due(step, self.plan.total_steps)}

    def leave(self, step: int, signum: int) -> None:
        """After a signal: waits for the save and leaves."""
        self.checkpoints.wait()
        saved = f"saved in {self.workdir}. The same command goes on from there." if step else "nothing was trained yet."
        text = f"Stopped at step {step} of {self.plan.total_steps}; {saved}"
        records.announce(text)
        raise Stopped(signum, text)

    def fetch(self, step: int) -> dict[str, np.ndarray]:
        """3. The next batch."""
        try:
            return next(self.batches)
        except StopIteration:
            raise RuntimeError(f"The training data ended after {step} batches; data.train() has to repeat.") from None

    def flush_metrics(self) -> None:
        """5. and 6. Writes the numbers of the step that is pending, if any, and stops if one is not finite."""
        if self.pending is None:
            return
        pending, self.pending, self.flushed = self.pending, None, self.pending
        metrics = jax.device_get(pending.metrics)
        for name, mean in metrics.items():
            if not np.isfinite(mean.total):
                raise self.non_finite(pending, f"{name!r} = {mean.total / mean.count if mean.count else mean.total}")
        self.memory.step = pending.step
        self.memory.examples += len(next(iter(pending.batch.values()))) * jax.process_count()
        for name, mean in metrics.items():
            total, count = self.memory.sums.get(name, (0.0, 0.0))
            self.memory.sums[name] = [total + float(mean.total), count + float(mean.count)]
        self.journal.advance(pending.step)
        if pending.step % self.plan.log_every == 0 or pending.step == self.plan.total_steps:
            numbers = {f"train/{name}": total / count if count else float("nan")
                       for name, (total, count) in self.memory.sums.items()}
            self.journal.write(pending.step, numbers, self.seconds(), self.memory.examples)
            self.journal.progress(pending.step, numbers)
            self.memory.sums = {}

    def keep_pending(self, step: int, batch: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> None:
        """Keeps a started step's batch until its numbers are known."""
        self.pending = _PendingStep(step, batch, metrics)

    def final_evaluations(self, state: TrainState) -> None:
        """The evaluators that run at the end only, on the chosen checkpoint, and ``eval.json``."""
        self.checkpoints.wait()
        total = self.plan.total_steps
        step = choose_step(self.workdir, "best")
        chosen = state if step == total else restore_weights(self.workdir, step, state)
        final = {name: evaluator for name, evaluator in self.evaluators.items() if evaluator.when.every is None}
        numbers, media = run_evaluators(final, chosen, between=self.leave_if_stopped)
        if numbers:
            self.journal.write(step, numbers, self.seconds(), self.memory.examples)
        records.keep_media(self.workdir, step, media)
        numbers = {**(read_numbers(self.workdir, step) or {}), **numbers}
        records.write_eval(self.workdir, numbers, about_run(self.workdir, step, self.plan, self.evaluators))

    def leave_if_stopped(self) -> None:
        """Between final evaluations, which are all done again when the run is taken up again."""
        signum = self.stop.requested(self.plan.total_steps)
        if signum:
            self.leave(self.plan.total_steps, signum)

    def seconds(self) -> float:
        """Trained in all, earlier parts of the run included."""
        return time.monotonic() - self.began

    def non_finite(self, pending: _PendingStep, what: str) -> NonFinite:
        """Leaves the batch behind and says what happened."""
        suffix = f".process_{jax.process_index()}" if jax.process_count() > 1 else ""
        path = self.workdir / f"nonfinite_step_{pending.step}{suffix}.npz"
        with path.open("wb") as file:
            np.savez(file, **{name: _plain(array) for name, array in pending.batch.items()})
        self.checkpoints.wait()
        steps = self.checkpoints.steps()
        return NonFinite(
            f"Step {pending.step}: {what} is not finite. Its batch is in {path}; the last good checkpoint: "
            f"{f'step {steps[-1]}' if steps else 'none yet'}. Lower the learning rate, clip the gradient or look at "
            "the batch: the same command would come to the same point again."
        )


def _check_best(plan: Plan, evaluators: Mapping[str, Evaluator]) -> None:
    if plan.best is None:
        return
    periodic = [name for name, evaluator in evaluators.items() if evaluator.when.every is not None]
    if plan.best.split("/")[1] not in periodic:
        raise ValueError(
            f"Plan.best is {plan.best!r}; expected 'eval/<evaluator>/<number>' of an evaluator that runs every so many "
            f"steps: {', '.join(periodic) or 'there is none'}."
        )


def _finished(workdir: epath.PathLike, step: int) -> bool:
    """Whether the final evaluations were done too; all processes go by what process 0 reads."""
    done = records.read_eval(workdir)
    finished = np.bool_(done is not None and done["about"]["last_step"] == step)
    return bool(multihost_utils.broadcast_one_to_all(finished))


def _all_finite(state: TrainState) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]))


def _plain(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(str) if array.dtype == object else array
