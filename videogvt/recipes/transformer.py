"""Training the masked transformer on the codes of a frozen tokenizer (MAGVIT, arXiv 2212.05199, section 3.2)."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.models.generation import MaskedGeneration
from videogvt.ops.attention import between_times
from videogvt.ops.losses import token_cross_entropy, weighted_mean
from videogvt.ops.masking import Masked, Masking
from videogvt.recipes.optimizer import Aux
from videogvt.recipes.token_model import TokenModelRecipe
from videogvt.train.contracts import Mean
from videogvt.train.state import TrainState

RATIOS = (0.25, 0.5, 0.75, 1.0)
"""Shares of masked tokens at which "loss" is asked, whatever the training's are, so that runs can be compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerRecipe(TokenModelRecipe):
    """How to train a ``MaskedTransformer``: tasks drawn, condition and target encoded, tokens masked and named.

    Attributes:
      generation: a ``MaskedGeneration``.
      masking: which tokens are hidden.
      (others: see ``TokenModelRecipe``)
    """

    generation: MaskedGeneration
    masking: Masking

    def __post_init__(self):
        condition, kept = self.masking.condition, self.generation.decoding.keep_condition
        if (condition in ("input->input", "cond->cond")) != kept:
            raise ValueError(
                f"masking.condition is {condition!r} and decoding.keep_condition is {kept}; condition tokens that are "
                "fixed in training (input->input, cond->cond) are fixed in decoding, and no others. Change one of them."
            )
        if self._causal:
            self._check_causal()
        block, grid = self.masking.block, self.generation.latent_shape
        if any(cells % side for side, cells in zip(block, grid)):
            raise ValueError(f"masking.block is {block}, which does not divide the grid {grid} of codes; take another.")

    def _check_causal(self) -> None:
        if self.masking.frames_before:
            raise ValueError(
                f"masking.frames_before is {self.masking.frames_before} and transformer.causal_frames is on, which "
                "shows every frame those before it in any case. Set masking.frames_before = 0.")
        if self.generation.transformer.conditions_ahead:
            return
        if self.masking.extra_conditions:
            raise ValueError(
                f"masking.extra_conditions is {self.masking.extra_conditions} and transformer.causal_frames is on, "
                "whose codes see nothing of later frames. Set transformer.conditions_ahead = True, or extra_conditions "
                "= 0.")
        visible_nthw = self.generation.tasks.visible_nthw
        hidden_nt, given_nt = ~visible_nthw.all((2, 3)), visible_nthw.any((2, 3))
        late_n = (given_nt & (np.cumsum(hidden_nt, axis=1) - hidden_nt > 0)).any(1)
        if late_n.any():
            names = [name for name, late in zip(self.generation.tasks.names, late_n) if late]
            raise ValueError(
                f"transformer.causal_frames is on, whose codes see no frame after their own, and the tasks {names} "
                "give pixels of frames after some that are to be told. Set transformer.conditions_ahead = True, turn "
                "causal_frames off, or leave these tasks out.")

    @property
    def _causal(self) -> bool:
        """Whether all frames of a clip are learned at once, each from the true ones before it."""
        return self.generation.transformer.causal_frames

    def _rows(self, codes_Bthw, condition_Bthw, task_B, label_B, key):
        mask_key, dropout_key = jax.random.split(key)
        vocabulary, visible_Bthw = self.generation.vocabulary, self.generation.tasks.visible(task_B)
        condition_Bthw, visible_Bthw = self.masking.give_more(
            jax.random.fold_in(mask_key, 2), codes_Bthw, condition_Bthw, visible_Bthw)
        masked = self.masking.sample(mask_key, codes_Bthw, condition_Bthw, visible_Bthw, vocabulary.mask,
                                     every_frame=self._causal)
        masked = self.masking.corrupt(jax.random.fold_in(mask_key, 1), masked, vocabulary.num_codes)
        return (masked, self._ahead(condition_Bthw, visible_Bthw), task_B, label_B), dropout_key

    @property
    def predict_fns(self) -> Mapping[str, Callable]:
        """Also "attention": (state, tokens_BN, hidden_BN, task_B, label_B) -> (B, layers, heads, 1 + t, 1 + t), see
        ``ops.attention.between_times``: of clips without a condition, of which the hidden codes are masked."""
        return {**super().predict_fns, "attention": self._attention}

    def _attention(self, state: TrainState, tokens_BN, hidden_BN, task_B, label_B):
        generation, mask = self.generation, self.generation.vocabulary.mask
        prefix_BP = generation.tasks.prefix(task_B, label_B)
        tokens_BL = jnp.concatenate([prefix_BP, jnp.where(hidden_BN, mask, tokens_BN)], axis=1)
        maps = generation.transformer.apply(
            {"params": self.weights(state)}, tokens_BL, segments_BL=jnp.zeros_like(tokens_BL),
            codebook_KC=generation.codebook(state.frozen["tokenizer"]), method="attention_maps")
        return jnp.moveaxis(between_times(maps, prefix_BP.shape[1], generation.latent_shape[0]), 0, 1)

    def _ahead(self, condition_Bthw, visible_Bthw):
        flat = lambda grid_Bthw: grid_Bthw.reshape(len(grid_Bthw), -1)  # noqa: E731
        return self.generation.ahead(flat(condition_Bthw), flat(visible_Bthw))

    def _loss_of_rows(self, codebook_KC, params, rows, key) -> tuple[jax.Array, Aux]:
        masked, ahead_BN, task_B, label_B = rows
        prefix_BP = self.generation.tasks.prefix(task_B, label_B)
        logits_BNK = self.generation.logits(
            params, masked.inputs_BN, prefix_BP, masked.segments_BN, ahead_BN, codebook_KC,
            taught_BN=masked.targets_BN if self._causal else None, train=True, rngs={"dropout": key},
        )
        entropy_BN = token_cross_entropy(logits_BNK, masked.targets_BN, label_smoothing=self.losses.label_smoothing)
        weights_BN = masked.weights_BN
        if self.losses.unmasked_weight != 1:
            weights_BN *= jnp.where(masked.masked_BN, 1, self.losses.unmasked_weight)
        loss_B = weighted_mean(entropy_BN, weights_BN)
        right_BN = logits_BNK.argmax(-1) == masked.targets_BN
        numbers = {
            "loss": Mean.of(loss_B), "masked_loss": Mean.of(entropy_BN, masked.masked_BN),
            "masked_accuracy": Mean.of(right_BN, masked.masked_BN), "mask_ratio": Mean.of(masked.masked_BN),
        }
        if self.losses.empty is not None:
            speaking_BN = masked.masked_BN & (masked.targets_BN != self.losses.empty)
            numbers["speaking_loss"] = Mean.of(entropy_BN, speaking_BN)
        return loss_B.mean(), Aux(sums=numbers | self._by_task(loss_B, task_B))

    def _clip_losses(self, state: TrainState, batch, task_B, keys_B):
        """Cross-entropy and accuracy at the masked positions of each clip, for every ratio and in the mean over them.

        Without label smoothing, dropout, withheld classes and whatever else makes learning harder. The masks follow
        from the keys. Where ``losses.empty`` is known the same of the positions that say something, "speaking".
        "clip_loss" is of all codes, frame after frame.
        """
        generation, by_ratio = self.generation, {}
        codes_Bthw, condition_Bthw = generation.tokens(state.frozen["tokenizer"], batch, task_B)
        visible_Bthw = generation.tasks.visible(task_B)
        ahead_BN = self._ahead(condition_Bthw, visible_Bthw)
        prefix_BP = generation.tasks.prefix(task_B, self._labels(batch, task_B))
        codebook_KC = generation.codebook(state.frozen["tokenizer"])
        grids = codes_Bthw, condition_Bthw, visible_Bthw

        def logits(masked: Masked):
            return generation.logits(self.weights(state), masked.inputs_BN, prefix_BP, masked.segments_BN,
                                     ahead_BN, codebook_KC, taught_BN=masked.targets_BN if self._causal else None)

        for ratio in RATIOS:
            masking = dataclasses.replace(self.masking, schedule=f"fixed:{ratio}", frames_before=0.0)
            masked = self._sampled(masking, keys_B, grids, every_frame=self._causal)
            by_ratio[ratio] = self._answered(logits(masked), masked.targets_BN, masked.masked_BN)
        means = jax.tree.map(lambda *rows: jnp.mean(jnp.stack(rows), axis=0), *by_ratio.values())
        means["clip_loss"] = self._clip_loss(logits, grids, keys_B)
        return means | {f"masked_{ratio:.2f}/{name}": value_B
                        for ratio, found in by_ratio.items() for name, value_B in found.items()}

    def _clip_loss(self, logits, grids, keys_B):
        """Nats for all codes of each clip (B,), frame after frame and within a frame in random order.

        With m of a frame's n codes hidden, m drawn evenly from 1 to n, n times their mean loss is in expectation the
        loss of saying them one after another (Uria et al., arXiv 1310.1757). An upper bound of the
        negative log-likelihood, to be read beside the causal network's exact one.
        """
        frames, rows, columns = self.generation.latent_shape
        evenly = dataclasses.replace(self.masking, schedule="between:0,1", rounding="ceil", block=(1, 1, 1))
        if self._causal:
            masked = self._sampled(evenly, keys_B, grids, every_frame=True)
            each_Bt, hidden_Bt = (rows_BN.reshape(-1, rows * columns) for rows_BN in (
                token_cross_entropy(logits(masked), masked.targets_BN), masked.masked_BN))
            return rows * columns * weighted_mean(each_Bt, hidden_Bt).reshape(-1, frames).sum(-1)
        total_B = 0.0
        for frame in range(frames):
            keys_of_frame_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, frame)
            masked = self._sampled(evenly, keys_of_frame_B, grids, frame=frame)
            entropy_BN = token_cross_entropy(logits(masked), masked.targets_BN)
            now_BN = masked.masked_BN & (jnp.arange(masked.masked_BN.shape[1]) // (rows * columns) == frame)
            total_B += rows * columns * weighted_mean(entropy_BN, now_BN)
        return total_B

    def _sampled(self, masking: Masking, keys_B, grids, **which) -> Masked:
        """Masks of clips that follow from each one's own key alone."""
        mask = self.generation.vocabulary.mask

        def alone(key, *grids):
            return masking.sample(key, *(grid[None] for grid in grids), mask, **which)

        return jax.tree.map(lambda rows: rows[:, 0], jax.vmap(alone)(keys_B, *grids))
