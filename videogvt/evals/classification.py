"""How often a classifier names the class of a clip, and how far off it places the object, beside chance; and what it
may be asked besides the class: where the object comes next, or where it was all along.

Every figure comes from a table with a row for each clip, so the padding of the last batch counts for nothing. Chance is
the answer that knows only how frequent the classes of the split are: it always names the most frequent one, with the
classes' shares as its probabilities. With K balanced classes it is right 1 / K of the time at a loss of ln K. Of
positions it names the mean of those that were learned from. The next position is one frame after the clip's last, from
the clip's equation, filmed by the camera as it stood last.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from videogvt.evals.rows import Columns, SplitEval, whole_table
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState
from videogvt.world.motion import evaluate_equation

CAMERA = ("camera_R", "camera_t")
_NEXT = ("equation", "fps", *CAMERA)
FARTHEST_PX = 0.25  # disparity, beside parallel cameras, of the farthest point that a stereo answer can mean


@dataclasses.dataclass(frozen=True)
class Target:
    """A position to be told, as P numbers: points of three numbers each.

    Attributes:
      doc: what it is, and what of it the clip determines.
      fields: of a source that it is made of.
      values: columns to what is told, (N, P).
      unit: of a point's place.
      axes: numbers of a point that are its place; a third one beside two is the apparent radius.
      views: cameras that have to be seen.
      calibration: columns to numbers (N, C) that are known of each clip's cameras; None where what is told are points.
      solve: points (N, P) in the unit of what is told and the calibration.
    """

    doc: str
    fields: tuple[str, ...]
    values: Callable[[Columns], np.ndarray]
    unit: str
    axes: int
    views: int = 1
    calibration: Callable[[Columns], np.ndarray] | None = None
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def points(self, told_NP: np.ndarray, calibration_NC: np.ndarray | None = None) -> np.ndarray:
        """The points (N, P), in the unit, that numbers mean."""
        return told_NP if self.solve is None else self.solve(told_NP, calibration_NC)

    def known(self, columns: Columns) -> dict[str, np.ndarray]:
        """``position``, what is to be told, and the ``calibration`` where there is one, of columns."""
        calibration = {"calibration": self.calibration(columns)} if self.calibration is not None else {}
        return {"position": self.values(columns), **calibration}

    def mirrored(self, told_NP: np.ndarray, width: int) -> np.ndarray:
        """What is told of clips ``width`` pixels wide whose columns are reversed.

        Raises:
          ValueError: the points are not places in the picture of a single camera.
        """
        if self.axes != 2:
            raise ValueError(f"A mirror shows places in the picture of one camera; found points in {self.unit}. Leave "
                             "out config.examples.mirrored, or ask next_pixel or path.")
        points = told_NP.reshape(len(told_NP), -1, 3).copy()
        points[..., 0] = width - 1 - points[..., 0]
        return points.reshape(told_NP.shape)

    def errors(self, predicted_NP: np.ndarray, true_NP: np.ndarray) -> dict[str, np.ndarray]:
        """How far off points are, (N,) each, in the mean over a clip's points: "position_error" in the unit; of places
        about a camera also "position_error_share", of the distance; and "radius_error" where a radius is told."""
        points = (len(true_NP), true_NP.shape[1] // 3, 3)
        off = (np.asarray(predicted_NP, np.float64) - true_NP).reshape(points)
        place = np.linalg.norm(off[..., : self.axes], axis=-1)
        errors = {"position_error": place.mean(1)}
        if self.axes == 2:
            errors["radius_error"] = np.abs(off[..., 2]).mean(1)
        elif self.views > 1:
            distance = np.linalg.norm(true_NP.reshape(points), axis=-1)
            errors["position_error_share"] = (place / distance).mean(1)
        return errors


def _next_world(columns: Columns) -> np.ndarray:
    frames = columns["camera_t"].shape[2]
    times = frames / columns["fps"]
    return np.stack([evaluate_equation(str(text), np.array([time]))[0]
                     for text, time in zip(columns["equation"], times, strict=True)])


def _next_metric(columns: Columns) -> np.ndarray:
    R, t = columns["camera_R"][:, 0, -1], columns["camera_t"][:, 0, -1]
    return np.einsum("nij,nj->ni", R, _next_world(columns)) + t


def _next_in_both(columns: Columns) -> np.ndarray:
    """Column and row in the left picture, and by how many pixels the right one shows it further to the left."""
    focal, centre_x, centre_y, shift, baseline = _rectified(columns).T
    x, y, z = _next_metric(columns).T
    return np.stack([focal * x / z + centre_x, focal * y / z + centre_y, focal * baseline / z - shift], axis=1)


def _rectified(columns: Columns) -> np.ndarray:
    """Of a rectified pair: focal length and left principal point, the right one's shift, in pixels; the baseline, m."""
    K, t = columns["camera_K"][:, :, -1], columns["camera_t"][:, :, -1]
    return np.stack([K[:, 0, 0, 0], K[:, 0, 0, 2], K[:, 0, 1, 2], K[:, 1, 0, 2] - K[:, 0, 0, 2],
                     t[:, 0, 0] - t[:, 1, 0]], axis=1).astype(np.float64)


def _triangulated(told_N3: np.ndarray, calibration_N5: np.ndarray) -> np.ndarray:
    """The points in the left camera's frame, m, that a rectified pair shows so."""
    focal, centre_x, centre_y, shift, baseline = np.asarray(calibration_N5, np.float64).T
    column, row, disparity = np.asarray(told_N3, np.float64).T
    depth = focal * baseline / np.maximum(disparity + shift, FARTHEST_PX)
    return np.stack([(column - centre_x) * depth / focal, (row - centre_y) * depth / focal, depth], axis=1)


def _next_pixel(columns: Columns) -> np.ndarray:
    K, place = columns["camera_K"][:, 0, -1], _next_metric(columns)
    pixel = np.einsum("nij,nj->ni", K, place / place[:, 2:])
    now = columns["camera_R"][:, 0, -1, 2] * columns["position"][:, -1]
    depth = now.sum(-1) + columns["camera_t"][:, 0, -1, 2]  # of the last frame
    radius = columns["radius_px"][:, 0, -1] * depth / place[:, 2]
    return np.concatenate([pixel[:, :2], radius[:, None]], axis=1)


def _path(columns: Columns) -> np.ndarray:
    points = np.concatenate([columns["pixel_position"][:, 0], columns["radius_px"][:, 0, :, None]], axis=-1)
    return points.reshape(len(points), -1)


TARGETS: Mapping[str, Target] = {
    "next_pixel": Target(
        "The next position in the picture and the apparent radius: what one view determines, as far as the motion goes "
        "on as it did.", (*_NEXT, "camera_K", "position", "radius_px"), _next_pixel, "px", 2,
    ),
    "path": Target(
        "Position in the picture and apparent radius in every frame: what one view shows.",
        ("pixel_position", "radius_px"), _path, "px", 2,
    ),
    "next_metric": Target(
        "The next position in the left camera's frame, in metres. What is told is where both pictures will show it, "
        "from which it is triangulated with the clip's focal length, baseline and principal points: without them no "
        "pair of pictures tells metres.", (*_NEXT, "camera_K"), _next_in_both, "m", 3, views=2, calibration=_rectified,
        solve=_triangulated,
    ),
    "next_world": Target(
        "The next position in the world, in metres, from one view. The clip determines the direction from the camera "
        "alone: neither the ball's size (hence its distance) nor the camera's place is told, so no more can be learned "
        "than what is usual. Height above the ground shows best, and where the camera stands does not show at all.",
        _NEXT, _next_world, "m", 3,
    ),
}


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
                part |= with_known(heads["position"], batch)
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
        "loss": -np.take_along_axis(log_BK, label_B[:, None], axis=1)[:, 0], "correct": prediction_B == label_B,
    }


def with_known(position_BP: np.ndarray, known: Columns) -> Columns:
    """What is told of positions, beside what is true and, where it takes one, the calibration."""
    table = {"position": position_BP, "true_position": known["position"]}
    return table | ({"calibration": known["calibration"]} if "calibration" in known else {})


def results(
    table: Columns, names: tuple[str, ...], target: Target | None = None,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
) -> Iterator[tuple[str, float | Media]]:
    """Figures and files of a table with a row for each clip; see ``ClassificationEval.run``.

    Args:
      table: with ``label`` and the columns of ``named``, or those of ``with_known``, or both.
      names: of the classes.
      target, scale: see ``ClassificationEval``; positions in the file "table" are points in the target's unit.
    """
    if "prediction" in table:
        counts_KK = confusion(table["label"], table["prediction"], len(names))
        yield from _figures(table, counts_KK, names).items()
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


def _figures(table: Columns, counts_KK: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
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
