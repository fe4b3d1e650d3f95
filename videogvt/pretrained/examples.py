"""Examples of a classifier: some clips of a split as pixels, codes or tracks, with labels, positions and controls."""

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.inputs.edited import Chosen, EditedSource, edited, one_view, side_by_side
from videogvt.inputs.sources import ArraySource, ClipSource, RecordSource, open_source
from videogvt.inputs.targets import TARGETS, Target
from videogvt.inputs.training import TrainingData
from videogvt.pretrained.codes import write_codes
from videogvt.pretrained.encoders import encoded
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.world.kinematics import track_features
from videogvt.world.oracle import scores
from videogvt.world.tracker import track_over_scenery

INPUTS = ("pixels", "codes", "latents", "tracks", "features", "oracle")
EDITS = ("untrained", "shuffled_labels", "first_frame", "start_position", "shuffled_time", "rolled_labels")
BLOCK = 256  # clips that are read at once
START = ("position/x/first", "position/y/first")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A data set to read splits of: the name of its source, its options as JSON, and the root of the data sets."""

    source: str
    options: str
    data_dir: os.PathLike | None

    @classmethod
    def of(cls, section: Mapping[str, Any], data_dir: os.PathLike | None) -> "Opened":
        """That of a config's section ``data``."""
        return cls(section["source"], json.dumps(section["options"], sort_keys=True), data_dir)

    def split(self, split: str, fields: Sequence[str]) -> ClipSource:
        """A split with these fields."""
        return _open(self, split, tuple(fields))

    def world(self, name: str) -> "Opened":
        """Another world of the same source, with the same options."""
        options = json.loads(self.options) | {"config": name}
        return dataclasses.replace(self, options=json.dumps(options, sort_keys=True))


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a classifier learns from and is asked; the fields up to ``seed`` are those of ``config.examples``.

    Attributes:
      input: "pixels", "codes", "latents" (codes too, which the network looks up), "tracks" (statistics of a track),
        "features" of an ``encoder``, or "oracle" (how well a track fits each family; see ``world.oracle``).
      labels: training clips, the same number of each class; None for all, 0 for none. The other splits stay whole.
      classes: whether the class is asked.
      target: position that is asked, one of ``inputs.targets.TARGETS``, or None.
      views: whether all cameras are seen, side by side, or the first alone.
      edit: what a control does to the examples, one of ``EDITS``; None for nothing.
      encoder: "module:function" that makes the features; see ``encoders``. None for other inputs.
      also: worlds whose test splits are further splits, by the worlds' names; they have the data set's classes.
      seed: chooses the training clips and shuffles.
      opened: the data set.
      tokenizer: makes the codes; None for pixels and tracks.
    """

    input: Literal["pixels", "codes", "latents", "tracks", "features", "oracle"]
    opened: Opened
    labels: int | None = None
    classes: bool = True
    target: str | None = None
    views: bool = False
    edit: str | None = None
    encoder: str | None = None
    also: Sequence[str] = ()
    seed: int = 0
    tokenizer: VideoTokenizer | None = None

    def __post_init__(self):
        for what, name, legal in (("input", self.input, INPUTS), ("target", self.target, TARGETS),
                                  ("edit", self.edit, EDITS)):
            if name not in (*legal, *([None] if what != "input" else [])):
                raise ValueError(unknown_name(f"{what} in config.examples", name, legal))
        coded = self.input in ("codes", "latents")
        if coded != (self.tokenizer is not None):
            raise ValueError(f"config.examples.input is {self.input!r} and the tokenizer is {self.tokenizer}; name a "
                             "config.tokenizer.run for codes and latents, and none for anything else.")
        if (self.input == "features") != (self.encoder is not None):
            raise ValueError(f"config.examples.input is {self.input!r} and encoder {self.encoder!r}; name an encoder "
                             "for features, and none for anything else.")
        if not self.classes and self.target is None:
            raise ValueError("config.examples asks for no class and no target; set classes=True or name a target.")
        if self.target is not None and TARGETS[self.target].views > 1 and not self.views:
            raise ValueError(f"The target {self.target!r} needs all cameras; set config.examples.views to True.")
        if self.also and self.opened.source != "trajectories":
            raise ValueError(f"config.examples.also is {self.also} and config.data.source {self.opened.source!r}; only "
                             "'trajectories' has further worlds. Leave it empty.")
        if self.input == "oracle" and (self.labels != 0 or self.target is not None or self.edit is not None):
            raise ValueError(f"The oracle learns from no label, tells no position and has no control; found labels "
                             f"{self.labels}, target {self.target!r} and edit {self.edit!r}.")
        if (self.edit == "untrained" and not coded) or (self.edit == "start_position" and self.input != "tracks"):
            raise ValueError(f"The edit {self.edit!r} cannot be done to {self.input}.")

    @property
    def field(self) -> str:
        """What the network sees of a batch."""
        return "codes" if self.input in ("codes", "latents", "features") else "video"

    @property
    def asked(self) -> Target | None:
        """The target itself."""
        return TARGETS[self.target] if self.target is not None else None

    def split(self, split: str) -> Chosen:
        """The clips of a split: chosen ones of "train", all of another; with ``video`` or ``codes``, ``label``, ``id``
        and, where a target is asked, ``position``, in standard deviations about the mean of the training clips."""
        rows, facts = self._rows(split), self._facts(split)
        columns = {name: facts[name][rows] for name in ("label", "id")}
        if self.edit == "rolled_labels" and split == "train":
            columns["label"] = (columns["label"] + 1) % len(self._families)
        if self.edit == "shuffled_labels" and split == "train":
            columns["label"] = self._random(split, 1).permutation(columns["label"])
        if self.target is not None:
            mean_P, scale_P = self.scale
            columns["position"] = ((facts["position"][rows] - mean_P) / scale_P).astype(np.float32)
        source = None
        if self.input == "features":
            mean_D, scale_D = self._feature_scale
            columns["codes"] = (self._features_of(split)[rows] - mean_D) / scale_D
        elif self.field == "codes":
            columns["codes"] = self._codes(split, rows)
        elif self.input == "pixels":
            source = _clips(*self._at(split), self.views, self.edit)
        about = self.source(split, ("label",))
        return Chosen(source, rows, columns, about.class_names, about.split_hash, self._splits)

    def source(self, split: str, fields: Sequence[str]) -> ClipSource:
        """All clips of a split as the data set has them, with these fields."""
        opened, name = self._at(split)
        found, known = opened.split(name, fields), self.opened.split("train", ("label",)).class_names
        if found.class_names and found.class_names != known:
            raise ValueError(f"The world {split!r} in config.examples.also has the classes "
                             f"{', '.join(found.class_names)}, the data set {', '.join(known)}; leave that world out.")
        return found

    def features(self, split: str) -> dict[str, np.ndarray]:
        """Statistics of the tracks of a split's clips, (N,) each, by name; of the oracle its scores by family."""
        if self.input == "oracle":
            return _scores(*self._at(split), self._families)
        table, rows = _track_table(*self._at(split), self.edit), self._rows(split)
        names = START if self.edit == "start_position" else tuple(table)
        return {name: table[name][rows] for name in names}

    def see(self, video_BTHWC: np.ndarray, fps: float) -> np.ndarray | dict[str, np.ndarray]:
        """What is seen of other videos, uint8, of a single camera: videos, codes or features of an encoder (B, ...), or
        statistics of their tracks, or scores, by name."""
        if self.input == "pixels":
            return video_BTHWC
        if self.input == "tracks":
            return track_features(*_tracked(video_BTHWC), fps=fps)
        if self.input == "oracle":
            return scores(_tracked(video_BTHWC)[0], fps, self._families, min(video_BTHWC.shape[2:4]))
        if self.input == "features":
            mean_D, scale_D = self._feature_scale
            return (encoded(self.encoder, ArraySource({"video": video_BTHWC})) - mean_D) / scale_D
        return self.tokenizer.codes(video_BTHWC)

    @functools.cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (P,) and standard deviation (P,) of the target over the training clips."""
        position_NP = self._facts("train")["position"][self._rows("train")]
        return position_NP.mean(0), np.maximum(position_NP.std(0), 1e-6)

    @functools.cached_property
    def _feature_scale(self) -> tuple[np.ndarray, np.ndarray]:
        features = self._features_of("train")[self._rows("train")]
        features = features.reshape(-1, features.shape[-1])
        return features.mean(0), np.maximum(features.std(0), 1e-6)

    def _features_of(self, split: str) -> np.ndarray:
        return _encoded(*self._at(split), self.views, self.edit, self.encoder)

    @property
    def _families(self) -> tuple[str, ...]:
        return tuple(self.opened.split("train", ("label",)).class_names)

    @property
    def _splits(self) -> tuple[str, ...]:
        return (*self.opened.split("train", ("label",)).splits, *self.also)

    def _at(self, split: str) -> tuple[Opened, str]:
        """Where a split lies: that of another world is its test split."""
        return (self.opened.world(split), "test") if split in self.also else (self.opened, split)

    def _facts(self, split: str) -> Mapping[str, np.ndarray]:
        return _facts(*self._at(split), self.target)

    def _random(self, split: str, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, *split.encode()])

    def _rows(self, split: str) -> np.ndarray:
        label_N = self._facts(split)["label"]
        if split != "train" or self.labels is None or self.labels == len(label_N):
            return np.arange(len(label_N))
        if self.labels == 0:
            return np.arange(0)
        classes, counts = np.unique(label_N, return_counts=True)
        each, rest = divmod(self.labels, len(classes))
        if rest or not 0 < each <= counts.min():
            raise ValueError(
                f"config.examples.labels is {self.labels}; expected a multiple of the {len(classes)} classes, at most "
                f"{counts.min() * len(classes)}, for there are {counts.min()} training clips of the rarest."
            )
        stream = self._random(split, 0)
        return np.sort(np.concatenate([stream.permutation(np.flatnonzero(label_N == k))[:each] for k in classes]))

    def _codes(self, split: str, rows: np.ndarray) -> np.ndarray:
        """The codes (N, t, h, w) of clips, of all cameras side by side."""
        tokenizer, label = self.tokenizer, ("label",) if self.source(split, ("video",)).class_names else ()
        first = self.source(split, ("video", *label))
        if self.edit == "untrained":
            tokenizer = untrained(tokenizer, first.read([0])["video"].shape[1:4], self.seed)
        sources = [first]
        if self.views:
            both = self.source(split, ("video", "views", *label))
            count = both.read([0])["views"].shape[1]
            sources += [EditedSource(both, f"view {v}", functools.partial(one_view, v)) for v in range(count)]
        if self.edit == "first_frame":
            sources = [edited(source, self.edit) for source in sources]
        name, root = self._at(split)[1], self.opened.data_dir
        codes = np.concatenate([_coded(tokenizer, source, name, root) for source in sources], axis=3)
        codes = codes[rows]
        if self.edit == "shuffled_time":
            order = np.argsort(self._random(split, 2).random(codes.shape[:2]), axis=1)
            codes = np.take_along_axis(codes, order[..., None, None], axis=1)
        return codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleData(TrainingData):
    """Training data of a classifier, with what makes the other splits like it.

    Attributes:
      examples: that.
      (others: see ``TrainingData``)
    """

    examples: Examples


@functools.lru_cache(maxsize=64)
def _open(opened: Opened, split: str, fields: tuple[str, ...]) -> ClipSource:
    return open_source(opened.source, split, fields=fields, data_dir=opened.data_dir, **json.loads(opened.options))


def untrained(tokenizer: VideoTokenizer, video_shape: Sequence[int], seed: int) -> VideoTokenizer:
    """A tokenizer of the same network with random weights."""
    network = tokenizer.network
    video = np.zeros((1, *video_shape, 3), np.float32)
    params = jax.jit(network.init)({"params": jax.random.key(seed)}, video)["params"]
    return VideoTokenizer(tokenizer.config, params, window=tokenizer.window, batch_size=tokenizer.batch_size,
                          trained_on=tokenizer.trained_on)


@functools.lru_cache(maxsize=32)
def _facts(opened: Opened, split: str, target: str | None) -> Mapping[str, np.ndarray]:
    """Labels, ids and, where there is a target, positions (N, P) of all clips of a split."""
    fields = TARGETS[target].fields if target is not None else ()
    source = opened.split(split, ("label", "id", *fields))
    parts = []
    for rows in _blocks(source):
        part = {name: rows[name] for name in ("label", "id")}
        parts.append(part | ({"position": TARGETS[target].values(rows)} if target is not None else {}))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _clips(opened: Opened, split: str, views: bool, edit: str | None) -> ClipSource:
    """The split's videos as the edit leaves them, all cameras side by side where they are seen."""
    source = opened.split(split, ("video", "views") if views else ("video",))
    if views:
        source = EditedSource(source, "views", side_by_side)
    return edited(source, edit)


@functools.lru_cache(maxsize=8)
def _encoded(opened: Opened, split: str, views: bool, edit: str | None, encoder: str) -> np.ndarray:
    return encoded(encoder, _clips(opened, split, views, edit))


@functools.lru_cache(maxsize=32)
def _tracks(opened: Opened, split: str, edit: str | None) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Tracks (N, T, 2) and radii (N, T) of all clips of a split, their frames per second, and their short side."""
    source = edited(opened.split(split, ("video", "fps")), edit)
    parts = [_tracked(rows["video"]) for rows in _blocks(source)]
    track_NT2, radius_NT = (np.concatenate(part) for part in zip(*parts, strict=True))
    first = source.read([0])
    return track_NT2, radius_NT, float(first["fps"][0]), min(first["video"].shape[2:4])


@functools.lru_cache(maxsize=32)
def _track_table(opened: Opened, split: str, edit: str | None) -> Mapping[str, np.ndarray]:
    """Statistics of the tracks of all clips of a split."""
    track_NT2, radius_NT, fps, _ = _tracks(opened, split, edit)
    return track_features(track_NT2, radius_NT, fps=fps)


@functools.lru_cache(maxsize=32)
def _scores(opened: Opened, split: str, families: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """The oracle's scores of all clips of a split, by family."""
    track_NT2, _, fps, size = _tracks(opened, split, None)
    return scores(track_NT2, fps, families, size)


def _tracked(video_NTHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tracks (N, T, 2) and radii (N, T), those of discs of the tracked areas; nan where nothing was found."""
    found = track_over_scenery(video_NTHWC)
    return found.position_T2, np.where(found.found_T, np.sqrt(found.area_T / np.pi), np.nan)


def _blocks(source: ClipSource) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(source), BLOCK):
        yield source.read(range(start, min(start + BLOCK, len(source))))


def _coded(tokenizer: VideoTokenizer, source: ClipSource, split: str, data_dir) -> np.ndarray:
    """The codes of all clips of a split, written once to the data root where the split has a hash."""
    if not source.split_hash:
        return np.concatenate([tokenizer.codes(rows["video"]) for rows in _blocks(source)])
    folder = write_codes(tokenizer, {split: source}, f"{split}-{source.split_hash[:8]}", data_dir)
    codes = RecordSource(folder, split, ("codes",))
    return codes.read(range(len(codes)))["codes"]
