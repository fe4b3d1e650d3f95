"""How often a classifier names the class of a clip, and how far off it places the object, beside chance.

Every figure comes from a table with a row for each clip, so the padding of the last batch counts for nothing. Chance is
the answer that knows only how frequent the classes of the split are: it always names the most frequent one, with the
classes' shares as its probabilities. With K balanced classes it is right 1 / K of the time at a loss of ln K. Of
positions it names the mean of those that were learned from.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from videogvt.evals.rows import Columns, SplitEval, whole_table
from videogvt.inputs.targets import Target
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState


@dataclasses.dataclass(kw_only=True)
class ClassificationEval(SplitEval):
    """Measures a classifier on one split.

    Attributes:
      classify: ``(state, what is in the field) -> logits_BK``, traceable; or heads by name, "logits", "position" or
        both.
      field: what the classifier sees: ``video``, uint8, or ``codes``.
      target: what its positions are; None where it tells none.
      scale: mean (P,) and standard deviation (P,) of the positions that it learned from, in which it answers.
      (others: see ``SplitEval``; the source has ``field``, ``label`` and ``id``, and its classes have names)
    """

    classify: Callable[[TrainState, jax.Array], jax.Array]
    field: str = "video"
    target: Target | None = None
    scale: tuple[np.ndarray, np.ndarray] | None = None

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures, and the files ``table`` (a row for each clip) and ``confusion`` (see ``confusion``)."""
        yield from results(self._measure(state), self.source.class_names, self.target, self.scale)

    def _measure(self, state: TrainState) -> Columns:
        answer, parts = self.on_rows("classify", self._heads, state), []
        for index_B, batch in self.batches():
            heads = answer({"seen": batch[self.field]})
            part = {"id": np.asarray(batch["id"]).astype(str), "index": index_B, "mask": batch["mask"] > 0,
                    "label": batch["label"]}
            if "logits" in heads:
                part |= named(heads["logits"], batch["label"])
            if "position" in heads:
                part |= told(heads["position"], batch)
            parts.append(part)
        return whole_table(parts)

    def _heads(self, state: TrainState, batch: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        heads = self.classify(state, batch["seen"])
        heads = dict(heads) if isinstance(heads, Mapping) else {"logits": heads}
        return heads | ({"logits": jax.nn.log_softmax(heads["logits"])} if "logits" in heads else {})


def named(log_BK: np.ndarray, label_B: np.ndarray) -> Columns:
    """What is told by the logarithms of the classes' probabilities."""
    prediction_B = log_BK.argmax(-1)
    return {
        "prediction": prediction_B, "probability": np.exp(log_BK.max(-1)), "log_probability": log_BK,
        "loss": -np.take_along_axis(log_BK, label_B[:, None], axis=1)[:, 0], "named_right": prediction_B == label_B,
    }


def told(position_BP: np.ndarray, known: Columns) -> Columns:
    """What is told of positions, beside what is true and, where it takes one, the calibration."""
    table = {"position": position_BP, "true_position": known["position"]}
    return table | ({"calibration": known["calibration"]} if "calibration" in known else {})


def results(
    table: Columns, names: tuple[str, ...], target: Target | None = None,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
) -> Iterator[tuple[str, float | Media]]:
    """Figures and files of a table with a row for each clip; see ``ClassificationEval.run``.

    Args:
      table: with ``label`` and the columns of ``named``, or those of ``told``, or both.
      names: of the classes.
      target, scale: see ``ClassificationEval``; positions in the file "table" are points in the target's unit.
    """
    if "prediction" in table:
        counts_KK = confusion(table["label"], table["prediction"], len(names))
        yield from figures(table, counts_KK, names).items()
        yield "confusion", Media.arrays(counts_KK=counts_KK, class_names=np.array(names))
    if "position" in table:
        mean_P, scale_P = scale
        calibration_NC = table.get("calibration")
        table |= {name: target.points(table[name] * scale_P + mean_P, calibration_NC)
                  for name in ("position", "true_position")}
        mean_NP = target.points(np.broadcast_to(mean_P, table["position"].shape), calibration_NC)
        for row, points_NP in {"": table["position"], "chance/": mean_NP}.items():
            errors = target.errors(points_NP, table["true_position"])
            table |= errors if not row else {}
            yield from ((f"{row}{name}", float(error_N.mean())) for name, error_N in errors.items())
        yield "clips", float(len(table["label"]))
    yield "table", Media.arrays(**table)


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
