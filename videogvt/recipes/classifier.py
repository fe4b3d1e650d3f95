"""Training a classifier of clips, on their pixels, codes or latents: the class, a position, or both at once."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from videogvt.nn.classifiers.heads import Classifier
from videogvt.ops.video import as_float
from videogvt.recipes import flops
from videogvt.recipes.optimizer import Adam
from videogvt.train.contracts import Mean
from videogvt.train.parallel import RULES, Rules
from videogvt.train.state import TrainState

HUBER = 0.03  # stds up to which a position's error counts squared; beyond, its size counts


@dataclasses.dataclass(frozen=True)
class ClassifierLosses:
    """How a classifier is judged while it learns.

    Attributes:
      label_smoothing: share of the target that is spread evenly over all classes.
      position: weight of the position head's loss beside the class's 1; 0 where there is no such head.
      ema_decay: of the network's moving average.
    """

    label_smoothing: float = 0.0
    position: float = 0.0
    ema_decay: float = 0.99

    def __post_init__(self):
        for name in ("label_smoothing", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"losses.{name} is {getattr(self, name)}; expected at least 0 and less than 1.")
        if self.position < 0:
            raise ValueError(f"losses.position is {self.position}; expected 0 or more.")


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe:
    """How to train a classifier of ``nn.classifiers``; the loop's socket, see ``train.contracts.Recipe``.

    Its one network is "classifier", with a moving average of its parameters; statistics of BatchNorm, which are moving
    averages themselves, are its ``model_state``. Batches have ``video``, or ``codes`` where ``tokenizer`` or a network
    on codes wants them, and ``label``, ``position`` (B, P) or both, as the network has heads.

    Attributes:
      model: the network: a ``heads.Classifier``, or the judge.
      losses: what it learns from.
      optimizer: of the network.
      field: of the batch that it sees: "video", in [0, 1], or "codes".
      tokenizer: looks up the latents of codes, where the network sees those; None where it sees what ``field`` says.
      frozen: {"tokenizer": its parameters} where there is one.
      start: fills in weights before the first step, such as a ``start.CodebookEmbeddings``; None for random ones.
    """

    model: nn.Module
    losses: ClassifierLosses
    optimizer: Adam
    field: str = "video"
    tokenizer: nn.Module | None = None
    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Callable[[TrainState], TrainState] | None = None
    sharding_rules: Rules = RULES

    def __post_init__(self):
        if self.optimizer.accumulate > 1:
            raise ValueError(
                f"optimizer.accumulate is {self.optimizer.accumulate}; a classifier's norms look at the whole batch. "
                "Leave it at 1, and lower data.batch_size."
            )

    @property
    def predict_fns(self) -> Mapping[str, Callable]:
        """Functions of (state, videos uint8 or float in [0, 1], or codes); all use the moving average.

        "answer": heads by name, "logits" (B, K) and "position" (B, P), as far as the network has them; "classify":
        logits alone; "features", of the judge: arrays by name, among them "pooled" (B, D) and "logits"; "attention", of
        networks that have it: (B, A, t, h, w), which sums to 1 over space for each of A queries and each time.
        """
        return {"answer": self._answer, "classify": self._classify, "features": self._features,
                "attention": self._attention}

    def init(self, key: jax.Array, example_batch: Mapping[str, jax.Array]) -> TrainState:
        """A random network, its optimizer, and a moving average equal to it."""
        inputs = self._inputs(self.frozen, example_batch[self.field])
        statistics = dict(self.model.init(key, inputs))
        params = statistics.pop("params")
        opt = self.optimizer.transformation().init(params)
        return TrainState.create(
            params={"classifier": params}, opt={"classifier": opt}, ema={"classifier": params},
            model_state={"classifier": statistics} if statistics else {},
        )

    def warm_start(self, state: TrainState) -> TrainState:
        """The state that ``start`` makes of a random one."""
        return state if self.start is None else self.start(state)

    def step(self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        """One update on the heads' losses of a batch; the key is dropout's."""
        params, inputs = state.params["classifier"], self._inputs(state.frozen, batch[self.field])
        loss_grad = jax.value_and_grad(self._loss, has_aux=True)
        (_, (numbers, statistics)), grads = loss_grad(params, _statistics(state), inputs, batch, key)
        updates, opt = self.optimizer.transformation().update(grads, state.opt["classifier"], params)
        params = optax.apply_updates(params, updates)
        ema = optax.incremental_update(params, state.ema["classifier"], 1.0 - self.losses.ema_decay)
        numbers["grad_norm/classifier"] = optax.global_norm(grads)
        numbers["learning_rate"] = self.optimizer.schedule()(state.step)
        state = state.replace(
            params={"classifier": params}, opt={"classifier": opt}, ema={"classifier": ema},
            model_state={"classifier": statistics} if statistics else {},
        )
        return state, {name: Mean.of(value) for name, value in numbers.items()}

    def flops(self, state: TrainState, batch: Mapping[str, Any]) -> float:
        """See ``train.contracts.Recipe``."""
        return flops.of_classifier(self, state, batch)

    def _loss(self, params, statistics, inputs, batch, key):
        heads, statistics = self._train(params, statistics, inputs, key)
        loss, numbers = 0.0, {}
        if "logits" in heads:
            logits_BK, label_B = heads["logits"], batch["label"]
            target_BK = optax.smooth_labels(jax.nn.one_hot(label_B, logits_BK.shape[-1]), self.losses.label_smoothing)
            loss = optax.softmax_cross_entropy(logits_BK, target_BK).mean()
            numbers["accuracy"] = jnp.mean(logits_BK.argmax(-1) == label_B)
        if "position" in heads:
            error = optax.huber_loss(heads["position"], batch["position"], delta=HUBER).mean() / HUBER
            loss, numbers["position_error"] = loss + self.losses.position * error, error
        return loss, ({"loss": loss} | numbers, statistics)

    def _train(self, params, statistics, inputs, key):
        """Heads, and the statistics of norms after this batch."""
        variables = {"params": params, **statistics}
        if not isinstance(self.model, Classifier):
            return {"logits": self.model.apply(variables, inputs)}, statistics
        return self.model.apply(
            variables, inputs, train=True, mutable=list(statistics), rngs={"dropout": key}
        )

    def _inputs(self, frozen, inputs):
        """What the network sees of a batch's field."""
        if self.tokenizer is not None:
            return self.tokenizer.apply({"params": frozen["tokenizer"]}, inputs, method="embed")
        return as_float(inputs)

    def _apply(self, state: TrainState, inputs, method: str | None = None):
        variables = {"params": state.ema["classifier"], **_statistics(state)}
        return self.model.apply(variables, self._inputs(state.frozen, inputs), method=method)

    def _answer(self, state: TrainState, inputs):
        heads = self._apply(state, inputs)
        return heads if isinstance(heads, Mapping) else {"logits": heads}

    def _classify(self, state: TrainState, inputs):
        return self._answer(state, inputs)["logits"]

    def _features(self, state: TrainState, inputs):
        return self._apply(state, inputs, "features")

    def _attention(self, state: TrainState, inputs):
        return self._apply(state, inputs, "attention")


def _statistics(state: TrainState) -> dict[str, Any]:
    """Collections of the network besides its parameters."""
    return dict(state.model_state["classifier"]) if "classifier" in state.model_state else {}
