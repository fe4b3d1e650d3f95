"""What is read or made of all clips of a split, once: labels and positions, tracks, codes, features of an encoder.

The clips are those of the split as an edit leaves them, which is what controls of an experiment are made of. Other
people's encoders are functions from videos to features, which then have a row in a study:

    def encode(video_BTHWC):            # NumPy uint8 (B, T, H, W, 3), some dozen clips
        ...                             # PyTorch, a web service, anything
        return features                 # anything NumPy can hold: (B, D), or (B, t, h, w, D) with places in the clip

    config.methods.mine.examples = {"input": "features", "encoder": "my_module:encode"}

``my_module`` has to be importable where the study runs. The function is called once for every clip of a split, in
order, and must answer the same for the same clip. Networks "on codes" learn on its answers, brought to mean 0 and
std 1 over the training clips; nothing of the encoder itself is trained.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from videogvt.evals.classification import TARGETS
from videogvt.inputs.contracts import ClipSource, Derived
from videogvt.inputs.sources import RecordSource, open_source
from videogvt.pretrained.codes import write_codes
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.world.oracle import scores
from videogvt.world.tracker import track_features, track_over_scenery

_Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class EditedSource(Derived):
    """A source whose clips are changed: ``edit(rows, indices)``, named by ``name`` in the hash."""

    name: str
    edit: Callable[[_Rows, Sequence[int]], _Rows]

    fields = property(lambda self: tuple(name for name in self.source.fields if name != "views"))

    @property
    def split_hash(self) -> str:
        """Of the clips and what is done to them."""
        whole = f"{self.source.split_hash} {self.name}"
        return hashlib.sha256(whole.encode()).hexdigest() if self.source.split_hash else ""

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        rows = self.edit(self.source.read(indices), indices)
        return {name: rows[name] for name in self.fields}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some clips of a source, in a given order, with further columns that lie in memory; a ``ClipSource``.

    Attributes:
      source: where the clips are read, or None if the columns are all there is.
      rows: (N,) their places in it.
      columns: (N, ...) each, by field; they win over the source's.
      class_names, split_hash, splits: of the data set.
    """

    source: ClipSource | None
    rows: np.ndarray
    columns: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]
    split_hash: str
    splits: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        read = self.source.fields if self.source is not None else ()
        return tuple(dict.fromkeys((*read, *self.columns)))

    available = fields

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        places = np.asarray(indices)
        read = self.source.read(self.rows[places]) if self.source is not None else {}
        return read | {name: column[places] for name, column in self.columns.items()}


def edited(source: ClipSource, edit: str | None) -> ClipSource:
    """A source of videos as an edit of their frames leaves them."""
    edits = {"first_frame": _first_frame, "shuffled_time": _shuffled_frames, "mirrored": _mirrored}
    return EditedSource(source, edit, edits[edit]) if edit in edits else source


def _first_frame(rows: _Rows, indices: Sequence[int]) -> _Rows:
    video_BTHWC = rows["video"]
    return rows | {"video": np.repeat(video_BTHWC[:, :1], video_BTHWC.shape[1], axis=1)}


def _shuffled_frames(rows: _Rows, indices: Sequence[int]) -> _Rows:
    orders = [np.random.default_rng(int(index)).permutation(rows["video"].shape[1]) for index in indices]
    return rows | {"video": np.stack([video[order] for video, order in zip(rows["video"], orders, strict=True)])}


def _mirrored(rows: _Rows, indices: Sequence[int]) -> _Rows:
    return rows | {"video": np.ascontiguousarray(rows["video"][:, :, :, ::-1])}


def side_by_side(rows: _Rows, indices: Sequence[int]) -> _Rows:
    """The videos of all cameras in one, from left to right."""
    views = rows["views"]
    return rows | {"video": np.concatenate([rows["video"], *(views[:, v] for v in range(views.shape[1]))], axis=3)}


def one_view(view: int, rows: _Rows, indices: Sequence[int]) -> _Rows:
    """The video of one of the further cameras in place of the first's."""
    return rows | {"video": rows["views"][:, view]}


CALL = 32  # clips that an encoder is given at once


def load_encoder(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that "module:function" names.

    Raises:
      ValueError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"config.examples.encoder is {name!r}, and that is {error}. Expected 'module:function' of a "
                         "module that can be imported here, such as a file in the directory of run.py.") from error
    if not callable(found):
        raise ValueError(f"config.examples.encoder is {name!r}, which is a {type(found).__name__}; expected a function "
                         "of videos (B, T, H, W, 3).")
    return found


def encoded(name: str, source: ClipSource) -> np.ndarray:
    """The features of all clips of a source, float32 (N, t, h, w, D), with t = h = w = 1 where clips have one each.

    Raises:
      ValueError: the encoder's answers are of another shape, or not finite.
    """
    encode, parts = load_encoder(name), []
    for start in range(0, len(source), CALL):
        video_BTHWC = source.read(range(start, min(start + CALL, len(source))))["video"]
        features = np.asarray(encode(video_BTHWC), np.float32)
        if features.ndim not in (2, 5) or len(features) != len(video_BTHWC) or not np.isfinite(features).all():
            raise ValueError(f"The encoder {name!r} answered {len(video_BTHWC)} clips with {features.shape}, finite: "
                             f"{bool(np.isfinite(features).all())}; expected finite numbers (B, D) or (B, t, h, w, D).")
        parts.append(features if features.ndim == 5 else features[:, None, None, None])
    return np.concatenate(parts)


_BLOCK = 256  # clips that are read at once


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


@functools.lru_cache(maxsize=64)
def _open(opened: Opened, split: str, fields: tuple[str, ...]) -> ClipSource:
    return open_source(opened.source, split, fields=fields, data_dir=opened.data_dir, **json.loads(opened.options))


def untrained(tokenizer: VideoTokenizer, video_shape: Sequence[int], seed: int) -> VideoTokenizer:
    """A tokenizer of the same network with random weights."""
    network = tokenizer.network
    video = np.zeros((1, *video_shape, 3), np.float32)
    params = jax.jit(network.init)({"params": jax.random.key(seed)}, video)["params"]
    return VideoTokenizer(tokenizer.config, params, window=tokenizer.window, batch_size=tokenizer.batch_size,
                          data=tokenizer.data)


@functools.lru_cache(maxsize=32)
def facts(opened: Opened, split: str, target: str | None) -> Mapping[str, np.ndarray]:
    """Labels, ids and, where there is a target, what is known of it (``Target.known``), of all clips of a split."""
    fields = TARGETS[target].fields if target is not None else ()
    source = opened.split(split, ("label", "id", *fields))
    parts = []
    for rows in _blocks(source):
        part = {name: rows[name] for name in ("label", "id")}
        parts.append(part | (TARGETS[target].known(rows) if target is not None else {}))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def clips(opened: Opened, split: str, views: bool, edit: str | None) -> ClipSource:
    """The split's videos as the edit leaves them, all cameras side by side where they are seen."""
    source = opened.split(split, ("video", "views") if views else ("video",))
    if views:
        source = EditedSource(source, "views", side_by_side)
    return edited(source, edit)


@functools.lru_cache(maxsize=8)
def encoded_clips(opened: Opened, split: str, views: bool, edit: str | None, encoder: str) -> np.ndarray:
    return encoded(encoder, clips(opened, split, views, edit))


@functools.lru_cache(maxsize=32)
def _tracks(opened: Opened, split: str, edit: str | None) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Tracks (N, T, 2) and radii (N, T) of all clips of a split, their frames per second, and their short side."""
    source = edited(opened.split(split, ("video", "fps")), edit)
    parts = [tracked(rows["video"]) for rows in _blocks(source)]
    track_NT2, radius_NT = (np.concatenate(part) for part in zip(*parts, strict=True))
    first = source.read([0])
    return track_NT2, radius_NT, float(first["fps"][0]), min(first["video"].shape[2:4])


@functools.lru_cache(maxsize=32)
def track_table(opened: Opened, split: str, edit: str | None) -> Mapping[str, np.ndarray]:
    """Statistics of the tracks of all clips of a split."""
    track_NT2, radius_NT, fps, _ = _tracks(opened, split, edit)
    return track_features(track_NT2, radius_NT, fps=fps)


@functools.lru_cache(maxsize=32)
def oracle_scores(opened: Opened, split: str, families: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """The oracle's scores of all clips of a split, by family."""
    track_NT2, _, fps, size = _tracks(opened, split, None)
    return scores(track_NT2, fps, families, size)


def tracked(video_NTHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tracks (N, T, 2) and radii (N, T), those of discs of the tracked areas; nan where nothing was found."""
    found = track_over_scenery(video_NTHWC)
    return found.position_T2, np.where(found.found_T, np.sqrt(found.area_T / np.pi), np.nan)


def _blocks(source: ClipSource) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(source), _BLOCK):
        yield source.read(range(start, min(start + _BLOCK, len(source))))


def coded(tokenizer: VideoTokenizer, source: ClipSource, split: str, data_dir) -> np.ndarray:
    """The codes of all clips of a split, written once to the data root where the split has a hash."""
    if not source.split_hash:
        return np.concatenate([tokenizer.codes(rows["video"]) for rows in _blocks(source)])
    folder = write_codes(tokenizer, {split: source}, f"{split}-{source.split_hash[:8]}", data_dir)
    codes = RecordSource(folder, split, ("codes",))
    return codes.read(range(len(codes)))["codes"]
