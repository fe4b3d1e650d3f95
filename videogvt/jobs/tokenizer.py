"""The first stage: a video tokenizer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from videogvt.core.registry import configure
from videogvt.core.trees import frozen
from videogvt.evals import baselines
from videogvt.evals.modelability import ModelabilityEval
from videogvt.evals.reconstruction import TRUTH_FIELDS, ReconstructionEval
from videogvt.inputs.pipeline import TrainingData, TransformedSource
from videogvt.inputs.transforms import make_transforms
from videogvt.jobs import experiment, judges
from videogvt.jobs.experiment import Experiment
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.contracts import Evaluator, Plan, When
from videogvt.train.program import Program
from videogvt.train.state import TrainState

_FIELDS = ("video", "label", "id", *TRUTH_FIELDS)
"""What evaluators read, as far as the data have it."""

BASELINES_LIMIT = 256
"""Clips on which baselines are measured: they vary little, and all of them cost three times the tokenizer's."""


def build(config: Mapping[str, Any], workdir: epath.Path, data_dir: epath.PathLike | None) -> Experiment:
    """The training of a tokenizer: reconstruction beside the baselines, and whether its codes can be modelled."""
    data = experiment.training_data(config, data_dir)
    plan = experiment.plan_of(config, data)
    recipe = _recipe(config, plan, data)
    plan = dataclasses.replace(plan, learning_rate=recipe.optimizer.rate)
    train = TransformedSource.of(data.source, make_transforms("evals", config["evals"]))
    others = {"background": baselines.background, "mean_frame": baselines.mean_frame,
              "nearest_clip": baselines.NearestClip(train)}

    def untrained() -> TrainState:
        other = dataclasses.replace(recipe, start=None), dataclasses.replace(plan, seed=plan.seed + 1)
        return Program(*other, data.first_batch).fresh()

    def reconstruction(*, split: str, **common) -> Evaluator:
        """At the end an untrained tokenizer of the same size stands beside it."""
        recipe.model.latent_shape(experiment.clip_of(common["source"]))  # or an error, before anything is trained
        return ReconstructionEval(
            split=split, reconstruct=recipe.predict_fns["reconstruct"], num_codes=recipe.model.num_codes,
            baselines=others, baselines_limit=BASELINES_LIMIT, untrained=None if split == "validation" else untrained,
            **common)

    evaluators = experiment.each_split(config, recipe, data, _FIELDS, reconstruction, data_dir)
    evaluators |= _modelability(config, recipe, data, train, data_dir)
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def _recipe(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> TokenizerRecipe:
    model = configure(TokenizerNetwork, "tokenizer", frozen(config["tokenizer"]))
    frames, height, width = data.first_batch["video"].shape[1:4]
    model.latent_shape((frames, height, width))
    discriminator = config["discriminator"]
    network = judges.load_perceptual(**config["perceptual"]) if config["perceptual"] else None
    return TokenizerRecipe(
        model=model,
        losses=configure(TokenizerLosses, "losses", config["losses"]),
        optimizer=configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
        discriminator=configure(Discriminator, "discriminator", frozen(discriminator)) if discriminator else None,
        perceptual=network.features if network else None,
        frozen={"perceptual": network.params} if network else {},
        start=experiment.start_of(config),
        **config["generator"],
    )


def _modelability(
    config: Mapping[str, Any], recipe: TokenizerRecipe, data: TrainingData, train: TransformedSource, data_dir
) -> dict[str, Evaluator]:
    """Whether the codes can be modelled, at the end: on "test" where that is measured, else on "validation"."""
    predict = recipe.predict_fns
    measured = {"validation", *config["evals"].get("splits", ("test",))} & {*data.source.splits}
    if not measured & {"test", "validation"}:
        return {}
    split = "test" if "test" in measured else "validation"
    fields = tuple(name for name in ("video", "label", *TRUTH_FIELDS) if name in data.source.available)
    return {"modelability": ModelabilityEval(
        source=experiment.open_for_evaluation(config, split, fields, data_dir), split=split, train=train,
        codes=predict["codes"], video=predict["video"], embed=predict["embed"], num_codes=recipe.model.num_codes,
        lead=recipe.model.lead, when=When(end=True), **experiment.common_to_evaluators(config, recipe))}
