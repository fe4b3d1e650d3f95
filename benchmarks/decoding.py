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
import jax.numpy as jnp  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from videogvt import experiment  # noqa: E402
from videogvt.core.vocabulary import Vocabulary  # noqa: E402
from videogvt.decode import AutoregressiveDecoding, ParallelDecoding  # noqa: E402
from videogvt.evals.generators import evaluators_of  # noqa: E402
from videogvt.evals.judge import load_judge  # noqa: E402
from videogvt.evals.steps import Decoder, compare, cost  # noqa: E402
from videogvt.nn.lm import CausalTransformer  # noqa: E402
from videogvt.nn.transformer import MaskedTransformer  # noqa: E402
from videogvt.report.decoding import FILE, table  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.evaluation import restore_state  # noqa: E402

CODES, CLASSES = 1024, 5  # of the untrained networks


def opened_run(workdir: str, data_dir: str | None) -> tuple[experiment.Experiment, Any, dict[str, Any]]:
    """The experiment of a run, its best state, and its configuration."""
    config = json.loads((pathlib.Path(workdir) / "config.json").read_text())
    run = experiment.build(ConfigDict(config), workdir, data_dir)
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
        Decoder(f"{steps} steps", steps, run.recipe.with_decoding(steps=steps).predict_fns["generate"], state,
                evaluator.task) for steps in flags.steps]
    if flags.lm:
        other, lm_state, _ = opened_run(flags.lm, flags.data_dir)
        passes = other.recipe.generation.num_tokens + 1
        decoders.append(Decoder("autoregressive", passes, other.recipe.predict_fns["generate"], lm_state))
    yield from compare(decoders, evaluator, flags.batches)


def costs(size: dict[str, int], tokens: int, batches: list[int]) -> Iterator[dict[str, Any]]:
    """The rows of untrained networks on so many tokens."""
    vocabulary = Vocabulary(CODES, CLASSES)
    shape = {"vocab_size": vocabulary.size, "sequence_length": 1 + tokens, **size}
    masked, causal = MaskedTransformer(**shape), CausalTransformer(**shape)
    start_1L = jnp.zeros((1, 1 + tokens), jnp.int32)
    params = [network.init(jax.random.key(0), start_1L)["params"] for network in (masked, causal)]

    def parallel(params, keys_B):
        prefix_B1 = jnp.full((len(keys_B), 1), vocabulary.unconditional)
        nothing_BN = jnp.zeros((len(keys_B), tokens), jnp.int32)

        def logits(tokens_BN):
            return masked.apply({"params": params}, jnp.concatenate([prefix_B1, tokens_BN], axis=1))[:, 1:, :CODES]

        return ParallelDecoding()(logits, nothing_BN, nothing_BN > 0, mask_id=vocabulary.mask, num_codes=CODES,
                                  keys_B=keys_B).codes_BN

    def serial(params, keys_B):
        prefix_B2 = jnp.tile(jnp.array([vocabulary.mask, vocabulary.unconditional]), (len(keys_B), 1))

        def step(tokens_B, position, cache):
            return causal.apply({"params": params}, tokens_B, position, cache, method="step")

        return AutoregressiveDecoding()(step, causal.init_cache(len(keys_B)), prefix_B2, num_tokens=tokens,
                                        num_codes=CODES, keys_B=keys_B)

    for name, passes, function, weights in (
        (f"12 steps, {tokens:,} tokens", ParallelDecoding().steps, parallel, params[0]),
        (f"autoregressive, {tokens:,} tokens", tokens + 1, serial, params[1]),
    ):
        row: dict[str, Any] = {"name": name, "passes": passes}
        for batch in batches:
            found = cost(function, weights, jax.random.split(jax.random.key(1), batch))
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
    print(as_text(*table(rows)), flush=True)
    config = json.loads((pathlib.Path(flags.workdir) / "config.json").read_text())
    size = {name: config["transformer"][name] for name in ("layers", "hidden", "heads", "mlp")}
    alone = [row for tokens in flags.tokens for row in costs(size, tokens, flags.batches)]
    if alone:
        print(f"\n{as_text(*table(alone))}")
    device = jax.devices()[0]
    about = {"device": device.device_kind, "devices": len(jax.devices()), "clips a class": flags.per_class,
             "split": flags.split, "seeds": flags.seeds,
             "jax": jax.__version__}
    (pathlib.Path(flags.workdir) / FILE).write_text(json.dumps({"rows": rows, "costs": alone, "about": about}))


if __name__ == "__main__":
    main()
