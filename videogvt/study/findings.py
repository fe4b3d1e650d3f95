"""What a study found, from the files of its members: figures with intervals, defects and a verdict, as ``eval.json``.

Figures are named ``<split>/<row>[+<control>]/<labels>/<figure>``. Besides the rows there is, where several tell
classes, the row "ensemble": the mean of their probabilities, seed by seed. Splits are those of ``evals.splits`` and the
worlds of ``study.also``.
"""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.core.arrays import Damaged, read_npz
from videogvt.core.registry import present_figures
from videogvt.core.trees import parameter_count
from videogvt.evals.classification import TARGETS
from videogvt.evals.rows import Columns
from videogvt.jobs.experiment import FINAL_SPLITS
from videogvt.ops.quality import calibration
from videogvt.study.controls import CONTROLS, Interval, defects, interval, verdict
from videogvt.study.protocol import StudyRun, choices, study_runs
from videogvt.train import journal
from videogvt.train.checkpoint import load_params

_ENSEMBLE = "ensemble"
ANSWERS = "answers.json"  # of ``study.answers``
POSITION = ("position_error", "position_error_share", "radius_error", "chance/position_error")
Group = tuple[str, str | None, int]  # row, control, labels


@dataclasses.dataclass(frozen=True)
class Finished:
    """A member that was trained and measured: what ``eval.json`` says, and its tables by split."""

    member: StudyRun
    numbers: Mapping[str, Any]
    tables: Mapping[str, Columns]

    @classmethod
    def read(cls, workdir: epath.Path, member: StudyRun) -> "Finished | None":
        """Of the study's directory; None while it is not finished."""
        folder = epath.Path(workdir) / "members" / member.name
        numbers = journal.read_eval(folder)
        if numbers is None:
            return None
        tables = {}
        for split in numbers["about"]["evaluators"]:
            path = folder / "media" / f"{numbers['about']['step']:08d}" / "eval" / split / "table.npz"
            try:
                tables[split] = present_figures(read_npz(path))
            except Damaged as error:
                raise ValueError(f"{path} is damaged: {error}. Remove {folder}, and run the study again.") from error
        return cls(member, numbers, tables)

    def fact(self, split: str, name: str) -> Any:
        """What an evaluator says about itself."""
        return self.numbers["about"]["evaluators"][split][name]


def finished_runs(config: ConfigDict, workdir: epath.PathLike) -> list[Finished]:
    """Those of a study that are trained and measured."""
    found = [Finished.read(epath.Path(workdir), member) for member in study_runs(config, workdir)]
    return [member for member in found if member is not None]


def read_answers(workdir: epath.PathLike) -> dict[str, dict[str, dict[str, Any]]]:
    """What ``study.answers`` wrote, by row and split; {} where it wrote nothing."""
    path = epath.Path(workdir) / ANSWERS
    return json.loads(path.read_text()) if path.exists() else {}


def write_findings(config: ConfigDict, workdir: epath.PathLike) -> None:
    """Writes the study's ``eval.json`` from what is finished.

    Raises:
      ValueError: nothing is finished yet.
    """
    done = finished_runs(config, workdir)
    if not done:
        raise ValueError(f"{workdir} holds no finished member of the study {config.name!r}; train it first.")
    groups: dict[Group, list[Finished]] = collections.defaultdict(list)
    for one in done:
        groups[one.member.row, one.member.control, one.member.labels].append(one)
    numbers, accuracy, chance, answers = {}, {}, 0.0, read_answers(workdir)
    splits = (*config.evals.get("splits", FINAL_SPLITS), *config.study.also)
    for split in splits:
        for group, part in groups.items():
            if split in part[0].tables:
                figures, known = _figures(split, part)
                if group[0] in answers and split in answers[group[0]]:
                    figures |= _beside(figures, answers[group[0]][split])
                numbers |= {f"{split}/{_name(group)}/{name}": value for name, value in figures.items()}
                accuracy |= {(split, group): known} if known else {}
        for labels, known in _ensembles(split, groups).items():
            accuracy[split, (_ENSEMBLE, None, labels)] = known
            numbers |= {f"{split}/{_ENSEMBLE}/{labels}/{name}": value for name, value in _spread(known).items()}
    tests = {group: known for (split, group), known in accuracy.items() if split == "test"}
    if tests:
        chance = next(one.numbers["eval/test/chance/accuracy"] for one in done if "eval/test/accuracy" in one.numbers)
    broken = _defects(tests, chance)
    if tests:
        said = verdict(_by_labels(tests), config.study.subject, broken, chance, _inputs(done))
    else:
        said = _position_verdict(numbers, config.study.subject, groups, _targets(done))
    journal.write_eval(workdir, numbers, {
        "splits": [split for split in splits if any(split in one.tables for one in done)],
        "verdict": list(said), "defects": [dataclasses.asdict(defect) for defect in broken], "chance": chance,
        "subject": config.study.subject, "class_names": list(done[0].fact("test", "class_names")),
        "unfinished": [member.name for member in study_runs(config)
                       if member.name not in {one.member.name for one in done}],
        "controls": {name: {"lands": control.lands, "text": control.text} for name, control in CONTROLS.items()},
        "groups": [{"row": row, "control": control, "labels": labels} for row, control, labels in groups],
        "members": [_about(one, workdir) for one in done], "targets": _targets(done),
        "rates": {row: dataclasses.asdict(choice) for row, choice in choices(config, workdir).items()},
    })


def _name(group: Group) -> str:
    row, control, labels = group
    return f"{row}{f'+{control}' if control else ''}/{labels}"


def _figures(split: str, part: Sequence[Finished]) -> tuple[dict[str, float], Interval | None]:
    """Figures of the seeds of one group together, and the accuracy's interval."""
    figures, known = {}, None
    if "prediction" in part[0].tables[split]:
        known = interval([one.numbers[f"eval/{split}/accuracy"] for one in part], len(part[0].tables[split]["label"]))
        figures |= _spread(known)
        errors = [calibration(one.tables[split]["probability"], one.tables[split]["correct"])[0] for one in part]
        figures["calibration_error"] = float(np.mean(errors))
    for name in POSITION:
        if f"eval/{split}/{name}" in part[0].numbers:
            figures[name] = float(np.mean([one.numbers[f"eval/{split}/{name}"] for one in part]))
    return figures, known


def _beside(figures: Mapping[str, float], answers: Mapping[str, Any]) -> dict[str, float]:
    """The errors of other answers, and by how much the row's own is beyond the tokenizer's."""
    beside = {name: value for name, value in answers.items() if "/" in name}
    own = {name: f"tokenizer/{name}" for name in ("position_error", "position_error_share")}
    beyond = {f"beyond_tokenizer/{name}": figures[name] - beside[other] for name, other in own.items()
              if other in beside}
    return beside | beyond


def _spread(known: Interval) -> dict[str, float]:
    return {"accuracy": known.mean, "accuracy_low": known.low, "accuracy_high": known.high,
            "seeds": float(len(known.values))}


def _by_labels(tests: Mapping[Group, Interval]) -> dict[int, dict[str, Interval]]:
    """Accuracies of the rows themselves by number of labels; those that learn from none stand beside every number."""
    rows = {(row, labels): known for (row, control, labels), known in tests.items()
            if control is None and row != _ENSEMBLE}
    counts = {labels for _, labels in rows if labels} or {0}
    return {count: {row: known for (row, labels), known in rows.items() if labels in (0, count)} for count in counts}


def _inputs(done: Sequence[Finished]) -> dict[str, str]:
    """What rows see, by name; the oracle sees tracks."""
    inputs = {one.member.row: one.member.config["examples"]["input"] for one in done if one.member.control is None}
    return {row: "tracks" if name == "oracle" else name for row, name in inputs.items()}


def _ensembles(split: str, groups: Mapping[Group, Sequence[Finished]]) -> dict[int, Interval]:
    """The accuracy of the rows' mean probabilities, by number of labels, where two or more rows have the same seeds."""
    found = {}
    for labels in dict.fromkeys(group[2] for group in groups):
        parts = [part for (_, control, count), part in groups.items()
                 if control is None and count == labels and "log_probability" in part[0].tables.get(split, {})]
        seeds = set.intersection(*({one.member.seed for one in part} for part in parts)) if len(parts) > 1 else set()
        right = []
        for seed in sorted(seeds):
            tables = [one.tables[split] for part in parts for one in part if one.member.seed == seed]
            mean_NK = np.mean([np.exp(table["log_probability"]) for table in tables], axis=0)
            right.append(float((mean_NK.argmax(-1) == tables[0]["label"]).mean()))
        if right:
            found[labels] = interval(right, len(tables[0]["label"]))
    return found


def _defects(tests: Mapping[Group, Interval], chance: float) -> list:
    """Of all rows, beside chance and their controls. With fewer labels than the most a row may have learned nothing
    yet, or no more than its control; below chance it must not be."""
    broken, most = [], max((labels for _, _, labels in tests), default=0)
    for (row, control, labels), own in tests.items():
        if control is None:
            beside = {name: known for (of, name, count), known in tests.items()
                      if of == row and name in CONTROLS and count == labels}
            broken += [dataclasses.replace(defect, words=f"With {labels:,} labels, {defect.words}")
                       for defect in defects(row, own, chance, beside)
                       if labels in (0, most) or defect.rule == "below chance"]
    return broken


def _position_verdict(
    numbers: Mapping[str, float], subject: str, groups: Mapping[Group, Any], targets: Mapping[str, Mapping[str, str]]
) -> tuple[str, str]:
    """Two sentences by rule: how far off the subject is on the test split with the most labels, beside the rows that
    are asked the same, and beside answers that learn nothing. There are no intervals: errors are compared as they are.
    """
    most = max(labels for _, _, labels in groups)
    found = {row: numbers[f"test/{row}/{most}/position_error"] for row, control, labels in groups
             if control is None and labels == most}
    subject = subject if subject in found else min(found, key=found.__getitem__)
    unit, beside = targets[subject]["unit"], f"test/{subject}/{most}"
    first = f"{subject} is {found[subject]:.3g} {unit} off"
    if f"{beside}/beyond_tokenizer/position_error" in numbers:
        beyond = numbers[f"{beside}/beyond_tokenizer/position_error"]
        first += f", {beyond:+.3g} {unit} beyond the tokenizer's own error"
    if f"{beside}/position_error_share" in numbers:
        first += f", {numbers[f'{beside}/position_error_share']:.1%} of the distance"
    rows = [f"it {'loses to' if error < found[subject] else 'beats'} {row} ({error:.3g} {unit})"
            for row, error in found.items() if row != subject and targets[row]["name"] == targets[subject]["name"]]
    words = {"copied": "copying the last tracked position", "continued": "going on at the last velocity",
             "chance": "the mean position of the training clips"}
    others = [f"{text} is {numbers[f'{beside}/{name}/position_error']:.3g} {unit} off" for name, text in words.items()
              if f"{beside}/{name}/position_error" in numbers]
    return f"{': '.join([first, ', '.join(rows)] if rows else [first])}.", f"Beside it, {', '.join(others)}."


def _about(one: Finished, workdir: epath.PathLike) -> dict[str, Any]:
    """What is needed to repeat a member, and what it cost."""
    about, member = one.numbers["about"], one.member
    folder = epath.Path(workdir) / "members" / member.name
    network = member.config["recipe"] == "classifier"
    return {
        "name": member.name, "row": member.row, "control": member.control, "labels": member.labels, "seed": member.seed,
        "step": about["step"], "seconds": about["seconds"], "examples": about["examples"],
        "config_hash": about["config_hash"], "commit": about["trained_by_commit"], "frozen": about["frozen"],
        "parameters": parameter_count(load_params(folder)["classifier"]) if network else None,
        "split_hashes": {split: one.fact(split, "split_hash") for split in one.tables},
    }


def _targets(done: Sequence[Finished]) -> dict[str, dict[str, str]]:
    """The positions that rows were asked for, in words."""
    asked = {one.member.row: one.member.config["examples"]["target"] for one in done
             if "target" in one.member.config["examples"]}
    return {row: {"name": name, "unit": TARGETS[name].unit, "doc": TARGETS[name].doc} for row, name in asked.items()}
