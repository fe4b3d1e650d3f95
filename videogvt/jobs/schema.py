"""What a config may say: every key of every section, for the recipe, the data set and the networks that it names.

The objects that sections configure are the schema (``core.keys``): their fields, types, defaults and documentation.
Here stands which object goes with which section, and in which limits numbers are.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import tensorflow_datasets as tfds

from videogvt.core.keys import Key, Limits, Section, check, keys_of
from videogvt.core.registry import refuse_dropped_config, refuse_earlier_key, unknown_name
from videogvt.decode import SAMPLERS, AutoregressiveDecoding
from videogvt.inputs.images import ImageFolderConfig
from videogvt.inputs.imports import IMPORTED_LAYOUTS, Cut
from videogvt.inputs.sources import sources
from videogvt.inputs.transforms import TRANSFORMS
from videogvt.inputs.videos import VideoFolderConfig
from videogvt.jobs.examples import Examples
from videogvt.jobs.judges import NETWORKS
from videogvt.jobs.limits import limits_of
from videogvt.models.tasks import TaskTable
from videogvt.nn.classifiers import CLASSIFIERS, GIVEN
from videogvt.nn.classifiers.tracks import TrackModel
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.lm import CausalTransformer
from videogvt.nn.quantizers import quantizers
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer
from videogvt.ops.masking import Masking
from videogvt.pretrained.start import Start
from videogvt.recipes.classifier import ClassifierLosses
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.token_model import TransformerLosses
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.contracts import Plan
from videogvt.train.parallel import MeshShape

Config = Mapping[str, Any]
RECIPES = ("tokenizer", "transformer", "lm", "classifier", "study")
FOLDERS = {"videos": VideoFolderConfig, "images": ImageFolderConfig} | dict.fromkeys(IMPORTED_LAYOUTS, Cut)
OPTIONS = (
    ("config", str, "name of a world; see docs/world.md and docs/digits.md"),
    ("path", str, "folder of a data set in the clip format"),
    ("codes", str, "name of the set, by which its folder below codes/ is called"),
    ("files", str | None, "folder of .npz files that --mode=import reads; see docs/tokens.md"),
    ("frames", int | None, "frames of a clip that stay, evenly spaced from the first on; None for all"),
    ("crops", int | None, "side in px of single digits that are cut out of the clips; None for whole clips"),
    ("clips", int | None, "size of the training split; None for the world's own"),
    ("workers", int | None, "processes that build the data set; None for one per core"),
)
"""Of sources whose signatures do not say it."""

BUILDER = tuple(field.name for field in dataclasses.fields(tfds.core.BuilderConfig))


@dataclasses.dataclass(frozen=True)
class Study:
    """The section ``study``; see ``study.protocol``.

    Attributes:
      labels: numbers of training clips.
      epochs: passes over them, as many as numbers of labels.
      seeds: of every method.
      subject: the method that the verdict is about.
      rates: factors of each method's learning rate that are tried first; () for none.
      rate_labels: labels they are tried on, one of ``labels``.
      validations: turns of validation in each training.
      corrupted_clips: test clips that are corrupted by noise, blur and occlusion; 0 for none.
      also: worlds whose test splits the methods are asked about too.
    """

    labels: Sequence[int]
    epochs: Sequence[int]
    seeds: int
    subject: str
    rates: Sequence[float]
    rate_labels: int
    validations: int
    corrupted_clips: int
    also: Sequence[str]


def check_config(config: Config) -> None:
    """Looks at every key of a config.

    Args:
      config: plain values.

    Raises:
      ValueError: see ``core.keys.check`` and ``core.registry``.
    """
    refuse_dropped_config(config, "The config")
    for key in _keys(config):
        refuse_earlier_key(key)
    check(schema_of(config), config)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys of a config."""
    for name, value in config.items() if isinstance(config, Mapping) else ():
        yield f"{prefix}{name}"
        yield from _keys(value, f"{prefix}{name}.")


def schema_of(config: Config) -> Section:
    """The schema of a config: what could stand in it, given the names that stand in it.

    Raises:
      ValueError: it names a recipe, a source or a network that there is not.
    """
    recipe = _named(config, "recipe", "config.recipe", RECIPES)
    common = {
        "recipe": Key(Literal[RECIPES], doc="what is trained, or a study of many trainings"),
        "name": Key(str, doc="of the run, by which its directory is called"),
        "seed": Key(int, doc="of weights, batches and all that is random", limits=Limits(0, 2**31 - 1)),
        "mesh": _section("mesh", MeshShape),
    }
    if recipe == "study":
        return Section(common | _study(config))
    return Section(common | _SECTIONS[recipe](config))


def _section(name: str, kind: Callable, *without: str, only: Sequence[str] = (), **how: bool) -> Section:
    return Section(_limited(name, keys_of(kind, *without, only=only)), **how)


def _limited(section: str, keys: Mapping[str, Key | Section]) -> dict[str, Key | Section]:
    """Keys with the limits of their numbers."""
    return {name: dataclasses.replace(key, limits=limits_of(section, name)) if isinstance(key, Key) else key
            for name, key in keys.items()}


def _named(values: Any, key: str, path: str, legal: Sequence[str]) -> str:
    """The name that selects further keys."""
    name = values.get(key) if isinstance(values, Mapping) else None
    if name is None:
        raise ValueError(f"{path} is missing; expected one of {', '.join(legal)}.")
    if name not in legal:
        raise ValueError(unknown_name(f"value of {path}", name, legal))
    return name


def _part(config: Any, name: str) -> Any:
    """A section of a config; {} where it has none."""
    return (config.get(name) or {}) if isinstance(config, Mapping) else {}


# Data and plan


def _data(config: Config, **more: Key | Section) -> Section:
    section = _part(config, "data")
    names = tuple(sources)
    source = _named(section, "source", "config.data.source", names)
    keys = keys_of(FOLDERS[source], *BUILDER) if source in FOLDERS else {}
    if source not in IMPORTED_LAYOUTS:
        keys |= keys_of(sources[source], "split", "fields", "data_dir")
    for name, kind, doc in OPTIONS:
        if name in keys:
            keys[name] = dataclasses.replace(keys[name], kind=kind, doc=doc)
    return Section({
        "source": Key(Literal[names], doc="where clips come from"),
        "options": Section(_limited("options", keys)),
        **more,
    })


def _transforms(*without: str) -> Section:
    kinds = {name: kind for name, kind in TRANSFORMS.items() if name not in without}
    return Section({name: _section(name, kind, required=False) for name, kind in kinds.items()}, required=False)


def _training_data(config: Config) -> Section:
    size = Key(int, doc="clips of a step, of all devices together", limits=Limits(1))
    return _data(config, batch_size=size, transforms=_transforms())


def _train(*without: str) -> Section:
    keys = keys_of(Plan, only=("log_every", "save_every", "keep", "best", "best_mode", "show"))
    keys["steps"] = Key(int, None, "updates in all; this or epochs")
    keys["epochs"] = Key(int, None, "passes over the training clips; this or steps")
    return Section(_limited("train", {name: key for name, key in keys.items() if name not in without}))


def _evals(*without: str, **more: Key | Section) -> Section:
    keys = {
        "every": Key(int, doc="steps from one validation to the next", limits=Limits(1)),
        "limit": Key(int | None, None, "validation clips of a turn; None for all", Limits(1)),
        "batch_size": Key(int, doc="clips that are measured at once", limits=Limits(1)),
        "splits": Key(Sequence[str], ("test", "ood"), "what is measured at the end, as far as the data have it"),
        "transforms": _transforms("random_path"), **more,  # which measures clips as the data set has them
    }
    return Section({name: key for name, key in keys.items() if name not in without})


def _common(config: Config, losses: Callable, **evals: Key | Section) -> dict[str, Section]:
    """The sections that all trainings have."""
    return {
        "data": _training_data(config), "losses": _section("losses", losses),
        "optimizer": _section("optimizer", Adam, "total_steps"), "train": _train(), "evals": _evals(**evals),
    }


# Kinds of training


def _tokenizer(config: Config) -> dict[str, Section]:
    section = _part(config, "tokenizer")
    quantizer = Section({}, required=False)
    if "quantizer" in section:
        kinds = tuple(quantizers)
        kind = _named(section["quantizer"], "name", "config.tokenizer.quantizer.name", kinds)
        name = Key(Literal[kinds], doc="which quantizer")
        quantizer = Section({"name": name, **_limited("quantizer", keys_of(quantizers[kind], "param_dtype"))})
    keys = _limited("tokenizer", keys_of(TokenizerNetwork))
    keys["quantizer"] = dataclasses.replace(quantizer, required=False)
    return _common(config, TokenizerLosses) | {
        "tokenizer": Section(keys),
        "generator": _section("generator", TokenizerRecipe,
                              only=("train_only", "restart_below", "restart_from", "input_noise", "continuous_steps")),
        "discriminator": _section("discriminator", Discriminator, optional=True),
        "perceptual": _perceptual(config),
        "init_from": _start("resize"),
    }


def _perceptual(config: Config) -> Section:
    section, kinds = _part(config, "perceptual"), tuple(NETWORKS)
    keys = {"network": Key(Literal[kinds], doc="which network")}
    if section:
        keys |= keys_of(NETWORKS[_named(section, "network", "config.perceptual.network", kinds)])
    return Section(keys, optional=True)


def _start(*without: str, **more: Key) -> Section:
    keys = keys_of(Start, "tokenizer", *without)
    return Section({**keys, "workdir": Key(str | None, None, keys["workdir"].doc), **more}, required=False)


def _coder() -> Section:
    return Section({
        "run": Key(str | None, doc="a tokenizer's run, exported folder, shipped name or codec:MODULE:OBJECT; None for "
                                   "codes that were imported"),
        "step": Key(int | str, doc="of its checkpoint: best, last or a number"),
    })


def _stage(config: Config, network: str, kind: Callable, decoding: Section, *given: str) -> dict[str, Section]:
    generation = {
        "judge": Key(str | None, doc="workdir of the evaluation classifier; none for no second opinion on classes"),
        "reader": Key(str | None, None, doc="workdir of the classifier of single digits, for clips of moving "
                                           "digits; none for no figures of identities"),
        "per_class": Key(int, 100, "clips to generate of each class", Limits(1)),
        "limit": Key(int, 500, "clips to predict for each task", Limits(1)),
        "split": Key(str, "test", "of the real clips: test for figures that are reported, validation to choose by"),
        "seeds": Key(int, 3, "of what is generated; figures are means over them, with their range", Limits(1)),
        "i3d": Key(str | None, None, "file of weights: measures FVD"),
        "c3d": Key(str | None, None, "file of weights: measures the Inception Score"),
        "fold_clips": Key(int, 10_000, "clips of each fold of both", Limits(2)),
        "folds": Key(int, 4, "of both", Limits(1)),
    }
    tasks = keys_of(TaskTable.build, "video_shape", "latent_shape", "vocabulary", "lead")
    tasks["multitask"] = Key(bool, None, "whether tasks have tokens of their own; by default where there are several")
    return _common(config, TransformerLosses, generation=Section(generation, required=False, optional=True)) | {
        "tokenizer": _coder(), network: _section(network, kind, "vocab_size", *given),
        "tasks": Section(_limited("tasks", tasks)), "decoding": decoding,
    }


def _sampler(config: Config) -> Section:
    kinds, section = tuple(SAMPLERS), {"sampler": "confidence", **_part(config, "decoding")}
    kind = _named(section, "sampler", "config.decoding.sampler", kinds)
    name = Key(Literal[kinds], "confidence", "in which order tokens are drawn, and which are drawn again")
    return Section({"sampler": name, **_limited("decoding", keys_of(SAMPLERS[kind], "grid"))})


def _transformer(config: Config) -> dict[str, Section]:
    table = Key(Literal["random", "codebook"], "random", "what the token embeddings of codes begin as")
    return _stage(config, "transformer", MaskedTransformer, _sampler(config), "sequence_length", "grid") | {
        "masking": _section("masking", Masking), "init_from": _start("resize", "inflation", token_embeddings=table),
    }


def _lm(config: Config) -> dict[str, Section]:
    decoding = _section("decoding", AutoregressiveDecoding)
    return _stage(config, "lm", CausalTransformer, decoding, "sequence_length") | {
        "init_from": _start("resize", "inflation"),
    }


def _classifier(config: Config) -> dict[str, Section]:
    sections = _common(config, ClassifierLosses) | {
        "classifier": _network(_part(config, "classifier"), "config.classifier"), "init_from": _class_embeddings(),
        "examples": dataclasses.replace(_examples(), required=False),
    }
    if "examples" in config:  # which are made of clips as they are, maybe with a tokenizer
        sections |= {"tokenizer": dataclasses.replace(_coder(), required=False), "evals": _evals("transforms")}
    return sections


def _network(section: Any, path: str) -> Section:
    kinds = tuple(CLASSIFIERS)
    kind = CLASSIFIERS[_named(section, "network", f"{path}.network", kinds)]
    fields = keys_of(kind, *GIVEN, "num_codes")
    return Section({"network": Key(Literal[kinds], doc="which network"), **_limited("classifier", fields)})


def _class_embeddings() -> Section:
    table = Key(Literal["random", "codebook", "decoded"], doc="what the token embeddings of codes begin as")
    return Section({"token_embeddings": table}, required=False)


def _examples(*without: str) -> Section:
    return _section("examples", Examples, "opened", "tokenizer", "seed", *without)


_SECTIONS: Mapping[str, Callable[[Config], dict[str, Section]]] = {
    "tokenizer": _tokenizer, "transformer": _transformer, "lm": _lm, "classifier": _classifier,
}


# Studies


def _study(config: Config) -> dict[str, Section]:
    methods = _part(config, "methods")
    return {
        "study": _section("study", Study), "data": _data(config), "losses": _section("losses", ClassifierLosses),
        "train": _train("steps", "epochs", "save_every"), "evals": _evals("every", "transforms"),
        "methods": Section({name: _method(one, f"config.methods.{name}") for name, one in methods.items()}),
    }


def _method(method: Any, path: str) -> Section:
    """A way to classify: what its recipe looks at."""
    recipes = ("classifier", "tracks", "oracle")
    recipe = _named(method, "recipe", f"{path}.recipe", recipes)
    keys = {
        "recipe": Key(Literal[recipes], doc="a network, a model of tracks, or the oracle"),
        "controls": Key(Sequence[str], doc="names of study.controls"),
        "examples": _examples("labels", "also"),
    }
    if recipe == "classifier":
        keys |= {
            "batch_size": Key(int, doc="clips of a step", limits=Limits(1)),
            "tokenizer": dataclasses.replace(_coder(), required=False),
            "classifier": _network(_part(method, "classifier"), f"{path}.classifier"),
            "optimizer": _section("optimizer", Adam, "total_steps"),
            "losses": _section("losses", ClassifierLosses, required=False), "init_from": _class_embeddings(),
        }
    elif recipe == "tracks":
        keys["track_model"] = _section("track_model", TrackModel, "num_classes", "seed")
    return Section(keys)
