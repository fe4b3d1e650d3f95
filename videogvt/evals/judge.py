"""A classifier of clips, trained on real ones, that judges generated ones: it never saw the generator."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from videogvt.inputs.digits import NAMES
from videogvt.pretrained.judge import TRAIN_READER, TrainedJudge, load_trained_judge
from videogvt.train.state import tree_hash


@dataclasses.dataclass(frozen=True)
class Judge:
    """Names classes of clips, and maps clips to features between which a distance can be taken.

    Attributes:
      name: where it is from, for the facts.
      forward: ``(params, video_BTHWC in [0, 1]) -> (logits_BK, features_BD)``, traceable.
      params: its weights.
    """

    name: str
    forward: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
    params: Any

    def columns(self, video_BTHWC: np.ndarray) -> dict[str, np.ndarray]:
        """``judged``, the class it names (B), and ``features`` (B, D), of this host's clips, uint8."""
        logits_BK, features_BD = self._compiled(self.params, video_BTHWC)
        return {"judged": np.asarray(logits_BK).argmax(-1), "features": np.asarray(features_BD, np.float32)}

    def log_probabilities(self, video_BTHWC: np.ndarray) -> np.ndarray:
        """Of the classes, float32 (B, K), of this host's clips, uint8."""
        logits_BK, _ = self._compiled(self.params, video_BTHWC)
        return np.asarray(jax.nn.log_softmax(logits_BK))

    @functools.cached_property
    def hash(self) -> str:
        """Of its weights."""
        return tree_hash(self.params)

    @functools.cached_property
    def _compiled(self):
        return jax.jit(lambda params, video: self.forward(params, video.astype(jnp.float32) / 255.0))


def load_judge(workdir: epath.PathLike, class_names: Sequence[str]) -> Judge:
    """The classifier of a finished run; its features are the pooled ones before its linear head.

    Args:
      workdir: of the run.
      class_names: the classes that it shall name, in their order.

    Raises:
      FileNotFoundError: there is no finished run.
      ValueError: the run is not a judge's, or names other classes.
    """
    return _judge(workdir, load_trained_judge(workdir, "config.evals.generation.judge", class_names))


def _judge(workdir: epath.PathLike, trained: TrainedJudge) -> Judge:
    def forward(params, video_BTHWC):
        features = trained.model.apply({"params": params}, video_BTHWC, method="features")
        return features["logits"], features["pooled"]

    return Judge(name=str(workdir), forward=forward, params=trained.params)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A judge of single digits.

    Attributes:
      judge: names the ten digits, of clips of one frame.
      side: px, height and width of what it looks at.
    """

    judge: Judge
    side: int


def load_reader(workdir: epath.PathLike) -> Reader:
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
    return Reader(_judge(workdir, trained), side)
