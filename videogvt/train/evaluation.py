"""Running evaluators, in the loop and on a run that was trained before."""

from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from videogvt.train import journal as records
from videogvt.train.checkpoint import choose_step, read_meta, restore
from videogvt.train.contracts import Evaluator, Media, Plan, Recipe
from videogvt.train.lock import sole_run
from videogvt.train.program import Program
from videogvt.train.state import TrainState


def run_evaluators(
    evaluators: Mapping[str, Evaluator], state: TrainState, between: Callable[[], None] = lambda: None
) -> tuple[dict[str, float], dict[str, Media]]:
    """Runs evaluators on a state.

    Args:
      evaluators: by name.
      state: what they are asked to judge.
      between: called after each evaluator.

    Returns:
      Numbers and files, both under "eval/<evaluator>/<name>".
    """
    numbers, media = {}, {}
    for name, evaluator in evaluators.items():
        try:
            for key, value in evaluator.run(state):
                if isinstance(value, Media):
                    media[f"eval/{name}/{key}"] = value
                else:
                    numbers[f"eval/{name}/{key}"] = float(value)
        except Exception as error:
            error.add_note(f"This happened in the evaluator {name!r} at step {int(state.step)}.")
            raise
        between()
    return numbers, media


def restore_state(
    recipe: Recipe, batch: Mapping[str, Any], plan: Plan, workdir: epath.PathLike, step: int | str = "best"
) -> TrainState:
    """A state of a run as its evaluators saw it, on the devices of this process.

    Args:
      recipe: the recipe that trained it.
      batch: any batch, of which shapes and dtypes count.
      plan: the plan it was trained by; the mesh may be another.
      workdir: directory of the run.
      step: "best", "last" or a number.

    Raises:
      WorkdirError: the recipe's frozen networks are not those of the training.
    """
    step = choose_step(workdir, step)
    program, frozen = Program(recipe, plan, batch), read_meta(workdir, step)["frozen"]
    if frozen != program.frozen_hashes:
        raise records.WorkdirError(
            f"{workdir} was trained with frozen networks of the hashes {frozen}; those that the config names have "
            f"{program.frozen_hashes}. Name the same weights, such as the tokenizer's run as it was."
        )
    return program.with_frozen(restore(workdir, step, program.abstract).state)


def evaluate_run(
    recipe: Recipe, batch: Mapping[str, Any], evaluators: Mapping[str, Evaluator], plan: Plan,
    workdir: epath.PathLike, step: int | str = "best", folder: epath.PathLike | None = None,
    further: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Runs all evaluators on a checkpoint, rewrites ``eval.json`` and ``media/``, and returns the numbers.

    Args:
      recipe, batch, plan, workdir, step: see ``restore_state``.
      evaluators: by name.
      folder: where the files go, with the plan's config, if the evaluation is not the training's own; None for
        ``workdir``.
      further: facts that stand beside the numbers.
    """
    step = choose_step(workdir, step)
    with sole_run(workdir):
        numbers, media = run_evaluators(evaluators, restore_state(recipe, batch, plan, workdir, step))
        if folder is not None:
            records.claim_workdir(folder, plan.config)
        records.keep_media(folder or workdir, step, media)
        records.write_eval(folder or workdir, numbers, {**about_run(workdir, step, plan, evaluators), **further})
    return numbers


def about_run(workdir: epath.PathLike, step: int, plan: Plan, evaluators: Mapping[str, Evaluator]) -> dict[str, Any]:
    """What stands beside the numbers in ``eval.json`` so that they can be repeated."""
    meta = read_meta(workdir, step)
    return {
        "step": step, "last_step": choose_step(workdir, "last"), "total_steps": plan.total_steps, **meta["clock"],
        "seed": plan.seed, "config_hash": meta["config_hash"],
        "measured_config_hash": records.config_hash(plan.config), "code_version": meta["code_version"],
        "trained_by_commit": meta["commit"], "evaluated_by_commit": records.commit(), "frozen": meta["frozen"],
        "evaluators": {name: dict(evaluator.facts) for name, evaluator in evaluators.items()},
    }
