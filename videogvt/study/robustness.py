"""What is left of a row's accuracy when videos are corrupted, what an answer costs, and clips that are worth looking
at.

The latter are those where a row's attention can be shown, and its worst mistakes.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.core.registry import unknown_name
from videogvt.jobs import experiment
from videogvt.jobs.examples import Examples
from videogvt.study.findings import Finished, finished_runs
from videogvt.study.track_run import TrackRun
from videogvt.train.evaluation import restore_state

_Rows = dict[str, np.ndarray]


def noise(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """Normal noise of this standard deviation, in units of full scale."""
    corrupted = video_BTHWC.astype(np.float32)
    for clip, index in zip(corrupted, indices, strict=True):
        clip += 255 * level * np.random.default_rng(int(index)).standard_normal(clip.shape, np.float32)
    return np.round(np.clip(corrupted, 0, 255)).astype(np.uint8)


def blur(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """A Gaussian of this standard deviation over every frame, in reference pixels (64 on the short side)."""
    height, width = video_BTHWC.shape[2:4]
    sigma = level * min(height, width) / 64
    corrupted = video_BTHWC.astype(np.float32)
    for axis, size in ((2, height), (3, width)):
        place = np.arange(size)
        weight = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)  # near the edge, of what there is
        weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
        corrupted = np.moveaxis(np.tensordot(weight, corrupted, (1, axis)), 0, axis)
    return np.round(corrupted).astype(np.uint8)


def occlusion(video_BTHWC: np.ndarray, level: float, indices: Sequence[int]) -> np.ndarray:
    """A grey square that stands still somewhere and hides this share of every frame."""
    height, width = video_BTHWC.shape[2:4]
    side = [max(1, round(level**0.5 * size)) for size in (height, width)]
    corrupted = video_BTHWC.copy()
    for clip, index in zip(corrupted, indices, strict=True):
        stream = np.random.default_rng(int(index))
        top, left = stream.integers(height - side[0] + 1), stream.integers(width - side[1] + 1)
        clip[:, top : top + side[0], left : left + side[1]] = 128
    return corrupted


CORRUPTIONS: Mapping[str, Callable[[np.ndarray, float, Sequence[int]], np.ndarray]] = {
    "noise": noise, "blur": blur, "occlusion": occlusion,
}


def corruption(name: str, level: float) -> Callable[[_Rows, Sequence[int]], _Rows]:
    """What ``jobs.tables.EditedSource`` wants: videos, uint8, corrupted; the same every time.

    Raises:
      ValueError: the name is unknown, or the level is no strength.
    """
    if name not in CORRUPTIONS:
        raise ValueError(unknown_name("corruption", name, CORRUPTIONS))
    if not level > 0 or (name == "occlusion" and level > 1):
        raise ValueError(f"The {name} has the level {level}; expected a positive one, of occlusion a share up to 1.")
    return lambda rows, indices: rows | {"video": CORRUPTIONS[name](rows["video"], level, indices)}


_FILE = "robustness.json"
_LEVELS: Mapping[str, tuple[float, ...]] = {
    "noise": (0.05, 0.1, 0.2), "blur": (0.5, 1.0, 2.0), "occlusion": (0.05, 0.1, 0.2),
}
"""See ``study.corrupted_clips``; no row was trained on corrupted videos."""

_BATCH = 32
_Answer = Callable[[np.ndarray], np.ndarray]


def write_robustness(config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> None:
    """Writes ``robustness.json``: by row, its accuracy on the first ``config.study.corrupted_clips`` test clips,
    corrupted by name and level, 0 being the clips as they are, and ``milliseconds`` a clip, from pixels, on the machine
    that ran it.

    Of each row the member with the most labels and the first seed is asked; rows that tell no class or see several
    cameras are left out. What is in the file already stays.
    """
    path = epath.Path(workdir) / _FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    for row, one in _asked(config, workdir).items():
        facts = {"member": one.member.name, "config_hash": one.numbers["about"]["config_hash"],
                 "clips": min(config.study.corrupted_clips, len(one.tables["test"]["label"]))}
        if facts["clips"] and (row not in known or any(known[row][name] != value for name, value in facts.items())):
            known[row] = facts | _measured(one, workdir, data_dir, facts["clips"])
            path.write_text(json.dumps(known, indent=2))


def _asked(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Finished]:
    chosen: dict[str, Finished] = {}
    for one in sorted(finished_runs(config, workdir), key=lambda one: (-one.member.labels, one.member.seed)):
        views = "views" in one.member.config["examples"] and one.member.config["examples"]["views"]
        if one.member.control is None and "prediction" in one.tables["test"] and not views:
            chosen.setdefault(one.member.row, one)
    return chosen


def _measured(one: Finished, workdir: epath.PathLike, data_dir, clips: int) -> dict[str, Any]:
    run = one.member.build(workdir, data_dir)
    examples = run.examples if isinstance(run, TrackRun) else run.data.examples
    source = examples.opened.split("test", ("video", "label", "fps"))
    rows = source.read(range(clips))
    answer = _answer(run, examples, float(rows["fps"][0]))
    clean, curves = _right(answer, rows, rows["label"]), {}
    for name, levels in _LEVELS.items():
        right = [_right(answer, corruption(name, level)(rows, range(clips)), rows["label"]) for level in levels]
        curves[name] = {"levels": [0.0, *levels], "accuracy": [clean, *right]}
    batch = np.resize(rows["video"], (_BATCH, *rows["video"].shape[1:]))
    began = time.perf_counter()
    answer(batch)  # compiled before
    return {"corruptions": curves, "milliseconds": 1000 * (time.perf_counter() - began) / _BATCH,
            "device": jax.devices()[0].device_kind}


def _answer(run: Any, examples: Examples, fps: float) -> _Answer:
    """From videos, uint8 (``_BATCH``, T, H, W, 3), to the classes that a run names."""
    if isinstance(run, TrackRun):
        model, names = run.learn(), tuple(examples.features("test"))

        def named(video: np.ndarray) -> np.ndarray:
            seen = examples.see(video, fps)
            return model.predict({name: seen[name] for name in names})

        return named
    state = restore_state(run.recipe, run.data.first_batch, run.plan, run.workdir)
    classify = jax.jit(run.recipe.predict_fns["classify"])
    return lambda video: np.asarray(classify(state, examples.see(video, fps))).argmax(-1)


def _right(answer: _Answer, rows: Mapping[str, np.ndarray], label_N: np.ndarray) -> float:
    """The accuracy, batch by batch, the last one filled up."""
    found, video_NTHWC = [], rows["video"]
    for start in range(0, len(video_NTHWC), _BATCH):
        part = video_NTHWC[start : start + _BATCH]
        full = np.concatenate([part, np.repeat(part[-1:], _BATCH - len(part), axis=0)])
        found.append(answer(full)[: len(part)])
    return float((np.concatenate(found) == label_N).mean())


MISTAKES = 6  # clips
_SAMPLES = "media/samples.npz"


def write_showcase(config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> None:
    """Writes ``media/samples.npz`` of the study's subject at its largest number of labels and first seed: for the
    ``mistake`` clips and one ``example`` of every class (``choice``) their ``video``, ``label``, ``id``,
    ``prediction``, ``probability`` and, of networks that have it, ``attention`` (the mean over queries, (t, h, w)).
    Nothing is written where the subject is not trained, or tells no class, or the data have no videos."""
    if config.data.source == "codes":
        return
    done = [one for one in finished_runs(config, workdir)
            if one.member.row == config.study.subject and one.member.control is None]
    one = max(done, key=lambda one: (one.member.labels, -one.member.seed), default=None)
    if one is None or "prediction" not in one.tables["test"]:
        return
    arrays = _chosen(one, data_dir)
    folder = epath.Path(workdir) / _SAMPLES
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.open("wb") as file:
        np.savez_compressed(file, **(arrays | _attention(one, epath.Path(workdir), data_dir, arrays["index"])))


def _chosen(one: Finished, data_dir) -> dict[str, np.ndarray]:
    """The wrong answers that were given with most confidence, and the first clip of every class."""
    table = one.tables["test"]
    wrong = np.flatnonzero(~table["correct"])
    wrong = wrong[np.argsort(-table["probability"][wrong], kind="stable")][:MISTAKES]
    firsts = np.unique(table["label"], return_index=True)[1]
    rows = np.concatenate([wrong, firsts])
    section = one.member.config["data"]
    source = experiment.open_source(
        section["source"], "test", fields=("video",), data_dir=data_dir, **section["options"])
    columns = {name: table[name][rows] for name in ("id", "label", "prediction", "probability", "index")}
    return columns | {
        "choice": np.array(["mistake"] * len(wrong) + ["example"] * len(firsts)),
        "video": source.read(rows.tolist())["video"], "class_names": np.array(one.fact("test", "class_names")),
    }


def _attention(one: Finished, workdir: epath.Path, data_dir, rows: np.ndarray) -> Mapping[str, Any]:
    """Where the network looks, if it can say so."""
    if one.member.config["recipe"] != "classifier":
        return {}
    run = one.member.build(workdir, data_dir)
    if run.data.examples.views or not hasattr(type(run.recipe.model), "attention"):
        return {}  # of several cameras only the first is shown
    state = restore_state(run.recipe, run.data.first_batch, run.plan, run.workdir)
    seen = run.data.examples.split("test").read(rows)[run.data.examples.field]
    maps = jax.jit(run.recipe.predict_fns["attention"])(state, seen)
    return {"attention": np.asarray(maps.mean(1), np.float32)}
