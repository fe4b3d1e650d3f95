"""Clips of a study worth looking at: where a row's attention lies, and its worst mistakes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.jobs import experiment
from videogvt.study.findings import Finished, finished_members
from videogvt.train.evaluation import restore_state

MISTAKES = 6  # clips
FILE = "media/samples.npz"


def write_showcase(config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> None:
    """Writes ``media/samples.npz`` of the study's subject at its largest number of labels and first seed: for the
    ``mistake`` clips and one ``example`` of every class (``choice``) their ``video``, ``label``, ``id``,
    ``prediction``, ``probability`` and, of networks that have it, ``attention`` (the mean over queries, (t, h, w)).
    Nothing is written where the subject is not trained, or tells no class, or the data have no videos."""
    if config.data.source == "codes":
        return
    done = [one for one in finished_members(config, workdir)
            if one.member.row == config.study.subject and one.member.control is None]
    one = max(done, key=lambda one: (one.member.labels, -one.member.seed), default=None)
    if one is None or "prediction" not in one.tables["test"]:
        return
    arrays = _chosen(one, data_dir)
    folder = epath.Path(workdir) / FILE
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.open("wb") as file:
        np.savez_compressed(file, **(arrays | _attention(one, epath.Path(workdir), data_dir, arrays["index"])))


def _chosen(one: Finished, data_dir) -> dict[str, np.ndarray]:
    """The wrong answers that were given with most confidence, and the first clip of every class."""
    table = one.tables["test"]
    wrong = np.flatnonzero(~table["named_right"])
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
