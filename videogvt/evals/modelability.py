"""Whether codes can be modelled: what a transformer that learns to name them one from another will be up against.

The *empty code* is the most frequent code of the training split, counted on ``train_limit`` of its clips, spread evenly
over it. A position *speaks* when its code is another one. The *background* is the most frequent pixel value (RGB) in
every second row and column of the same clips. A cell is *blank* when every one of its pixels is within 1/255 of the
background in every channel: so the figures mean something on any video. What is drawn at random depends on a clip's
place in its split alone.

``speaking_per_clip``: speaking positions a clip, in the mean, of ``tokens_per_clip`` (t·h·w).
``empty_share``: the share of blank cells that have the empty code; absent where no cell is blank.
``codes_used_speaking``, ``usage_speaking``, ``perplexity_speaking``: how many codes speak somewhere in the split, their
  share of all K, and the exponential of the entropy of their counts (absent where nothing speaks).
``duplicates``: codes closer than 1e-3 to one of lower index. Distances are Euclidean, of the vectors the decoder gets.
``noise_changed_speaking``, ``noise_changed_empty``: the share of speaking, and of all other, positions whose code
  changes when every value of the video gets +1/255 or -1/255, with equal chance, and is clipped to [0, 1]; absent where
  there are no such positions.
``unswapped/``, ``one_swapped/``, ``twentieth_swapped/``: where the data know their object, ``object_found_share``,
  ``track_error_px_median`` and ``track_error_px_p95`` (``evals.baselines``) of the video of the codes as they are, with
  one speaking code of each clip replaced by the nearest other code, and with one in twenty, rounded up. All three are
  of the same ``clips``, those that have a code to replace. A duplicate is not another code.
``clips``, ``train_clips``: how many were looked at.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from scipy.spatial.distance import cdist

from videogvt.evals.baselines import Originals, TrainingClips, object_columns, spread_over
from videogvt.evals.reconstruction import TRUTH_FIELDS
from videogvt.evals.rows import Columns, SplitEval, code_figures, figures, gather, whole_table
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.contracts import Media
from videogvt.train.parallel import mesh_of
from videogvt.train.state import TrainState

DISTINCT = 1e-3
"""Codes whose vectors are closer say the same."""

NOISE, SWAPS = 1, 2  # random streams


@dataclasses.dataclass(kw_only=True)
class ModelabilityEval(SplitEval):
    """Measures the codes of one split; the module says what.

    Attributes:
      train: the training split as evaluators see it.
      codes: ``(state, video_BTHWC in [0, 1]) -> codes_Bthw``, traceable like the next two.
      video: ``(state, codes_Bthw) -> video_BTHWC``.
      embed: ``(state, codes_Bthw) -> vectors_BthwD``, what the decoder gets.
      num_codes: K of the tokenizer.
      limit, train_limit: only so many clips, the first of the split and any of the training split.
      swap_limit: only the first so many clips for swapped codes, which are three videos a clip to decode and to track.
      lead: frames at the beginning that have a latent frame each, see ``nn.tokenizer.TokenizerNetwork``.
      (others: see ``SplitEval``; the source has ``video`` and, where they exist, ``label`` and ``TRUTH_FIELDS``)
    """

    train: TrainingClips
    codes: Callable[[TrainState, jax.Array], jax.Array]
    video: Callable[[TrainState, jax.Array], jax.Array]
    embed: Callable[[TrainState, jax.Array], jax.Array]
    num_codes: int
    limit: int = 512
    train_limit: int = 512
    swap_limit: int = 256
    lead: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.train_indices = spread_over(len(self.train), self.train_limit)
        self.has_truth = set(TRUTH_FIELDS) <= set(self.source.fields)

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {
            "train_clips": len(self.train_indices), "swap_limit": self.swap_limit, "num_codes": self.num_codes}

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures, and the files ``table`` (counts for each clip) and ``counts`` (of the speaking codes)."""
        empty, background_C = self._of_training(state)
        vectors_KD = self._vectors(state)
        table, counts_K, swapped = self._measure(state, empty, background_C, vectors_KD)
        yield from speaking_figures(table, counts_K).items()
        yield "duplicates", float(duplicates(vectors_KD))
        yield "train_clips", float(len(self.train_indices))
        for name, columns in swapped.items():
            if len(columns["index"]):
                yield from ((f"{name}/{figure}", value) for figure, value in figures(columns).items())
        yield "table", Media.arrays(**table)
        yield "counts", Media.arrays(counts_K=counts_K, empty=np.array(empty), background_C=background_C)

    def _encode(self, state: TrainState, video_BTHWC: np.ndarray) -> np.ndarray:
        """The codes of this host's clips, uint8."""
        def codes(state, batch):
            return self.codes(state, as_float(batch["video"]))

        return self.on_rows("encode", codes, state)({"video": video_BTHWC})

    def _decode(self, state: TrainState, codes_Bthw: np.ndarray) -> np.ndarray:
        """The clips, uint8, of this host's codes."""
        def video(state, batch):
            return as_bytes(self.video(state, batch["codes"]))

        return self.on_rows("decode", video, state)({"codes": codes_Bthw})

    def _vectors(self, state: TrainState) -> np.ndarray:
        """The vectors of all codes, float64 (K, D)."""
        whole = NamedSharding(mesh_of(state), PartitionSpec())
        vectors = jax.jit(lambda state: self.embed(state, jnp.arange(self.num_codes)[:, None, None, None]),
                          out_shardings=whole)(state)
        return np.asarray(vectors.addressable_data(0), np.float64).reshape(self.num_codes, -1)

    def _of_training(self, state: TrainState) -> tuple[int, np.ndarray]:
        """The empty code, and the background's colour, uint8 (3,).

        Every host reads all clips, for the colours, which are more than hosts should exchange, and encodes its own.
        """
        rows = self.batch_size // jax.process_count()
        own_B = jax.process_index() * rows + np.arange(rows)
        counts_K, colours = np.zeros(self.num_codes, np.int64), []
        for start in range(0, len(self.train_indices), self.batch_size):
            video_BTHWC = self.train.read(self.train_indices[start : start + self.batch_size].tolist())["video"]
            red, green, blue = np.moveaxis(video_BTHWC[:, :, ::2, ::2].astype(np.int32), -1, 0)
            colours.append((red << 16 | green << 8 | blue).ravel())
            codes_Bthw = self._encode(state, video_BTHWC[own_B % len(video_BTHWC)])
            counts_K += np.bincount(codes_Bthw[own_B < len(video_BTHWC)].ravel(), minlength=self.num_codes)
        colour = int(np.bincount(np.concatenate(colours)).argmax())
        empty = int(gather({"counts": counts_K[None]})["counts"].sum(axis=0).argmax())
        return empty, np.array([colour >> 16, colour >> 8 & 255, colour & 255], np.uint8)

    def _measure(
        self, state: TrainState, empty: int, background_C: np.ndarray, vectors_KD: np.ndarray
    ) -> tuple[Columns, np.ndarray, dict[str, Columns]]:
        """A table with a row for each clip, the counts (K,) of speaking codes, and tables of tracks by row."""
        parts: dict[str, list[Columns]] = {}
        counts_K = np.zeros(self.num_codes, np.int64)
        for index_B, batch in self.batches():
            codes_Bthw = self._encode(state, batch["video"])
            noisy_Bthw = self._encode(state, with_noise(batch["video"], index_B))
            speaking_Bthw, mask_B = codes_Bthw != empty, batch["mask"] > 0
            blank_Bthw = blank_cells(batch["video"], background_C, codes_Bthw.shape[1:], self.lead)
            columns = position_columns(speaking_Bthw, codes_Bthw != noisy_Bthw, blank_Bthw)
            common = {"index": index_B, "mask": mask_B}
            parts.setdefault("", []).append(common | columns)
            spoken_M = codes_Bthw[mask_B][speaking_Bthw[mask_B]]
            counts_K += np.bincount(spoken_M, minlength=self.num_codes)
            if self.has_truth and self.within(index_B, self.swap_limit):
                variants, able_B = swap(codes_Bthw, speaking_Bthw, index_B, vectors_KD)
                common["mask"] = mask_B & able_B & (index_B < self.swap_limit)
                originals = Originals.of(batch, ())
                for name, variant_Bthw in variants.items():
                    columns = object_columns(self._decode(state, variant_Bthw), originals)
                    parts.setdefault(name, []).append(common | columns)
        tables = {name: whole_table(part) for name, part in parts.items()}
        return tables.pop(""), gather({"counts": counts_K[None]})["counts"].sum(axis=0), tables


def position_columns(speaking_Bthw: np.ndarray, changed_Bthw: np.ndarray, blank_Bthw: np.ndarray) -> Columns:
    """A row for each clip: how many positions there are (``tokens``), speak (``speaking``), and are changed by noise
    (``changed_speaking``, ``changed_empty``), and how many cells are blank (``blank``) and have the empty code
    (``blank_empty``)."""
    masks = {"tokens": np.ones_like(speaking_Bthw), "speaking": speaking_Bthw,
             "changed_speaking": changed_Bthw & speaking_Bthw, "changed_empty": changed_Bthw & ~speaking_Bthw,
             "blank": blank_Bthw, "blank_empty": blank_Bthw & ~speaking_Bthw}
    return {name: mask_Bthw.sum(axis=(1, 2, 3)) for name, mask_Bthw in masks.items()}


def speaking_figures(table: Columns, counts_K: np.ndarray) -> dict[str, float]:
    """The figures of the module that need neither vectors nor tracks, of a table of ``position_columns``.

    Args:
      counts_K: how often each code speaks.
    """
    total = {name: int(column.sum()) for name, column in table.items()}
    clips, used = len(table["index"]), int((counts_K > 0).sum())
    numbers = {
        "clips": clips, "tokens_per_clip": total["tokens"] / clips, "speaking_per_clip": total["speaking"] / clips,
        "codes_used_speaking": used, "usage_speaking": used / len(counts_K),
    }
    if used:
        numbers["perplexity_speaking"] = code_figures(counts_K, 1.0)["code_perplexity"]
        numbers["noise_changed_speaking"] = total["changed_speaking"] / total["speaking"]
    if total["tokens"] > total["speaking"]:
        numbers["noise_changed_empty"] = total["changed_empty"] / (total["tokens"] - total["speaking"])
    if total.get("blank"):
        numbers["empty_share"] = total["blank_empty"] / total["blank"]
    return {name: float(value) for name, value in numbers.items()}


def blank_cells(
    video_BTHWC: np.ndarray, background_C: np.ndarray, grid: tuple[int, int, int], lead: int = 0
) -> np.ndarray:
    """Which cells of a grid (t, h, w) over clips, uint8, show only the background, to 1/255: bool (B, t, h, w).

    Args:
      lead: frames at the beginning that have a latent frame each: 1 of a causal tokenizer, or 0.
    """
    low_C, high_C = (np.clip(background_C.astype(int) + step, 0, 255).astype(np.uint8) for step in (-1, 1))
    near_BTHW = ((video_BTHWC >= low_C) & (video_BTHWC <= high_C)).all(axis=-1)
    (B, T, H, W), (t, h, w) = near_BTHW.shape, grid
    before = (T - lead) // (t - lead) * t - T if t > lead else 0  # what the first cell has fewer
    near_BTHW = np.pad(near_BTHW, ((0, 0), (before, 0), (0, 0), (0, 0)), mode="edge")
    return near_BTHW.reshape(B, t, -1, h, H // h, w, W // w).all(axis=(2, 4, 6))


def with_noise(video_BTHWC: np.ndarray, index_B: np.ndarray) -> np.ndarray:
    """Clips, uint8, every value of which went up or down by one, with equal chance, as far as there is room; each from
    the random stream of its place in the split."""
    shape = video_BTHWC.shape[1:]
    up_BTHWC = np.stack([np.random.default_rng([NOISE, index]).integers(0, 2, shape, np.uint8) for index in index_B])
    return np.clip(video_BTHWC + 2 * up_BTHWC.astype(np.int16) - 1, 0, 255).astype(np.uint8)


def duplicates(vectors_KD: np.ndarray) -> int:
    """How many vectors lie closer than ``DISTINCT`` to one of lower index.

    Vectors so close are as close on every line; so only those are compared that are neighbours on one.
    """
    line_D = np.random.default_rng(0).normal(size=vectors_KD.shape[1])
    place_K = vectors_KD @ (line_D / np.linalg.norm(line_D))
    order_K = place_K.argsort()
    found_K = np.zeros(len(vectors_KD), bool)
    for step in range(1, len(order_K)):
        near = np.flatnonzero(place_K[order_K[step:]] - place_K[order_K[:-step]] < DISTINCT)
        if not len(near):
            break
        one, other = order_K[near], order_K[near + step]
        close = np.linalg.norm(vectors_KD[one] - vectors_KD[other], axis=-1) < DISTINCT
        found_K[np.maximum(one, other)[close]] = True
    return int(found_K.sum())


def nearest_other(vectors_KD: np.ndarray, codes_M: np.ndarray) -> np.ndarray:
    """The code (M,) nearest to each of some codes among those that are not closer than ``DISTINCT``, or -1 where there
    is none; of equally near ones the lowest."""
    distance_MK = cdist(vectors_KD[codes_M], vectors_KD)
    distance_MK[distance_MK < DISTINCT] = np.inf
    return np.where(np.isfinite(distance_MK).any(axis=1), distance_MK.argmin(axis=1), -1)


def swap(
    codes_Bthw: np.ndarray, speaking_Bthw: np.ndarray, index_B: np.ndarray, vectors_KD: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Codes ``unswapped``, with one speaking code of each clip replaced by its nearest other (``one_swapped``), and
    with one in twenty (``twentieth_swapped``), the one among them; and which clips (B,) have a code to replace.

    Which they are follows from the random stream of a clip's place in the split, ``index_B``.
    """
    other_K = np.full(len(vectors_KD), -1)
    spoken_M = np.unique(codes_Bthw[speaking_Bthw])
    other_K[spoken_M] = nearest_other(vectors_KD, spoken_M)
    other_BX = other_K[codes_Bthw].reshape(len(codes_Bthw), -1)
    able_BX = speaking_Bthw.reshape(other_BX.shape) & (other_BX >= 0)
    one_BX, twentieth_BX = (codes_Bthw.reshape(other_BX.shape).copy() for _ in range(2))
    for row, index in enumerate(index_B):
        places = np.random.default_rng([SWAPS, index]).permutation(np.flatnonzero(able_BX[row]))
        for swapped_BX, count in ((one_BX, 1), (twentieth_BX, -(-len(places) // 20))):
            swapped_BX[row, places[:count]] = other_BX[row, places[:count]]
    variants = {"unswapped": codes_Bthw, "one_swapped": one_BX.reshape(codes_Bthw.shape),
                "twentieth_swapped": twentieth_BX.reshape(codes_Bthw.shape)}
    return variants, able_BX.any(axis=1)
