"""How well a transformer names the codes of clips it has not seen: cross-entropy and accuracy, by clip and by task.

Masks follow from the clip's place in the split and the seed, so that every checkpoint, batch size and number of devices
is asked the same questions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from videogvt.evals.rows import Columns, SplitEval, whole_table
from videogvt.train.contracts import Media
from videogvt.train.parallel import numeric
from videogvt.train.state import TrainState


@dataclasses.dataclass(kw_only=True)
class TokenEval(SplitEval):
    """Measures a transformer on one split; every n consecutive clips, n being the number of classes, get the next task.

    Attributes:
      judge: ``(state, batch, task_B, keys_B) -> numbers (B,) by name``, traceable; each clip's from its own key.
      tasks: names of the tasks.
      (others: see ``SplitEval``; the source has ``video`` and, where there are labels, ``label``)
    """

    judge: Callable[..., Mapping[str, jax.Array]]
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
        asked, parts = self.on_rows("judge", self._asked, state), []
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
        return self.judge(state, clips, batch["task"], keys_B)
