"""From a config to a run: each section is splatted into the object it configures, and every cross-check is made.

``build`` is the only place that sees a ``ConfigDict``. What leaves it is an ``Experiment`` of finished objects.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from videogvt.core.processes import first_alone
from videogvt.core.registry import unknown_name
from videogvt.core.sections import configure
from videogvt.inputs.sources import ClipSource, open_source, training_fields
from videogvt.inputs.training import TrainingData
from videogvt.inputs.transformed import TransformedSource
from videogvt.inputs.transforms import fields_for, make_transforms
from videogvt.kinds import KINDS, Kind
from videogvt.provenance import Place, place_of
from videogvt.recipes.flops import step_flops
from videogvt.schema import check_config
from videogvt.train import evaluation, journal, loop
from videogvt.train.contracts import Evaluator, Plan, Recipe, When
from videogvt.train.machine import matrix_rate
from videogvt.train.parallel import MeshShape, global_shapes, numeric
from videogvt.train.program import Program
from videogvt.train.state import TrainState, parameter_count

LAST = ("test", "ood")  # splits that are measured at the end, where there are such and ``evals.splits`` names no others


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run, ready to go: ``fit(recipe, data, evaluators, plan, workdir)``.

    Attributes:
      name: of the config, with its variant: "vqvae_traj" or "vqvae_traj-B".
      workdir: where the run leaves its files.
    """

    name: str
    recipe: Recipe
    data: TrainingData
    evaluators: Mapping[str, Evaluator]
    plan: Plan
    workdir: epath.Path

    @property
    def finished(self) -> bool:
        """Whether the run has been trained and evaluated to the end."""
        return journal.read_eval(self.workdir) is not None

    def fit(self) -> TrainState:
        """Trains, or takes up the training where it stopped."""
        return loop.fit(self.recipe, self.data, self.evaluators, self.plan, self.workdir)

    def measured_in(self) -> Place:
        """Where the figures of an evaluation belong: into the run's directory, if config and data are the training's.

        Raises:
          FileNotFoundError, WorkdirError: see ``provenance.place_of``.
        """
        return place_of(self.workdir, self.plan.config, self.evaluators, self.data.source.split_hash)

    def evaluate(self, step: int | str = "best") -> dict[str, float]:
        """All evaluators on a checkpoint; writes ``eval.json`` and ``media/`` where they belong (``measured_in``)."""
        place = self.measured_in()
        return evaluation.evaluate_run(
            self.recipe, self.data.first_batch, self.evaluators, self.plan, self.workdir, step,
            folder=None if place.own else place.folder, further=place.about,
        )

    def summary(self) -> str:
        """What the run will cost, in a few lines. The time is an estimate: the step's FLOPs at half the rate that a
        matrix product has on this machine now."""
        abstract = Program(self.recipe, self.plan, self.data.first_batch).abstract
        epoch = self.data.num_examples / self.data.batch_size
        networks = ", ".join(f"{name} {parameter_count(tree):,}" for name, tree in abstract.params.items())
        saved = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))
        shapes = global_shapes(numeric(self.data.first_batch))
        flops = step_flops(self.recipe, abstract.replace(frozen=dict(self.recipe.frozen)), shapes)
        rate = matrix_rate()
        minutes = self.plan.total_steps * flops / (0.5 * rate * len(jax.devices())) / 60
        return "\n".join([
            f"{self.name}: {self.data.num_examples:,} training clips, batch {self.data.batch_size}, {epoch:,.1f} steps "
            f"an epoch, {self.plan.total_steps:,} steps = {self.plan.total_steps / epoch:.1f} epochs",
            f"parameters: {networks}",
            f"disk: about {saved * (self.plan.keep + 1) / 1e6:,.0f} MB of checkpoints in {self.workdir}",
            f"time: about {_duration(minutes)} of training ({flops / 1e9:,.1f} GFLOP a step at half of "
            f"{rate / 1e9:,.0f} GFLOP/s on each of {len(jax.devices())} {jax.devices()[0].device_kind})",
        ])


def _duration(minutes: float) -> str:
    """In the unit that makes at least two of it: 90 minutes, 30 hours, 1,821 days."""
    for unit, size in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes / size:,.0f} {unit}"
    return f"{minutes:,.0f} minutes"


def default_workdir(config: ConfigDict) -> epath.Path:
    """``runs/<name>``, the name being the config's with its variant."""
    return epath.Path("runs") / config.name


def build(
    config: ConfigDict, workdir: epath.PathLike | None = None, data_dir: epath.PathLike | None = None
) -> Experiment:
    """The experiment that a config describes.

    Args:
      config: as the files under ``configs/`` make it.
      workdir: of the run; None for ``runs/<name>``.
      data_dir: root of the data sets; None for the environment's.

    Raises:
      ValueError: a key is unknown, or two values do not fit; the message names both and the remedy.
    """
    workdir = epath.Path(workdir or default_workdir(config)).absolute()
    config = config.to_dict()
    if config.get("recipe") == "study":
        raise ValueError(f"{config['name']} is a study, which is many runs, and this mode is for one; modes train, "
                         "plan, eval and report know studies. Name a single run, such as its variant 'judge'.")
    check_config(config)
    kind = KINDS[config["recipe"]]
    with first_alone():  # the data sets, where they are not there yet
        return _built(config, kind, workdir, data_dir)


def _built(config: Mapping[str, Any], kind: Kind, workdir: epath.Path, data_dir) -> Experiment:
    data = kind.data(config, _training_data(config, data_dir), data_dir)
    config = kind.derived(config, data)
    plan = _plan(config, data)
    recipe = kind.recipe(config, plan, data)
    plan = dataclasses.replace(plan, learning_rate=recipe.optimizer.rate)
    evaluators = _evaluators(config, recipe, data, kind.evaluator(config, recipe, plan, data), kind, data_dir)
    evaluators |= kind.further(config, recipe, plan, data, functools.partial(_open_part, config, data_dir))
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def _training_data(config: Mapping[str, Any], data_dir) -> TrainingData:
    section, transforms = config["data"], make_transforms("data", config["data"])
    fields = fields_for(transforms, training_fields(section["source"]))
    source = open_source(section["source"], "train", fields=fields, data_dir=data_dir, **section["options"])
    if not len(source):
        raise ValueError(f"The split 'train' of {source} is empty; choose another data set or another split rule.")
    hosts, devices = jax.process_count(), MeshShape(**config["mesh"]).build().shape["data"]
    for name, size in (("data.batch_size", section["batch_size"]), ("evals.batch_size", config["evals"]["batch_size"])):
        if size % devices or size % hosts:
            raise ValueError(
                f"config.{name} is {size}, which {devices} devices on the mesh's data axis (of {hosts} hosts) do not "
                f"divide; take {math.ceil(size / devices) * devices}, or another config.mesh."
            )
    return TrainingData(source, section["batch_size"], config["seed"], transforms)


def open_for_evaluation(
    config: Mapping[str, Any], split: str, fields: Sequence[str], data_dir: epath.PathLike | None
) -> ClipSource:
    """A split of a config's data as evaluators see it, through ``config.evals.transforms``.

    Args:
      config: plain values, as ``ConfigDict.to_dict`` gives them.
      split: the split.
      fields: what to read.
      data_dir: root of the data sets.
    """
    section = config["data"]
    source = open_source(section["source"], split, fields=fields, data_dir=data_dir, **section["options"])
    return TransformedSource.of(source, make_transforms("evals", config["evals"]))


def _open_part(config: Mapping[str, Any], data_dir, split: str, fields: Sequence[str]) -> ClipSource:
    return open_for_evaluation(config, split, fields, data_dir)


def _plan(config: Mapping[str, Any], data: TrainingData) -> Plan:
    section = dict(config["train"])
    if ("steps" in section) == ("epochs" in section):
        raise ValueError("config.train needs either 'steps' or 'epochs', and not both.")
    epochs = section.pop("epochs", None)
    steps = section.pop("steps") if epochs is None else epochs * (data.num_examples // data.batch_size)
    mesh = configure(MeshShape, "mesh", config["mesh"])
    free = ("mesh", "train.log_every", "train.save_every", "train.keep", "train.show", "train.best", "train.best_mode",
            "evals.generation")
    return configure(
        Plan, "train", section, total_steps=steps, seed=config["seed"], mesh=mesh, config=plain(config), free=free,
        grows=("train.steps", "train.epochs"),
    )


def plain(tree: Any) -> Any:
    """Values as JSON would give them back."""
    return json.loads(json.dumps(tree))


def _evaluators(
    config: Mapping[str, Any], recipe: Recipe, data: TrainingData, evaluator: Callable[..., Evaluator],
    kind: Kind, data_dir,
) -> dict[str, Evaluator]:
    """"validation" every so many steps, on a part; all others once at the end."""
    section = config["evals"]
    fields = tuple(name for name in kind.fields if name in data.source.available)
    evaluators = {}
    for split in measured_splits(section, data.source.splits):
        last = split != "validation"
        evaluators[split] = evaluator(
            source=open_for_evaluation(config, split, fields, data_dir), split=split, seed=config["seed"],
            weights="ema" if recipe.losses.ema_decay else "params",
            when=When(end=True) if last else When(every=section["every"], end=True),
            batch_size=section["batch_size"], limit=None if last else section.get("limit"),
        )
    return evaluators


def measured_splits(evals: Mapping[str, Any], available: Sequence[str]) -> tuple[str, ...]:
    """The splits of a data set that a run is measured on: "validation", then those that ``evals.splits`` names.

    Raises:
      ValueError: the data set has not all that are named.
    """
    for name in evals.get("splits", ()):
        if name not in available:
            raise ValueError(unknown_name("split in config.evals.splits", name, available))
    named = dict.fromkeys(("validation", *evals.get("splits", LAST)))
    return tuple(split for split in named if split in available)
