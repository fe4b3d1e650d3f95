"""How well a transformer names the codes of clips it has not seen: cross-entropy and accuracy, by clip and by task.

Masks follow from the clip's place in the split and the seed, so that every checkpoint, batch size and number of devices
is asked the same questions.

What decoding costs, and what more steps buy: parallel decoding in so many steps beside one token after another.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.evals.generation import GenerationEval
from videogvt.evals.rows import Columns, Generate, SplitEval, whole_table
from videogvt.train.contracts import Media
from videogvt.train.parallel import numeric
from videogvt.train.state import TrainState
from videogvt.train.timing import alternate, count_flops


@dataclasses.dataclass(kw_only=True)
class TokenEval(SplitEval):
    """Measures a transformer on one split; every n consecutive clips, n being the number of classes, get the next task.

    Attributes:
      measure: ``(state, batch, task_B, keys_B) -> numbers (B,) by name``, traceable; each clip's from its own key.
      tasks: names of the tasks.
      (others: see ``SplitEval``; the source has ``video`` and, where there are labels, ``label``)
    """

    measure: Callable[..., Mapping[str, jax.Array]]
    tasks: Sequence[str]

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"tasks": list(self.tasks)}

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields the mean of every number over the clips, of several tasks also each one's, and the file ``table``."""
        table = self._measure(state)
        numbers = [name for name in table if name not in ("index", "mask", "task")]
        for name in numbers:
            yield name, float(table[name].mean(dtype=np.float64))
        if len(self.tasks) > 1:
            for index, task in enumerate(self.tasks):
                chosen = table["task"] == index
                if chosen.any():
                    yield from ((f"by_task/{task}/{name}", float(table[name][chosen].mean())) for name in numbers)
        yield "clips", float(len(table["index"]))
        yield "table", Media.arrays(**table)

    def _measure(self, state: TrainState) -> Columns:
        asked, parts = self.on_rows("measure", self._asked, state), []
        for index_B, batch in self.batches():
            turn_B = index_B // max(len(self.source.class_names), 1)  # labels, too, may alternate from clip to clip
            task_B = (turn_B % len(self.tasks)).astype(np.int32)
            columns = {name: column for name, column in numeric(batch).items() if name != "mask"}
            numbers = asked(columns | {"task": task_B, "index": index_B.astype(np.int32)})
            parts.append({"index": index_B, "mask": batch["mask"] > 0, "task": task_B, **numbers})
        return whole_table(parts)

    def _asked(self, state: TrainState, batch: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys_B = fold(jax.random.key(self.seed), batch["index"])
        clips = {name: column for name, column in batch.items() if name not in ("task", "index")}
        return self.measure(state, clips, batch["task"], keys_B)


QUALITY = ("one_object_share", "oracle_agreement", "oracle_agreement_min", "judge_agreement", "frechet_traj",
           "fit_residual_px", "jerk_vs_real", "spread_vs_real", "spread_vs_real_min", "memory_vs_real",
           "hue_drift_deg", "radius_drift", "hue_distance_deg", "clips")
"""The figures of generated clips that stand beside the cost."""


@dataclasses.dataclass(frozen=True)
class ClipDecoder:
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


def compare(decoders: Sequence[ClipDecoder], evaluator: GenerationEval, batches: Sequence[int] = (1, 8, 32),
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
