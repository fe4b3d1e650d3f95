"""What decoding steps buy and what they cost, beside one token after another; printed whoever wins.

    python benchmarks/decoding.py --workdir=runs/maskgvt_traj [--lm=runs/lmgvt_traj]
        [--judge=runs/classifier_traj-judge] [--steps=1,2,4,8,12,24,48] [--batches=1,8,32] [--per_class=20]
        [--tokens=256,1024] [--split=validation] [--seeds=1] [--data_dir=DIR]

The first table decodes with the run's own weights: quality of the clips beside real ones, and seconds and GFLOP of
one call from noise to pixels at every batch size, the fastest of three. The second is the cost alone, from noise to
codes, of untrained networks of the run's size on so many tokens: 12 steps of the masked transformer, and the causal one
with its cache. GFLOP are those of matrix products and convolutions, loops counted as often as they run.

Steps are chosen by this table, so that it is of validation clips and of other seeds than the reported figures are.

Both tables go to ``decoding.json`` in the run's directory, where its report finds them.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402
from on_device.decoders import STEPS, parallel, serial  # noqa: E402

from videogvt import jobs  # noqa: E402
from videogvt.evals.generators import evaluators_of  # noqa: E402
from videogvt.evals.tokens import ClipDecoder, compare, cost  # noqa: E402
from videogvt.jobs import experiment  # noqa: E402
from videogvt.jobs.judges import load_judge  # noqa: E402
from videogvt.report.decoding import DECODING_FILE, decoding_table  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.evaluation import restore_state  # noqa: E402


def opened_run(workdir: str, data_dir: str | None) -> tuple[experiment.Experiment, Any, dict[str, Any]]:
    """The experiment of a run, its best state, and its configuration."""
    config = json.loads((pathlib.Path(workdir) / "config.json").read_text())
    run = jobs.build(ConfigDict(config), workdir, data_dir)
    return run, restore_state(run.recipe, run.data.first_batch, run.plan, workdir), config


def quality(flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every number of steps, and one for the autoregressive run."""
    run, state, config = opened_run(flags.workdir, flags.data_dir)

    def opened(split, fields):
        return experiment.open_for_evaluation(config, split, fields, flags.data_dir)

    judge = load_judge(flags.judge, run.data.source.class_names) if flags.judge else None
    weights = "ema" if run.recipe.losses.ema_decay else "params"
    evaluator = evaluators_of(
        run.recipe.predict_fns, run.recipe.generation.tasks, opened, seed=run.plan.seed, weights=weights,
        batch_size=config["evals"]["batch_size"], per_class=flags.per_class, judge=judge,
        split=flags.split, seeds=flags.seeds)["generation"]
    decoders = [
        ClipDecoder(f"{steps} steps", steps, run.recipe.with_decoding(steps=steps).predict_fns["generate"], state,
                evaluator.task) for steps in flags.steps]
    if flags.lm:
        other, lm_state, _ = opened_run(flags.lm, flags.data_dir)
        passes = other.recipe.generation.num_tokens + 1
        decoders.append(ClipDecoder("autoregressive", passes, other.recipe.predict_fns["generate"], lm_state))
    yield from compare(decoders, evaluator, flags.batches)


def costs(size: dict[str, int], tokens: int, batches: list[int]) -> Iterator[dict[str, Any]]:
    """The rows of untrained networks on so many tokens."""
    for name, made in ((f"{STEPS}, {tokens:,} tokens", parallel(tokens, **size)),
                       (f"autoregressive, {tokens:,} tokens", serial(tokens, **size))):
        params, row = made.params(), {"name": name, "passes": made.passes}
        for batch in batches:
            found = cost(made.decode, params, jax.random.split(jax.random.key(1), batch))
            row |= {f"{kind}/{batch}": value for kind, value in found.items()}
        yield row


def numbers(text: str) -> list[int]:
    """"1,2,4" as a list."""
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--lm")
    parser.add_argument("--judge")
    parser.add_argument("--data_dir")
    parser.add_argument("--per_class", type=int, default=20)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--seeds", type=int, default=1)
    for name, default in (("steps", "1,2,4,8,12,24,48"), ("batches", "1,8,32"), ("tokens", "256,1024")):
        parser.add_argument(f"--{name}", type=numbers, default=numbers(default))
    flags = parser.parse_args()
    rows = list(quality(flags))
    print(as_text(*decoding_table(rows)), flush=True)
    config = json.loads((pathlib.Path(flags.workdir) / "config.json").read_text())
    size = {name: config["transformer"][name] for name in ("layers", "hidden", "heads", "mlp")}
    alone = [row for tokens in flags.tokens for row in costs(size, tokens, flags.batches)]
    if alone:
        print(f"\n{as_text(*decoding_table(alone))}")
    device = jax.devices()[0]
    about = {"device": device.device_kind, "devices": len(jax.devices()), "clips a class": flags.per_class,
             "split": flags.split, "seeds": flags.seeds,
             "jax": jax.__version__}
    (pathlib.Path(flags.workdir) / DECODING_FILE).write_text(json.dumps({"rows": rows, "costs": alone, "about": about}))


if __name__ == "__main__":
    main()
