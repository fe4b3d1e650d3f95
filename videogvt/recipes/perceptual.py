"""Perceptual networks of the tokenizer, frozen: what ``config.perceptual`` names, with its weights, or an error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from etils import epath

from videogvt.core.registry import unknown_name
from videogvt.core.sections import configure
from videogvt.nn.resnet import ResNet50, load_resnet50
from videogvt.pretrained.judge import load_trained_judge


class Perceptual(NamedTuple):
    """A network with its weights.

    Attributes:
      features: (params, video_BTHWC in [0, 1]) -> an array, of which the loss takes the mean squared difference.
      params: the weights.
    """

    features: Callable[[Any, jax.Array], jax.Array]
    params: Any


def load(network: str | None = None, **options: Any) -> Perceptual:
    """A network of ``NETWORKS`` with its weights; the options are those of its function.

    Raises:
      FileNotFoundError: the weights are missing; the message names the file, or the command that trains them.
      ValueError: the network or an option is unknown, or the weights are those of something else.
    """
    if network not in NETWORKS:
        raise ValueError(unknown_name("network in config.perceptual", network, NETWORKS))
    return configure(NETWORKS[network], "perceptual", options)


def judge(workdir: epath.PathLike = "runs/classifier_traj-judge") -> Perceptual:
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


NETWORKS: dict[str, Callable[..., Perceptual]] = {"judge": judge, "resnet50": resnet50}
