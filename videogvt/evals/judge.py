"""A classifier of clips, trained on real ones, that judges generated ones: it never saw the generator."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from videogvt.core.arrays import tree_hash
from videogvt.ops.video import as_float


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
        return jax.jit(lambda params, video: self.forward(params, as_float(video)))


@dataclasses.dataclass(frozen=True)
class Reader:
    """A judge of single digits.

    Attributes:
      judge: names the ten digits, of clips of one frame.
      side: px, height and width of what it looks at.
    """

    judge: Judge
    side: int
