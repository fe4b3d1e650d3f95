"""Examples of a classifier: some clips of a split as pixels, codes or tracks, with labels, positions and controls."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.evals.classification import TARGETS, Target
from videogvt.inputs.pipeline import TrainingData
from videogvt.inputs.sources import ArraySource, ClipSource
from videogvt.jobs.tables import (
    Chosen,
    EditedSource,
    Opened,
    clips,
    coded,
    edited,
    encoded,
    encoded_clips,
    facts,
    one_view,
    oracle_scores,
    track_table,
    tracked,
    untrained,
)
from videogvt.models.token_model import Outside
from videogvt.pretrained.codes import Tokenizer
from videogvt.world.oracle import scores
from videogvt.world.tracker import track_features

INPUTS = ("pixels", "codes", "latents", "tracks", "features", "oracle")
EDITS = ("untrained", "shuffled_labels", "first_frame", "start_position", "shuffled_time", "rolled_labels")
NEED_PIXELS = ("untrained", "first_frame", "start_position")
"""Edits that nobody can do to codes alone; of these the first needs a network of ours as well."""

START = ("position/x/first", "position/y/first")


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a classifier learns from and is asked; the fields up to ``seed`` are those of ``config.examples``.

    Attributes:
      input: "pixels", "codes", "latents" (codes too, which the network looks up), "tracks" (statistics of a track),
        "features" of an ``encoder``, or "oracle" (how well a track fits each family; see ``world.oracle``).
      labels: training clips, the same number of each class; None for all, 0 for none. The other splits stay whole.
      classes: whether the class is asked.
      target: position that is asked, one of ``evals.classification.TARGETS``, or None.
      views: whether all cameras are seen, videos side by side and codes one after the other, or the first alone.
      mirrored: whether every training clip is there a second time, as a mirror shows it: columns reversed, and the
        position where it is then. For codes of one camera, and positions in its picture. What a control does to the
        examples it does to both alike.
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
    mirrored: bool = False
    edit: str | None = None
    encoder: str | None = None
    also: Sequence[str] = ()
    seed: int = 0
    tokenizer: Tokenizer | None = None

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
        if self.mirrored and (not coded or self.views):
            raise ValueError(f"config.examples.mirrored is for codes of one camera; found input {self.input!r} and "
                             f"views={self.views}. Set it to False.")
        if self.also and self.opened.source != "trajectories":
            raise ValueError(f"config.examples.also is {self.also} and config.data.source {self.opened.source!r}; only "
                             "'trajectories' has further worlds. Leave it empty.")
        if self.input == "oracle" and (self.labels != 0 or self.target is not None or self.edit is not None):
            raise ValueError(f"The oracle learns from no label, tells no position and has no control; found labels "
                             f"{self.labels}, target {self.target!r} and edit {self.edit!r}.")
        if (self.edit == "untrained" and not coded) or (self.edit == "start_position" and self.input != "tracks"):
            raise ValueError(f"The edit {self.edit!r} cannot be done to {self.input}.")
        if self.edit == "untrained" and isinstance(self.tokenizer.network, Outside):
            raise ValueError("The control 'untrained' gives a tokenizer of ours random weights, and config.tokenizer "
                             "names another codec; leave the control out.")
        if self._codes_alone and (self.input != "codes" or self.views or self.mirrored or self.target is not None
                                  or self.edit in NEED_PIXELS):
            raise ValueError(
                f"config.data has codes and no videos, of which a class can be asked from input 'codes', with the "
                f"controls 'shuffled_labels', 'rolled_labels' and 'shuffled_time'. Found input {self.input!r}, views "
                f"{self.views}, mirrored {self.mirrored}, target {self.target!r} and edit {self.edit!r}.")

    @property
    def _codes_alone(self) -> bool:
        return self.opened.source == "codes"

    @property
    def field(self) -> str:
        """What the network sees of a batch."""
        return "codes" if self.input in ("codes", "latents", "features") else "video"

    @property
    def asked(self) -> Target | None:
        """The target itself."""
        return TARGETS[self.target] if self.target is not None else None

    @functools.cached_property
    def coder(self) -> Tokenizer | None:
        """Makes the codes that are seen: the tokenizer; where it is edited so, one like it with random weights."""
        if self.edit != "untrained":
            return self.tokenizer
        clip = self.source("train", ("video",)).read([0])["video"]
        return untrained(self.tokenizer, clip.shape[1:4], self.seed)

    def split(self, split: str) -> Chosen:
        """The clips of a split: chosen ones of "train", all of another; with ``video`` or ``codes``, ``label``, ``id``
        and, where a target is asked, ``position``, in standard deviations about the mean of the training clips."""
        chosen, facts = self._rows(split), self._facts(split)
        mirrored = self.mirrored and split == "train"
        rows = np.concatenate([chosen, chosen]) if mirrored else chosen
        columns = {name: facts[name][rows] for name in ("label", "id")}
        if self.edit == "rolled_labels" and split == "train":
            columns["label"] = (columns["label"] + 1) % len(self._families)
        if self.edit == "shuffled_labels" and split == "train":
            columns["label"] = columns["label"][self._shuffled(split, len(chosen), len(rows))]
        if self.target is not None:
            mean_P, scale_P = self.scale
            position_NP = facts["position"][rows]
            if mirrored:
                width = self.source(split, ("video",)).read([0])["video"].shape[3]
                position_NP[len(chosen):] = self.asked.mirrored(position_NP[len(chosen):], width)
            columns["position"] = ((position_NP - mean_P) / scale_P).astype(np.float32)
            if "calibration" in facts:
                columns["calibration"] = facts["calibration"][rows]
        source = None
        if self.input == "features":
            mean_D, scale_D = self._feature_scale
            columns["codes"] = (self._features_of(split)[rows] - mean_D) / scale_D
        elif self.field == "codes":
            sides = (False, True) if mirrored else (False,)
            columns["codes"] = np.concatenate([self._codes(split, chosen, side) for side in sides])
        elif self.input == "pixels":
            source = clips(*self._at(split), self.views, self.edit)
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
            return oracle_scores(*self._at(split), self._families)
        table, rows = track_table(*self._at(split), self.edit), self._rows(split)
        names = START if self.edit == "start_position" else tuple(table)
        return {name: table[name][rows] for name in names}

    def see(self, video_BTHWC: np.ndarray, fps: float) -> np.ndarray | dict[str, np.ndarray]:
        """What is seen of other videos, uint8, of a single camera: videos, codes or features of an encoder (B, ...), or
        statistics of their tracks, or scores, by name."""
        if self.input == "pixels":
            return video_BTHWC
        if self.input == "tracks":
            return track_features(*tracked(video_BTHWC), fps=fps)
        if self.input == "oracle":
            return scores(tracked(video_BTHWC)[0], fps, self._families, min(video_BTHWC.shape[2:4]))
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
        return encoded_clips(*self._at(split), self.views, self.edit, self.encoder)

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
        return facts(*self._at(split), self.target)

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

    def _shuffled(self, split: str, clips: int, rows: int) -> np.ndarray:
        """For each of the rows, which are the clips once or twice, that whose label it gets; the same for both."""
        return np.tile(self._random(split, 1).permutation(clips), rows // clips) if clips else np.arange(0)

    def _codes(self, split: str, rows: np.ndarray, mirrored: bool) -> np.ndarray:
        """The codes (N, t, h, w) of clips as the edit leaves them, of all cameras one after the other in t, so that a
        network which treats every time alike treats every camera alike."""
        if self._codes_alone:
            return self._out_of_order(split, self.source(split, ("codes",)).read(rows.tolist())["codes"])
        label = ("label",) if self.source(split, ("video",)).class_names else ()
        sources = [self.source(split, ("video", *label))]
        if self.views:
            both = self.source(split, ("video", "views", *label))
            count = both.read([0])["views"].shape[1]
            sources += [EditedSource(both, f"view {v}", functools.partial(one_view, v)) for v in range(count)]
        for edit in (*(["first_frame"] if self.edit == "first_frame" else []), *(["mirrored"] if mirrored else [])):
            sources = [edited(source, edit) for source in sources]
        name, root = self._at(split)[1], self.opened.data_dir
        cameras = [coded(self.coder, source, name, root)[rows] for source in sources]
        return np.concatenate([self._out_of_order(split, codes) for codes in cameras], axis=1)

    def _out_of_order(self, split: str, codes_Nthw: np.ndarray) -> np.ndarray:
        """Codes as the edit leaves them: with their frames in random order, the same for all cameras of a clip."""
        if self.edit != "shuffled_time":
            return codes_Nthw
        order = np.argsort(self._random(split, 2).random(codes_Nthw.shape[:2]), axis=1)
        return np.take_along_axis(codes_Nthw, order[..., None, None], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleData(TrainingData):
    """Training data of a classifier, with what makes the other splits like it.

    Attributes:
      examples: that.
      (others: see ``TrainingData``)
    """

    examples: Examples
