"""From a config to a run: each section is splatted into the object it configures, and every cross-check is made here.

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

from videogvt.core.registry import unknown_name
from videogvt.core.sections import check_keys, configure
from videogvt.core.trees import frozen
from videogvt.evals import trivial
from videogvt.evals.classification import ClassificationEval
from videogvt.evals.reconstruction import TRUTH_FIELDS, ReconstructionEval
from videogvt.inputs.sources import ClipSource, open_source
from videogvt.inputs.training import TrainingData
from videogvt.inputs.transformed import TransformedSource
from videogvt.inputs.transforms import make_transforms
from videogvt.nn.classifiers import make_classifier
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import VideoTokenizer
from videogvt.recipes import perceptual
from videogvt.recipes.classifier import ClassifierLosses, ClassifierRecipe
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.start import Start
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train import evaluation, journal, loop
from videogvt.train.contracts import Evaluator, Plan, Recipe, When
from videogvt.train.cost import matrix_product_rate, step_flops
from videogvt.train.parallel import MeshShape
from videogvt.train.program import Program
from videogvt.train.state import TrainState, parameter_count


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

    def evaluate(self, step: int | str = "best") -> dict[str, float]:
        """All evaluators on a checkpoint; rewrites ``eval.json``."""
        return evaluation.evaluate_run(
            self.recipe, self.data.first_batch, self.evaluators, self.plan, self.workdir, step
        )

    def summary(self) -> str:
        """What the run will cost, in a few lines. The time is an estimate: the step's FLOPs at half the rate that a
        matrix product has on this machine now."""
        abstract = Program(self.recipe, self.plan, self.data.first_batch).abstract
        epoch = self.data.num_examples / self.data.batch_size
        networks = ", ".join(f"{name} {parameter_count(tree):,}" for name, tree in abstract.params.items())
        saved = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))
        flops, rate = step_flops(self.recipe, abstract, self.data.first_batch), matrix_product_rate()
        minutes = self.plan.total_steps * flops / (0.5 * rate * len(jax.devices())) / 60
        return "\n".join([
            f"{self.name}: {self.data.num_examples:,} training clips, batch {self.data.batch_size}, {epoch:,.1f} steps "
            f"an epoch, {self.plan.total_steps:,} steps = {self.plan.total_steps / epoch:.1f} epochs",
            f"parameters: {networks}",
            f"disk: about {saved * (self.plan.keep + 1) / 1e6:,.0f} MB of checkpoints in {self.workdir}",
            f"time: about {minutes:,.0f} minutes of training ({flops / 1e9:,.1f} GFLOP a step at half of "
            f"{rate / 1e9:,.0f} GFLOP/s on each of {len(jax.devices())} {jax.devices()[0].device_kind})",
        ])


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
    if config["recipe"] not in KINDS:
        raise ValueError(unknown_name("config.recipe", config["recipe"], KINDS))
    kind = KINDS[config["recipe"]]
    for section in kind.sections:
        if section not in config:
            raise ValueError(f"The config has no section {section!r}; it needs {', '.join(kind.sections)}.")
    data = _training_data(config, data_dir)
    plan = _plan(config, data)
    recipe = kind.recipe(config, plan, data)
    evaluators = _evaluators(config, data, kind.evaluator(config, recipe, plan, data), kind.fields, data_dir)
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def _training_data(config: Mapping[str, Any], data_dir) -> TrainingData:
    section = config["data"]
    check_keys("data", section, ("source", "options", "transforms", "batch_size"))
    source = open_source(section["source"], "train", data_dir=data_dir, **section["options"])
    if not len(source):
        raise ValueError(f"The split 'train' of {source} is empty; choose another data set or another split rule.")
    shards, hosts = config["mesh"]["data"], jax.process_count()
    devices = len(jax.devices()) // config["mesh"]["model"] if shards == -1 else shards
    for name, size in (("data.batch_size", section["batch_size"]), ("evals.batch_size", config["evals"]["batch_size"])):
        if size % devices or size % hosts:
            raise ValueError(
                f"config.{name} is {size}, which {devices} devices on the mesh's data axis (of {hosts} hosts) do not "
                f"divide; take {math.ceil(size / devices) * devices}, or another config.mesh."
            )
    return TrainingData(source, section["batch_size"], config["seed"], make_transforms("data", section))


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


def _plan(config: Mapping[str, Any], data: TrainingData) -> Plan:
    section = dict(config["train"])
    check_keys("train", section, ("steps", "epochs", "log_every", "save_every", "keep", "best", "best_mode", "show"))
    if ("steps" in section) == ("epochs" in section):
        raise ValueError("config.train needs either 'steps' or 'epochs', and not both.")
    epochs = section.pop("epochs", None)
    steps = section.pop("steps") if epochs is None else epochs * (data.num_examples // data.batch_size)
    mesh = configure(MeshShape, "mesh", config["mesh"])
    free = ("mesh", "train.log_every", "train.save_every", "train.keep", "train.show")
    return configure(
        Plan, "train", section, total_steps=steps, seed=config["seed"], mesh=mesh, config=plain(config), free=free
    )


def plain(tree: Any) -> Any:
    """Values as JSON would give them back."""
    return json.loads(json.dumps(tree))


def _evaluators(
    config: Mapping[str, Any], data: TrainingData, evaluator: Callable[..., Evaluator], fields: Sequence[str], data_dir
) -> dict[str, Evaluator]:
    """"validation" every so many steps, on a part; "test" and "ood", where there are such splits, once at the end."""
    section = config["evals"]
    check_keys("evals", section, ("every", "limit", "batch_size", "transforms"))
    fields = tuple(name for name in fields if name in data.source.available)
    evaluators = {}
    for split in ("validation", "test", "ood"):
        if split in data.source.splits:
            last = split != "validation"
            evaluators[split] = evaluator(
                source=open_for_evaluation(config, split, fields, data_dir), split=split, seed=config["seed"],
                weights="ema", when=When(end=True) if last else When(every=section["every"], end=True),
                batch_size=section["batch_size"], limit=None if last else section["limit"],
            )
    return evaluators


def _tokenizer(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> TokenizerRecipe:
    model = configure(VideoTokenizer, "tokenizer", frozen(config["tokenizer"]))
    frames, height, width = data.first_batch["video"].shape[1:4]
    model.latent_shape((frames, height, width))
    discriminator = config["discriminator"]
    check_keys("generator", config["generator"], ("train_only", "restart_below"))
    network = perceptual.load(**config["perceptual"]) if config["perceptual"] else None
    return TokenizerRecipe(
        model=model,
        losses=configure(TokenizerLosses, "losses", config["losses"]),
        optimizer=configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
        discriminator=configure(Discriminator, "discriminator", frozen(discriminator)) if discriminator else None,
        perceptual=network.features if network else None,
        frozen={"perceptual": network.params} if network else {},
        start=_start(config),
        **config["generator"],
    )


def _start(config: Mapping[str, Any]) -> Start | None:
    """Another run's weights, where ``config.init_from`` names one."""
    if "init_from" not in config or config["init_from"]["workdir"] is None:
        return None
    return configure(Start, "init_from", config["init_from"])


def _reconstruction(config, recipe: TokenizerRecipe, plan: Plan, data: TrainingData) -> Callable[..., Evaluator]:
    """Evaluators of a tokenizer; at the end an untrained one of the same size stands beside it."""
    train = TransformedSource.of(data.source, make_transforms("evals", config["evals"]))
    answers = {
        "background": trivial.background, "mean_frame": trivial.mean_frame,
        "nearest_clip": trivial.NearestClip(train),
    }

    def untrained() -> TrainState:
        other = dataclasses.replace(recipe, start=None), dataclasses.replace(plan, seed=plan.seed + 1)
        return Program(*other, data.first_batch).fresh()

    def evaluator(*, split: str, **common) -> ReconstructionEval:
        return ReconstructionEval(
            split=split, reconstruct=recipe.predict_fns["reconstruct"], num_codes=recipe.model.num_codes,
            answers=answers, untrained=None if split == "validation" else untrained, **common,
        )

    return evaluator


def _classifier(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> ClassifierRecipe:
    classes = data.source.class_names
    if len(classes) < 2:
        raise ValueError(f"{data.source} has {len(classes)} classes; a classifier needs two at least. Name a data set "
                         "with labels; of a folder of videos, the subfolders are the classes.")
    return ClassifierRecipe(
        model=make_classifier(config["classifier"], len(classes)),
        losses=configure(ClassifierLosses, "losses", config["losses"]),
        optimizer=configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
    )


def _classification(config, recipe: ClassifierRecipe, plan: Plan, data: TrainingData) -> Callable[..., Evaluator]:
    """Evaluators of a classifier; chance stands beside it."""
    return functools.partial(ClassificationEval, classify=recipe.predict_fns["classify"])


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of training, which ``config.recipe`` names.

    Attributes:
      sections: what its config must have.
      recipe: makes it from config, plan and training data.
      evaluator: of config, recipe, plan and training data, makes the function that makes a split's evaluator.
      fields: what its evaluators read, as far as the data have it.
    """

    sections: tuple[str, ...]
    recipe: Callable[..., Recipe]
    evaluator: Callable[..., Callable[..., Evaluator]]
    fields: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "tokenizer": Kind(
        ("data", "tokenizer", "generator", "discriminator", "perceptual", "losses", "optimizer", "train", "evals",
         "mesh"),
        _tokenizer, _reconstruction, ("video", "label", "id", *TRUTH_FIELDS),
    ),
    "classifier": Kind(
        ("data", "classifier", "losses", "optimizer", "train", "evals", "mesh"),
        _classifier, _classification, ("video", "label", "id"),
    ),
}
