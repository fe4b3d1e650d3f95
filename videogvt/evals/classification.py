"""How often a classifier names the class of a clip, beside chance.

Every figure comes from a table with a row for each clip, so the padding of the last batch counts for nothing. Chance is
the answer that knows only how frequent the classes of the split are: it always names the most frequent one, with the
classes' shares as its probabilities. With K balanced classes it is right 1 / K of the time at a loss of ln K.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals.hosts import eval_rows, gather, local_rows, stack
from videogvt.evals.tables import Columns, in_order
from videogvt.inputs.sources import ClipSource
from videogvt.train.contracts import Media, When
from videogvt.train.parallel import mesh_of, place_batch
from videogvt.train.state import TrainState


@dataclasses.dataclass
class ClassificationEval:
    """Measures a classifier on one split.

    Attributes:
      source: the split, opened with ``video``, ``label`` and ``id``; its classes have names.
      split: its name; like ``seed`` and ``weights`` ("ema" or "params") it only stands among the facts.
      classify: ``(state, video_BTHWC uint8) -> logits_BK``, traceable.
      when: its schedule.
      batch_size: of all hosts together; it divides by the devices along the data axis.
      limit: only the first so many clips, or None for the whole split.
    """

    source: ClipSource
    split: str
    seed: int
    weights: str
    classify: Callable[[TrainState, jax.Array], jax.Array]
    when: When
    batch_size: int
    limit: int | None = None

    def __post_init__(self):
        self.clips = min(len(self.source), self.limit or len(self.source))
        self._forward = None

    @property
    def facts(self) -> dict[str, Any]:
        """What is needed to repeat the figures."""
        return {
            "split": self.split, "split_hash": self.source.split_hash, "clips": self.clips, "seed": self.seed,
            "weights": self.weights, "batch_size": self.batch_size, "class_names": list(self.source.class_names),
        }

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures, and the files ``table`` (a row for each clip) and ``confusion`` (see ``confusion``)."""
        names = self.source.class_names
        table = self._measure(state)
        counts_KK = confusion(table["label"], table["prediction"], len(names))
        yield from figures(table, counts_KK, names).items()
        yield "table", Media.arrays(**table)
        yield "confusion", Media.arrays(counts_KK=counts_KK, class_names=np.array(names))

    def _measure(self, state: TrainState) -> Columns:
        mesh = mesh_of(state)
        if self._forward is None:
            self._forward = jax.jit(
                lambda state, video: jax.nn.log_softmax(self.classify(state, video)),
                out_shardings=NamedSharding(mesh, PartitionSpec("data")),
            )
        parts = []
        for index_B, batch in eval_rows(self.source, self.batch_size, self.limit):
            log_BK = local_rows(self._forward(state, place_batch({"video": batch["video"]}, mesh)["video"]))
            parts.append({
                "id": np.asarray(batch["id"]).astype("S64"), "index": index_B, "mask": batch["mask"] > 0,
                "label": batch["label"], "prediction": log_BK.argmax(-1), "probability": np.exp(log_BK.max(-1)),
                "loss": -np.take_along_axis(log_BK, batch["label"][:, None], axis=1)[:, 0],
                "named_right": log_BK.argmax(-1) == batch["label"],
            })
        return in_order(gather(stack(parts)))


def confusion(label_N: np.ndarray, prediction_N: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K) of clips: the row is the true class, the column the one that was named."""
    return np.bincount(label_N * classes + prediction_N, minlength=classes**2).reshape(classes, classes)


def figures(table: Columns, counts_KK: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    """``accuracy``, ``loss`` (cross-entropy in nats) and ``clips``; the accuracy on the clips of every class that there
    is, as ``by_class/<name>``; and chance's ``chance/accuracy`` and ``chance/loss``."""
    share_K = counts_KK.sum(1) / counts_KK.sum()
    present = share_K > 0
    numbers = {
        "accuracy": counts_KK.trace() / counts_KK.sum(), "loss": table["loss"].mean(dtype=np.float64),
        "clips": counts_KK.sum(), "chance/accuracy": share_K.max(),
        "chance/loss": -np.sum(share_K[present] * np.log(share_K[present])), "chance/clips": counts_KK.sum(),
    }
    right_K = counts_KK.diagonal() / np.maximum(counts_KK.sum(1), 1)
    numbers |= {f"by_class/{name}": right for name, right, there in zip(names, right_K, present, strict=True) if there}
    return {name: float(value) for name, value in numbers.items()}
