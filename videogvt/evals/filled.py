"""What evaluators of clips that a generator fills in have in common: every task and clip has a key of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from videogvt.evals.generation import Generate
from videogvt.evals.rows import Columns, SplitEval
from videogvt.models.tasks import TaskTable
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.state import TrainState


@dataclasses.dataclass(kw_only=True)
class FilledEval(SplitEval):
    """An evaluator of what a generator makes of clips of which a part is given.

    Attributes:
      seed: of the keys; each task and clip has its own, so no figure depends on the batch size or the devices.
      seeds: several of them, for figures that are means with their range (``seeds.averaged``); None for ``seed`` alone.
        Files are of the first.
      generate: the recipe's predict function, traceable; it must look at given pixels alone.
      table: its tasks.
      samples: clips of each task to keep for the report.
      settings: of the decoding; among the facts alone.
      (others: see ``SplitEval``; the source has ``video`` and ``label``)
    """

    generate: Generate
    table: TaskTable
    samples: int = 3
    seeds: tuple[int, ...] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        self.seeds = self.seeds or (self.seed,)

    def filled_in(self, state: TrainState, place: int, index_B: np.ndarray, batch: Columns, seed: int) -> np.ndarray:
        """This host's rows of the clips that the task at a place of the table makes of a batch, uint8."""
        columns = {
            "task": np.full(len(index_B), place, np.int32), "index": index_B.astype(np.int32),
            "label": batch["label"].astype(np.int32), "video": batch["video"],
        }
        return self.on_rows("fill in", self._made, state)(columns, np.uint32(seed))

    def _made(self, state: TrainState, batch: Mapping[str, jax.Array], seed: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), batch["task"][0])
        keys_B = jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])
        video_BTHWC = as_float(batch["video"])
        return as_bytes(self.generate(state, batch["task"], batch["label"], video_BTHWC, keys_B)["video"])
