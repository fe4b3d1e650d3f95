"""What becomes of two digits in predicted clips, beside answers that bound what can be expected.

Every row is measured alike: the generator's clips; ``copy``, the last given frame over and over; ``constant_velocity``,
the true digits carried on and reflected (it knows all but who is in front); ``other_pair``, another clip of the split,
the control; the clips ``reconstructed`` by the tokenizer, the ceiling; and the ``real`` ones, which show what the
measure itself makes of truth. How things are counted stands in ``digit_figures``.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from videogvt.evals.digit_figures import (
    DIGIT_TRUTH,
    LAST_FRAMES,
    carried_on,
    copied,
    digit_columns,
    digit_figures,
    read_columns,
)
from videogvt.evals.published import DigitReader
from videogvt.evals.rows import Columns, FilledEval, averaged, whole_table
from videogvt.models.tasks import TASKS, TaskTable
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState

ROWS = ("", "copy", "constant_velocity", "other_pair", "reconstructed", "real")
"""The generator and what stands beside it."""


@dataclasses.dataclass(kw_only=True)
class DigitsEval(FilledEval):
    """Measures a generator that continues clips of moving digits, on every task that gives first frames.

    Attributes:
      reconstruct: ``(state, video_BTHWC in [0, 1]) -> (video, codes)`` of the tokenizer; or None for no such row.
      reader: names single digits; or None for no figures of identities.
      (others: see ``FilledEval``; the source has ``video``, ``label`` and ``digit_figures.DIGIT_TRUTH``)
    """

    reconstruct: Callable[[TrainState, jax.Array], tuple[jax.Array, jax.Array]] | None = None
    reader: DigitReader | None = None

    def __post_init__(self):
        super().__post_init__()
        if missing := sorted(set(DIGIT_TRUTH) - set(self.source.fields)):
            raise ValueError(f"{self.source} has no {', '.join(missing)}; expected clips of moving digits with all of "
                             f"{', '.join(DIGIT_TRUTH)}. Open the source 'digits' with these fields.")
        shown_nTHW = np.asarray(self.table.visible_nTHW)
        self._asked = {place: ~shown_nTHW[place].any(axis=(1, 2)) for place in predictions(self.table)}
        if not self._asked:
            raise ValueError(f"None of the tasks {', '.join(self.table.names)} gives first frames, so there is nothing "
                             "to predict; add a task such as FP:5.")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the measured tasks."""
        return tuple(self.table.names[place] for place in self._asked)

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {
            "seeds": list(self.seeds), "tasks": list(self.tasks), "decoding": dict(self.settings),
            "read_frames": LAST_FRAMES,
            "reader": self.reader.judge.name if self.reader else None,
            "reader_hash": self.reader.judge.hash if self.reader else "",
        }

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields ``prediction_tasks``, their number; figures of every task and row (see ``digit_figures``); and the
        files ``_by_frame`` (see ``_by_frame``) and ``samples``."""
        tables, videos = self._measure(state, self.seeds[0], beside=True)
        further = [self._measure(state, seed, beside=False)[0] for seed in self.seeds[1:]]
        diagonal = float(np.hypot(*self._picture))
        yield "prediction_tasks", float(len(tables))
        for task, rows in tables.items():
            for row, table in rows.items():
                of_seeds = [table, *(others[task][row] for others in further if row in others[task])]
                numbers = averaged([digit_figures(one, diagonal) for one in of_seeds])
                yield from (("/".join(filter(None, (task, row, name))), value) for name, value in numbers)
        yield "by_frame", Media.arrays(**_by_frame(tables, diagonal))
        if self.samples:
            yield "samples", Media.arrays(**self._samples(videos))

    def _measure(
        self, state: TrainState, seed: int, beside: bool
    ) -> tuple[dict[str, dict[str, Columns]], dict[str, np.ndarray]]:
        """The tables of every task and row, and the generator's first clips of every task."""
        parts: dict[str, dict[str, list[Columns]]] = {task: {} for task in self.tasks}
        shown: dict[str, list[Columns]] = {task: [] for task in self.tasks}
        for index_B, batch in self.batches():
            self._picture = batch["video"].shape[2:4]
            common = {"index": index_B, "mask": batch["mask"] > 0, "label": batch["label"]}
            for place, asked_T in self._asked.items():
                task = self.table.names[place]
                clips = {"": self.filled_in(state, place, index_B, batch, seed)}
                clips |= self._beside(state, index_B, batch, asked_T) if beside else {}
                for row, video_BTHWC in clips.items():
                    columns = digit_columns(video_BTHWC, batch, asked_T)
                    if self.reader:
                        read = self.reader.judge.log_probabilities
                        columns |= read_columns(video_BTHWC, columns, read, self.reader.side)
                    parts[task].setdefault(row, []).append(common | columns)
                if self.within(index_B, self.samples):
                    shown[task].append({"index": index_B, "mask": common["mask"] & (index_B < self.samples),
                                        "video": clips[""]})
        tables = {task: {row: whole_table(part) for row, part in rows.items()} for task, rows in parts.items()}
        return tables, {task: whole_table(part)["video"] for task, part in shown.items() if part}

    def _beside(
        self, state: TrainState, index_B: np.ndarray, batch: Columns, asked_T: np.ndarray
    ) -> dict[str, np.ndarray]:
        """This host's rows of the clips that stand beside the generator's, uint8."""
        clips = {"copy": copied(batch, asked_T), "constant_velocity": carried_on(batch, asked_T),
                 "other_pair": self.source.read(self._others(index_B))["video"]}
        if self.reconstruct:
            clips["reconstructed"] = self.on_rows("reconstruct", self._reconstructed, state)({"video": batch["video"]})
        return clips | {"real": batch["video"]}

    def _others(self, index_B: np.ndarray) -> list[int]:
        """Another clip of the split for each of these places, drawn by the seed and the place."""
        size = len(self.source)
        steps = [np.random.default_rng([self.seed, int(index)]).integers(1, max(size, 2)) for index in index_B]
        return [int((index + step) % size) for index, step in zip(index_B, steps)]

    def _reconstructed(self, state: TrainState, batch: Mapping[str, jax.Array]) -> jax.Array:
        return as_bytes(self.reconstruct(state, as_float(batch["video"]))[0])

    def _samples(self, videos: dict[str, np.ndarray]) -> Columns:
        """The first clips of the split by task: ``video`` (n, S, T, H, W, 3), and what was ``shown``."""
        count, places = min(self.samples, self.clips), list(self._asked)
        return {
            "tasks": np.array(self.tasks), "video": np.stack(list(videos.values())),
            "shown": np.asarray(self.table.visible_nTHW)[places],
            "original": self.source.read(list(range(count)))["video"],
        }


def predictions(table: TaskTable) -> list[int]:
    """The places of the tasks that give first frames alone."""
    return [place for place, name in enumerate(table.names)
            if TASKS[name.partition(":")[0]].family == "frame_prediction"]


def _by_frame(tables: Mapping[str, Mapping[str, Columns]], diagonal: float) -> Columns:
    """``error`` (tasks, rows, T), the mean over clips and both digits in px, half the diagonal where not found, NaN in
    frames that are not asked or in rows that are not measured; and the names ``tasks`` and ``rows``."""
    frames = next(iter(tables.values()))[""]["asked"].shape[1]
    error = np.full((len(tables), len(ROWS), frames), np.nan, np.float32)
    for place, rows in enumerate(tables.values()):
        for row, table in rows.items():
            charged_N2T = np.where(np.isfinite(table["error"]), table["error"], diagonal / 2.0)
            error[place, ROWS.index(row)] = np.where(table["asked"][0], charged_N2T.mean(axis=(0, 1)), np.nan)
    return {"error": error, "tasks": np.array(list(tables)), "rows": np.array(ROWS)}
