"""Training the causal transformer on the codes of a frozen tokenizer: the paper's autoregressive baseline."""

import dataclasses

import jax
import jax.numpy as jnp

from videogvt.ops.losses import token_cross_entropy
from videogvt.pretrained.generation import CausalGeneration
from videogvt.recipes.accumulation import Found
from videogvt.recipes.transformer import StageRecipe
from videogvt.train.contracts import Mean
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageRecipe(StageRecipe):
    """How to train a ``CausalTransformer``: every token, the class included, from those before it.

    As in the released code, the loss counts every position and any token of the vocabulary may be the answer.

    Attributes:
      generation: a ``CausalGeneration``.
      (others: see ``StageRecipe``)
    """

    generation: CausalGeneration

    network = "lm"

    def _rows(self, codes_Bthw, condition_Bthw, task_B, label_B, key):
        del condition_Bthw  # there is none
        return (codes_Bthw, task_B, label_B), key

    def _loss_of_rows(self, params, rows, key) -> tuple[jax.Array, Found]:
        entropy_BL, right_BL = self._named(
            params, *rows, self.losses.label_smoothing, train=True, rngs={"dropout": key}
        )
        loss_B = entropy_BL.mean(-1)
        return loss_B.mean(), Found(sums={"loss": Mean.of(loss_B), "accuracy": Mean.of(right_BL[:, 1:])})

    def _judge(self, state: TrainState, batch, task_B, keys_B):
        """Cross-entropy and accuracy of each clip's codes, without label smoothing and dropout."""
        del keys_B  # nothing here is random
        codes_Bthw, _ = self.generation.tokens(state.frozen["tokenizer"], batch, task_B)
        entropy_BL, right_BL = self._named(self.weights(state), codes_Bthw, task_B, self._labels(batch, task_B), 0.0)
        return {"loss": entropy_BL[:, 1:].mean(-1), "accuracy": right_BL[:, 1:].mean(-1)}

    def _named(self, params, codes_Bthw, task_B, label_B, label_smoothing, **network):
        """Cross-entropy (B, 1 + N) of class and codes, and whether the likeliest answer is the right one."""
        codes_BN = codes_Bthw.reshape(len(codes_Bthw), -1)
        prefix_B2 = self.generation.prefix(task_B, label_B)
        logits_BLV = self.generation.logits(params, codes_BN, prefix_B2, **network)
        targets_BL = jnp.concatenate([prefix_B2[:, 1:], codes_BN], axis=1)
        entropy_BL = token_cross_entropy(logits_BLV, targets_BL, label_smoothing=label_smoothing)
        return entropy_BL, jax.lax.stop_gradient(logits_BLV).argmax(-1) == targets_BL
