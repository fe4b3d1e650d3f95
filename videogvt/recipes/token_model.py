"""What the trainings of both transformers have in common, on the codes of a frozen tokenizer."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from videogvt.decode import changed
from videogvt.models.token_model import TokenModel
from videogvt.ops.losses import token_cross_entropy, weighted_mean
from videogvt.recipes import flops
from videogvt.recipes.optimizer import Adam, Aux, gradients
from videogvt.train.contracts import Mean
from videogvt.train.parallel import RULES, Rules
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class TransformerLosses:
    """How a transformer is judged while it learns.

    Attributes:
      label_smoothing: share of the target that is spread evenly over all codes.
      class_dropout: share of clips whose class is withheld, which guidance needs; none in the paper.
      ema_decay: of a moving average of the weights, which then generates; 0, the paper's, for none.
      empty: the most frequent code of the training clips, or None; a config says "most_frequent", and the run finds it.
        The loss of other codes, "speaking_loss", then stands beside the loss of all.
      unmasked_weight: of positions in the loss whose code is shown, of the masked transformer; the paper's is 1.
    """

    label_smoothing: float = 1e-4
    class_dropout: float = 0.0
    ema_decay: float = 0.0
    empty: int | Literal["most_frequent"] | None = None
    unmasked_weight: float = 1.0

    def __post_init__(self):
        if isinstance(self.empty, str):
            raise ValueError(f"Found losses.empty={self.empty!r}; expected a number here. In the config of a run, "
                             "'most_frequent' finds it.")
        for name in ("label_smoothing", "class_dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"losses.{name} is {getattr(self, name)}; expected at least 0 and less than 1.")


@dataclasses.dataclass(frozen=True)
class TokenModelRecipe:
    """What the recipes of token models have in common; the loop's socket, see ``train.contracts.Recipe``.

    Batches have ``video``, or ``codes`` where no task is given pixels, and ``label`` where the data have classes. All
    that is random in a step (tasks, masks, withheld classes, dropout) comes from its key and number.

    Attributes:
      generation: the networks, the vocabulary and the tasks.
      losses: what it learns from.
      optimizer: of the transformer.
      frozen: {"tokenizer": its parameters}, an argument of the step that no gradient reaches.
      start: fills in weights of another run at step 0; None to start from random ones.
    """

    generation: TokenModel
    losses: TransformerLosses
    optimizer: Adam
    frozen: Mapping[str, Any]
    start: Callable[[TrainState], TrainState] | None = None
    sharding_rules: Rules = RULES

    network = "transformer"

    @property
    def predict_fns(self) -> Mapping[str, Callable]:
        """Functions of a state, which use the moving average where there is one.

        "generate": (state, task_B, label_B, video_BTHWC, keys_B) -> {"video" in [0, 1], "codes"}; see
        ``models.generation``. "loss": (state, batch, task_B, keys_B) -> numbers (B,) by name, each clip's from its
        own key alone. Of the tokenizer: "codes": (state, video_BTHWC) -> codes; "video": (state, codes_Bthw) -> videos
        in [0, 1]; "reconstruct": (state, video_BTHWC) -> (video in [0, 1], codes).
        """
        return {"generate": self._generate, "loss": self._clip_losses, "codes": self._codes, "video": self._video,
                "reconstruct": self._reconstruct}

    def with_decoding(self, **changes: Any) -> "TokenModelRecipe":
        """The same recipe with other fields of ``generation.decoding``, or another sampler; see ``decode.changed``."""
        decoding = changed(self.generation.decoding, changes)
        return dataclasses.replace(self, generation=dataclasses.replace(self.generation, decoding=decoding))

    def init(self, key: jax.Array, example_batch: Mapping[str, jax.Array]) -> TrainState:
        """A random transformer, its optimizer, and a moving average equal to it if there is to be one."""
        del example_batch  # the tokens' shape follows from the tasks
        params = self.generation.init(key)
        opt = self.optimizer.transformation().init(params)
        ema = {self.network: params} if self.losses.ema_decay else {}
        return TrainState.create(params={self.network: params}, opt={self.network: opt}, ema=ema)

    def warm_start(self, state: TrainState) -> TrainState:
        """Weights of another run, if the recipe was given a start."""
        return self.start(state) if self.start is not None else state

    def step(self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        """One update."""
        task_key, label_key, loss_key = jax.random.split(key, 3)
        task_B = self.generation.tasks.draw(state.step, task_key, len(next(iter(batch.values()))))
        codes_Bthw, condition_Bthw = self.generation.tokens(state.frozen["tokenizer"], batch, task_B)
        label_B = self._withheld(label_key, self._labels(batch, task_B))
        params, opt = state.params[self.network], state.opt[self.network]
        codebook_KC = self.generation.codebook(state.frozen["tokenizer"])
        rows, loss_key = self._rows(codes_Bthw, condition_Bthw, task_B, label_B, loss_key)
        of_rows = functools.partial(self._loss_of_rows, codebook_KC)
        grads, found = gradients(of_rows, params, rows, loss_key, self.optimizer.accumulate)
        numbers = dict(found.sums)
        updates, opt = self.optimizer.transformation().update(grads, opt, params)
        params = optax.apply_updates(params, updates)
        ema = {}
        if self.losses.ema_decay:
            ema = {self.network: optax.incremental_update(params, state.ema[self.network], 1 - self.losses.ema_decay)}
        numbers[f"grad_norm/{self.network}"] = Mean.of(optax.global_norm(grads))  # before it is clipped
        numbers["learning_rate"] = Mean.of(self.optimizer.schedule()(state.step))
        return state.replace(params={self.network: params}, opt={self.network: opt}, ema=ema), numbers

    def flops(self, state: TrainState, batch: Mapping[str, Any]) -> float:
        """See ``train.contracts.Recipe``."""
        return flops.of_stage(self, state, batch)

    def weights(self, state: TrainState) -> Any:
        """The parameters that predict: the moving average, or the last ones where there is none."""
        return (state.ema if self.losses.ema_decay else state.params)[self.network]

    def _rows(self, codes_Bthw, condition_Bthw, task_B, label_B, key):
        """What the network is given, drawn for the whole batch, and the key of what is drawn inside the network."""
        raise NotImplementedError

    def _loss_of_rows(self, codebook_KC, params, rows, key) -> tuple[jax.Array, Aux]:
        raise NotImplementedError

    def _answered(self, logits_BNK, targets_BN, asked_BN) -> dict[str, jax.Array]:
        """"loss" and "accuracy" (B,) at the positions that are asked; where ``losses.empty`` is known also "speaking_"
        ones, at those whose code says something."""
        places = {"": asked_BN}
        if self.losses.empty is not None:
            places["speaking_"] = asked_BN & (targets_BN != self.losses.empty)
        values = {"loss": token_cross_entropy(logits_BNK, targets_BN), "accuracy": logits_BNK.argmax(-1) == targets_BN}
        return {f"{which}{name}": weighted_mean(value_BN, place_BN)
                for name, value_BN in values.items() for which, place_BN in places.items()}

    def _clip_losses(self, state: TrainState, batch, task_B, keys_B):
        raise NotImplementedError

    def _by_task(self, loss_B, task_B) -> dict[str, Mean]:
        names = self.generation.tasks.names
        return {f"loss/{name}": Mean.of(loss_B, task_B == index) for index, name in enumerate(names) if len(names) > 1}

    def _labels(self, batch, task_B):
        return batch["label"] if self.generation.vocabulary.num_classes else jnp.full_like(task_B, -1)

    def _withheld(self, key, label_B):
        if not self.losses.class_dropout:
            return label_B
        return jnp.where(jax.random.bernoulli(key, self.losses.class_dropout, label_B.shape), -1, label_B)

    def _generate(self, state: TrainState, task_B, label_B, video_BTHWC, keys_B, **options):
        arguments = state.frozen["tokenizer"], task_B, label_B, video_BTHWC, keys_B
        return self.generation(self.weights(state), *arguments, **options)

    def _codes(self, state: TrainState, video_BTHWC):
        return self.generation.codes(state.frozen["tokenizer"], video_BTHWC)

    def _video(self, state: TrainState, codes_Bthw):
        return self.generation.video(state.frozen["tokenizer"], codes_Bthw)

    def _reconstruct(self, state: TrainState, video_BTHWC):
        codes_Bthw = self._codes(state, video_BTHWC)
        return self._video(state, codes_Bthw), codes_Bthw
