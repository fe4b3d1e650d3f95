"""A run, and what the jobs that build one of a config have in common (``videogvt.jobs``): each section is splatted
into the object it configures, and every cross-check is made."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.core.registry import configure, unknown_name
from videogvt.core.trees import parameter_count
from videogvt.inputs.pipeline import TrainingData, TransformedSource
from videogvt.inputs.sources import ClipSource, open_source, training_fields
from videogvt.inputs.transforms import fields_for, make_transforms
from videogvt.jobs.provenance import Place, place_of
from videogvt.pretrained.start import CodebookEmbeddings, Start, decoded_vectors
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.train import evaluation, journal, loop
from videogvt.train.contracts import Evaluator, Plan, Recipe, When
from videogvt.train.parallel import MeshShape, global_shapes, numeric
from videogvt.train.program import Program
from videogvt.train.state import TrainState
from videogvt.train.timing import matrix_rate

_EMBEDDINGS = ("random", "codebook", "decoded")
"""What a table of codes may begin as; the last in classifiers alone, which do not say codes."""

FINAL_SPLITS = ("test", "ood")
"""Splits that are measured at the end, where there are such and ``evals.splits`` names no others."""


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
        """A dry run's lines: parameters, FLOPs, time. The time is an estimate: the step's FLOPs at half the rate that a
        matrix product has on this machine now."""
        abstract = Program(self.recipe, self.plan, self.data.first_batch).abstract
        epoch = self.data.num_examples / self.data.batch_size
        networks = ", ".join(f"{name} {parameter_count(tree):,}" for name, tree in abstract.params.items())
        saved = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))
        shapes = global_shapes(numeric(self.data.first_batch))
        flops = self.recipe.flops(abstract.replace(frozen=dict(self.recipe.frozen)), shapes)
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


def training_data(config: Mapping[str, Any], data_dir: epath.PathLike | None) -> TrainingData:
    """The split "train" in batches, through ``config.data.transforms``.

    Raises:
      ValueError: it is empty, or devices and hosts do not divide the batches.
    """
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


def open_without_more_clips(
    config: Mapping[str, Any], split: str, fields: Sequence[str], data_dir: epath.PathLike | None
) -> ClipSource:
    """``open_for_evaluation`` for figures that do not depend on how many training clips a world was asked for, so that
    these need not be built."""
    data = config["data"]
    options = {name: value for name, value in data["options"].items() if name != "clips"}
    return open_for_evaluation({**config, "data": {**data, "options": options}}, split, fields, data_dir)


def plan_of(config: Mapping[str, Any], data: TrainingData) -> Plan:
    """How long is trained and what is written when, from ``config.train``."""
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


def start_of(config: Mapping[str, Any], **given: Any) -> Start | None:
    """Another run's weights, where ``config.init_from`` names one."""
    if not config.get("init_from") or config["init_from"].get("workdir") is None:
        return None
    return configure(Start, "init_from", config["init_from"], **given)


def embeddings_of(
    config: Mapping[str, Any], tokenizer: VideoTokenizer | None, codes_Bthw=None, **fields: Any
) -> tuple[Mapping[str, Any], CodebookEmbeddings | None]:
    """The config without ``init_from.token_embeddings``, and the start that this asks for, a ``CodebookEmbeddings``
    with ``fields``; None for random ones. "decoded" needs the codes of some clips, whose most frequent one is that of
    blank cells."""
    if "init_from" not in config or "token_embeddings" not in config["init_from"]:
        return config, None
    section = dict(config["init_from"])
    wanted = section.pop("token_embeddings")
    if wanted not in _EMBEDDINGS:
        raise ValueError(unknown_name("value of init_from.token_embeddings", wanted, _EMBEDDINGS))
    if wanted == "random":
        return {**config, "init_from": section}, None
    if tokenizer is None:
        raise ValueError(f"init_from.token_embeddings is {wanted!r}, and the inputs are no codes of a tokenizer. Ask "
                         "for codes, or leave init_from.token_embeddings out.")
    if wanted == "decoded":  # which the schema allows classifiers alone
        vectors_KD = decoded_vectors(tokenizer, int(np.bincount(codes_Bthw.ravel()).argmax()))
    else:
        vectors_KD = tokenizer.embed(np.arange(tokenizer.num_codes, dtype=np.int32).reshape(-1, 1, 1, 1))
    vectors_KD = np.asarray(vectors_KD, np.float32).reshape(tokenizer.num_codes, -1)
    return {**config, "init_from": section}, CodebookEmbeddings(vectors_KD, **fields)


def clip_of(source: ClipSource) -> tuple[int, int, int]:
    """(T, H, W) of a source's clips."""
    return source.read([0])["video"].shape[1:4]


def check_clip(source: ClipSource, split: str, trained_on: tuple[int, int, int]) -> None:
    """An error where clips are of another size than the network is for, before anything is trained."""
    if clip_of(source) != tuple(trained_on):
        raise ValueError(f"The clips of {split!r} are of (T, H, W) = {clip_of(source)}, those that the network learns "
                         f"from of {tuple(trained_on)}; change config.evals.transforms or config.data.transforms.")


def common_to_evaluators(config: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """What every evaluator of a run is told."""
    return {"seed": config["seed"], "weights": "ema" if recipe.losses.ema_decay else "params",
            "batch_size": config["evals"]["batch_size"]}


def each_split(
    config: Mapping[str, Any], recipe: Recipe, data: TrainingData, fields: Sequence[str],
    evaluator: Callable[..., Evaluator], data_dir: epath.PathLike | None,
) -> dict[str, Evaluator]:
    """An evaluator for each split: of "validation" every so many steps, on a part; of all others once at the end.

    Args:
      fields: what is read, as far as the data have it.
      evaluator: makes one of a ``source``, its ``split``, ``when`` and ``limit``, and ``common_to_evaluators``.
      (others: of the run)
    """
    section, evaluators = config["evals"], {}
    fields = tuple(name for name in fields if name in data.source.available)
    for split in measured_splits(section, data.source.splits):
        last = split != "validation"
        evaluators[split] = evaluator(
            source=open_for_evaluation(config, split, fields, data_dir), split=split,
            when=When(end=True) if last else When(every=section["every"], end=True),
            limit=None if last else section.get("limit"), **common_to_evaluators(config, recipe))
    return evaluators


def measured_splits(evals: Mapping[str, Any], available: Sequence[str]) -> tuple[str, ...]:
    """The splits of a data set that a run is measured on: "validation", then those that ``evals.splits`` names.

    Raises:
      ValueError: the data set has not all that are named.
    """
    for name in evals.get("splits", ()):
        if name not in available:
            raise ValueError(unknown_name("split in config.evals.splits", name, available))
    named = dict.fromkeys(("validation", *evals.get("splits", FINAL_SPLITS)))
    return tuple(split for split in named if split in available)
