"""From a task, a class and a video to a video: tokenizer and transformer together, as pure functions of their weights.

A training recipe and a loaded generator hold the same objects, so that both see the same tokens and decode alike.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.core.registry import configure
from videogvt.core.trees import frozen
from videogvt.decode import AutoregressiveDecoding, Decoded, FrameDecoding, MaskedSampler, sampler_of
from videogvt.models.token_model import Outside, TokenModel, vocabulary_and_tasks
from videogvt.nn.lm import CausalTransformer
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer


@dataclasses.dataclass(frozen=True)
class MaskedGeneration(TokenModel):
    """A bidirectional transformer that fills in masked tokens (arXiv 2212.05199, 3.2 and 3.3).

    Attributes:
      transformer: the network; its sequence is the prefix and the codes.
      decoding: how tokens are chosen.
    """

    transformer: MaskedTransformer
    decoding: MaskedSampler

    def init(self, key: jax.Array) -> Any:
        """Random parameters of the transformer."""
        tokens_1L = jnp.zeros((1, self.transformer.sequence_length), jnp.int32)
        return self.transformer.init(key, tokens_1L, segments_BL=tokens_1L,
                                     codebook_KC=self.blank_codebook())["params"]

    def logits(
        self, params, tokens_BN, prefix_BP, segments_BN, ahead_BN=None, codebook_KC=None, *, taught_BN=None,
        train: bool = False, rngs=None,
    ) -> jax.Array:
        """The logits (B, N, K) of the codes at the positions after the prefix; what is no code has none.

        Args:
          params: of the transformer.
          tokens_BN: codes and MASK.
          prefix_BP: see ``TaskTable.prefix``.
          segments_BN: 1 where a condition token is shown; used by networks with ``segment_embeddings`` alone.
          ahead_BN: see ``ahead``.
          codebook_KC: see ``codebook``; used by networks with ``codebook_embeddings`` alone.
          taught_BN: the codes that frames after theirs see, for networks with ``causal_frames`` alone; None for
            ``tokens_BN`` themselves.
          train, rngs: of the network.
        """
        start = prefix_BP.shape[1]
        before = ((0, 0), (start, 0))
        taught_BL = None if taught_BN is None else jnp.concatenate([prefix_BP, taught_BN], axis=1)
        return self.transformer.apply(
            {"params": params}, jnp.concatenate([prefix_BP, tokens_BN], axis=1), taught_BL=taught_BL,
            segments_BL=jnp.pad(segments_BN.astype(jnp.int32), before),
            codebook_KC=codebook_KC, ahead_BN=ahead_BN, train=train, rngs=rngs, start=start,
            ids=self.vocabulary.num_codes,
        )

    def __call__(
        self, params, tokenizer_params, task_B, label_B, video_BTHWC, keys_B, condition_Bthw=None, *,
        keep_steps: bool = False,
    ) -> dict[str, Any]:
        """Generates one clip a row.

        Args:
          params, tokenizer_params: the weights.
          task_B: numbers of tasks in ``tasks``.
          label_B: classes; a negative one is unconditional, and tasks without class ignore it.
          video_BTHWC: clips, of which the given pixels count; nothing looks at them where no task is given any.
          keys_B: a random key for each clip, which alone decides it.
          condition_Bthw: the codes of the padded conditions of these clips, where they were made already.
          keep_steps: keep the tokens of every decoding step.

        Returns:
          "codes" (B,t,h,w); "video" (B,T,H,W,3) float32 in [0, 1], unless the tokenizer is outside; also "steps", a
          ``decode.Steps``, if they are kept.
        """
        if condition_Bthw is None:
            condition_Bthw = self.condition(tokenizer_params, video_BTHWC, task_B)
        condition_BN = condition_Bthw.reshape(len(task_B), -1)
        visible_BN = self.tasks.visible(task_B).reshape(len(task_B), -1)
        codebook_KC = self.codebook(tokenizer_params)
        prefix_BP = self.tasks.prefix(task_B, label_B)

        if self._framewise:
            decoded = self._by_frame(params, prefix_BP, condition_BN, visible_BN, codebook_KC, keys_B, keep_steps)
            return self._made(tokenizer_params, decoded)

        def conditional(tokens_BN):
            shown_BN = visible_BN & (tokens_BN == condition_BN)  # a code that came out as it was given counts as well
            ahead_BN = self.ahead(condition_BN, visible_BN)
            return self.logits(params, tokens_BN, prefix_BP, shown_BN, ahead_BN, codebook_KC)

        def unconditional(tokens_BN):
            prefix = self._unconditional_prefix(prefix_BP)
            nothing_BN = jnp.zeros_like(visible_BN)
            return self.logits(params, tokens_BN, prefix, nothing_BN, self.ahead(condition_BN, nothing_BN), codebook_KC)

        decoded = self.decoding(
            conditional, condition_BN, visible_BN, mask_id=self.vocabulary.mask, num_codes=self.vocabulary.num_codes,
            keys_B=keys_B, unconditional_fn=unconditional, keep_steps=keep_steps,
        )
        return self._made(tokenizer_params, decoded)

    @property
    def _framewise(self) -> bool:
        """Whether each pass need look at one frame alone."""
        return self.transformer.causal_frames and type(self.decoding) is FrameDecoding

    def _by_frame(self, params, prefix_BP, condition_BN, visible_BN, codebook_KC, keys_B, keep_steps):
        start, cells = prefix_BP.shape[1], self.latent_shape[1] * self.latent_shape[2]
        at_hand = lambda rows_BN, frame: jax.lax.dynamic_slice_in_dim(rows_BN, frame * cells, cells, 1)  # noqa: E731
        ahead_BN = self.ahead(condition_BN, visible_BN)

        def step(tokens_Bk, position, cache, segments_Bk, ahead_BN=None):
            return self.transformer.apply(
                {"params": params}, tokens_Bk, position, cache, segments_BL=segments_Bk, codebook_KC=codebook_KC,
                ahead_BN=ahead_BN, ids=self.vocabulary.num_codes, method="step")

        def conditional(tokens_Bn, frame, cache):
            shown_Bn = at_hand(visible_BN, frame) & (tokens_Bn == at_hand(condition_BN, frame))
            return step(tokens_Bn, start + frame * cells, cache, shown_Bn.astype(jnp.int32), ahead_BN)

        def unconditional(tokens_Bn, frame, cache):
            kept_Bn = at_hand(visible_BN & self.decoding.keep_condition, frame)
            nothing_Bn = jnp.full_like(tokens_Bn, self.vocabulary.mask)
            return step(jnp.where(kept_Bn, nothing_Bn, tokens_Bn), start + frame * cells, cache,
                        jnp.zeros_like(tokens_Bn))

        def after(prefix_BP):
            cache = self.transformer.init_cache(len(prefix_BP))
            return step(prefix_BP, 0, cache, jnp.zeros_like(prefix_BP))[1]

        step_fns, caches = [conditional], [after(prefix_BP)]
        if ahead_BN is not None:
            caches = [self.transformer.apply(
                {"params": params}, ahead_BN, caches[0], codebook_KC=codebook_KC, method="look_ahead")]
        if self.decoding.guidance:
            step_fns, caches = [*step_fns, unconditional], [*caches, after(self._unconditional_prefix(prefix_BP))]
        return self.decoding.framewise(
            step_fns, caches, condition_BN, visible_BN, mask_id=self.vocabulary.mask,
            num_codes=self.vocabulary.num_codes, keys_B=keys_B, keep_steps=keep_steps)

    def _made(self, tokenizer_params, decoded: Decoded) -> dict[str, Any]:
        made = self.shown(tokenizer_params, decoded.codes_BN)
        return made if decoded.steps is None else made | {"steps": decoded.steps}

    def ahead(self, condition_BN, visible_BN) -> jax.Array | None:
        """What networks with ``conditions_ahead`` see of later frames: condition tokens, -1 where nothing is given."""
        if not (self.transformer.conditions_ahead and self.tasks.needs_condition):
            return None
        return jnp.where(visible_BN, condition_BN, -1).astype(jnp.int32)

    def _unconditional_prefix(self, prefix_BP):
        """No class; and the task of generating all, where the network was trained on it."""
        prefix_BP = prefix_BP.at[:, -1].set(self.vocabulary.unconditional)
        if self.vocabulary.multitask and not self.tasks.visible_nTHW.any((1, 2, 3)).all():
            prefix_BP = prefix_BP.at[:, 0].set(self.vocabulary.task("full_generation"))
        return prefix_BP


@dataclasses.dataclass(frozen=True)
class CausalGeneration(TokenModel):
    """A transformer that says one token after another; the paper's baseline.

    Its sequence is the class and the codes, and its input is the mask id, as a beginning, followed by all but the last
    of them.

    Attributes:
      transformer: the network, of 1 + N tokens.
      decoding: how tokens are drawn.
    """

    transformer: CausalTransformer
    decoding: AutoregressiveDecoding

    def prefix(self, task_B, label_B) -> jax.Array:
        """Beginning and class, (B, 2)."""
        class_B1 = self.tasks.prefix(task_B, label_B)
        return jnp.concatenate([jnp.full_like(class_B1, self.vocabulary.mask), class_B1], axis=1)

    def init(self, key: jax.Array) -> Any:
        """Random parameters of the transformer."""
        tokens_1L = jnp.zeros((1, self.transformer.sequence_length), jnp.int32)
        return self.transformer.init(key, tokens_1L, codebook_KC=self.blank_codebook())["params"]

    def logits(self, params, tokens_BN, prefix_B2, codebook_KC=None, *, train: bool = False, rngs=None) -> jax.Array:
        """The logits (B, 1 + N, V) of class and codes, each from what precedes it alone."""
        inputs_BL = jnp.concatenate([prefix_B2, tokens_BN[:, :-1]], axis=1)
        return self.transformer.apply({"params": params}, inputs_BL, codebook_KC=codebook_KC, train=train, rngs=rngs)

    def __call__(
        self, params, tokenizer_params, task_B, label_B, video_BTHWC, keys_B, condition_Bthw=None
    ) -> dict[str, Any]:
        """Generates one clip a row; see ``MaskedGeneration``. Pixels and conditions count for nothing."""
        del video_BTHWC, condition_Bthw
        codebook_KC = self.codebook(tokenizer_params)

        def step(tokens_B, position, cache):
            return self.transformer.apply({"params": params}, tokens_B, position, cache, codebook_KC, method="step")

        codes_BN = self.decoding(
            step, self.transformer.init_cache(len(task_B)), self.prefix(task_B, label_B), num_tokens=self.num_tokens,
            num_codes=self.vocabulary.num_codes, keys_B=keys_B,
        )
        return self.shown(tokenizer_params, codes_BN)


def masked_generation(
    config: Mapping[str, Any], tokenizer: TokenizerNetwork | Outside, video_shape: tuple[int, int, int],
    num_classes: int,
) -> MaskedGeneration:
    """What the sections ``tasks``, ``transformer`` and ``decoding`` describe.

    Several tasks make the vocabulary a multi-task one; ``tasks.multitask`` says it of a single one.

    Args:
      config: plain values.
      tokenizer: of the first stage.
      video_shape: (T, H, W) of the clips.
      num_classes: of the data; 0 for none.
    """
    vocabulary, tasks = vocabulary_and_tasks(config, tokenizer, video_shape, num_classes)
    length = vocabulary.prefix_length + tasks.visible_nthw[0].size
    return MaskedGeneration(
        tokenizer, vocabulary, tasks,
        transformer=configure(MaskedTransformer, "transformer", frozen(config["transformer"]),
                              vocab_size=vocabulary.size, sequence_length=length, grid=tasks.visible_nthw.shape[1:]),
        decoding=sampler_of(config["decoding"], tasks.visible_nthw.shape[1:]),
    )


def causal_generation(
    config: Mapping[str, Any], tokenizer: TokenizerNetwork | Outside, video_shape: tuple[int, int, int],
    num_classes: int,
) -> CausalGeneration:
    """What the sections ``tasks``, ``lm`` and ``decoding`` describe.

    Raises:
      ValueError: a task is given pixels, or there are several.
    """
    vocabulary, tasks = vocabulary_and_tasks(config, tokenizer, video_shape, num_classes)
    if tasks.needs_condition or vocabulary.multitask:
        raise ValueError(
            f"config.tasks.names is {list(tasks.names)}; this transformer generates whole clips by class and nothing "
            "else. Expected ['CG']; the masked transformer has the other tasks (config.recipe = 'transformer')."
        )
    return CausalGeneration(
        tokenizer, vocabulary, tasks,
        transformer=configure(CausalTransformer, "lm", frozen(config["lm"]), vocab_size=vocabulary.size,
                              sequence_length=1 + tasks.visible_nthw[0].size),
        decoding=configure(AutoregressiveDecoding, "decoding", config["decoding"]),
    )
