"""From a config to a run: each section is splatted into the object it configures, and every cross-check is made here.

``build`` is the only place that sees a ``ConfigDict``. What leaves it is an ``Experiment`` of finished objects.
"""

import dataclasses
import functools
import inspect
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from videogvt.core.registry import unknown_name
from videogvt.core.trees import frozen
from videogvt.evals import trivial
from videogvt.evals.reconstruction import TRUTH_FIELDS, ReconstructionEval
from videogvt.inputs import transforms as transforms_lib
from videogvt.inputs.pipeline import train_batches
from videogvt.inputs.sources import ClipSource, open_source
from videogvt.inputs.transformed import TransformedSource
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import VideoTokenizer
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.start import Start
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train import evaluation, journal, loop
from videogvt.train.contracts import Evaluator, Plan, Recipe, When
from videogvt.train.parallel import MeshShape, global_shapes, numeric
from videogvt.train.program import Program
from videogvt.train.state import TrainState, parameter_count

TRANSFORMS = {
    "center_crop": transforms_lib.CenterCrop,
    "random_crop": transforms_lib.RandomCrop,
    "random_flip": transforms_lib.RandomFlip,
    "resize_short_side": transforms_lib.ResizeShortSide,
    "sample_frames": transforms_lib.SampleFrames,
    "temporal_window": transforms_lib.TemporalWindow,
}
SECTIONS = (
    "data", "tokenizer", "generator", "discriminator", "perceptual", "losses", "optimizer", "train", "evals", "mesh",
)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training split as the loop wants it; see ``train.contracts.Data``."""

    source: ClipSource
    batch_size: int
    seed: int
    transforms: tuple[transforms_lib.Transform, ...] = ()

    @property
    def num_examples(self) -> int:
        """Clips in the split."""
        return len(self.source)

    def train(self):
        """A new iterator at the beginning: batch k is a function of the seed and k."""
        return train_batches(
            self.source, batch_size=self.batch_size, seed=self.seed, transforms=self.transforms,
            host_index=jax.process_index(), host_count=jax.process_count(),
        )

    @functools.cached_property
    def first_batch(self) -> dict[str, np.ndarray]:
        """This host's rows of batch 0, for shapes and dtypes."""
        return next(self.train())


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
        flops, rate = self._step_flops(abstract), matrix_product_rate()
        minutes = self.plan.total_steps * flops / (0.5 * rate * len(jax.devices())) / 60
        return "\n".join([
            f"{self.name}: {self.data.num_examples:,} training clips, batch {self.data.batch_size}, {epoch:,.1f} steps "
            f"an epoch, {self.plan.total_steps:,} steps = {self.plan.total_steps / epoch:.1f} epochs",
            f"parameters: {networks}",
            f"disk: about {saved * (self.plan.keep + 1) / 1e6:,.0f} MB of checkpoints in {self.workdir}",
            f"time: about {minutes:,.0f} minutes of training ({flops / 1e9:,.1f} GFLOP a step at half of "
            f"{rate / 1e9:,.0f} GFLOP/s on each of {len(jax.devices())} {jax.devices()[0].device_kind})",
        ])

    def _step_flops(self, state: TrainState) -> float:
        batch = global_shapes(numeric(self.data.first_batch))
        state = state.replace(frozen=dict(self.recipe.frozen))
        return float(jax.jit(self.recipe.step).lower(state, batch, jax.random.key(0)).cost_analysis()["flops"])


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
    for section in SECTIONS:
        if section not in config:
            raise ValueError(f"The config has no section {section!r}; it needs {', '.join(SECTIONS)}.")
    data = _training_data(config, data_dir)
    plan = _plan(config, data)
    recipe = _tokenizer_recipe(config, plan, data)
    evaluators = _evaluators(config, recipe, plan, data, data_dir)
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def fields_of(kind: Callable) -> tuple[str, ...]:
    """Names that a class or function takes."""
    return tuple(name for name in inspect.signature(kind).parameters if name not in ("self", "parent", "name"))


def configure(kind: Callable, section: str, fields: Mapping[str, Any], **given: Any) -> Any:
    """``kind(**fields, **given)``, where a name it does not take is an error with the nearest one it does."""
    for name in fields:
        if name not in fields_of(kind) or name in given:
            legal = [field for field in fields_of(kind) if field not in given]
            raise ValueError(unknown_name(f"key of config.{section}", name, legal))
    return kind(**fields, **given)


def _training_data(config: Mapping[str, Any], data_dir) -> TrainingData:
    section = config["data"]
    _check_keys("data", section, ("source", "options", "transforms", "batch_size"))
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
    return TrainingData(source, section["batch_size"], config["seed"], _transforms("data", section))


def _transforms(name: str, section: Mapping[str, Any]) -> tuple[transforms_lib.Transform, ...]:
    """The transforms of a section, in order; none where it has no such key."""
    steps = []
    for kind, fields in section["transforms"].items() if "transforms" in section else ():
        if kind not in TRANSFORMS:
            raise ValueError(unknown_name(f"transform in config.{name}.transforms", kind, TRANSFORMS))
        steps.append(configure(TRANSFORMS[kind], f"{name}.transforms.{kind}", fields))
    return tuple(steps)


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
    return TransformedSource.of(source, _transforms("evals", config["evals"]))


def _plan(config: Mapping[str, Any], data: TrainingData) -> Plan:
    section = dict(config["train"])
    _check_keys("train", section, ("steps", "epochs", "log_every", "save_every", "keep", "best", "best_mode", "show"))
    if ("steps" in section) == ("epochs" in section):
        raise ValueError("config.train needs either 'steps' or 'epochs', and not both.")
    epochs = section.pop("epochs", None)
    steps = section.pop("steps") if epochs is None else epochs * (data.num_examples // data.batch_size)
    mesh = configure(MeshShape, "mesh", config["mesh"])
    free = ("mesh", "train.log_every", "train.save_every", "train.keep", "train.show")
    return configure(
        Plan, "train", section, total_steps=steps, seed=config["seed"], mesh=mesh, config=plain(config), free=free
    )


def _tokenizer_recipe(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> TokenizerRecipe:
    model = configure(VideoTokenizer, "tokenizer", frozen(config["tokenizer"]))
    frames, height, width = data.first_batch["video"].shape[1:4]
    model.latent_shape((frames, height, width))
    discriminator = config["discriminator"]
    _check_keys("generator", config["generator"], ("train_only", "restart_below"))
    return TokenizerRecipe(
        model=model,
        losses=configure(TokenizerLosses, "losses", config["losses"]),
        optimizer=configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
        discriminator=configure(Discriminator, "discriminator", frozen(discriminator)) if discriminator else None,
        start=_start(config),
        **config["generator"],
    )


def _start(config: Mapping[str, Any]) -> Start | None:
    """Another run's weights, where ``config.init_from`` names one."""
    if "init_from" not in config or config["init_from"]["workdir"] is None:
        return None
    return configure(Start, "init_from", config["init_from"])


def _evaluators(config, recipe: TokenizerRecipe, plan: Plan, data: TrainingData, data_dir) -> dict[str, Evaluator]:
    """"validation" every so many steps, on a part; "test" and "ood", where there are such splits, once at the end."""
    section = config["evals"]
    _check_keys("evals", section, ("every", "limit", "batch_size", "transforms"))
    train = TransformedSource.of(data.source, _transforms("evals", section))
    answers = {
        "background": trivial.background, "mean_frame": trivial.mean_frame,
        "nearest_clip": trivial.NearestClip(train),
    }
    evaluators = {}
    fields = tuple(name for name in ("video", "label", "id", *TRUTH_FIELDS) if name in data.source.available)
    for split in ("validation", "test", "ood"):
        if split not in data.source.splits:
            continue
        source = open_for_evaluation(config, split, fields, data_dir)
        last = split != "validation"
        evaluators[split] = ReconstructionEval(
            source=source, split=split, seed=config["seed"], weights="ema",
            reconstruct=recipe.predict_fns["reconstruct"], num_codes=recipe.model.num_codes,
            when=When(end=True) if last else When(every=section["every"], end=True),
            batch_size=section["batch_size"], limit=None if last else section["limit"], answers=answers,
            untrained=functools.partial(_untrained, recipe, plan, data) if last else None,
        )
    return evaluators


def _untrained(recipe: TokenizerRecipe, plan: Plan, data: TrainingData) -> TrainState:
    """A tokenizer of the same size with other random weights."""
    return Program(dataclasses.replace(recipe, start=None), dataclasses.replace(plan, seed=plan.seed + 1),
                   data.first_batch).fresh()


def _check_keys(section: str, fields: Mapping[str, Any], legal: Sequence[str]) -> None:
    for name in fields:
        if name not in legal:
            raise ValueError(unknown_name(f"key of config.{section}", name, legal))


def plain(tree: Any) -> Any:
    """Values as JSON would give them back."""
    return json.loads(json.dumps(tree))


def matrix_product_rate(size: int = 2048) -> float:
    """FLOP/s of a float32 matrix product on the first device, the best of three."""
    product = jax.jit(jnp.matmul)
    matrix = jnp.ones((size, size), jnp.float32)
    product(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
