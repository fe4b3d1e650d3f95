"""A study: many small trainings under one protocol, each an ordinary run, and one table of them.

A *row* is a way to classify. Every row learns from the same clips, for the same number of passes over them, with the
same seeds; its *controls* (``evals.controls``) learn with something taken away, from the largest number of labels. Each
row, number of labels and seed is a *member* with a directory of its own, which ``experiment`` or ``study.track_run``
trains. A member that is finished is left as it is, so that a study goes on where it was stopped. The oracle is a row of
a single member, which learns from no label. Rows are also asked about the test splits of ``study.also``, other worlds.

    <workdir>/config.json  eval.json  stress.json  report.html
              members/<row>[+<control>]-<labels>-seed<seed>/    the runs
              media/samples.npz                                 clips with attention, and the worst mistakes
"""

import copy
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from videogvt import experiment
from videogvt.core.registry import unknown_name
from videogvt.core.sections import check_keys
from videogvt.evals.controls import CONTROLS
from videogvt.study.track_run import TrackRun
from videogvt.train import journal

SECTIONS = ("study", "rows", "data", "losses", "train", "evals", "mesh")
STUDY = ("labels", "epochs", "seeds", "validations", "subject", "stress", "also")
OWN = ("recipe", "batch_size", "controls", "examples", "tokenizer", "classifier", "track_model", "optimizer", "losses")
WITHOUT_LOOP = ("tracks", "oracle")  # recipes of ``track_run``
FREE = ("mesh", "train.log_every", "train.show")  # no result depends on them


@dataclasses.dataclass(frozen=True)
class Member:
    """One training of a study.

    Attributes:
      row: the name of its row.
      control: of its control, or None for the row itself.
      labels: training clips.
      seed: of clips, weights and order.
      config: of its run, plain values.
    """

    row: str
    control: str | None
    labels: int
    seed: int
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.row}{f'+{self.control}' if self.control else ''}-{self.labels}-seed{self.seed}"

    def build(self, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> "experiment.Experiment | TrackRun":
        """Its run, in the study's directory."""
        folder = epath.Path(workdir) / "members" / self.name
        if self.config["recipe"] in WITHOUT_LOOP:
            return TrackRun.of(self.config, folder, data_dir)
        return experiment.build(ConfigDict(self.config), folder, data_dir)


def members(config: ConfigDict) -> list[Member]:
    """All trainings of a study, rows before their controls.

    Raises:
      ValueError: a section is missing, or a key or control is unknown.
    """
    plain = experiment.plain(config.to_dict())
    for section in SECTIONS:
        if section not in plain:
            raise ValueError(f"The config has no section {section!r}; a study needs {', '.join(SECTIONS)}.")
    study = plain["study"]
    check_keys("study", study, STUDY)
    if len(study["labels"]) != len(study["epochs"]):
        raise ValueError(f"study.labels is {study['labels']} and study.epochs {study['epochs']}; give as many passes "
                         "as numbers of labels.")
    found = []
    for row, section in plain["rows"].items():
        check_keys(f"rows.{row}", section, OWN)
        for control in section["controls"]:
            if control not in CONTROLS:
                raise ValueError(unknown_name(f"control in config.rows.{row}", control, CONTROLS))
        if section["recipe"] == "oracle":
            found.append(_member(plain, row, None, 0, 0, plain["seed"]))
            continue
        seeds = range(plain["seed"], plain["seed"] + study["seeds"])
        for labels, epochs in zip(study["labels"], study["epochs"], strict=True):
            found += [_member(plain, row, None, labels, epochs, seed) for seed in seeds]
        most = max(study["labels"])
        epochs = study["epochs"][study["labels"].index(most)]
        found += [_member(plain, row, control, most, epochs, seed) for control in section["controls"] for seed in seeds]
    return found


def run(
    config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None, again: bool = False
) -> Iterator[str]:
    """Trains what is not trained yet; yields the name of each member when it is done. Finished ones are measured
    ``again`` where asked for."""
    workdir = epath.Path(workdir).absolute()
    found = members(config)
    finished = {member.name for member in found if journal.read_eval(workdir / "members" / member.name) is not None}
    for member in found:
        if member.name in finished:  # by the same config
            journal.claim_workdir(workdir / "members" / member.name, member.config, FREE)
    journal.claim_workdir(workdir, experiment.plain(config.to_dict()), free=("rows", "study", "mesh"))
    for member in found:
        if member.name not in finished:
            member.build(workdir, data_dir).fit()
        elif again:
            member.build(workdir, data_dir).evaluate()
        yield member.name


def _member(plain: Mapping[str, Any], row: str, control: str | None, labels: int, epochs: int, seed: int) -> Member:
    section = copy.deepcopy(plain["rows"][row])
    examples = section["examples"] | {"labels": labels, "also": plain["study"]["also"] if control is None else []}
    config = {"recipe": section["recipe"], "name": f"{plain['name']}/{row}", "seed": seed, "data": plain["data"]}
    if control == "start_position":  # two numbers, which no network on codes could be given
        config |= {"recipe": "tracks", "track_model": {"kind": "boosting"}}
        examples |= {"input": "tracks", "views": False}
        section.pop("tokenizer", None)
    elif section["recipe"] == "tracks":
        config["track_model"] = section["track_model"]
    if control is not None:
        examples["edit"] = control
    config["examples"] = examples
    if "tokenizer" in section:
        config["tokenizer"] = section["tokenizer"]
    if config["recipe"] == "classifier":
        config |= _learning(plain, section, labels, epochs)
    return Member(row, control, labels, seed, json.loads(json.dumps(config)))


def _learning(plain: Mapping[str, Any], section: Mapping[str, Any], labels: int, epochs: int) -> dict[str, Any]:
    """The sections of a network's member: the common ones, with what its row says and the budget asks for."""
    batch = min(section["batch_size"], labels)
    steps = epochs * (labels // batch)
    every = max(1, steps // plain["study"]["validations"])
    optimizer = {"warmup_steps": min(20, steps // 10), **section["optimizer"]}
    return {
        "data": {**plain["data"], "transforms": {}, "batch_size": batch}, "classifier": section["classifier"],
        "losses": {**plain["losses"], **section.get("losses", {})}, "optimizer": optimizer,
        "train": {**plain["train"], "steps": steps, "save_every": every}, "evals": {**plain["evals"], "every": every},
        "mesh": plain["mesh"],
    }
