"""How well a transformer names the codes of clips it has not seen: cross-entropy and accuracy, by clip and by task.

Masks follow from the clip's place in the split and the seed, so that every checkpoint, batch size and number of devices
is asked the same questions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals.hosts import eval_rows, gather, local_rows, stack
from videogvt.evals.tables import Columns, in_order
from videogvt.inputs.sources import ClipSource
from videogvt.train.contracts import Media, When
from videogvt.train.parallel import mesh_of, numeric, place_batch
from videogvt.train.state import TrainState


@dataclasses.dataclass
class TokenEval:
    """Measures a transformer on one split; every n consecutive clips, n being the number of classes, get the next task.

    Attributes:
      source: the split, opened with ``video`` and ``label`` (where there are labels).
      split: its name; like ``weights`` ("ema" or "params") it only stands among the facts.
      judge: ``(state, batch, task_B, keys_B) -> numbers (B,) by name``, traceable; each clip's from its own key.
      tasks: names of the tasks.
      seed: of the keys.
      when: its schedule.
      batch_size: of all hosts together; it divides by the devices along the data axis.
      limit: only the first so many clips, or None for the whole split.
    """

    source: ClipSource
    split: str
    seed: int
    weights: str
    judge: Callable[..., Mapping[str, jax.Array]]
    tasks: Sequence[str]
    when: When
    batch_size: int
    limit: int | None = None

    def __post_init__(self):
        self.clips = min(len(self.source), self.limit or len(self.source))
        self._judge = None

    @property
    def facts(self) -> dict[str, Any]:
        """What is needed to repeat the figures."""
        return {
            "split": self.split, "split_hash": self.source.split_hash, "clips": self.clips, "seed": self.seed,
            "weights": self.weights, "batch_size": self.batch_size, "tasks": list(self.tasks),
            "class_names": list(self.source.class_names),
        }

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
        mesh = mesh_of(state)
        if self._judge is None:
            self._judge = jax.jit(self._asked, out_shardings=NamedSharding(mesh, PartitionSpec("data")))
        parts = []
        for index_B, batch in eval_rows(self.source, self.batch_size, self.limit):
            turn_B = index_B // max(len(self.source.class_names), 1)  # labels, too, may alternate from clip to clip
            task_B = (turn_B % len(self.tasks)).astype(np.int32)
            columns = {name: column for name, column in numeric(batch).items() if name != "mask"}
            placed = place_batch(columns | {"task": task_B, "index": index_B.astype(np.int32)}, mesh)
            numbers = {name: local_rows(column) for name, column in self._judge(state, placed).items()}
            parts.append({"index": index_B, "mask": batch["mask"] > 0, "task": task_B, **numbers})
        return in_order(gather(stack(parts)))

    def _asked(self, state: TrainState, batch: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys_B = fold(jax.random.key(self.seed), batch["index"])
        clips = {name: column for name, column in batch.items() if name not in ("task", "index")}
        return self.judge(state, clips, batch["task"], keys_B)
