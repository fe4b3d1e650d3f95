"""Training the causal transformer on the codes of a frozen tokenizer: the paper's autoregressive baseline."""

import dataclasses

import jax
import jax.numpy as jnp

from videogvt.models.generation import CausalGeneration
from videogvt.ops.losses import token_cross_entropy
from videogvt.recipes.optimizer import Aux
from videogvt.recipes.token_model import TokenModelRecipe
from videogvt.train.contracts import Mean
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageRecipe(TokenModelRecipe):
    """How to train a ``CausalTransformer``: every token, the class included, from those before it.

    As in the released code, the loss counts every position and any token of the vocabulary may be the answer.

    Attributes:
      generation: a ``CausalGeneration``.
      (others: see ``TokenModelRecipe``)
    """

    generation: CausalGeneration

    network = "lm"

    def __post_init__(self):
        if self.losses.unmasked_weight != 1:
            raise ValueError("losses.unmasked_weight is of the masked transformer alone; leave it at 1.")

    def _rows(self, codes_Bthw, condition_Bthw, task_B, label_B, key):
        del condition_Bthw  # there is none
        return (codes_Bthw, task_B, label_B), key

    def _loss_of_rows(self, codebook_KC, params, rows, key) -> tuple[jax.Array, Aux]:
        logits_BLV, targets_BL = self._answers(params, *rows, codebook_KC, train=True, rngs={"dropout": key})
        entropy_BL = token_cross_entropy(logits_BLV, targets_BL, label_smoothing=self.losses.label_smoothing)
        loss_B = entropy_BL.mean(-1)
        right_BL = jax.lax.stop_gradient(logits_BLV).argmax(-1) == targets_BL
        numbers = {"loss": Mean.of(loss_B), "accuracy": Mean.of(right_BL[:, 1:])}
        if self.losses.empty is not None:
            numbers["speaking_loss"] = Mean.of(entropy_BL[:, 1:], targets_BL[:, 1:] != self.losses.empty)
        return loss_B.mean(), Aux(sums=numbers)

    def _clip_losses(self, state: TrainState, batch, task_B, keys_B):
        """Cross-entropy and accuracy of each clip's codes, without label smoothing, weights and dropout.

        Where ``losses.empty`` is known the same of the codes that say something, "speaking". "clip_loss" is the
        negative log-likelihood of all codes of a clip.
        """
        del keys_B  # nothing here is random
        codes_Bthw, _ = self.generation.tokens(state.frozen["tokenizer"], batch, task_B)
        labels_B, codebook_KC = self._labels(batch, task_B), self.generation.codebook(state.frozen["tokenizer"])
        logits_BLV, targets_BL = self._answers(self.weights(state), codes_Bthw, task_B, labels_B, codebook_KC)
        targets_BN = targets_BL[:, 1:]
        answered = self._answered(logits_BLV[:, 1:], targets_BN, jnp.ones_like(targets_BN, bool))
        return answered | {"clip_loss": answered["loss"] * targets_BN.shape[1]}

    def _answers(self, params, codes_Bthw, task_B, label_B, codebook_KC, **network):
        """The logits (B, 1 + N, V) of class and codes, and what they are, (B, 1 + N)."""
        codes_BN = codes_Bthw.reshape(len(codes_Bthw), -1)
        prefix_B2 = self.generation.prefix(task_B, label_B)
        logits_BLV = self.generation.logits(params, codes_BN, prefix_B2, codebook_KC, **network)
        return logits_BLV, jnp.concatenate([prefix_B2[:, 1:], codes_BN], axis=1)
