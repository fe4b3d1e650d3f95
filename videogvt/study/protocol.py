"""A study: many small trainings under one protocol, each an ordinary run, and one table of them.

A *method* is a way to classify. Every method learns from the same clips, for the same number of passes over them, with
the same seeds; its *controls* (``study.controls``) learn with something taken away: those that must land on chance from
the largest number of labels, those that a method must beat from every number. Each method, number of labels and seed is
a *run* with a directory of its own, which ``experiment`` or ``study.track_run`` trains. A run that is finished is
left as it is, so that a study goes on where it was stopped. The oracle is a method of a single run, which learns from
no label. Methods are also asked about the test splits of ``study.also``, other worlds.

Where there are ``study.rates``, every method that learns first tries them, as factors of its learning rate (of the
linear model of tracks: of its penalty), on ``study.rate_labels`` clips of the first seed. This *sweep* is measured on
validation alone, and by that the factor of all of the method's runs is chosen.

    <workdir>/config.json  eval.json  robustness.json  report.html
              members/<method>[+<control>|+rate<factor>]-<labels>-seed<seed>/    the runs
              media/samples.npz                                 clips with attention, and the worst mistakes
"""

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from videogvt import jobs
from videogvt.core.registry import unknown_name
from videogvt.jobs import experiment
from videogvt.jobs.schema import check_config
from videogvt.nn.classifiers.tracks import TrackModel
from videogvt.study.controls import CONTROLS
from videogvt.study.track_run import TrackRun
from videogvt.train import journal
from videogvt.train.loop import NonFinite

WITHOUT_LOOP = ("tracks", "oracle")  # recipes of ``track_run``
_FREE = ("mesh", "train.log_every", "train.show")  # no result depends on them


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One training of a study.

    Attributes:
      row: the name of its row.
      control: of its control, or None for the row itself.
      labels: training clips.
      seed: of clips, weights and order.
      config: of its run, plain values.
      rate: of a trial, the factor that it tries; None for all others.
    """

    row: str
    control: str | None
    labels: int
    seed: int
    config: Mapping[str, Any]
    rate: float | None = None

    @property
    def name(self) -> str:
        """Of its directory."""
        taken = f"+{self.control}" if self.control else "" if self.rate is None else f"+rate{self.rate:g}"
        return f"{self.row}{taken}-{self.labels}-seed{self.seed}"

    def build(self, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> "experiment.Experiment | TrackRun":
        """Its run, in the study's directory."""
        folder = epath.Path(workdir) / "members" / self.name
        if self.config["recipe"] in WITHOUT_LOOP:
            run = TrackRun.of(self.config, folder, data_dir)
            return run if self.rate is None else dataclasses.replace(run, splits=("validation",))
        run = jobs.build(ConfigDict(self.config), folder, data_dir)
        if self.rate is None:
            return run
        return dataclasses.replace(run, evaluators={"validation": run.evaluators["validation"]})


@dataclasses.dataclass(frozen=True)
class Choice:
    """Why a row learns as fast as it does.

    Attributes:
      factor: of its learning rate.
      tried: what each factor came to on validation, None where it diverged; {} where none was tried.
      measure: the name of that.
      labels, seed: of the sweep.
    """

    factor: float
    tried: Mapping[str, float | None]
    measure: str
    labels: int
    seed: int


def choices(config: ConfigDict, workdir: epath.PathLike) -> dict[str, Choice]:
    """By row that learns, the best factor on validation; of equal ones that nearest to 1, and after all others
    those that came to nothing finite. Methods whose sweep is not done have none."""
    train, found = config.train.to_dict(), {}
    for row in dict.fromkeys(trial.row for trial in learning_rate_sweep(config)):
        part = [trial for trial in learning_rate_sweep(config) if trial.row == row]
        sign = 1 if train.get("best_mode") == "max" else -1
        numbers = [journal.read_eval(epath.Path(workdir) / "members" / trial.name) for trial in part]
        if None not in numbers:
            tried = {trial.rate: number[train["best"]] for trial, number in zip(part, numbers, strict=True)}
            merit = {rate: -math.inf if value is None else sign * value for rate, value in tried.items()}
            factor = max(tried, key=lambda rate: (merit[rate], -abs(math.log(rate))))
            told = {f"{rate:g}": value for rate, value in tried.items()}
            found[row] = Choice(factor, told, train["best"], part[0].labels, part[0].seed)
    return found


def learning_rate_sweep(config: ConfigDict) -> list[StudyRun]:
    """The trainings by which learning rates are chosen, as many for each row that learns.

    Raises:
      ValueError: see ``study_runs``.
    """
    plain = _checked(config)
    study, labels = plain["study"], plain["study"]["rate_labels"]
    if not study["rates"]:
        return []
    epochs = study["epochs"][study["labels"].index(labels)]
    return [dataclasses.replace(_member(plain, row, None, labels, epochs, plain["seed"], rate, also=()), rate=rate)
            for row, section in plain["methods"].items() if section["recipe"] != "oracle" for rate in study["rates"]]


def study_runs(config: ConfigDict, workdir: epath.PathLike | None = None) -> list[StudyRun]:
    """All trainings of a study but the sweep, methods before their controls.

    Args:
      config: of the study.
      workdir: its directory, where learning rates are chosen by what lies there.

    Raises:
      ValueError: a section is missing, a key or control is unknown, or a value is not legal.
    """
    plain, found = _checked(config), []
    chosen = choices(config, workdir) if workdir is not None else {}
    study = plain["study"]
    for row, section in plain["methods"].items():
        factor = chosen[row].factor if row in chosen else 1
        if section["recipe"] == "oracle":
            found.append(_member(plain, row, None, 0, 0, plain["seed"], factor, study["also"]))
            continue
        seeds = range(plain["seed"], plain["seed"] + study["seeds"])
        for labels, epochs in zip(study["labels"], study["epochs"], strict=True):
            found += [_member(plain, row, None, labels, epochs, seed, factor, study["also"]) for seed in seeds]
        found += [_member(plain, row, control, labels, epochs, seed, factor, also=())
                  for control in section["controls"]
                  for labels, epochs in zip(study["labels"], study["epochs"], strict=True)
                  if CONTROLS[control].lands == "below" or labels == max(study["labels"]) for seed in seeds]
    return found


def _checked(config: ConfigDict) -> dict[str, Any]:
    """The config as plain values, after its sections and keys were looked at."""
    plain = experiment.plain(config.to_dict())
    check_config(plain)
    study = plain["study"]
    if len(study["labels"]) != len(study["epochs"]):
        raise ValueError(f"study.labels is {study['labels']} and study.epochs {study['epochs']}; give as many passes "
                         "as numbers of labels.")
    if study["rates"] and study["rate_labels"] not in study["labels"]:
        raise ValueError(f"study.rate_labels is {study['rate_labels']}; rates are tried on one of study.labels, "
                         f"{study['labels']}.")
    if study["rates"] and plain["train"].get("best") is None:
        raise ValueError(f"study.rates is {study['rates']}; rates are chosen by config.train.best, which is missing.")
    if "test" not in plain["evals"].get("splits", experiment.FINAL_SPLITS):
        raise ValueError(f"evals.splits is {plain['evals']['splits']}; a study's verdict is about the test split. Add "
                         "'test'.")
    if study["subject"] not in plain["methods"]:
        raise ValueError(unknown_name("method in study.subject", study["subject"], plain["methods"]))
    for row, section in plain["methods"].items():
        for control in section["controls"]:
            if control not in CONTROLS:
                raise ValueError(unknown_name(f"control in config.methods.{row}", control, CONTROLS))
    return plain


def run(
    config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None, again: bool = False
) -> Iterator[str]:
    """Trains what is not trained yet, the sweep first; yields the name of each when it is done. Finished members are
    measured ``again`` where asked for."""
    workdir = epath.Path(workdir).absolute()
    found = [*learning_rate_sweep(config), *study_runs(config, workdir)]
    finished = {member.name for member in found if journal.read_eval(workdir / "members" / member.name) is not None}
    for member in found:
        if member.name in finished:  # by the same config
            journal.claim_workdir(workdir / "members" / member.name, member.config, _FREE)
    plain = experiment.plain(config.to_dict())
    claim = functools.partial(journal.claim_workdir, workdir, plain, free=("methods", "study", "mesh"))
    if finished or (workdir / "config.json").exists():
        claim()  # otherwise when the first member is built: a config that is refused leaves nothing behind
    for some in (learning_rate_sweep, lambda config: study_runs(config, workdir)):  # the others follow from the sweep
        for member in some(config):
            if member.name in finished:  # with another factor they would be others
                journal.claim_workdir(workdir / "members" / member.name, member.config, _FREE)
            if member.name not in finished:
                built = member.build(workdir, data_dir)
                claim()
                _train(member, built)
            elif again and member.rate is None:
                member.build(workdir, data_dir).evaluate()
            yield member.name


def _train(member: StudyRun, built: "experiment.Experiment | TrackRun") -> None:
    """Trains a member. A trial may diverge, which is its answer: then its number is null."""
    try:
        built.fit()
    except NonFinite as error:
        if member.rate is None:
            raise
        about = {"diverged": str(error), "config": member.config}
        journal.write_eval(built.workdir, {member.config["train"]["best"]: math.nan}, about)


def _member(
    plain: Mapping[str, Any], row: str, control: str | None, labels: int, epochs: int, seed: int, factor: float,
    also: Sequence[str],
) -> StudyRun:
    section = _faster(copy.deepcopy(plain["methods"][row]), factor)
    examples = section["examples"] | {"labels": labels, "also": also}
    config = {"recipe": section["recipe"], "name": f"{plain['name']}/{row}", "seed": seed, "data": plain["data"]}
    if control == "start_position":  # two numbers, which no network on codes could be given
        config |= {"recipe": "tracks", "track_model": {"kind": "boosting"}}
        examples |= {"input": "tracks", "views": False}
        section.pop("tokenizer", None)
    elif section["recipe"] == "tracks":
        config["track_model"] = section["track_model"]
    if config["recipe"] in WITHOUT_LOOP:
        config["evals"] = {name: value for name, value in plain["evals"].items() if name == "splits"}
    if control is not None:
        examples["edit"] = control
    config["examples"] = examples
    if "tokenizer" in section:
        config["tokenizer"] = section["tokenizer"]
    if config["recipe"] == "classifier":
        if "init_from" in section:
            config["init_from"] = section["init_from"]
        config |= _learning(plain, section, labels, epochs)
    return StudyRun(row, control, labels, seed, json.loads(json.dumps(config)))


def _faster(section: dict[str, Any], factor: float) -> dict[str, Any]:
    """A row that learns by a factor as fast."""
    if section["recipe"] == "classifier":
        section["optimizer"]["learning_rate"] *= factor
    elif section["recipe"] == "tracks":
        model = section["track_model"]
        name = "penalty" if model.get("kind") == "linear" else "learning_rate"
        model[name] = factor * (model[name] if name in model else getattr(TrackModel, name))
    return section


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
