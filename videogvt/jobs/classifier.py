"""Classifiers: of clips, or of the examples that are made of them (codes, latents, other targets)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from videogvt.core.registry import check_keys, configure
from videogvt.evals.classification import ClassificationEval
from videogvt.inputs.pipeline import TrainingData
from videogvt.inputs.sources import training_fields
from videogvt.jobs import experiment
from videogvt.jobs.examples import ExampleData, Examples
from videogvt.jobs.experiment import Experiment
from videogvt.jobs.tables import Opened
from videogvt.nn.classifiers import Classifier, make_classifier
from videogvt.pretrained.codec import tokenizer_of
from videogvt.recipes.classifier import ClassifierLosses, ClassifierRecipe
from videogvt.recipes.optimizer import Adam
from videogvt.train.contracts import Evaluator, Plan, When

_FIELDS = ("video", "label", "id")
"""What evaluators read, as far as the data have it."""

_EMBEDDINGS = {"share": 1.0, "std": 1.0, "table": "codes"}
"""Of a table that begins with the vectors of codes: as inputs alone they may be alike."""


def build(config: Mapping[str, Any], workdir: epath.Path, data_dir: epath.PathLike | None) -> Experiment:
    """The training of a classifier; chance stands beside it."""
    data = _data(config, experiment.training_data(config, data_dir), data_dir)
    plan = experiment.plan_of(config, data)
    recipe = _recipe(config, plan, data)
    plan = dataclasses.replace(plan, learning_rate=recipe.optimizer.rate)
    if not isinstance(data, ExampleData):

        def of_clips(**common) -> Evaluator:
            experiment.check_clip(common["source"], common["split"], data.first_batch["video"].shape[1:4])
            return ClassificationEval(classify=recipe.predict_fns["classify"], **common)

        evaluators = experiment.each_split(config, recipe, data, _FIELDS, of_clips, data_dir)
        return Experiment(config["name"], recipe, data, evaluators, plan, workdir)
    examples = data.examples

    def of_examples(*, split: str, source=None, **common) -> Evaluator:
        del source  # of clips as they are
        return ClassificationEval(
            source=examples.split(split), split=split, classify=recipe.predict_fns["answer"], field=examples.field,
            target=examples.asked, scale=examples.scale if examples.target is not None else None, **common)

    evaluators = experiment.each_split(config, recipe, data, _FIELDS, of_examples, data_dir)
    for name in examples.also:  # the test splits of other worlds, at the end
        evaluators[name] = of_examples(split=name, when=When(end=True), limit=None,
                                       **experiment.common_to_evaluators(config, recipe))
    return Experiment(config["name"], recipe, data, evaluators, plan, workdir)


def examples_of(config: Mapping[str, Any], data_dir) -> Examples:
    """The examples that ``config.examples`` describes, with the tokenizer that ``config.tokenizer`` names."""
    tokenizer, opened = None, Opened.of(config["data"], data_dir)
    if "tokenizer" in config:
        check_keys("tokenizer", config["tokenizer"], ("run", "step"))
        tokenizer = tokenizer_of(config["tokenizer"], opened.split("train", training_fields(opened.source)))
    return configure(Examples, "examples", config["examples"], seed=config["seed"], tokenizer=tokenizer, opened=opened)


def _data(config: Mapping[str, Any], data: TrainingData, data_dir) -> TrainingData:
    """The clips as they are; as ``config.examples`` asks for them where there is such a section."""
    if "examples" not in config:
        return data
    examples = examples_of(config, data_dir)
    if data.transforms and (examples.field == "codes" or examples.target is not None):
        raise ValueError(f"config.data.transforms change clips, but not their {examples.field} or positions that were "
                         "made before; remove the transforms, or ask for the class of pixels alone.")
    return ExampleData(examples=examples, **(vars(data) | {"source": examples.split("train")}))


def _recipe(config: Mapping[str, Any], plan: Plan, data: TrainingData) -> ClassifierRecipe:
    classes = data.source.class_names
    if len(classes) < 2:
        raise ValueError(f"{data.source} has {len(classes)} classes; a classifier needs two at least. Name a data set "
                         "with labels; of a folder of videos, the subfolders are the classes.")
    common = {
        "losses": configure(ClassifierLosses, "losses", config["losses"]),
        "optimizer": configure(Adam, "optimizer", config["optimizer"], total_steps=plan.total_steps),
    }
    coder = data.examples.coder if isinstance(data, ExampleData) and data.examples.input == "codes" else None
    check_keys("init_from", config.get("init_from", {}), ("token_embeddings",))
    codes_Bthw = data.first_batch["codes"] if coder is not None else None
    _, start = experiment.embeddings_of(config, coder, codes_Bthw, **_EMBEDDINGS)
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
        frozen=frozen_params, start=start, **common,
    )
