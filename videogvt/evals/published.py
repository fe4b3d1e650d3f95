"""FVD and Inception Score of a generator of classes, by the protocol of MAGVIT (arXiv 2212.05199) for UCF-101.

Real clips are those of the training split, in passes over it, each in an order of its own. The i-th generated clip is
of the class of the i-th real one. Folds follow each other; their mean and population std are the figures. The
networks are loaded when a run is built, to be checked, and when they measure; in between nothing holds them.

A judge is a classifier of clips, trained on real ones, that judges generated ones: it never saw the generator.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from videogvt.core.trees import tree_hash
from videogvt.evals import fvd
from videogvt.evals.fvd import Folded, VideoNetwork
from videogvt.evals.rows import Columns
from videogvt.ops.quality import frechet_between
from videogvt.ops.video import as_float


@dataclasses.dataclass(frozen=True)
class EvaluationClassifier:
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
class DigitReader:
    """A judge of single digits.

    Attributes:
      judge: names the ten digits, of clips of one frame.
      side: px, height and width of what it looks at.
    """

    judge: EvaluationClassifier
    side: int


_NAMES = {"i3d": "fvd", "c3d": "inception_score"}
"""What each network is for."""
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Published:
    """Which published figures are measured, on how many clips.

    Attributes:
      networks: by their names in ``_NAMES``, functions that load them.
      fold_clips: generated clips of a fold, and as many real ones; the paper has 10,000.
      folds: how many; the paper has 4.
    """

    networks: Mapping[str, Callable[[], VideoNetwork]]
    fold_clips: int = 10_000
    folds: int = 4

    def __post_init__(self):
        if self.fold_clips < 2 or self.folds < 1 or self.fold_clips * self.folds < 4:
            raise ValueError(f"config.evals.generation has fold_clips={self.fold_clips} and folds={self.folds}; "
                             "expected at least 2 clips, 1 fold and 4 clips in all (the paper: 10,000 and 4).")

    @classmethod
    def of(cls, i3d: str | None = None, c3d: str | None = None, **counts: int) -> "Published | None":
        """From the files of weights that a config names; None where it names none."""
        files = {"i3d": (fvd.i3d, i3d), "c3d": (fvd.c3d, c3d)}
        networks = {name: partial(load, file) for name, (load, file) in files.items() if file is not None}
        return cls(networks, **counts) if networks else None

    def check(self, frames: int, train_clips: int) -> dict[str, Any]:
        """What is needed to repeat the figures, after every file was read once.

        Raises:
          FileNotFoundError, ModuleNotFoundError, ValueError: a file is missing, cannot be read or holds other weights;
            clips of so many frames are nothing for the networks; or there are fewer than 4 real clips.
        """
        if train_clips < 4:
            raise ValueError(f"The training split has {train_clips} clips; the distance of real from real clips needs "
                             "at least 4.")
        facts = {}
        for name, load in self.networks.items():
            network = _loaded(name, load)
            network.require_frames(frames)
            facts[name] = dict(network.facts)
        return facts | {"fold_clips": self.fold_clips, "folds": self.folds, "real": "training split"}

    def measuring(self) -> Callable[[np.ndarray], Columns]:
        """A function of clips, uint8 (B, T, H, W, 3), with the logits (B, D) of every network; it holds the weights."""
        networks = {name: _loaded(name, load) for name, load in self.networks.items()}
        networks = {name: dataclasses.replace(network, params=jax.device_put(network.params))
                    for name, network in networks.items()}
        return lambda video_BTHWC: {
            name: network(video_BTHWC, min(len(video_BTHWC), _BATCH)) for name, network in networks.items()}

    def order(self, clips: int, seed: int) -> np.ndarray:
        """Places of the real clips of all folds in a split of ``clips``."""
        rng, wanted = np.random.default_rng([seed, 2]), self.fold_clips * self.folds
        return np.concatenate([rng.permutation(clips) for _ in range(-(-wanted // clips))])[:wanted]

    def figures(self, made: Columns, real: Columns, pool: Columns, seed: int) -> Iterator[tuple[str, float]]:
        """``fvd`` and ``inception_score``, with ``_std`` and the ``_clips`` of a fold, generated and ``real/``.

        Args:
          made, real: logits of all folds.
          pool: logits of all real clips that were measured, each once. ``real/fvd`` is the distance between two parts
            of it that share no clip, of as many clips as a fold has, or of half the pool where that is less.
          seed: of the parts.
        """
        if "i3d" in self.networks:
            half = min(self.fold_clips, len(pool["i3d"]) // 2)
            yield from _named("fvd", fvd.fvd(real["i3d"], made["i3d"], folds=self.folds), self.fold_clips)
            yield from _named("real/fvd", self._apart(pool["i3d"], half, np.random.default_rng([seed, 3])), half)
        if "c3d" in self.networks:
            for row, columns in (("", made), ("real/", real)):
                score = fvd.inception_score(columns["c3d"], folds=self.folds)
                yield from _named(f"{row}inception_score", score, self.fold_clips)

    def _apart(self, pool_MD: np.ndarray, half: int, rng: np.random.Generator) -> Folded:
        orders = [rng.permutation(len(pool_MD)) for _ in range(self.folds)]
        return Folded(tuple(frechet_between(pool_MD[one[:half]], pool_MD[one[half : 2 * half]]) for one in orders))


def _named(name: str, figure: Folded, clips: int) -> Iterator[tuple[str, float]]:
    yield from ((name, figure.mean), (f"{name}_std", figure.std), (f"{name}_clips", float(clips)))


def _loaded(name: str, load: Callable[[], VideoNetwork]) -> VideoNetwork:
    try:
        return load()
    except (FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        raise type(error)(f"config.evals.generation.{name}: {error}") from error
