"""A run without a loop: a model of track features learns in one go, or the oracle learns nothing at all, and leaves the
files that any run leaves."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

import videogvt
from videogvt.core.registry import configure
from videogvt.evals.classification import Columns, named, results, with_known
from videogvt.jobs.classifier import examples_of
from videogvt.jobs.examples import Examples
from videogvt.jobs.experiment import measured_splits
from videogvt.nn.classifiers.tracks import TrackModel
from videogvt.train import journal
from videogvt.train.contracts import Media
from videogvt.world.families import FAMILIES

_MIN_PROBABILITY = 1e-7  # probability of a class that a model rules out


class OracleModel:
    """The kinematic oracle as a model that has nothing to learn: probabilities from its scores, which are twice the
    negative logarithms of the families' evidence (Schwarz's criterion). A clip without a track gives every family the
    same."""

    kind = "oracle"

    def predict_proba(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities (N, K) from scores (N,) by family, in label order."""
        score_NK = np.stack(list(scores.values()), axis=-1)
        score_NK = np.where(np.isfinite(score_NK).all(-1, keepdims=True), score_NK, 0.0)
        share_NK = np.exp((score_NK.min(-1, keepdims=True) - score_NK) / 2)
        return share_NK / share_NK.sum(-1, keepdims=True)

    def predict(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """The most probable class of each, (N,)."""
        return self.predict_proba(scores).argmax(-1)


@dataclasses.dataclass(frozen=True)
class TrackRun:
    """A model of tracks, ready to learn; or the oracle.

    Attributes:
      examples: what it learns from and is asked.
      model: the model, which has learned nothing yet.
      config: the resolved configuration, plain values.
      workdir: where the run leaves its files.
      splits: that are measured.
    """

    examples: Examples
    model: TrackModel | OracleModel
    config: Mapping[str, Any]
    workdir: epath.Path
    splits: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any], workdir: epath.PathLike, data_dir: epath.PathLike | None) -> "TrackRun":
        """The run that a config with the sections ``data``, ``examples``, ``evals`` (its ``splits`` alone) and, but for
        the oracle, ``track_model`` describes."""
        examples = examples_of(config, data_dir)
        if examples.input != config["recipe"]:
            raise ValueError(f"config.examples.input is {examples.input!r} and config.recipe {config['recipe']!r}; "
                             "models of tracks see 'tracks', the oracle 'oracle'.")
        classes, model = examples.split("train").class_names, OracleModel()
        if config["recipe"] == "oracle" and not set(classes) <= set(FAMILIES):
            raise ValueError(f"The oracle knows the families {', '.join(FAMILIES)}; the data set has the classes "
                             f"{', '.join(classes)}. Leave out the rows of the recipe 'oracle'.")
        if config["recipe"] == "tracks":
            model = configure(TrackModel, "track_model", config["track_model"], num_classes=len(classes),
                              seed=config["seed"])
        splits = (*measured_splits(config["evals"], examples.opened.split("train", ("label",)).splits), *examples.also)
        return cls(examples, model, config, epath.Path(workdir).absolute(), splits)

    @property
    def finished(self) -> bool:
        """Whether it has learned and was measured."""
        return journal.read_eval(self.workdir) is not None

    def fit(self) -> None:
        """Learns, measures all splits and writes ``config.json``, ``eval.json`` and ``media/``."""
        journal.claim_workdir(self.workdir, self.config)
        if self.finished:
            return
        began, examples, train = time.monotonic(), self.examples, self.examples.split("train")
        self.learn()
        seconds = time.monotonic() - began
        numbers, media, facts = {}, {}, {}
        for split in self.splits:
            facts[split] = self._facts(split)
            scale = examples.scale if examples.target is not None else None
            for name, value in results(self._table(split), train.class_names, examples.asked, scale):
                (media if isinstance(value, Media) else numbers)[f"eval/{split}/{name}"] = value
        journal.keep_media(self.workdir, 0, media)
        journal.write_eval(self.workdir, numbers, {
            "step": 0, "last_step": 0, "total_steps": 0, "seconds": seconds, "examples": len(train),
            "seed": self.config["seed"], "config_hash": journal.config_hash(self.config),
            "code_version": videogvt.__version__, "trained_by_commit": journal.commit(),
            "evaluated_by_commit": journal.commit(), "frozen": {}, "evaluators": facts,
        })

    def learn(self) -> TrackModel | OracleModel:
        """The model after it has learned from the training clips; nothing is written."""
        if isinstance(self.model, OracleModel):
            return self.model
        examples, train = self.examples, self.examples.split("train")
        known = train.read(range(len(train)))
        return self.model.fit(
            examples.features("train"), known["label"] if examples.classes else None,
            known["position"] if examples.target is not None else None,
        )

    def evaluate(self) -> None:
        """Nothing: what was learned is not kept, and would be learned again to the same figures."""

    def summary(self) -> str:
        """A dry run's line."""
        return f"{self.config['name']}: a model of tracks ({self.model.kind}); seconds to minutes of one core"

    def _table(self, split: str) -> Columns:
        source, features = self.examples.split(split), self.examples.features(split)
        known = source.read(range(len(source)))
        table = {"id": known["id"].astype(str), "index": np.arange(len(source)), "label": known["label"]}
        if self.examples.classes:
            share_NK = np.maximum(self.model.predict_proba(features), _MIN_PROBABILITY)
            table |= named(np.log(share_NK / share_NK.sum(1, keepdims=True)), known["label"])
        if self.examples.target is not None:
            table |= with_known(self.model.predict_position(features), known)
        return table

    def _facts(self, split: str) -> dict[str, Any]:
        source = self.examples.split(split)
        return {"split": split, "split_hash": source.split_hash, "clips": len(source), "seed": self.config["seed"],
                "weights": "params", "class_names": list(source.class_names), "hosts": jax.process_count()}
