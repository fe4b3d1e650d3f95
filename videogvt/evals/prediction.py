"""Where the object is in what a generator fills in, for every task that gives a part of real clips.

The object is *given* in the frames in which the pixel at its centre is given, and hidden in the others. The error of a
hidden frame is the distance in pixels from the object in the filled-in clip to the object as tracked in the original.
Where the tracker finds no object, or more than one, the error is half the picture's diagonal: an object that rests in
the middle is never farther off, so to show nothing is never better than that. The error of the found frames alone is
given besides, with their share.

The baselines know the exact track of the given frames, which is more than the pixels tell where the edge of the
given region cuts the object. In clips whose object is hidden throughout there is no truth to find; whether one object
is shown, and how smoothly it moves, is all that is asked there.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import stats

from videogvt.evals import baselines
from videogvt.evals.motion import motionless_background, roughness, rows_of
from videogvt.evals.rows import Columns, FilledEval, averaged, whole_table
from videogvt.models.tasks import TASKS
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState
from videogvt.world import tracker

LATE = 4
"""Frames to the nearest given frame from which a horizon counts as late: a straight line no longer does."""

_BASELINES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "copy": lambda track_BT2, given_BT: baselines.extrapolated(track_BT2, given_BT, 0),
    "constant_velocity": lambda track_BT2, given_BT: baselines.extrapolated(track_BT2, given_BT, 1),
    "constant_acceleration": lambda track_BT2, given_BT: baselines.extrapolated(track_BT2, given_BT, 2),
    "interpolation": baselines.interpolated,
}
TO_BEAT = {
    "frame_prediction": ("copy", "constant_velocity", "constant_acceleration"),
    "frame_interpolation": ("copy", "interpolation"), "inpainting": ("copy", "interpolation"),
    "outpainting": ("copy", "constant_velocity"),
}
"""The baselines that a task of each family is to beat; all are shown."""


def error_columns(track_BT2: np.ndarray, truth_BT2: np.ndarray, visible_THW: np.ndarray) -> Columns:
    """A row for each clip: ``track`` and ``truth`` (B, T, 2), NaN where not found; ``given`` (B, T), where the pixel at
    the object's true centre is visible; ``horizon`` (B, T), frames to the nearest given one; and for every answer its
    distance to the truth, ``error_<answer>`` (B, T), NaN where it gives none. ``error`` is that of ``track``."""
    frames, height, width = visible_THW.shape
    there_BT = np.isfinite(truth_BT2).all(axis=-1)
    pixel_BT2 = np.clip(np.round(np.where(there_BT[..., None], truth_BT2, 0.0)), 0, [width - 1, height - 1]).astype(int)
    given_BT = there_BT & visible_THW[np.arange(frames), pixel_BT2[..., 1], pixel_BT2[..., 0]]
    known_BT2 = np.where(given_BT[..., None], truth_BT2, np.nan)
    columns = {"track": track_BT2, "truth": truth_BT2, "error": np.linalg.norm(track_BT2 - truth_BT2, axis=-1)}
    for name, answer in _BASELINES.items():
        place_BT2 = baselines.clamped(answer(known_BT2, given_BT), height, width)
        columns[f"error_{name}"] = np.linalg.norm(place_BT2 - truth_BT2, axis=-1)
    columns = {name: column.astype(np.float32) for name, column in columns.items()}
    return columns | {"given": given_BT, "horizon": baselines.horizon(given_BT).astype(np.int32)}


def asked(table: Columns) -> np.ndarray:
    """The frames whose error counts, bool (N, T): hidden ones that have a truth, in clips with a given frame."""
    there_NT = np.isfinite(table["truth"]).all(axis=-1)
    return there_NT & ~table["given"] & table["given"].any(axis=1, keepdims=True)


def charged(error_NT: np.ndarray, diagonal: float) -> np.ndarray:
    """Errors with half the diagonal where the object was not found."""
    return np.where(np.isfinite(error_NT), error_NT, diagonal / 2.0)


def task_figures(table: Columns, task: str, class_names: tuple[str, ...], diagonal: float) -> dict[str, float]:
    """The figures of one task.

    Over hidden frames with a truth (``frames`` of them): ``found_share``; ``track_error_px``, the mean, and
    ``track_error_px_median``, frames not found counting as half the ``diagonal``; ``track_error_found_px``, the mean
    over found frames alone; ``late_error_px``, the mean at horizons of ``LATE`` frames and more. The same three errors
    of every baseline as ``<baseline>/...``, and all by class as ``.../by_class/<name>/late_error_px``.

    ``error_vs_baseline`` is the error over that of the best one among the task's ``TO_BEAT``, ``baselines_beaten`` how
    many of them have a larger error. ``margin_px`` is by how much that best one errs more, and ``margin_px_from`` and
    ``margin_px_to`` bound it with 95 % confidence (see ``margin_interval``). ``given_error_px`` is the mean error where
    the object is given.

    Of the ``unseen_clips``, whose object is hidden throughout: ``unseen_found_share`` of their frames, and the median
    ``unseen_jerk_px`` beside that of the originals, ``unseen_original_jerk_px``.
    """
    asked_NT = asked(table)
    numbers: dict[str, float] = {"clips": len(asked_NT), "frames": asked_NT.sum()}
    numbers |= _of_unseen(table)
    there_NT = np.isfinite(table["truth"]).all(axis=-1)
    if (table["given"] & there_NT).any():
        numbers["given_error_px"] = charged(table["error"], diagonal)[table["given"] & there_NT].mean(dtype=np.float64)
    if asked_NT.any():
        found_NT = asked_NT & np.isfinite(table["error"])
        numbers["found_share"] = found_NT.sum() / asked_NT.sum()
        if found_NT.any():
            numbers["track_error_found_px"] = table["error"][found_NT].mean(dtype=np.float64)
        for row in ("", *_BASELINES):
            error_NT = charged(table[f"error_{row}".rstrip("_")], diagonal)
            of_row = _errors(error_NT, asked_NT, table["horizon"])
            for label, name in enumerate(class_names):
                of_class = _errors(error_NT, asked_NT & (table["label"] == label)[:, None], table["horizon"])
                if "late_error_px" in of_class:
                    of_row[f"by_class/{name}/late_error_px"] = of_class["late_error_px"]
            numbers |= {f"{row}/{name}".lstrip("/"): value for name, value in of_row.items()}
        rows = TO_BEAT[TASKS[task.partition(":")[0]].family]
        rivals = [numbers[f"{row}/track_error_px"] for row in rows]
        numbers["baselines_beaten"] = sum(numbers["track_error_px"] < rival for rival in rivals)
        numbers["margin_px"] = min(rivals) - numbers["track_error_px"]
        best = charged(table[f"error_{rows[int(np.argmin(rivals))]}"], diagonal)
        interval = margin_interval(best - charged(table["error"], diagonal), asked_NT)
        if interval is not None:
            numbers["margin_px_from"], numbers["margin_px_to"] = interval
        if min(rivals) > 0:
            numbers["error_vs_baseline"] = numbers["track_error_px"] / min(rivals)
    return {name: float(value) for name, value in numbers.items()}


def margin_interval(margin_NT: np.ndarray, asked_NT: np.ndarray) -> tuple[float, float] | None:
    """The bounds of the mean over the asked frames, with 95 % confidence: clips are drawn anew, with all their frames
    (percentile bootstrap of 2,000 draws, always the same ones). None where fewer than two clips are asked."""
    some_N = asked_NT.any(axis=1)
    if some_N.sum() < 2:
        return None
    total_N = np.where(asked_NT, margin_NT, 0.0).sum(axis=1, dtype=np.float64)[some_N]
    count_N = asked_NT.sum(axis=1)[some_N]
    found = stats.bootstrap((total_N, count_N), lambda total, count, axis: total.sum(axis) / count.sum(axis),
                            n_resamples=2000, paired=True, vectorized=True, method="percentile", rng=0)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _errors(error_NT: np.ndarray, asked_NT: np.ndarray, horizon_NT: np.ndarray) -> dict[str, float]:
    numbers = {}
    if asked_NT.any():
        numbers["track_error_px"] = error_NT[asked_NT].mean(dtype=np.float64)
        numbers["track_error_px_median"] = np.median(error_NT[asked_NT])
    late_NT = asked_NT & (horizon_NT >= LATE)
    if late_NT.any():
        numbers["late_error_px"] = error_NT[late_NT].mean(dtype=np.float64)
    return numbers


def _of_unseen(table: Columns) -> dict[str, float]:
    unseen_N = ~table["given"].any(axis=1)
    numbers: dict[str, float] = {"unseen_clips": unseen_N.sum()}
    if unseen_N.any():
        numbers["unseen_found_share"] = np.isfinite(table["error"][unseen_N]).mean()
        for name, column in (("unseen_jerk_px", "track"), ("unseen_original_jerk_px", "truth")):
            jerk_N = roughness(table[column][unseen_N], 3)
            if np.isfinite(jerk_N).any():
                numbers[name] = np.nanmedian(jerk_N)
    return numbers


def by_horizon(tables: Mapping[str, Columns], class_names: tuple[str, ...]) -> Columns:
    """Mean errors, NaN where there are none: ``error`` (tasks, rows, 1 + classes, T), [..., 0, :] over all classes and
    [..., h] at a horizon of h frames, with frames not found left out; ``found`` (tasks, 1 + classes, T), their share;
    and the names ``tasks``, ``rows`` ("" the generator's own) and ``class_names``."""
    rows, classes = ("", *_BASELINES), (None, *range(len(class_names)))
    frames = next(iter(tables.values()))["horizon"].shape[1]
    error = np.full((len(tables), len(rows), len(classes), frames), np.nan, np.float32)
    found = np.full((len(tables), len(classes), frames), np.nan, np.float32)
    for t, table in enumerate(tables.values()):
        asked_NT = asked(table)
        for c, label in enumerate(classes):
            of_class_NT = asked_NT & (True if label is None else (table["label"] == label)[:, None])
            for h in range(1, frames):
                at_NT = of_class_NT & (table["horizon"] == h)
                for r, row in enumerate(rows):
                    values = table[f"error_{row}".rstrip("_")][at_NT]
                    if np.isfinite(values).any():
                        error[t, r, c, h] = np.nanmean(values)
                if at_NT.any():
                    found[t, c, h] = np.isfinite(table["error"][at_NT]).mean()
    return {"error": error, "found": found, "tasks": np.array(list(tables)), "rows": np.array(rows),
            "class_names": np.array(class_names)}


@dataclasses.dataclass(kw_only=True)
class PredictionEval(FilledEval):
    """Measures a generator that is given a part of real clips, on every task of its table that gives one.

    See ``FilledEval``; the source is of a world of tracked objects and has ``video``, ``label`` and ``id``.
    """

    def __post_init__(self):
        super().__post_init__()
        shown_nTHW = np.asarray(self.table.visible_pixels(jnp.arange(len(self.table.names))))
        self._shown = {place: shown_nTHW[place] for place in range(len(shown_nTHW)) if shown_nTHW[place].any()}
        if not self._shown:
            raise ValueError(f"None of the tasks {', '.join(self.table.names)} gives a pixel, so there is nothing to "
                             "predict; measure them with GenerationEval.")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the measured tasks."""
        return tuple(self.table.names[place] for place in self._shown)

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {
            "seeds": list(self.seeds), "tasks": list(self.tasks), "decoding": dict(self.settings)}

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures of every task (see ``task_figures``), ``tasks``, ``tasks_beating_baselines`` and the mean of
        ``error_vs_baseline`` over tasks; and the files ``horizons`` (see ``by_horizon``) and ``samples``."""
        (tables, videos), *further = [self._measure(state, seed) for seed in self.seeds]
        diagonal, ratios = float(np.hypot(*self._picture)), []
        for task, table in tables.items():
            of_seeds = [table, *(others[task] for others, _ in further)]
            names = self.source.class_names
            numbers = dict(averaged([task_figures(one, task, names, diagonal) for one in of_seeds]))
            ratios += [numbers["error_vs_baseline"]] if "error_vs_baseline" in numbers else []
            yield from ((f"{task}/{name}", value) for name, value in numbers.items())
        yield "tasks", float(len(tables))
        if ratios:
            yield "tasks_beating_baselines", float(sum(ratio < 1.0 for ratio in ratios))
            yield "error_vs_baseline", float(np.mean(ratios))
        yield "horizons", Media.arrays(**by_horizon(tables, self.source.class_names))
        if self.samples:
            yield "samples", Media.arrays(**self._samples(tables, videos))

    def _measure(self, state: TrainState, seed: int) -> tuple[dict[str, Columns], dict[str, np.ndarray]]:
        """The table and the first clips of every task."""
        parts: dict[str, list[Columns]] = {task: [] for task in self.tasks}
        shown: dict[str, list[Columns]] = {task: [] for task in self.tasks}
        for index_B, batch in self.batches():
            still = motionless_background(batch["video"])
            truth_BT2 = tracker.track(batch["video"], still).position_T2
            self._picture = batch["video"].shape[2:4]
            common = {"index": index_B, "mask": batch["mask"] > 0, "label": batch["label"]}
            for place, visible_THW in self._shown.items():
                task = self.table.names[place]
                video_BTHWC = self.filled_in(state, place, index_B, batch, seed)
                track_BT2 = tracker.track(video_BTHWC, still).position_T2
                parts[task].append(common | error_columns(track_BT2, truth_BT2, visible_THW))
                if self.within(index_B, self.samples):
                    shown[task].append({"index": index_B, "mask": common["mask"] & (index_B < self.samples),
                                        "video": video_BTHWC})
        tables = {task: whole_table(part) for task, part in parts.items()}
        return tables, {task: whole_table(part)["video"] for task, part in shown.items() if part}

    def _samples(self, tables: dict[str, Columns], videos: dict[str, np.ndarray]) -> Columns:
        """The first clips of the split by task: ``video`` (n, S, T, H, W, 3), ``track``, and what was ``shown``."""
        count = min(self.samples, self.clips)
        first = [rows_of(table, np.arange(count)) for table in tables.values()]
        return {
            "tasks": np.array(self.tasks), "video": np.stack(list(videos.values())),
            "shown": np.stack(list(self._shown.values())), "track": np.stack([part["track"] for part in first]),
            "truth": first[0]["truth"], "label": first[0]["label"], "class_names": np.array(self.source.class_names),
            "original": self.source.read(list(range(count)))["video"],
        }
