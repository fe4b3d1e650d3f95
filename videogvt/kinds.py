"""The kinds of training that ``config.recipe`` names: how each makes recipe and evaluators of its sections of a config.

A kind gets plain values. What it needs beyond them (the plan, the training data) is made before, in ``experiment``.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.core.sections import check_keys, configure
from videogvt.core.trees import frozen
from videogvt.evals import trivial
from videogvt.evals.classification import ClassificationEval
from videogvt.evals.generators import evaluators_of
from videogvt.evals.judge import load_judge, load_reader
from videogvt.evals.modelability import ModelabilityEval
from videogvt.evals.published import Published
from videogvt.evals.reconstruction import TRUTH_FIELDS, ReconstructionEval
from videogvt.evals.tokens import TokenEval
from videogvt.inputs.sources import ClipSource, training_fields
from videogvt.inputs.training import TrainingData
from videogvt.inputs.transformed import TransformedSource
from videogvt.inputs.transforms import make_transforms
from videogvt.nn.classifiers import Classifier, make_classifier
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import VideoTokenizer
from videogvt.ops.masking import Masking
from videogvt.pretrained.code_pictures import look_vectors
from videogvt.pretrained.codec import holds_videos, tokenizer_of
from videogvt.pretrained.codes import independent_codes
from videogvt.pretrained.examples import ExampleData, Examples
from videogvt.pretrained.generation import Stage, causal_generation, masked_generation, vocabulary_and_tasks
from videogvt.pretrained.outside import Outside
from videogvt.pretrained.split_tables import Opened
from videogvt.pretrained.token_data import TokenData
from videogvt.recipes import perceptual
from videogvt.recipes.classifier import ClassifierLosses, ClassifierRecipe
from videogvt.recipes.lm import LanguageRecipe
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.start import SAME, CodebookWords, Growth, Start
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.recipes.transformer import StageRecipe, TransformerLosses, TransformerRecipe
from videogvt.tasks import TaskTable
from videogvt.train.contracts import Evaluator, Plan, Recipe, When
from videogvt.train.program import Program
from videogvt.train.state import TrainState

WORDS_OF_CLASSIFIERS = {"share": 1.0, "deviation": 1.0, "table": "codes"}  # as inputs alone they may be alike

WORDS = ("random", "codebook", "decoded")
"""What a table of codes may begin as; the last in classifiers alone, which do not say codes."""

ANSWERS_LIMIT = 256
"""Clips on which trivial answers are measured: they vary little, and all of them cost three times the tokenizer's."""


def _tokenizer(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> TokenizerRecipe:
    model = configure(VideoTokenizer, "tokenizer", frozen(config["tokenizer"]))
    frames, height, width = data.first_batch["video"].shape[1:4]
    model.latent_shape((frames, height, width))
    discriminator = config["discriminator"]
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


def _start(config: Mapping[str, Any], **given: Any) -> Start | None:
    """Another run's weights, where ``config.init_from`` names one."""
    if not config.get("init_from") or config["init_from"].get("workdir") is None:
        return None
    return configure(Start, "init_from", config["init_from"], **given)


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
        recipe.model.latent_shape(_clip(common["source"]))  # or an error, before anything is trained
        return ReconstructionEval(
            split=split, reconstruct=recipe.predict_fns["reconstruct"], num_codes=recipe.model.num_codes,
            answers=answers, answers_limit=ANSWERS_LIMIT, untrained=None if split == "validation" else untrained,
            **common,
        )

    return evaluator


def _modelability(
    config, recipe: TokenizerRecipe, plan: Plan, data: TrainingData, opened
) -> Mapping[str, Evaluator]:
    """An evaluator of whether the codes can be modelled, at the end, on "test" where that is measured, else on
    "validation"."""
    evals, predict = config["evals"], recipe.predict_fns
    measured = {"validation", *evals.get("splits", ("test",))} & {*data.source.splits}
    if not measured & {"test", "validation"}:
        return {}
    split = "test" if "test" in measured else "validation"
    fields = tuple(name for name in ("video", "label", *TRUTH_FIELDS) if name in data.source.available)
    return {"modelability": ModelabilityEval(
        source=opened(split, fields), split=split, seed=config["seed"], weights="ema" if recipe.losses.ema_decay else
        "params", train=TransformedSource.of(data.source, make_transforms("evals", evals)), codes=predict["codes"],
        video=predict["video"], embed=predict["embed"], num_codes=recipe.model.num_codes,
        local=recipe.model.spectrum is None, lead=recipe.model.lead, when=When(end=True),
        batch_size=evals["batch_size"],
    )}


def _clip(source: ClipSource) -> tuple[int, int, int]:
    """(T, H, W) of a source's clips."""
    return source.read([0])["video"].shape[1:4]


def _check_clip(source: ClipSource, split: str, trained_on: tuple[int, int, int]) -> None:
    """An error where clips are of another size than the network is for, before anything is trained."""
    if _clip(source) != tuple(trained_on):
        raise ValueError(f"The clips of {split!r} are of (T, H, W) = {_clip(source)}, those that the network learns "
                         f"from of {tuple(trained_on)}; change config.evals.transforms or config.data.transforms.")


def examples_of(config: Mapping[str, Any], data_dir) -> Examples:
    """The examples that ``config.examples`` describes, with the tokenizer that ``config.tokenizer`` names."""
    tokenizer, opened = None, Opened.of(config["data"], data_dir)
    if "tokenizer" in config:
        check_keys("tokenizer", config["tokenizer"], ("run", "step"))
        tokenizer = tokenizer_of(config["tokenizer"], opened.split("train", training_fields(opened.source)))
    return configure(Examples, "examples", config["examples"], seed=config["seed"], tokenizer=tokenizer, opened=opened)


def _example_data(config: Mapping[str, Any], data: TrainingData, data_dir) -> TrainingData:
    """The clips as they are; as ``config.examples`` asks for them where there is such a section."""
    if "examples" not in config:
        return data
    examples = examples_of(config, data_dir)
    if data.transforms and (examples.field == "codes" or examples.target is not None):
        raise ValueError(f"config.data.transforms change clips, but not their {examples.field} or positions that were "
                         "made before; remove the transforms, or ask for the class of pixels alone.")
    return ExampleData(examples=examples, **(vars(data) | {"source": examples.split("train")}))


def _classifier(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> ClassifierRecipe:
    classes = data.source.class_names
    if len(classes) < 2:
        raise ValueError(f"{data.source} has {len(classes)} classes; a classifier needs two at least. Name a data set "
                         "with labels; of a folder of videos, the subfolders are the classes.")
    common = {
        "losses": configure(ClassifierLosses, "losses", config["losses"]),
        "optimizer": configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
    }
    coder = data.examples.coder if isinstance(data, ExampleData) and data.examples.input == "codes" else None
    check_keys("init_from", config.get("init_from", {}), ("words",))
    codes_Bthw = data.first_batch["codes"] if coder is not None else None
    _, words = _with_words(config, coder, codes_Bthw, **WORDS_OF_CLASSIFIERS)
    if not isinstance(data, ExampleData):
        return ClassifierRecipe(model=make_classifier(config["classifier"], len(classes)), **common)
    examples, section, frozen_params = data.examples, dict(config["classifier"]), {}
    if coder is not None:
        section["num_codes"] = coder.num_codes
    positions = len(examples.scale[0]) if examples.target is not None else 0
    model = make_classifier(section, len(classes) * examples.classes, positions)
    sees = "codes" if examples.field == "codes" else "pixels"
    if isinstance(model, Classifier) and model.sees != sees:
        raise ValueError(f"config.classifier.network is {config['classifier']['network']!r}, which sees {model.sees}; "
                         f"config.examples.input is {examples.input!r}. Change one of them.")
    if bool(positions) != bool(common["losses"].position):
        raise ValueError(f"losses.position is {common['losses'].position} and config.examples.target "
                         f"{examples.target!r}; give both, or 0 and None.")
    latents = examples.input == "latents"
    if latents:
        frozen_params = {"tokenizer": jax.device_get(examples.coder.params)}
    return ClassifierRecipe(
        model=model, field=examples.field, tokenizer=examples.coder.network if latents else None,
        frozen=frozen_params, start=words, **common,
    )


def _classification(config, recipe: ClassifierRecipe, plan: Plan, data: TrainingData) -> Callable[..., Evaluator]:
    """Evaluators of a classifier; chance stands beside it."""
    if not isinstance(data, ExampleData):

        def of_clips(**common) -> ClassificationEval:
            _check_clip(common["source"], common["split"], data.first_batch["video"].shape[1:4])
            return ClassificationEval(classify=recipe.predict_fns["classify"], **common)

        return of_clips
    examples = data.examples

    def evaluator(*, source, split: str, **common) -> ClassificationEval:
        del source  # of clips as they are
        return ClassificationEval(
            source=examples.split(split), split=split, classify=recipe.predict_fns["answer"], field=examples.field,
            target=examples.asked, scale=examples.scale if examples.target is not None else None, **common,
        )

    return evaluator


def _other_worlds(config, recipe: ClassifierRecipe, plan: Plan, data: TrainingData, opened) -> Mapping[str, Evaluator]:
    """Evaluators on the test splits of ``config.examples.also``, at the end."""
    if not isinstance(data, ExampleData):
        return {}
    evaluator = _classification(config, recipe, plan, data)
    return {name: evaluator(source=None, split=name, seed=config["seed"], when=When(end=True), limit=None,
                            weights="ema" if recipe.losses.ema_decay else "params",
                            batch_size=config["evals"]["batch_size"]) for name in data.examples.also}


def _token_data(config: Mapping[str, Any], data: TrainingData, data_dir) -> TokenData:
    """The training clips with the tokenizer that ``config.tokenizer`` names, as codes where no task sees pixels.

    With ``config.tokenizer.keep_conditions`` also where tasks do: their padded clips become codes once as well.

    Raises:
      FileNotFoundError: there is no such tokenizer.
      ValueError: it was trained on clips of another size, or cannot read these; the data cannot be kept as codes.
    """
    section = config["tokenizer"]
    check_keys("tokenizer", section, ("run", "step", "keep_conditions"))
    tokenizer = tokenizer_of(section, data.source)
    clips = TokenData(tokenizer=tokenizer, cached=False, data_dir=data_dir, **vars(data))
    found, expected = clips.video_shape, tokenizer.trained_on
    if expected not in (None, found):
        raise ValueError(
            f"config.data has clips of (T, H, W) = {found}; config.tokenizer.run = {section['run']!r} was trained on "
            f"{expected}. Name the run of a tokenizer of such clips, or choose data of {expected}."
        )
    _, tasks = vocabulary_and_tasks(config, tokenizer.network, found, len(data.source.class_names))
    outside = isinstance(tokenizer.network, Outside)
    if not holds_videos(data.source):
        if data.transforms or config["evals"].get("transforms"):
            raise ValueError("config.data.transforms and config.evals.transforms change videos, and config.data has "
                             "codes alone; leave them out.")
        _check_codes_are_enough(tasks)
        return clips
    kept = outside or section.get("keep_conditions", False)
    if kept and tasks.needs_condition:
        return dataclasses.replace(clips, cached=kept, tasks=tasks)
    cached = outside or not data.transforms and bool(data.source.split_hash)
    return dataclasses.replace(clips, cached=cached, with_videos=cached and tasks.needs_condition)


def _check_codes_are_enough(tasks: TaskTable) -> None:
    needing = [name for name, shown_THW in zip(tasks.names, tasks.visible_nTHW) if shown_THW.any()]
    if needing:
        raise ValueError(
            f"config.tasks.names has {', '.join(needing)}, which are given pixels: a transformer is told them as the "
            "codes of padded videos, and config.data has codes alone. Take tasks without pixels ('CG'), or train on "
            "the videos with the codec itself, config.tokenizer.run = 'codec:MODULE:OBJECT'.")


def _transformer(config: Mapping[str, Any], plan: Plan, data: TokenData) -> TransformerRecipe:
    generation = masked_generation(config, *_stage_of(data))
    config, words = _with_words(config, data.tokenizer)
    learning = _learning(config, plan, data, generation)
    return TransformerRecipe(
        generation=generation, masking=configure(Masking, "masking", config["masking"]),
        **{**learning, "start": learning["start"] or words},  # another run's words are better ones
    )


def _lm(config: Mapping[str, Any], plan: Plan, data: TokenData) -> LanguageRecipe:
    generation = causal_generation(config, *_stage_of(data))
    return LanguageRecipe(generation=generation, **_learning(config, plan, data, generation))


def _with_empty_code(config: Mapping[str, Any], data: TokenData) -> Mapping[str, Any]:
    """The config with a number in the place of every ``empty = "most_frequent"``, for who has no training clips."""
    sections = [name for name in ("losses", "decoding") if config[name].get("empty") == "most_frequent"]
    return {**config, **{name: {**config[name], "empty": data.most_frequent_code} for name in sections}}


def _stage_of(data: TokenData) -> tuple[VideoTokenizer, tuple[int, int, int], int]:
    return data.tokenizer.network, data.video_shape, len(data.source.class_names)


def _learning(config: Mapping[str, Any], plan: Plan, data: TokenData, generation: Stage) -> dict[str, Any]:
    """What both recipes of the second stage learn with."""
    return {
        "losses": configure(TransformerLosses, "losses", config["losses"]),
        "optimizer": configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
        "frozen": {"tokenizer": jax.device_get(data.tokenizer.params)},
        "start": _start(config, inflation=SAME, grow=Growth(generation.vocabulary)),
    }


def _with_words(
    config: Mapping[str, Any], tokenizer: VideoTokenizer | None, codes_Bthw=None, **fields: Any
) -> tuple[Mapping[str, Any], CodebookWords | None]:
    """The config without ``init_from.words``, and the start that this asks for, a ``CodebookWords`` with ``fields``;
    None for random words. "decoded" needs the codes of some clips, whose most frequent one is that of blank cells."""
    if "init_from" not in config or "words" not in config["init_from"]:
        return config, None
    section = dict(config["init_from"])
    words = section.pop("words")
    if words not in WORDS:
        raise ValueError(unknown_name("value of init_from.words", words, WORDS))
    if words == "random":
        return {**config, "init_from": section}, None
    if tokenizer is None:
        raise ValueError(f"init_from.words is {words!r}, and the inputs are no codes of a tokenizer. Ask for codes, or "
                         "leave init_from.words out.")
    if words == "decoded":  # which the schema allows classifiers alone
        vectors_KD = look_vectors(tokenizer, int(np.bincount(codes_Bthw.ravel()).argmax()))
    else:
        vectors_KD = tokenizer.embed(np.arange(tokenizer.num_codes, dtype=np.int32).reshape(-1, 1, 1, 1))
    vectors_KD = np.asarray(vectors_KD, np.float32).reshape(tokenizer.num_codes, -1)
    return {**config, "init_from": section}, CodebookWords(vectors_KD, **fields)


def _tokens(config, recipe: StageRecipe, plan: Plan, data: TokenData) -> Callable[..., Evaluator]:
    """Evaluators of a transformer on the codes of its split, on as many clips at the end as in every turn."""

    def evaluator(*, limit: int | None, **common) -> TokenEval:
        del limit
        if holds_videos(data.source):
            _check_clip(common["source"], common["split"], data.video_shape)
        common["source"] = data.readable(common["source"])
        return TokenEval(judge=recipe.predict_fns["loss"], tasks=recipe.generation.tasks.names,
                         limit=config["evals"].get("limit"), **common)

    return evaluator


def _generated(config, recipe: StageRecipe, plan: Plan, data: TokenData, opened) -> Mapping[str, Evaluator]:
    """Evaluators of what a transformer generates and predicts, at the end, where ``config.evals.generation`` is."""
    evals = config["evals"]
    if evals.get("generation") is None:
        return {}
    if recipe.generation.outside:
        raise ValueError(
            "config.evals.generation decodes and judges within one compiled program, and these codes are decoded "
            "outside. Set it to None, and look at what --mode=generate makes.")
    section, masked = dict(evals["generation"]), isinstance(recipe, TransformerRecipe)
    scores = ("i3d", "c3d", "fold_clips", "folds")
    check_keys("evals.generation", section, ("judge", "reader", "per_class", "limit", "split", "seeds", *scores))
    judge, reader = section.pop("judge"), section.pop("reader", None)
    published = Published.of(**{name: section.pop(name) for name in scores if name in section})
    return evaluators_of(
        recipe.predict_fns, recipe.generation.tasks, opened, seed=config["seed"], settings=config["decoding"],
        weights="ema" if recipe.losses.ema_decay else "params", batch_size=evals["batch_size"],
        judge=load_judge(judge, data.source.class_names) if judge else None,
        reader=load_reader(reader) if reader else None, published=published, watch=masked, **section,
        independent=lambda: independent_codes(
            data.tokenizer, opened("train", ("video", "label")), recipe.predict_fns["video"]),
    )


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of training, which ``config.recipe`` names.

    Attributes:
      recipe: makes it from config, plan and training data.
      evaluator: of config, recipe, plan and training data, makes the function that makes a split's evaluator.
      fields: what its evaluators read, as far as the data have it.
      data: of config, clips in batches and the root of the data sets, makes the training data.
      further: of config, recipe, plan, training data and a function (split, fields) that opens a source as evaluators
        see it, makes evaluators by name besides those of the splits.
      derived: of config and training data, makes the config with what follows from the data; it is the one that the run
        keeps.
    """

    recipe: Callable[..., Recipe]
    evaluator: Callable[..., Callable[..., Evaluator]]
    fields: tuple[str, ...]
    data: Callable[..., TrainingData] = lambda config, data, data_dir: data
    further: Callable[..., Mapping[str, Evaluator]] = lambda config, recipe, plan, data, opened: {}
    derived: Callable[..., Mapping[str, Any]] = lambda config, data: config


KINDS: Mapping[str, Kind] = {
    "tokenizer": Kind(
        _tokenizer, _reconstruction, ("video", "label", "id", *TRUTH_FIELDS), further=_modelability),
    "classifier": Kind(_classifier, _classification, ("video", "label", "id"), _example_data, _other_worlds),
    "transformer": Kind(
        _transformer, _tokens, ("video", "codes", "label", "id"), _token_data, _generated, _with_empty_code),
    "lm": Kind(_lm, _tokens, ("video", "codes", "label", "id"), _token_data, _generated, _with_empty_code),
}
