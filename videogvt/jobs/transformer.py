"""The second stage: a masked transformer, or the causal baseline, on the codes of a trained tokenizer."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath

from videogvt.core.registry import check_keys, configure
from videogvt.core.trees import tree_hash
from videogvt.evals.generators import evaluators_of
from videogvt.evals.published import Published
from videogvt.evals.tokens import TokenEval
from videogvt.inputs.pipeline import TrainingData
from videogvt.jobs import experiment
from videogvt.jobs.experiment import Experiment
from videogvt.jobs.judges import load_judge, load_reader
from videogvt.jobs.token_data import TokenData
from videogvt.models.generation import causal_generation, masked_generation
from videogvt.models.tasks import TaskTable
from videogvt.models.token_model import Outside, TokenModel, vocabulary_and_tasks
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.ops.masking import Masking
from videogvt.pretrained.codec import holds_videos, tokenizer_of
from videogvt.pretrained.codes import independent_codes
from videogvt.pretrained.start import SAME, VocabularyResizing
from videogvt.recipes.lm import LanguageRecipe
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.token_model import TokenModelRecipe, TransformerLosses
from videogvt.recipes.transformer import TransformerRecipe
from videogvt.train.contracts import Evaluator, Plan

_FIELDS = ("video", "codes", "label", "id")
"""What evaluators read, as far as the data have it."""


def build_masked(config: Mapping[str, Any], workdir: epath.Path, data_dir: epath.PathLike | None) -> Experiment:
    """The training of a masked transformer: how well it names hidden codes, what it generates and predicts."""
    return _build(_masked, config, workdir, data_dir)


def build_causal(config: Mapping[str, Any], workdir: epath.Path, data_dir: epath.PathLike | None) -> Experiment:
    """The same of a transformer that says one code after another."""
    return _build(_causal, config, workdir, data_dir)


def _build(recipe_of: Callable[..., TokenModelRecipe], config: Mapping[str, Any], workdir, data_dir) -> Experiment:
    data = _data(config, experiment.training_data(config, data_dir), data_dir)
    config = _with_empty_code(config, data)
    plan = experiment.plan_of(config, data)
    recipe = recipe_of(config, plan, data)
    plan = dataclasses.replace(plan, learning_rate=recipe.optimizer.rate)

    def tokens(*, limit: int | None, **common) -> Evaluator:
        """On as many clips at the end as in every turn."""
        del limit
        if holds_videos(data.source):
            experiment.check_clip(common["source"], common["split"], data.video_shape)
        common["source"] = data.readable(common["source"])
        return TokenEval(measure=recipe.predict_fns["loss"], tasks=recipe.generation.tasks.names,
                         limit=config["evals"].get("limit"), **common)

    evaluators = experiment.each_split(config, recipe, data, _FIELDS, tokens, data_dir)
    opened = functools.partial(experiment.open_for_evaluation, config, data_dir=data_dir)
    evaluators |= _generated(config, recipe, data, opened)
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def _data(config: Mapping[str, Any], data: TrainingData, data_dir) -> TokenData:
    """The training clips with the tokenizer that ``config.tokenizer`` names, as codes that are written once where the
    clips never change, and beside these the clips where tasks see pixels.

    A codec outside cannot be asked while training, so that its codes of clips and conditions are written before.

    Raises:
      FileNotFoundError: there is no such tokenizer.
      ValueError: it was trained on clips of another size, or cannot read these; the data cannot be kept as codes.
    """
    section = config["tokenizer"]
    check_keys("tokenizer", section, ("run", "step"))
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
    if outside:
        return dataclasses.replace(clips, cached=True, tasks=tasks if tasks.needs_condition else None)
    cached = not data.transforms and bool(data.source.split_hash)
    return dataclasses.replace(clips, cached=cached, with_videos=cached and tasks.needs_condition)


def _check_codes_are_enough(tasks: TaskTable) -> None:
    needing = [name for name, shown_THW in zip(tasks.names, tasks.visible_nTHW) if shown_THW.any()]
    if needing:
        raise ValueError(
            f"config.tasks.names has {', '.join(needing)}, which are given pixels: a transformer is told them as the "
            "codes of padded videos, and config.data has codes alone. Take tasks without pixels ('CG'), or train on "
            "the videos with the codec itself, config.tokenizer.run = 'codec:MODULE:OBJECT'.")


def _masked(config: Mapping[str, Any], plan: Plan, data: TokenData) -> TransformerRecipe:
    generation = masked_generation(config, *_stage_of(data))
    config, embeddings = experiment.embeddings_of(config, data.tokenizer)
    learning = _learning(config, plan, data, generation)
    return TransformerRecipe(
        generation=generation, masking=configure(Masking, "masking", config["masking"]),
        **{**learning, "start": learning["start"] or embeddings},  # another run's are better ones
    )


def _causal(config: Mapping[str, Any], plan: Plan, data: TokenData) -> LanguageRecipe:
    generation = causal_generation(config, *_stage_of(data))
    return LanguageRecipe(generation=generation, **_learning(config, plan, data, generation))


def _with_empty_code(config: Mapping[str, Any], data: TokenData) -> Mapping[str, Any]:
    """The config with a number in the place of every ``empty = "most_frequent"``, for who has no training clips."""
    sections = [name for name in ("losses", "decoding") if config[name].get("empty") == "most_frequent"]
    return {**config, **{name: {**config[name], "empty": data.most_frequent_code} for name in sections}}


def _stage_of(data: TokenData) -> tuple[TokenizerNetwork, tuple[int, int, int], int]:
    return data.tokenizer.network, data.video_shape, len(data.source.class_names)


def _learning(config: Mapping[str, Any], plan: Plan, data: TokenData, generation: TokenModel) -> dict[str, Any]:
    """What both recipes of the second stage learn with."""
    params = jax.device_get(data.tokenizer.params)
    return {
        "losses": configure(TransformerLosses, "losses", config["losses"]),
        "optimizer": configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
        "frozen": {"tokenizer": params},
        "start": experiment.start_of(config, inflation=SAME, resize=VocabularyResizing(generation.vocabulary),
                                     tokenizer=tree_hash(params)),
    }


def _generated(
    config: Mapping[str, Any], recipe: TokenModelRecipe, data: TokenData, opened: Callable
) -> Mapping[str, Evaluator]:
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
        recipe.predict_fns, recipe.generation.tasks, opened, settings=config["decoding"],
        **experiment.common_to_evaluators(config, recipe),
        judge=load_judge(judge, data.source.class_names) if judge else None,
        reader=load_reader(reader) if reader else None, published=published, watch=masked, **section,
        independent=lambda: independent_codes(
            data.tokenizer, opened("train", ("video", "label")), recipe.predict_fns["video"]),
    )
