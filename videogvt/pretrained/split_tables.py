"""What is read or made of all clips of a split, once: labels and positions, tracks, codes, features of an encoder."""

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from videogvt.inputs.edited import EditedSource, edited, side_by_side
from videogvt.inputs.sources import ClipSource, RecordSource, open_source
from videogvt.inputs.targets import TARGETS
from videogvt.pretrained.codes import write_codes
from videogvt.pretrained.encoders import encoded
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.world.kinematics import track_features
from videogvt.world.oracle import scores
from videogvt.world.tracker import track_over_scenery

BLOCK = 256  # clips that are read at once


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
    for start in range(0, len(source), BLOCK):
        yield source.read(range(start, min(start + BLOCK, len(source))))


def coded(tokenizer: VideoTokenizer, source: ClipSource, split: str, data_dir) -> np.ndarray:
    """The codes of all clips of a split, written once to the data root where the split has a hash."""
    if not source.split_hash:
        return np.concatenate([tokenizer.codes(rows["video"]) for rows in _blocks(source)])
    folder = write_codes(tokenizer, {split: source}, f"{split}-{source.split_hash[:8]}", data_dir)
    codes = RecordSource(folder, split, ("codes",))
    return codes.read(range(len(codes)))["codes"]
