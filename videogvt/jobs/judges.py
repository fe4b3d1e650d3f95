"""Networks that were trained before and that a run asks: judges of generated clips, perceptual networks; or an error.

A judge is a classifier of clips that was trained here. It names the classes of generated clips, and it is a perceptual
network of the tokenizer; the other one is an ImageNet ResNet-50.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from etils import epath

from videogvt.core.registry import configure, stored_config, unknown_name
from videogvt.evals.published import DigitReader, EvaluationClassifier
from videogvt.inputs.digits import NAMES
from videogvt.nn.classifiers import make_classifier
from videogvt.nn.resnet import ResNet50, load_resnet50
from videogvt.train import journal
from videogvt.train.checkpoint import load_params

TRAIN_JUDGE = "python run.py --config=configs/classifier_traj.py:judge"
TRAIN_READER = "python run.py --config=configs/classifier_digits.py"


class TrainedJudge(NamedTuple):
    """The judge's network with its weights, and the section ``data`` of its config."""

    model: nn.Module
    params: Any
    data: dict[str, Any]


def load_trained_judge(
    workdir: epath.PathLike, section: str, class_names: Sequence[str] | None = None, command: str = TRAIN_JUDGE
) -> TrainedJudge:
    """The judge of a finished run.

    Args:
      workdir: of the run.
      section: of the config that names it, for the messages.
      class_names: those that it must name, in the order of its logits; None for any.
      command: that trains one, for the messages.

    Raises:
      FileNotFoundError: there is no finished run.
      ValueError: the run is not a judge's, or names other classes.
    """
    workdir = epath.Path(workdir)
    final = journal.read_eval(workdir)
    if final is None:
        found = "a run that is not finished" if (workdir / "config.json").exists() else "no run"
        raise FileNotFoundError(f"{section} is to be the trained classifier of {workdir}, which holds {found}. "
                                f"Train it first: {command} --workdir={workdir}")
    config = stored_config(workdir / "config.json")
    found = config["classifier"].get("network") if config["recipe"] == "classifier" else config["recipe"]
    if found != "judge":
        raise ValueError(f"{section} is {workdir}, which holds a {found}; expected a judge, as {command} "
                         "trains it.")
    names = next(facts["class_names"] for facts in final["about"]["evaluators"].values())
    if class_names is not None and list(names) != list(class_names):
        raise ValueError(f"The judge of {workdir} names the classes {', '.join(names)}; those of the clips are "
                         f"{', '.join(class_names) or 'none'}. Train a judge on the same data set: {command}")
    model = make_classifier(config["classifier"], num_classes=len(names))
    return TrainedJudge(model, load_params(workdir)["classifier"], config["data"])


def load_judge(workdir: epath.PathLike, class_names: Sequence[str]) -> EvaluationClassifier:
    """The classifier of a finished run; its features are the pooled ones before its linear head.

    Args:
      workdir: of the run.
      class_names: the classes that it shall name, in their order.

    Raises:
      FileNotFoundError: there is no finished run.
      ValueError: the run is not a judge's, or names other classes.
    """
    return _judge(workdir, load_trained_judge(workdir, "config.evals.generation.judge", class_names))


def _judge(workdir: epath.PathLike, trained: TrainedJudge) -> EvaluationClassifier:
    def forward(params, video_BTHWC):
        features = trained.model.apply({"params": params}, video_BTHWC, method="features")
        return features["logits"], features["pooled"]

    return EvaluationClassifier(name=str(workdir), forward=forward, params=trained.params)


def load_reader(workdir: epath.PathLike) -> DigitReader:
    """The classifier of single digits of a finished run (``configs/classifier_digits.py``).

    Raises:
      FileNotFoundError: there is no finished run.
      ValueError: the run is not that of a judge, or does not name digits that were cut out of clips.
    """
    section = "config.evals.generation.reader"
    trained = load_trained_judge(workdir, section, NAMES, TRAIN_READER)
    side = trained.data["options"].get("crops")
    if side is None:
        raise ValueError(f"{section} is {workdir}, whose classifier looks at whole clips; expected one of single "
                         f"digits, with config.data.options.crops, as {TRAIN_READER} trains it.")
    return DigitReader(_judge(workdir, trained), side)


class Perceptual(NamedTuple):
    """A network with its weights.

    Attributes:
      features: (params, video_BTHWC in [0, 1]) -> an array, of which the loss takes the mean squared difference.
      params: the weights.
    """

    features: Callable[[Any, jax.Array], jax.Array]
    params: Any


def load_perceptual(network: str | None = None, **options: Any) -> Perceptual:
    """A network of ``NETWORKS`` with its weights; the options are those of its function.

    Raises:
      FileNotFoundError: the weights are missing; the message names the file, or the command that trains them.
      ValueError: the network or an option is unknown, or the weights are those of something else.
    """
    if network not in NETWORKS:
        raise ValueError(unknown_name("network in config.perceptual", network, NETWORKS))
    return configure(NETWORKS[network], "perceptual", options)


def judge_features(workdir: epath.PathLike = "runs/classifier_traj-judge") -> Perceptual:
    """Feature maps of a classifier of clips that was trained here.

    Args:
      workdir: of its finished run.
    """
    judge = load_trained_judge(workdir, "config.perceptual.workdir")

    def features(params, video_BTHWC):
        return judge.model.apply({"params": params}, video_BTHWC, method="features")["map"]

    return Perceptual(features, judge.params)


def resnet50(weights: str, output: str = "logits", normalize: bool = True) -> Perceptual:
    """An ImageNet ResNet-50 on every frame, as in the paper (supplement, implementation details).

    Args:
      weights: torchvision's state dict, .pth or .safetensors.
      output: "logits" (the paper's) or "features".
      normalize: see ``nn.resnet.ResNet50``.
    """
    model = ResNet50(output=output, normalize=normalize)

    def features(params, video_BTHWC):
        return model.apply({"params": params}, video_BTHWC)

    return Perceptual(features, load_resnet50(weights, model))


NETWORKS: dict[str, Callable[..., Perceptual]] = {"judge": judge_features, "resnet50": resnet50}
