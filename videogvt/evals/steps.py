"""What decoding costs, and what more steps buy: parallel decoding in so many steps beside one token after another."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.evals.generation import Generate, GenerationEval
from videogvt.train.contracts import Media
from videogvt.train.flops import count_flops
from videogvt.train.state import TrainState
from videogvt.train.timing import alternate

QUALITY = ("one_object_share", "oracle_agreement", "oracle_agreement_least", "judge_agreement", "frechet_traj",
           "fit_residual_px", "jerk_vs_real", "spread_vs_real", "spread_vs_real_least", "memory_vs_real",
           "hue_drift_deg", "radius_drift", "hue_distance_deg", "clips")
"""The figures of generated clips that stand beside the cost."""


@dataclasses.dataclass(frozen=True)
class Decoder:
    """One way to make clips.

    Attributes:
      name: "12 steps", "autoregressive".
      passes: through the transformer, one after the other.
      generate: the predict function.
      state: of the run whose function it is, with the tokenizer in ``frozen``.
      task: the place of generation by class in its table.
    """

    name: str
    passes: int
    generate: Generate
    state: TrainState
    task: int = 0


def compare(decoders: Sequence[Decoder], evaluator: GenerationEval, batches: Sequence[int] = (1, 8, 32),
            repeats: int = 3) -> Iterator[dict[str, Any]]:
    """A row for each decoder: ``name``, ``passes``, the figures ``QUALITY`` of its clips and, at every batch size b,
    ``seconds/<b>`` and ``gflop/<b>`` of one call, which makes b clips from noise to pixels.

    Real clips are measured once, for all decoders.

    Args:
      decoders: in the order of the rows.
      evaluator: measures the clips; its own generator is not asked.
      batches: batch sizes to be timed.
      repeats: timed calls, of which the fastest counts.
    """
    for decoder in decoders:
        evaluator = evaluator.asking(decoder.generate, decoder.task)
        figures = {name: value for name, value in evaluator.run(decoder.state) if not isinstance(value, Media)}
        row = {"name": decoder.name, "passes": decoder.passes}
        row |= {name: figures[name] for name in QUALITY if name in figures}
        for batch in batches:
            inputs = evaluator.inputs(jnp.arange(batch))
            row |= {f"{name}/{batch}": value for name, value in cost(
                decoder.generate, decoder.state, *inputs, repeats=repeats).items()}
        yield row


def cost(function: Callable, *arguments: Any, repeats: int = 3) -> dict[str, float]:
    """``seconds`` of the fastest of some calls of a compiled function, and its ``gflop``, see ``count_flops``."""
    compiled = jax.jit(function)
    timing = alternate({"call": lambda: compiled(*arguments)}, repeats=repeats)["call"]
    return {"seconds": timing.spread[0], "gflop": count_flops(function, *arguments) / 1e9}
