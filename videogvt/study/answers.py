"""Positions beside answers that learn nothing, and beside the tokenizer's own error.

For the next position: ``copied``, the last tracked one, and ``continued``, from the last two at constant velocity. Of
several cameras the tracks are triangulated with what is known of the cameras. Clips without a track get the training
clips' mean. For these and for paths also ``tokenizer``: how far the object, tracked in the tokenizer's reconstruction,
is from the truth, in the mean over the same clips' frames in which it is found, and in which share of them that is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.evals import baselines
from videogvt.evals.baselines import extrapolated
from videogvt.evals.classification import Target
from videogvt.jobs.classifier import examples_of
from videogvt.jobs.examples import Examples
from videogvt.ops.video import as_bytes
from videogvt.pretrained.codec import load_tokenizer
from videogvt.pretrained.codes import Tokenizer
from videogvt.study.findings import ANSWERS, Finished, finished_runs, read_answers
from videogvt.world.cameras import Cameras, triangulate
from videogvt.world.tracker import Track, track

_NEXT = ("next_pixel", "next_metric")
_TARGETS = (*_NEXT, "path")
_FIELDS = ("video", "pixel_position", "radius_px", "position", "camera_K", "camera_R", "camera_t")
_BATCH = 32
_Rows = Mapping[str, np.ndarray]


def write_answers(config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> None:
    """Writes ``answers.json``: by row that tells a position and by split, mean errors named ``<answer>/<figure>``.

    The tokenizer is the row's own or, where a row has none, that of the study's subject. What is in the file already
    stays.
    """
    known, tokenizer = read_answers(workdir), _subjects_tokenizer(config, data_dir)
    measured = {_key(facts): facts for splits in known.values() for facts in splits.values()}
    for row, one in _asked(config, workdir).items():
        examples = examples_of(one.member.config, data_dir)
        seen_by = examples.tokenizer or tokenizer
        for split in (name for name in one.tables if name != "validation"):
            facts = {"split": split, "split_hash": one.fact(split, "split_hash"), "target": examples.target,
                     "tokenizer": seen_by.hash if seen_by is not None else None}
            if _key(facts) not in measured:
                measured[_key(facts)] = facts | _measured(examples, split, seen_by)
            known.setdefault(row, {})[split] = measured[_key(facts)]
            (epath.Path(workdir) / ANSWERS).write_text(json.dumps(known, indent=2))


def _key(facts: Mapping[str, Any]) -> tuple:
    return tuple(facts[name] for name in ("split", "split_hash", "target", "tokenizer"))


def _asked(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Finished]:
    """A member of every row whose target has such answers: the one with the most labels and the first seed."""
    chosen: dict[str, Finished] = {}
    for one in sorted(finished_runs(config, workdir), key=lambda one: (-one.member.labels, one.member.seed)):
        examples = one.member.config["examples"]
        if one.member.control is None and "target" in examples and examples["target"] in _TARGETS:
            chosen.setdefault(one.member.row, one)
    return chosen


def _subjects_tokenizer(config: ConfigDict, data_dir) -> Tokenizer | None:
    row = config.methods[config.study.subject]
    if config.data.source == "codes" or "tokenizer" not in row:  # of codes alone no position is asked
        return None
    return load_tokenizer(row.tokenizer.run, row.tokenizer.step)


def _measured(examples: Examples, split: str, tokenizer: Tokenizer | None) -> dict[str, float]:
    """Mean errors of all answers on a split."""
    target, parts = examples.asked, []
    fields = (*dict.fromkeys((*_FIELDS, *target.fields)), *(("views",) if target.views > 1 else ()))
    for rows in _batches(examples, split, fields):
        parts.append(_answered(rows, target, examples.scale[0]) if examples.target in _NEXT else {})
        if tokenizer is not None:
            parts[-1] |= {f"tokenizer/{name}": errors for name, errors in _kept(rows, target, tokenizer).items()}
    errors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: float(error.mean()) for name, error in errors.items() if len(error)}


def _batches(examples: Examples, split: str, fields: tuple[str, ...]) -> Iterator[_Rows]:
    source = examples.source(split, fields)
    for start in range(0, len(source), _BATCH):
        yield source.read(range(start, min(start + _BATCH, len(source))))


def _answered(rows: _Rows, target: Target, mean_P: np.ndarray) -> dict[str, np.ndarray]:
    """Errors (B,) of the answers to where the object comes next."""
    known_BT3, found_BT = _points(rows, target, lambda video: video)
    one_more = ((0, 0), (0, 1), (0, 0))
    known_BT3, found_BT = np.pad(known_BT3, one_more), np.pad(found_BT, one_more[:2])
    known, errors = target.known(rows), {}
    true_B3, mean_B3 = (target.points(told_B3, known.get("calibration"))
                        for told_B3 in (known["position"], np.broadcast_to(mean_P, known["position"].shape)))
    for order, name in enumerate(("copied", "continued")):
        answer_B3 = extrapolated(known_BT3, found_BT, order)[:, -1]
        found = target.errors(np.where(np.isfinite(answer_B3), answer_B3, mean_B3), true_B3)
        errors |= {f"{name}/{figure}": error_B for figure, error_B in found.items() if figure != "radius_error"}
    return errors


def _kept(rows: _Rows, target: Target, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """Errors (F,) in the F frames where the object is found in the reconstruction, and ``found`` (B * T,)."""
    def reconstructed(video_BTHWC: np.ndarray) -> np.ndarray:
        return as_bytes(tokenizer.reconstruct(video_BTHWC))

    known_BT3, found_BT = _points(rows, target, reconstructed)
    return target.errors(known_BT3[found_BT], _truth(rows, target)[found_BT]) | {"found": found_BT.ravel()}


def _truth(rows: _Rows, target: Target) -> np.ndarray:
    """The true points (B, T, 3) of the clip's frames."""
    if target.axes == 2:
        return np.concatenate([rows["pixel_position"][:, 0], rows["radius_px"][:, 0, :, None]], axis=-1)
    return _before_camera(rows, rows["position"])


def _points(rows: _Rows, target: Target, changed: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Points (B, T, 3) as tracked in changed videos, and where they are found (B, T)."""
    videos = [rows["video"], *np.moveaxis(rows["views"], 1, 0)] if target.views > 1 else [rows["video"]]
    tracks = [track(changed(video), baselines.background(video)[:, :1]) for video in videos]
    found_BT = np.logical_and.reduce([one.found_T for one in tracks])
    if target.axes == 2:
        radius_BT = np.sqrt(tracks[0].area_T / np.pi)
        known_BT3 = np.concatenate([tracks[0].position_T2, radius_BT[..., None]], axis=-1)
    else:
        known_BT3 = _before_camera(rows, triangulated(tracks, rows))
    return np.where(found_BT[..., None], known_BT3, 0.0), found_BT


def triangulated(tracks: list[Track], rows: _Rows) -> np.ndarray:
    """The points (B, T, 3) in the world that the tracks of the cameras tell; of no meaning where one has no track."""
    cameras = Cameras(*(np.moveaxis(rows[f"camera_{name}"].astype(np.float64), 1, 2) for name in "KRt"))  # (B, T, S)
    pixels_BTS2 = np.stack([one.position_T2 for one in tracks], axis=-2)
    return triangulate(cameras, np.nan_to_num(pixels_BTS2))


def _before_camera(rows: _Rows, world_BT3: np.ndarray) -> np.ndarray:
    """Points of the world in the frame of the first camera as it stands last."""
    R, t = rows["camera_R"][:, 0, -1], rows["camera_t"][:, 0, -1]
    return np.einsum("bij,btj->bti", R, world_BT3) + t[:, None]
