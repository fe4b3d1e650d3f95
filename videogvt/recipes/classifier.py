"""Training a classifier of clips on their pixels."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from videogvt.pretrained.tokenizer import as_float
from videogvt.recipes.optimizer import Adam
from videogvt.train.contracts import Mean
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class ClassifierLosses:
    """How a classifier is judged while it learns.

    Attributes:
      label_smoothing: share of the target that is spread evenly over all classes.
      ema_decay: of the network's moving average.
    """

    label_smoothing: float = 0.0
    ema_decay: float = 0.99

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"losses.label_smoothing is {self.label_smoothing}; expected at least 0 and less than 1.")


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe:
    """How to train a classifier of ``nn.classifiers``; the loop's socket, see ``train.contracts.Recipe``.

    Its one network is "classifier", with a moving average. Batches have ``video`` and ``label``.

    Attributes:
      model: videos in [0, 1] to logits (B, K), with a method ``features``.
      losses: what it learns from.
      optimizer: of the network.
      frozen: nothing.
    """

    model: nn.Module
    losses: ClassifierLosses
    optimizer: Adam
    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sharding_rules: tuple[tuple[str, jax.sharding.PartitionSpec], ...] = ((".*", jax.sharding.PartitionSpec()),)

    @property
    def predict_fns(self) -> Mapping[str, Callable]:
        """"classify": (state, video_BTHWC) -> logits (B, K); "features": (state, video_BTHWC) -> arrays by name, among
        them "pooled" (B, D) and "logits". Videos are uint8 or float in [0, 1]. Both use the moving average."""
        return {"classify": self._classify, "features": self._features}

    def init(self, key: jax.Array, example_batch: Mapping[str, jax.Array]) -> TrainState:
        """A random network, its optimizer, and a moving average equal to it."""
        params = self.model.init(key, as_float(example_batch["video"]))["params"]
        opt = self.optimizer.transformation().init(params)
        return TrainState.create(params={"classifier": params}, opt={"classifier": opt}, ema={"classifier": params})

    def warm_start(self, state: TrainState) -> TrainState:
        """The state as it is: classifiers start from random weights."""
        return state

    def step(self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        """One update on the cross-entropy of a batch."""
        del key  # nothing here is random
        loss_grad = jax.value_and_grad(self._loss, has_aux=True)
        (_, numbers), grads = loss_grad(state.params["classifier"], as_float(batch["video"]), batch["label"])
        updates, opt = self.optimizer.transformation().update(
            grads, state.opt["classifier"], state.params["classifier"]
        )
        params = optax.apply_updates(state.params["classifier"], updates)
        ema = optax.incremental_update(params, state.ema["classifier"], 1.0 - self.losses.ema_decay)
        numbers["grad_norm/classifier"] = optax.global_norm(grads)
        numbers["learning_rate"] = self.optimizer.schedule()(state.step)
        state = state.replace(params={"classifier": params}, opt={"classifier": opt}, ema={"classifier": ema})
        return state, {name: Mean.of(value) for name, value in numbers.items()}

    def _loss(self, params, video_BTHWC, label_B):
        logits_BK = self.model.apply({"params": params}, video_BTHWC)
        target_BK = optax.smooth_labels(jax.nn.one_hot(label_B, logits_BK.shape[-1]), self.losses.label_smoothing)
        loss = optax.softmax_cross_entropy(logits_BK, target_BK).mean()
        return loss, {"loss": loss, "accuracy": jnp.mean(logits_BK.argmax(-1) == label_B)}

    def _classify(self, state: TrainState, video_BTHWC):
        return self.model.apply({"params": state.ema["classifier"]}, as_float(video_BTHWC))

    def _features(self, state: TrainState, video_BTHWC):
        return self.model.apply({"params": state.ema["classifier"]}, as_float(video_BTHWC), method="features")
