"""Whether generated clips show what was asked for, beside real clips and beside answers that must fail.

Every row is measured alike, clip by clip, from the clip's own track (see ``motion.describe_motion``): the generator's
clips; ``independent`` codes of its class, each that of another training clip in the same place; ``real`` ones of the
split; the same ``reconstructed`` by the tokenizer, the best the generator can do; the real ones under ``shuffled``
labels, which is chance; training clips ``copied`` out, which have no distance to the training set; and the
``mean_track`` of every class, which has no spread. So each figure stands beside a row where it is bad. FVD and
Inception Score, where their networks are named, are measured on clips of their own; see ``published``.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.evals.appearance import appearance_distances
from videogvt.evals.figures import by_class, confusion_with_unknown, motion_figures
from videogvt.evals.motion import Training, describe_motion, has_tracks, mean_tracks, motion_columns, rows_of
from videogvt.evals.published import EvaluationClassifier, Published
from videogvt.evals.rows import Columns, Generate, SplitEval, averaged, whole_table
from videogvt.inputs.sources import ClipSource
from videogvt.ops.quality import frechet_between
from videogvt.ops.video import as_bytes, as_float
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState

_Clips = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From places (B) in a set of clips to this host's clips, uint8 (B, T, H, W, 3), and the labels they claim (B)."""

BY_CLASS = ("", "real", "reconstructed")
"""Rows with figures for every class and a Fréchet distance."""

LOOKED_AT = ("", "independent", "real", "reconstructed", "copied")
"""Rows whose distributions of colours, sizes, places and speeds are compared with those of other real clips."""


@dataclasses.dataclass(kw_only=True)
class GenerationEval(SplitEval):
    """Measures what a generator makes of class labels alone.

    The i-th clip is of class i modulo the number of classes, from a key of its own, so that no figure depends on the
    batch size or the number of devices.

    Attributes:
      train: the training split, for ``motion.Training.of``; where it is not of tracked objects (``motion.has_tracks``),
        there are figures of the judge, or published ones, alone.
      seed: of the choice of real clips.
      seeds: of the generated clips; figures are means over them, with their range (``rows.averaged``). None for
        ``seed`` alone. Files are of the first.
      generate: the recipe's predict function, traceable; it must not change the state.
      task: the task's place in the recipe's table.
      per_class: clips to generate of each class.
      limit: at most so many clips in all; or None.
      reconstruct: ``(state, video_BTHWC in [0, 1]) -> (video, codes)`` of the tokenizer; or None for no such row.
        Real and reconstructed clips are measured once: the tokenizer is frozen.
      judge: a trained classifier; or None for no figures of its.
      published: measures FVD and Inception Score against ``train``; or None for neither.
      independent: makes, when it is first needed, a function like ``generate`` whose codes know nothing of each other;
        or None for no such row.
      trajectory: ``generate`` that also shows every step, see ``decoding_trajectory``; or None for no such file.
      samples: clips of each class to keep for the report.
      settings: of the decoding; among the facts alone.
      train_limit: only so many training clips; or None for all.
      (others: see ``SplitEval``; the source is of real clips and has ``video`` and ``label``; its classes have names)
    """

    train: ClipSource
    generate: Generate
    task: int = 0
    per_class: int = 100
    reconstruct: Callable[[TrainState, jax.Array], tuple[jax.Array, jax.Array]] | None = None
    judge: EvaluationClassifier | None = None
    published: Published | None = None
    independent: Callable[[], Generate] | None = None
    trajectory: Generate | None = None
    seeds: tuple[int, ...] | None = None
    samples: int = 4
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_limit: int | None = None

    def __post_init__(self):
        super().__post_init__()
        self.classes, self.has_tracks = len(self.source.class_names), has_tracks(self.train)
        if self.classes < 1 or len(self.source) < 4:
            raise ValueError(f"{self.source} has {self.classes} classes and {len(self.source)} clips; generation by "
                             "class is measured beside at least 4 real clips of named classes.")
        self._measures = self.has_tracks or self.judge is not None
        if not self._measures and not self.published:
            raise ValueError(f"The clips of {self.train} are not of tracked objects (a field 'fps', and tracks or what "
                             "can be tracked), and there is no evaluation classifier: nothing can be measured. "
                             "Name the workdir of one, or the weights of FVD's network.")
        wanted = (self.per_class if self._measures else max(self.samples, 1)) * self.classes
        self.clips = min(wanted, self.limit or wanted)
        self.real_clips = min(self.clips, len(self.source) // 2)
        order_N = np.random.default_rng(self.seed).permutation(len(self.source))
        self._real, self._others = order_N[: self.real_clips], order_N[self.real_clips : 2 * self.real_clips]
        self._shape = self.source.read([0])["video"].shape[1:]
        self._training: Training | None = None
        self._beside: dict[str, Columns] = {}
        self._others_table: Columns = {}
        self._makers: dict[str, Generate] = {}
        self.seeds = self.seeds or (self.seed,)
        self._published_facts = None
        if self.published:
            self._published_facts = self.published.check(self._shape[0], len(self.train))

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {
            "seeds": list(self.seeds), "real_clips": self.real_clips, "task": self.task,
            "decoding": dict(self.settings),
            "judge": self.judge.name if self.judge else None, "judge_hash": self.judge.hash if self.judge else "",
            "train_hash": self.train.split_hash,
            "train_limit": self.train_limit, "published": self._published_facts,
        }

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields figures, and the files ``table`` (a row for each clip), ``real`` (the same of real clips),
        ``confusion_oracle`` and ``confusion_judge``, ``samples``, and ``trajectory`` where ``trajectory`` is given."""
        if self.published:
            yield from self._published_figures(state)
        tables = self._tables(state)
        if self._measures:
            yield from self._measured(tables, self._of_further_seeds(state))
        if self.samples:
            yield "samples", Media.arrays(**self._samples(state, tables))
        if self.trajectory:
            yield "trajectory", Media.arrays(**self._trajectory(state))

    def _tables(self, state: TrainState) -> dict[str, Columns]:
        """A table for every row; labels alone where nothing measures clips."""
        if not self._measures:
            return {"": {"label": np.arange(self.clips) % self.classes},
                    "real": {"label": self.source.read(self._real.tolist())["label"]}}
        if not self._beside:
            self._training = Training.of(self.train, self.train_limit) if self.has_tracks else None
            self._beside = self._measure_beside(state)
        return self._made(state, self.seeds[0]) | self._beside

    def _made(self, state: TrainState, seed: int) -> dict[str, Columns]:
        """The tables of what is generated."""
        makers = {"": self.generate, "independent": self.independent}
        return {row: self._measure(self._generated(state, seed=seed, row=row), self.clips)
                for row, maker in makers.items() if maker is not None}

    def _of_further_seeds(self, state: TrainState) -> list[dict[str, Columns]]:
        return [self._made(state, seed) for seed in self.seeds[1:]]

    def _measured(
        self, tables: dict[str, Columns], further: list[dict[str, Columns]]
    ) -> Iterator[tuple[str, float | Media]]:
        for row, table in tables.items():
            seen = [table, *(others[row] for others in further if row in others)]
            found = [self._figures(row, one, tables["real"]) for one in seen]
            yield from ((f"{row}/{figure}".lstrip("/"), value) for figure, value in averaged(found))
        names = np.array(self.source.class_names)
        for file, row in (("table", ""), ("real", "real")):
            yield file, Media.arrays(**{name: column for name, column in tables[row].items() if name != "features"})
        for judge, named, columns in (("oracle", "named", np.append(names, "unknown")), ("judge", "judged", names)):
            if named in tables[""]:
                counts_KK = confusion_with_unknown(tables[""]["label"], tables[""][named], len(names), len(columns))
                yield f"confusion_{judge}", Media.arrays(counts_KK=counts_KK, class_names=columns)

    def _figures(self, row: str, table: Columns, real: Columns) -> dict[str, float]:
        diagonal = float(np.hypot(*self._shape[1:3]))
        numbers = motion_figures(table, real, diagonal)
        if self.has_tracks and row in LOOKED_AT:
            numbers |= appearance_distances(table, self._others_table)
        if row in BY_CLASS:
            numbers |= self._frechet(table)
            numbers |= by_class(table, real, diagonal, self.source.class_names)
        return numbers

    def _published_figures(self, state: TrainState) -> Iterator[tuple[str, float]]:
        """FVD and Inception Score of clips of the classes of training clips; each of these is measured once."""
        order_N = self.published.order(len(self.train), self.seed)
        seen_M, place_N = np.unique(order_N, return_inverse=True)
        measure = self.published.measuring()
        pool = self._columns(self._originals(seen_M, self.train), len(seen_M), measure)
        real = rows_of(pool, place_N)
        made = self._columns(self._generated(state, real["claimed"]), len(order_N), measure)
        yield from self.published.figures(made, real, pool, self.seed)

    def asking(self, generate: Generate, task: int = 0) -> "GenerationEval":
        """The same evaluator of another generator, for figures alone; what it has measured of real clips stays."""
        other = dataclasses.replace(self, generate=generate, task=task, trajectory=None, samples=0, published=None,
                                    independent=None)
        other._training, other._beside, other._others_table = self._training, self._beside, self._others_table
        return other

    def _frechet(self, table: Columns) -> dict[str, float]:
        """The distance to other real clips than those of the row ``real``, as many on either side in every row."""
        if not self.judge:
            return {}
        others_MD = self._others_table["features"]
        count = min(len(others_MD), len(table["label"]))
        return {"frechet_traj": frechet_between(table["features"][:count], others_MD[:count]), "frechet_clips": count}

    def _measure_beside(self, state: TrainState) -> dict[str, Columns]:
        """The tables of all rows but the generator's own, and the one that distances are taken to."""
        tables = {"real": self._measure(self._originals(self._real), self.real_clips)}
        if self.reconstruct:
            tables["reconstructed"] = self._measure(self._reconstructed(state), self.real_clips)
        self._others_table = self._measure(self._originals(self._others), len(self._others))
        rng = np.random.default_rng([self.seed, 1])
        tables["shuffled"] = self._described({
            name: tables["real"][name] for name in ("track", "found", "area", "stray", "colour", "judged", "features")
            if name in tables["real"]}, rng.permutation(tables["real"]["label"]))
        if self.has_tracks:
            training = self._training
            rows = rng.permutation(len(training.label_N))[: self.clips]
            tables["copied"] = self._described(rows_of(training.columns, rows), training.label_N[rows])
            tables["mean_track"] = self._described(*mean_tracks(training))
        return tables

    def _measure(self, clips: _Clips, count: int) -> Columns:
        """The table of the first ``count`` clips, in order, of all hosts together."""

        def measure(video_BTHWC):
            columns = motion_columns(video_BTHWC) if self.has_tracks else {}
            return columns | (self.judge.columns(video_BTHWC) if self.judge else {})

        columns = self._columns(clips, count, measure)
        return self._described(columns, columns.pop("claimed"))

    def _described(self, columns: Columns, label_N: np.ndarray) -> Columns:
        table = describe_motion(columns, label_N, self._training) if self.has_tracks else columns | {"label": label_N}
        return table | ({"judged_correct": table["judged"] == label_N} if "judged" in table else {})

    def _columns(self, clips: _Clips, count: int, measure: Callable[[np.ndarray], Columns]) -> Columns:
        """What ``measure`` finds in the first ``count`` clips; every host measures its own rows of every batch."""
        parts = []
        for place_B in self._places(count):
            video_BTHWC, label_B = clips(place_B)
            parts.append({"index": place_B, "mask": place_B < count, "claimed": label_B, **measure(video_BTHWC)})
        return {name: column for name, column in whole_table(parts).items() if name != "index"}

    def _places(self, count: int) -> Iterator[np.ndarray]:
        """This host's places in every batch of ``count`` clips, those beyond the last one included."""
        rows = self.batch_size // jax.process_count()
        for start in range(0, count, self.batch_size):
            yield (start + jax.process_index() * rows + np.arange(rows)).astype(np.int32)

    def _originals(self, indices: np.ndarray, source: ClipSource | None = None) -> _Clips:
        source = self.source if source is None else source

        def clips(place_B):
            batch = source.read(indices[np.minimum(place_B, len(indices) - 1)].tolist())
            return batch["video"], batch["label"]

        return clips

    def _reconstructed(self, state: TrainState) -> _Clips:
        def reconstruct(state, batch):
            return as_bytes(self.reconstruct(state, as_float(batch["video"]))[0])

        originals, forward = self._originals(self._real), self.on_rows("reconstructed", reconstruct, state)

        def clips(place_B):
            video_BTHWC, label_B = originals(place_B)
            return forward({"video": video_BTHWC}), label_B

        return clips

    def _generated(
        self, state: TrainState, label_N: np.ndarray | None = None, seed: int | None = None, row: str = ""
    ) -> _Clips:
        """Generated clips of these classes, of the generator or its control; None for all classes in turn."""
        if row not in self._makers:
            self._makers[row] = self.independent() if row else self.generate

        def make(state, batch, seed):
            made = self._makers[row](state, *self.inputs(batch["place"], batch["label"], seed))
            return as_bytes(made["video"])

        forward = self.on_rows(f"made {row}", make, state)
        seed = np.uint32(self.seeds[0] if seed is None else seed)

        def clips(place_B):
            label_B = place_B % self.classes if label_N is None else label_N[np.minimum(place_B, len(label_N) - 1)]
            return forward({"place": place_B, "label": label_B.astype(np.int32)}, seed), label_B

        return clips

    def inputs(
        self, place_B: jax.Array, label_B: jax.Array | None = None, seed: jax.Array | int | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """task_B, label_B, video_BTHWC and keys_B of the clips at these places; None is all classes in turn, and the
        first seed."""
        key = jax.random.key(self.seeds[0] if seed is None else seed)
        keys_B = jax.vmap(lambda place: jax.random.fold_in(key, place))(place_B)
        task_B = jnp.full(place_B.shape, self.task, jnp.int32)
        label_B = place_B % self.classes if label_B is None else label_B
        return task_B, label_B, jnp.zeros((*place_B.shape, *self._shape), jnp.float32), keys_B

    def _samples(self, state: TrainState, tables: dict[str, Columns]) -> Columns:
        """The first clips of every class with what the table says of them, and real ones of the same classes."""
        count = min(self.samples * self.classes, self.clips)
        videos = self._columns(self._generated(state), count, lambda video: {"video": video})["video"]
        real = tables["real"]
        chosen = np.concatenate([np.flatnonzero(real["label"] == label)[: self.samples]
                                 for label in range(self.classes)])
        kept = ("label", "track", "one_object", "named", "correct", "judged", "fit_px")
        samples = {name: tables[""][name][:count] for name in kept if name in tables[""]}
        samples |= {f"real_{name}": real[name][chosen] for name in ("label", "track") if name in real}
        if self.has_tracks:
            samples["fps"] = np.float32(self._training.fps)
        return samples | {"video": videos, "real": self.source.read(self._real[chosen].tolist())["video"],
                          "class_names": np.array(self.source.class_names)}

    def _trajectory(self, state: TrainState) -> Columns:
        """One clip of every class after each step of its decoding; of the first also who attends to whom."""
        def decode_in_steps(state, batch):
            shown = self.trajectory(state, *self.inputs(batch["place"]))
            return shown | {"videos": as_bytes(shown["videos"])}

        forward, parts, count = self.on_rows("trajectory", decode_in_steps, state), [], min(self.classes, self.clips)
        for place_B in self._places(count):
            parts.append({"index": place_B, "mask": place_B < count} | forward({"place": place_B}))
        columns = whole_table(parts)
        attention = {"attention": columns["attention"][0]} if "attention" in columns else {}
        return attention | {
            "videos": columns["videos"], "masked": columns["masked"], "label": columns["index"] % self.classes,
            "class_names": np.array(self.source.class_names)}


def decoding_trajectory(
    generate: Callable[..., Mapping[str, Any]], video: Callable[..., jax.Array],
    attention: Callable[..., jax.Array] | None = None,
) -> Generate:
    """A generator that shows how its clips come about, step by step.

    Args:
      generate: a predict function that takes ``keep_steps`` and then returns "steps" with ``tokens`` and ``masked``,
        both (B, S, N).
      video: ``(state, codes_Bthw) -> video_BTHWC``.
      attention: ``(state, tokens_BN, hidden_BN, task_B, label_B)``, the masked transformer's predict function; or None.

    Returns:
      A function like ``Generate`` that returns "videos" (B, S, T, H, W, 3), decoded from all tokens as each step
      proposes them, and "masked" (B, S, t, h, w), the tokens that the step hides again; with ``attention`` also that
      (B, layers, heads, 1 + t, 1 + t) in the middle of decoding.
    """

    def decode_in_steps(state, *inputs):
        made = generate(state, *inputs, keep_steps=True)
        grid = made["codes"].shape[1:]
        batch, steps = made["steps"].tokens.shape[:2]
        tokens_SBthw = jnp.moveaxis(made["steps"].tokens, 1, 0).reshape(steps, batch, *grid)
        videos_SBTHWC = jax.lax.map(lambda codes_Bthw: video(state, codes_Bthw), tokens_SBthw)  # one after another:
        # samplers have up to some hundred steps, and their clips need not be in memory at once as the decoder sees them
        shown = {"videos": jnp.moveaxis(videos_SBTHWC, 0, 1),
                  "masked": made["steps"].masked.reshape(batch, steps, *grid)}
        if attention is not None:
            halfway = (tokens_BSN[:, steps // 2] for tokens_BSN in (made["steps"].tokens, made["steps"].masked))
            rows = *halfway, *inputs[:2]
            one_by_one = lambda row: attention(state, *(column[None] for column in row))[0]  # noqa: E731
            shown["attention"] = jax.lax.map(one_by_one, rows)  # maps of a batch are (layers, B, heads, L, L)
        return shown

    return decode_in_steps
