"""Whether what is asked about a run is what was trained, and where the figures of something else go.

    <workdir>/eval.json  media/  report.html       of the config and the data of the training
              evals/<config hash>-<split hash>/    of an evaluation with another config, or of other data
                  config.json  eval.json  media/  report.html

An evaluation may differ from the training in what is measured and how: data, decoding, evaluators and seed. A network
that the checkpoint does not hold cannot be measured at all.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from videogvt.core.keys import REQUIRED, Key, Section
from videogvt.core.registry import refuse_dropped_config, stored_config
from videogvt.core.trees import flat
from videogvt.jobs.schema import schema_of
from videogvt.train import journal
from videogvt.train.checkpoint import choose_step, read_meta
from videogvt.train.contracts import Evaluator

_FOLDER = "evals"
ABSENT = "absent"

FOLDER_KEY = "data.options.folder"  # of videos or pictures, which configs leave to the command line

_FREE = ("name", "mesh", "train.log_every", "train.save_every", "train.keep", "train.show")
"""Keys, or beginnings of them, on which no figure depends."""

MEASURED = ("seed", "data", "evals", "decoding")
"""What an evaluation may change."""

_NETWORKS = ("recipe", "tokenizer", "transformer", "lm", "tasks", "classifier", "examples")
"""What says which network a checkpoint holds."""

COMPUTED = ("lowering", "remat_levels", "remat", "attention")
"""Last names of keys that change how a network is computed, and not which it is."""

BY_HASH = ("tokenizer.run", "tokenizer.step")
"""Of second stages: where their tokenizer lies. Whether it is the same tokenizer is seen by its hash."""

_ASKED = "most_frequent"
"""What a config says where the run's own has the number that was found out."""

Differences = Mapping[str, tuple[Any, Any]]


def read_config(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The config that a run was trained with; None where there is no run.

    Raises:
      ValueError: it needs what was dropped; see ``core.registry``.
    """
    path = epath.Path(workdir) / "config.json"
    if not path.exists():
        return None
    config = stored_config(path)
    refuse_dropped_config(config, workdir)
    return config


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Differences:
    """Keys whose values differ, with both. A key that is absent has its default, a folder that is not named the run's.

    Args:
      there: a run's config.
      here: another one, plain values as JSON would give them back.
    """
    defaults, before, now = _defaults(schema_of(here)), flat(dict(there)), flat(dict(here))
    found = {}
    for key in sorted(before.keys() | now.keys()):
        pair = [values[key] if values.get(key, {}) != {} else defaults.get(key, ABSENT) for values in (before, now)]
        answered = pair[1] == _ASKED and isinstance(pair[0], int)
        unnamed = key == FOLDER_KEY and not pair[1]
        if pair[0] != pair[1] and not answered and not unnamed and not _within(key, _FREE):
            found[key] = (pair[0], pair[1])
    return found


def _defaults(section: Section, prefix: str = "") -> dict[str, Any]:
    """Defaults of keys by their dotted names; not of transforms, which are there or not."""
    found = {}
    for name, key in section.keys.items():
        if isinstance(key, Key):
            if key.default is not REQUIRED:
                value = key.default.__name__ if isinstance(key.default, type) else key.default
                found[prefix + name] = json.loads(json.dumps(value, default=str))
        elif name != "transforms":
            found |= _defaults(key, f"{prefix}{name}.")
    return found


def _within(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(name + ".") for name in names)


def _told(found: Differences) -> str:
    """Differences as lines for a message."""
    return "\n".join(f"  {key}: {there!r} there, {here!r} here" for key, (there, here) in found.items())


def check_network(workdir: epath.PathLike, config: Mapping[str, Any], names: tuple[str, ...] = _NETWORKS) -> None:
    """Refuses a config of another network than that of a run; where there is no run, nothing is said.

    Args:
      workdir: of the run.
      config: plain values.
      names: the sections that count.

    Raises:
      WorkdirError: keys of the network differ; the message lists them.
    """
    there = read_config(workdir)
    if there is not None and "recipe" in there:
        here = json.loads(json.dumps(config))
        found = {key: pair for key, pair in differences(there, here).items()
                 if _within(key, names) and not _may_differ(key)}
        if found:
            raise journal.WorkdirError(
                f"{workdir} holds another network than the config describes. These keys differ:\n{_told(found)}\n"
                "Give the values that it was trained with, or the --workdir of a run with yours."
            )


def measurable(found: Differences) -> bool:
    """Whether an evaluation may have these differences from the training."""
    return all(_may_differ(key) for key in found)


def _may_differ(key: str) -> bool:
    return _within(key, MEASURED) or key.rpartition(".")[2] in COMPUTED or _within(key, BY_HASH)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the figures of an evaluation belong.

    Attributes:
      folder: the run's directory, or one of its own below.
      differs: what differs from the training; {} for the training's own evaluation.
      splits: of evaluators whose data, or whose judge, are not those of the training's evaluation, both hashes.
    """

    folder: epath.Path
    differs: Differences
    splits: Differences

    @property
    def own(self) -> bool:
        """Whether it is the training's own."""
        return not self.differs and not self.splits

    @property
    def about(self) -> dict[str, Any]:
        """What stands beside the figures of an evaluation that is not the training's own."""
        if self.own:
            return {}
        return {"differs": {key: list(pair) for key, pair in self.differs.items()},
                "other_data": {name: list(pair) for name, pair in self.splits.items()}}


def place_of(
    workdir: epath.PathLike, config: Mapping[str, Any], evaluators: Mapping[str, Evaluator], train_hash: str = ""
) -> Place:
    """Where the figures of an evaluation of a run's checkpoint belong.

    Args:
      workdir: of the run.
      config: of the evaluation, plain values.
      evaluators: by name.
      train_hash: of the training split now; "" for none.

    Raises:
      FileNotFoundError: there is no run.
      WorkdirError: the config is of another training; the message lists the keys.
    """
    workdir, there = epath.Path(workdir), read_config(workdir)
    if there is None:
        raise FileNotFoundError(f"{workdir} holds no run: config.json is missing. Name a run's --workdir, or train.")
    found = differences(there, config)
    trained = {key: pair for key, pair in found.items() if not _may_differ(key)}
    if trained:
        raise journal.WorkdirError(
            f"The checkpoints of {workdir} were trained with another config. These keys differ:\n{_told(trained)}\n"
            f"Give the values that it was trained with. An evaluation may change {', '.join(MEASURED)} alone."
        )
    found = {key: pair for key, pair in found.items() if not _within(key, BY_HASH)}  # of which the hash is compared
    hashes = _relied_on({name: evaluator.facts for name, evaluator in evaluators.items()})
    hashes |= {"train": train_hash} if train_hash else {}
    before = _hashes(workdir)
    splits = {name: (before[name], digest) for name, digest in hashes.items() if before.get(name, digest) != digest}
    if not found and not splits:
        return Place(workdir, {}, {})
    name = f"{journal.config_hash(config)}-{journal.config_hash(hashes)}"
    return Place(workdir / _FOLDER / name, found, splits)


def _hashes(workdir: epath.Path) -> dict[str, str]:
    """Hashes of the data that a run was trained on and measured on, as far as its files say."""
    split = read_meta(workdir, choose_step(workdir, "last")).get("split")
    measured = (journal.read_eval(workdir) or {"about": {}})["about"].get("evaluators", {})
    return _relied_on(measured) | ({"train": split["hash"]} if split else {})


def _relied_on(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Hashes of what evaluators measure on, and of the classifiers that they ask, by names for a message."""
    found = {name: each["split_hash"] for name, each in facts.items() if "split_hash" in each}
    return found | {f"{name}'s judge": each["judge_hash"] for name, each in facts.items() if each.get("judge_hash")}


def reported_folder(workdir: epath.PathLike, config: Mapping[str, Any]) -> tuple[epath.Path, Differences]:
    """The directory that a report of a config is about, and what differs between it and the config.

    That of an evaluation with this very config, the newest one, where the run itself has another.

    Args:
      workdir: of the run.
      config: plain values.
    """
    workdir, there = epath.Path(workdir), read_config(workdir)
    found = {} if there is None or "recipe" not in there else differences(there, config)
    if not found:
        return workdir, {}
    others = (workdir / _FOLDER).glob(f"{journal.config_hash(config)}-*") if (workdir / _FOLDER).exists() else ()
    finished = [folder for folder in others if (folder / "eval.json").exists()]
    if not finished:
        return workdir, found
    return max(finished, key=lambda folder: (folder / "eval.json").stat().mtime), {}
