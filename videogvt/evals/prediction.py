"""Where the object is in what a generator fills in, for every task that gives a part of real clips.

How errors are counted, and what the trivial answers are, stands in ``evals/hidden.py``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from videogvt.evals.filled import FilledEval
from videogvt.evals.hidden import by_horizon, error_columns, task_figures
from videogvt.evals.motion import background, rows_of
from videogvt.evals.rows import Columns, whole_table
from videogvt.evals.seeds import averaged
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState
from videogvt.world import tracker


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
        """Yields figures of every task (see ``task_figures``), ``tasks``, ``tasks_beating_trivial`` and the mean of
        ``error_vs_trivial`` over tasks; and the files ``horizons`` (see ``by_horizon``) and ``samples``."""
        (tables, videos), *further = [self._measure(state, seed) for seed in self.seeds]
        diagonal, ratios = float(np.hypot(*self._picture)), []
        for task, table in tables.items():
            of_seeds = [table, *(others[task] for others, _ in further)]
            names = self.source.class_names
            numbers = dict(averaged([task_figures(one, task, names, diagonal) for one in of_seeds]))
            ratios += [numbers["error_vs_trivial"]] if "error_vs_trivial" in numbers else []
            yield from ((f"{task}/{name}", value) for name, value in numbers.items())
        yield "tasks", float(len(tables))
        if ratios:
            yield "tasks_beating_trivial", float(sum(ratio < 1.0 for ratio in ratios))
            yield "error_vs_trivial", float(np.mean(ratios))
        yield "horizons", Media.arrays(**by_horizon(tables, self.source.class_names))
        if self.samples:
            yield "samples", Media.arrays(**self._samples(tables, videos))

    def _measure(self, state: TrainState, seed: int) -> tuple[dict[str, Columns], dict[str, np.ndarray]]:
        """The table and the first clips of every task."""
        parts: dict[str, list[Columns]] = {task: [] for task in self.tasks}
        shown: dict[str, list[Columns]] = {task: [] for task in self.tasks}
        for index_B, batch in self.batches():
            still = background(batch["video"])
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
