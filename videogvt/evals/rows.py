"""Tables with a row for each clip, measured by many hosts, each on its own rows, and put together on all of them.

Figures of several seeds as their mean and range, and which seeds those are.

A setting that is chosen on the clips, or with the seeds, that its figures are reported on looks better than it is. So
choosing is done on another split, with other seeds.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.inputs.pipeline import eval_batches
from videogvt.inputs.sources import ClipSource
from videogvt.models.tasks import TaskTable
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.contracts import When
from videogvt.train.parallel import mesh_of, place_batch
from videogvt.train.state import TrainState

Columns = dict[str, np.ndarray]

Generate = Callable[[TrainState, jax.Array, jax.Array, jax.Array, jax.Array], Mapping[str, jax.Array]]
"""``(state, task_B, label_B, video_BTHWC in [0, 1], keys_B) -> {"video": (B, T, H, W, 3) in [0, 1], ...}``"""


@dataclasses.dataclass(kw_only=True)
class SplitEval:
    """What evaluators of one split have in common: which clips, where a batch is computed, and what repeats it.

    Attributes:
      source: the split, opened with the fields that the evaluator asks for.
      split: its name; like ``weights`` ("ema" or "params") it only stands among the facts.
      seed: of what is drawn at random.
      when: its schedule.
      batch_size: of all hosts together; it divides by the devices along the data axis.
      limit: only the first so many clips, or None for the whole split.
    """

    source: ClipSource
    split: str
    seed: int
    weights: str
    when: When
    batch_size: int
    limit: int | None = None

    def __post_init__(self):
        self.clips = min(len(self.source), self.limit or len(self.source))
        self._compiled: dict[str, Callable] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """What is needed to repeat the figures."""
        return {
            "split": self.split, "split_hash": self.source.split_hash, "clips": self.clips, "seed": self.seed,
            "weights": self.weights, "batch_size": self.batch_size, "class_names": list(self.source.class_names),
        }

    def batches(self) -> Iterator[tuple[np.ndarray, Columns]]:
        """See ``eval_rows``."""
        return eval_rows(self.source, self.batch_size, self.limit)

    def within(self, index_B: np.ndarray, limit: int) -> bool:
        """Whether a batch has one of the first ``limit`` clips of the split; the same on all hosts."""
        return index_B[0] // self.batch_size * self.batch_size < limit

    def on_rows(self, name: str, function: Callable, state: TrainState) -> Callable:
        """A traceable function of (state, columns, ...) as one of this host's rows, compiled once for each name.

        What is given after the columns goes to every device. Returned are this host's rows of all arrays of the result.
        """
        mesh = mesh_of(state)
        if name not in self._compiled:
            self._compiled[name] = jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec("data")))
        compiled = self._compiled[name]
        return lambda columns, *others: jax.tree.map(local_rows, compiled(state, place_batch(columns, mesh), *others))


@dataclasses.dataclass(kw_only=True)
class FilledEval(SplitEval):
    """An evaluator of what a generator makes of clips of which a part is given.

    Attributes:
      seed: of the keys; each task and clip has its own, so no figure depends on the batch size or the devices.
      seeds: several of them, for figures that are means with their range (``averaged``); None for ``seed`` alone.
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


def eval_rows(source: ClipSource, batch_size: int, limit: int | None) -> Iterator[tuple[np.ndarray, Columns]]:
    """This host's rows of every batch of a split, after their places in it; see ``inputs.pipeline.eval_batches``."""
    hosts, host = jax.process_count(), jax.process_index()
    rows = batch_size // hosts
    batches = eval_batches(source, batch_size=batch_size, host_index=host, host_count=hosts, limit=limit)
    for number, batch in enumerate(batches):
        yield number * batch_size + host * rows + np.arange(rows), batch


def local_rows(array: jax.Array) -> np.ndarray:
    """This host's rows, in order, of an array that is split over the devices along its leading axis only."""
    if array.is_fully_addressable:
        return np.asarray(array)
    parts = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


def stack(batches: list[Columns]) -> Columns:
    """Tables of batches, one below the other."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def whole_table(parts: Sequence[Columns]) -> Columns:
    """The table of all hosts' rows that count, those whose ``mask`` is true, in the order of the split, by ``index``;
    without the mask.

    Args:
      parts: this host's tables of batches; with ``index`` and ``mask``.
    """
    columns = gather(stack(parts))
    order = np.argsort(columns["index"], kind="stable")
    order = order[columns["mask"][order]]
    return {name: column[order] for name, column in columns.items() if name != "mask"}


def gather(columns: Columns) -> Columns:
    """The tables of all hosts, one below the other; they have the same columns and the same number of rows.

    Columns travel as bytes, since jax has no texts and would make 32 bits of 64. Texts are as wide as the longest on
    any host.
    """
    if jax.process_count() == 1:
        return columns
    columns = _of_one_width(columns)
    whole = multihost_utils.process_allgather({name: _as_bytes(column) for name, column in columns.items()}, tiled=True)
    return {name: np.ascontiguousarray(whole[name]).view(column.dtype).reshape(-1, *column.shape[1:])
            for name, column in columns.items()}


def _of_one_width(columns: Columns) -> Columns:
    """The tables with every column of texts (dtype ``U``) in the widest type that a host has for it."""
    widths = {name: np.array([max(column.dtype.itemsize // 4, 1)]) for name, column in columns.items()
              if column.dtype.kind == "U"}
    if not widths:
        return columns
    widths = multihost_utils.process_allgather(widths, tiled=True)
    return columns | {name: columns[name].astype(f"U{int(np.max(width_N))}") for name, width_N in widths.items()}


def _as_bytes(column: np.ndarray) -> np.ndarray:
    """A column (N, ...) as (N, bytes of a row)."""
    width = column.dtype.itemsize * int(np.prod(column.shape[1:]))
    return np.ascontiguousarray(column).reshape(-1).view(np.uint8).reshape(len(column), width)


def figures(columns: Columns) -> dict[str, float]:
    """The figures that a table allows; a column that is not there has none.

    Images: ``psnr`` (dB), ``ssim`` and ``l1`` are means over clips. Object: ``object_found_share`` is the share of
    frames where it is found; ``track_error_px_median`` and ``track_error_px_p95`` are over all frames that have a track
    in the original; ``object_mse`` is the mean squared error over the object's own pixels; ``oracle_accuracy`` is the
    share of clips whose family the oracle names right. ``clips`` counts the rows.
    """
    numbers = {"clips": float(len(columns["index"]))}
    numbers |= {name: float(columns[name].mean(dtype=np.float64)) for name in ("psnr", "ssim", "l1") if name in columns}
    if "found" in columns:
        numbers["object_found_share"] = float(columns["found"].mean())
    if "track_error_px" in columns and np.isfinite(columns["track_error_px"]).any():
        errors = columns["track_error_px"][np.isfinite(columns["track_error_px"])]
        numbers["track_error_px_median"] = float(np.median(errors))
        numbers["track_error_px_p95"] = float(np.percentile(errors, 95))
    if "object_sse" in columns:
        pixels = columns["object_pixels"].sum(dtype=np.float64)
        numbers["object_mse"] = float(columns["object_sse"].sum(dtype=np.float64) / pixels)
    if "correct" in columns:
        numbers["oracle_accuracy"] = float(columns["correct"].mean())
    return numbers


def code_figures(counts_K: np.ndarray, pixels: float) -> dict[str, float]:
    """``codes_used`` over all clips, their share ``code_usage`` of K, ``code_perplexity`` and ``bits_per_pixel``.

    The perplexity is the exponential of the entropy of the counts: as many codes as, equally used, would say as much.
    Bits per pixel are those of codes of fixed length, log2 K each, over the pixels (T·H·W) that they stand for.
    """
    tokens = counts_K.sum()
    share = counts_K[counts_K > 0] / tokens
    return {
        "codes_used": float(len(share)),
        "code_usage": float(len(share) / len(counts_K)),
        "code_perplexity": float(np.exp(-np.sum(share * np.log(share)))),
        "bits_per_pixel": float(tokens * np.log2(len(counts_K)) / pixels),
    }


def choose(columns: Columns, count: int) -> dict[str, np.ndarray]:
    """Rows to look at: the ``first`` of the split and, by rule, the ``best``, ``median`` and ``worst``, the best, the
    worst and the one nearest to the middle first. In a small split one clip may be several of these.

    Clips are ranked by their mean track error, where there is one, then by PSNR. A clip whose original has no track is
    ranked by nothing and not chosen.
    """
    ranks = np.arange(len(columns["index"]))
    keys = [-columns["psnr"]]
    if "track_error_px" in columns:
        tracked = np.isfinite(columns["track_error_px"])
        error = np.where(tracked, columns["track_error_px"], 0.0).sum(axis=1) / np.maximum(tracked.sum(axis=1), 1)
        keys.append(error)
        ranks = ranks[tracked.any(axis=1)] if tracked.any() else ranks
    order = ranks[np.lexsort([key[ranks] for key in keys])]
    count = min(count, len(order))
    from_middle = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")
    return {
        "first": np.arange(count), "best": order[:count], "median": order[from_middle[:count]],
        "worst": order[len(order) - count :][::-1],
    }


REPORTED = "test"
"""The split that figures are reported on, once, when everything is chosen."""

APART = 1000
"""From the seeds of the reported figures to those of all others."""

COUNTS = ("clips", "frames")
"""Ends of the names of figures that count and have no range."""


def seeds_of(seed: int, split: str, count: int) -> tuple[int, ...]:
    """The seeds of what is generated for a split: as many as asked for, from the run's own on for ``REPORTED``."""
    if count < 1:
        raise ValueError(f"config.evals.generation.seeds is {count}; expected at least 1.")
    return tuple(seed + (0 if split == REPORTED else APART) + place for place in range(count))


def averaged(found: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float]]:
    """Figures by name: the mean over the seeds that have one and, where seeds differ, ``_low`` and ``_high``."""
    for name in dict.fromkeys(name for numbers in found for name in numbers):
        values = [numbers[name] for numbers in found if name in numbers]
        yield name, float(np.mean(values))
        if min(values) < max(values) and not name.endswith(COUNTS):
            yield f"{name}_low", float(min(values))
            yield f"{name}_high", float(max(values))
