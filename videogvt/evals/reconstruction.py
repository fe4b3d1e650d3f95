"""How well a tokenizer keeps a video, beside baselines that need no tokenizer at all.

Every figure comes from a table with a row for each clip, so the padding of the last batch counts for nothing and the
best, the median and the worst clip can be chosen by rule. Images are compared frame by frame, RGB in [0, 1]; the object
is compared where there is truth about it. A baseline's figures (``background/psnr``) stand beside the tokenizer's
(``psnr``); those of ``original`` are what the tracker and the oracle make of the originals, the most one can expect.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.evals.baselines import Baseline, Originals, object_columns
from videogvt.evals.rows import Columns, SplitEval, choose, code_figures, figures, gather, whole_table
from videogvt.ops import quality
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState
from videogvt.world import oracle

TRUTH_FIELDS = ("pixel_position", "radius_px", "fps")
"""Fields of a source that knows where its one object is; a source of real videos has none of them."""

Reconstruct = Callable[[TrainState, jax.Array], tuple[jax.Array, jax.Array]]
Contestant = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass(kw_only=True)
class ReconstructionEval(SplitEval):
    """Measures the reconstructions of one split.

    Attributes:
      reconstruct: ``(state, video_BTHWC in [0, 1]) -> (video_BTHWC, codes_Bthw)``, traceable.
      num_codes: K of the tokenizer.
      baselines: baselines by name.
      baselines_limit: only the first so many clips for them, or None for all that are measured.
      untrained: makes the state of an untrained tokenizer of the same size, another baseline; or None.
      untrained_limit: only the first so many clips for it, since it costs as much as the tokenizer itself.
      samples: how many clips of each choice (first, best, median, worst) to keep for the report; 0 for none.
      (others: see ``SplitEval``; the source has ``video``, ``id`` and, where they exist, ``label`` and
        ``TRUTH_FIELDS``)
    """

    reconstruct: Reconstruct
    num_codes: int
    baselines: Mapping[str, Baseline] = dataclasses.field(default_factory=dict)
    baselines_limit: int | None = None
    untrained: Callable[[], TrainState] | None = None
    untrained_limit: int = 256
    samples: int = 2

    def __post_init__(self):
        super().__post_init__()
        self.has_truth = set(TRUTH_FIELDS) <= set(self.source.fields)
        names = tuple(self.source.class_names)
        self.families = names if self.has_truth and set(names) <= set(oracle.FAMILIES) else ()

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"num_codes": self.num_codes, "baselines": list(self.baselines)}

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures, and the files ``table`` (a row for each clip), ``codes`` (their counts) and ``samples``."""
        tables, counts = self._measure(state)
        rows = {name: figures(columns) for name, columns in tables.items()}
        for name, counts_K in counts.items():
            rows[name] |= code_figures(counts_K, tables[name]["pixels"].sum())
        for name, row in rows.items():
            if "oracle_accuracy" in row and name != "original" and rows["original"]["oracle_accuracy"]:
                row["oracle_vs_original"] = row["oracle_accuracy"] / rows["original"]["oracle_accuracy"]
            for figure, value in row.items():
                yield f"{name}/{figure}".lstrip("/"), value
        yield "table", Media.arrays(**tables[""])
        yield "codes", Media.arrays(counts_K=counts[""])
        if self.samples:
            yield "samples", Media.arrays(**self._samples(state, tables))

    def _measure(self, state: TrainState) -> tuple[dict[str, Columns], dict[str, np.ndarray]]:
        """Tables by row, "" being the tokenizer, and the code counts (K,) of the rows that have codes."""
        contestants = {"": (self._tokenizer(state), self.clips)}
        limit = self.baselines_limit or self.clips
        contestants |= {name: (_without_codes(baseline), limit) for name, baseline in self.baselines.items()}
        if self.untrained:
            contestants["untrained"] = (self._tokenizer(self.untrained()), self.untrained_limit)
        parts: dict[str, list[Columns]] = {name: [] for name in (*contestants, "original")}
        counts: dict[str, np.ndarray] = {}
        for index_B, batch in self.batches():
            mask_B = batch["mask"] > 0
            common = {"id": np.asarray(batch["id"]).astype(str), "index": index_B}
            common |= {name: batch[name] for name in ("label", "fps") if name in batch}
            originals = Originals.of(batch, self.families) if self.has_truth else None
            if originals:
                columns = object_columns(batch["video"], originals)
                parts["original"].append({**common, "mask": mask_B, **columns})
            for name, (contestant, limit) in contestants.items():
                if not self.within(index_B, limit):
                    continue
                video_BTHWC, codes_Bthw = contestant(batch["video"])
                columns = image_columns(batch, video_BTHWC)
                if originals:
                    columns |= object_columns(as_bytes(video_BTHWC), originals)
                counted_B = mask_B & (index_B < limit)
                parts[name].append({**common, "mask": counted_B, **columns})
                if codes_Bthw is not None:
                    used_K = np.bincount(codes_Bthw[counted_B].ravel(), minlength=self.num_codes)
                    counts[name] = counts[name] + used_K if name in counts else used_K
        totals = {name: gather({"counts": used[None]})["counts"].sum(axis=0) for name, used in counts.items()}
        return {name: whole_table(part) for name, part in parts.items() if part}, totals

    def _tokenizer(self, state: TrainState) -> Contestant:
        """The tokenizer as a function of this host's uint8 rows; its video is float32 in [0, 1]."""
        forward = self.on_rows("reconstruct", self._reconstructed, state)
        return lambda video_BTHWC: forward({"video": video_BTHWC})

    def _reconstructed(self, state: TrainState, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        video_BTHWC, codes_Bthw = self.reconstruct(state, as_float(batch["video"]))
        return jnp.clip(video_BTHWC.astype(jnp.float32), 0.0, 1.0), codes_Bthw

    def _samples(self, state: TrainState, tables: dict[str, Columns]) -> Columns:
        """The chosen clips with their reconstructions, uint8, and what the tables say of them."""
        chosen = choose(tables[""], self.samples)
        rows = np.concatenate(list(chosen.values()))
        videos = self.source.read(tables[""]["index"][rows].tolist())["video"]
        contestant, size = self._tokenizer(state), self.batch_size // jax.process_count()
        first = jax.process_index() * size
        shown = []
        for start in range(0, len(rows), self.batch_size):
            batch = np.resize(videos[start : start + self.batch_size], (self.batch_size, *videos.shape[1:]))
            mine = contestant(batch[first : first + size])[0]
            shown.append(gather({"video": as_bytes(mine)})["video"])
        samples = {name: tables[""][name][rows] for name in tables[""]}
        if "original" in tables:
            samples["original_track"] = tables["original"]["track"][rows]
        choice = np.concatenate([[name] * len(picked) for name, picked in chosen.items()])
        return samples | {"choice": choice, "original": videos, "reconstruction": np.concatenate(shown)[: len(rows)]}


def image_columns(batch: Mapping[str, np.ndarray], video_BTHWC: np.ndarray) -> Columns:
    """A row for each clip: ``psnr``, ``ssim``, ``l1``, ``pixels``, and with truth ``object_sse``, ``object_pixels``."""
    if "radius_px" in batch:
        position_BT2, radius_BT = batch["pixel_position"][:, 0], batch["radius_px"][:, 0]
        columns = _compare(batch["video"], video_BTHWC, position_BT2, radius_BT)
    else:
        columns = _compare(batch["video"], video_BTHWC)
    pixels = np.full(len(video_BTHWC), np.prod(video_BTHWC.shape[1:4]))
    return {name: np.asarray(column) for name, column in columns.items()} | {"pixels": pixels}


@jax.jit
def _compare(original_BTHWC, video_BTHWC, position_BT2=None, radius_BT=None) -> dict[str, jax.Array]:
    original, video = as_float(original_BTHWC), as_float(video_BTHWC)
    measures = {"psnr": quality.psnr, "ssim": quality.ssim, "l1": quality.l1}
    columns = {name: measure(video, original).mean(axis=1) for name, measure in measures.items()}
    if position_BT2 is not None:
        disc_BTHW = object_disc(position_BT2, radius_BT, original.shape[2:4])
        squared_BTHW = jnp.square(original - video).mean(axis=-1)
        columns["object_sse"] = (squared_BTHW * disc_BTHW).sum(axis=(1, 2, 3))
        columns["object_pixels"] = disc_BTHW.sum(axis=(1, 2, 3))
    return columns


def object_disc(position_BT2: jax.Array, radius_BT: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The object's own pixels, bool (B, T, H, W): those whose centre lies within its true radius of its true centre."""
    y_H1, x_1W = jnp.arange(size[0])[:, None], jnp.arange(size[1])
    across = x_1W - position_BT2[..., 0, None, None]
    down = y_H1 - position_BT2[..., 1, None, None]
    return across**2 + down**2 <= radius_BT[..., None, None] ** 2


def _without_codes(baseline: Baseline) -> Contestant:
    return lambda video_BTHWC: (baseline(video_BTHWC), None)
