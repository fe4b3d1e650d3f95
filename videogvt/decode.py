"""Tokens of whole clips from a transformer's logits: many at a time (MAGVIT, arXiv 2212.05199, 3.3), or one by one.

Parallel decoding starts where everything is unknown. Each step draws a token for every unknown position, keeps the
tokens the model is sure of, and hides the others again:

    u = step / steps;  score = log p(token) + choice_temperature (1 - u) Gumbel
    hide the floor(gamma(u) N) lowest scores, at least 1 and fewer than before; after the last step none

Positions with given pixels show their condition token while they are unknown, or MASK where the network is told
conditions beside the tokens. They are predicted like all others, so the model may refine what it was given.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from videogvt.core.registry import unknown_name
from videogvt.ops import sampling
from videogvt.ops.blend import crossfade
from videogvt.ops.masking import Rounding, count, schedule, select_lowest

Confidence = Literal["log", "prob"]


class Steps(NamedTuple):
    """What each step did.

    Attributes:
      tokens: (B, steps, N) int32, the codes of the whole clip as proposed in each step.
      masked: (B, steps, N) bool, those that the step hid again; nothing after the last.
    """

    tokens: jax.Array
    masked: jax.Array


class Decoded(NamedTuple):
    """Decoded clips.

    Attributes:
      codes_BN: int32 in 0..K-1, t-major, then by row and column.
      steps: how they came about, or None if that was not asked for.
    """

    codes_BN: jax.Array
    steps: Steps | None


@dataclasses.dataclass(frozen=True)
class ParallelDecoding:
    """How masked tokens are filled in; the defaults are the released code's.

    Attributes:
      steps: passes through the transformer; what exceeds N changes nothing.
      schedule: of the share that stays hidden, see ``ops.masking.schedule``.
      choice_temperature: of the noise on the scores, which fades out linearly. 0 keeps the surest tokens, a large one
        (the paper has 400 for BAIR) keeps them in random order.
      temperature: of the logits when a code is drawn; 0 takes the most likely.
      top_k, nucleus: draw among the most likely codes only, see ``ops.sampling.draw``; at most one of them.
      guidance: s in logits + s (logits - unconditional logits); 0 for none. It asks for a network that
        has seen clips without class and condition in training.
      confidence: what the score starts from, the probability of the drawn code ("prob", paper) or its logarithm ("log",
        released code), of the logits before filters and temperature.
      rounding: of the number of hidden tokens, "floor" (released code) or "ceil" (paper).
      keep_condition: keep the condition tokens as they are, for models trained that way (``ops.masking.Masking``);
        the schedule then counts the other positions.

    Raises:
      ValueError: a setting is unknown or out of range.
    """

    steps: int = 12
    schedule: str = "cosine"
    choice_temperature: float = 4.5
    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 0.0
    guidance: float = 0.0
    confidence: Confidence = "log"
    rounding: Rounding = "floor"
    keep_condition: bool = False

    def __post_init__(self):
        sampling.check_sampling(self.temperature, self.top_k, self.nucleus)
        schedule(self.schedule)
        for field, kind in (("confidence", Confidence), ("rounding", Rounding)):
            if getattr(self, field) not in kind.__args__:
                raise ValueError(unknown_name(f"decoding.{field}", getattr(self, field), kind.__args__))
        if self.steps < 1 or not self.choice_temperature >= 0:
            raise ValueError(
                f"Found decoding.steps={self.steps}, decoding.choice_temperature={self.choice_temperature}; expected "
                "at least 1 step and a temperature of 0 or more.")

    def __call__(
        self, logits_fn: Callable, condition_BN, visible_BN, *, mask_id: int, num_codes: int, keys_B,
        unconditional_fn: Callable | None = None, keep_steps: bool = False,
    ) -> Decoded:
        """Decodes a batch, in one compiled loop.

        Args:
          logits_fn: function of tokens (B, N) with logits (B, N, num_codes or more) of codes at these positions.
          condition_BN: condition tokens; they count only where something is visible.
          visible_BN: whether a position holds given pixels, bool.
          mask_id: the token of an unknown position.
          num_codes: K; logits from there on are of no code, and ignored.
          keys_B: a typed key for each sample, which alone decides it: neither the batch nor the devices matter.
          unconditional_fn: like ``logits_fn``, for a model that knows neither class nor condition: the tokens it gets
            show MASK instead of condition tokens. Called only if ``guidance`` is not 0.
          keep_steps: whether to return what each step did.

        Raises:
          ValueError: the keys or the logits do not fit, or guidance has no ``unconditional_fn``.
        """
        sampling.check_keys(keys_B, len(condition_BN))
        if self.guidance and unconditional_fn is None:
            raise ValueError(f"guidance={self.guidance} needs an unconditional_fn; pass one, or set guidance to 0.")
        kept_BN = visible_BN & self.keep_condition
        shown_BN = jnp.where(visible_BN, condition_BN, mask_id).astype(jnp.int32)

        def step(state, index):
            tokens_BN, unknown_BN = state
            draw_B, noise_B = (sampling.fold_in(keys_B, 2 * index + part) for part in (0, 1))
            hidden_BN = jnp.where(unknown_BN | kept_BN, mask_id, tokens_BN)
            logits_BNK = self._logits(logits_fn, tokens_BN, unconditional_fn, hidden_BN, num_codes)
            drawn_BN = sampling.draw(
                draw_B, logits_BNK, temperature=self.temperature, top_k=self.top_k, nucleus=self.nucleus)
            proposed_BN = jnp.where(unknown_BN, drawn_BN, tokens_BN)
            scores_BN = sampling.log_probability(logits_BNK, drawn_BN)
            masked_BN = self._masked(index, noise_B, scores_BN, unknown_BN, (~kept_BN).sum(-1))
            state = jnp.where(masked_BN, shown_BN, proposed_BN), masked_BN
            return state, Steps(proposed_BN, masked_BN) if keep_steps else None

        (codes_BN, _), steps = jax.lax.scan(step, (shown_BN, ~kept_BN), jnp.arange(self.steps))
        return Decoded(codes_BN, jax.tree.map(lambda rows: jnp.moveaxis(rows, 0, 1), steps))

    def _logits(self, logits_fn, tokens_BN, unconditional_fn, hidden_BN, num_codes: int):
        """Logits (B, N, K), guided away from the unconditional ones."""
        logits_BNK = _codes_only(logits_fn(tokens_BN), num_codes)
        if not self.guidance:
            return logits_BNK
        return logits_BNK + self.guidance * (logits_BNK - _codes_only(unconditional_fn(hidden_BN), num_codes))

    def _masked(self, index, keys_B, log_probability_BN, unknown_BN, total_B):
        """The positions that stay unknown after a step, all among those that were."""
        progress = (index + 1) / self.steps
        count_B = count(schedule(self.schedule)(progress, total_B), total_B, self.rounding)
        # One becomes known in any case. One stays unknown if there were two or more; of a single one, none.
        count_B = jnp.minimum(jnp.maximum(count_B, 1), unknown_BN.sum(-1) - 1)
        confidence_BN = log_probability_BN if self.confidence == "log" else jnp.exp(log_probability_BN)
        noise_BN = self.choice_temperature * (1 - progress) * sampling.gumbel(keys_B, unknown_BN.shape[1])
        return select_lowest(confidence_BN + noise_BN, jnp.where(index + 1 < self.steps, count_B, 0), unknown_BN)


@dataclasses.dataclass(frozen=True)
class AutoregressiveDecoding:
    """How tokens are drawn one after another.

    Attributes:
      temperature, top_k, nucleus: see ``ops.sampling.draw``.

    Raises:
      ValueError: a setting is out of range, or both filters are on.
    """

    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 0.0

    def __post_init__(self):
        sampling.check_sampling(self.temperature, self.top_k, self.nucleus)

    def __call__(self, step_fn: Callable, cache: Any, prefix_BP, *, num_tokens: int, num_codes: int, keys_B):
        """Codes (B, num_tokens), int32, in one compiled loop.

        Args:
          step_fn: function of (tokens_B, position, cache) that says what follows the token at this position, and the
            next cache: logits (B, num_codes or more), cache. See ``nn.lm.CausalTransformer.step``.
          cache: of no tokens yet, with room for P + num_tokens - 1.
          prefix_BP: tokens that precede the codes, at least one.
          num_tokens: codes to draw.
          num_codes: K; what is no code is never drawn.
          keys_B: a typed key for each sample, which alone decides it.

        Raises:
          ValueError: the keys or the logits do not fit, or there is no prefix.
        """
        prefix_BP = jnp.asarray(prefix_BP, jnp.int32)
        batch, length = prefix_BP.shape
        sampling.check_keys(keys_B, batch)
        if not length:
            raise ValueError("The prefix is empty; expected at least one token, which says that a clip begins.")

        def step(state, position):
            tokens_B, cache = state
            logits_BV, cache = step_fn(tokens_B, position, cache)
            drawn_B = sampling.draw(
                sampling.fold_in(keys_B, position), _codes_only(logits_BV, num_codes), temperature=self.temperature,
                top_k=self.top_k, nucleus=self.nucleus)
            forced_B = prefix_BP[:, jnp.minimum(position + 1, length - 1)]
            next_B = jnp.where(position + 1 < length, forced_B, drawn_B)
            return (next_B, cache), next_B

        _, next_LB = jax.lax.scan(step, (prefix_BP[:, 0], cache), jnp.arange(length + num_tokens - 1))
        return next_LB[length - 1:].T


def extend(predict: Callable, video_BTHWC, num_frames: int, *, given: int, overlap: int = 0):
    """A video of ``num_frames`` frames, any number, that begins with the given ones: predicted clip by clip.

    The last ``given`` frames become the condition of a clip, its other frames are appended, and so on; what exceeds
    ``num_frames`` is dropped. A clip predicts its condition as well, as the tokenizer renders it, so a seam may show
    where it begins. ``overlap`` fades it out: of the last o given frames, prediction j weighs j / o, j = 0..o-1.

    Args:
      predict: function of (condition (B, given, H, W, C), number of the clip from 0) with a clip (B, T, H, W, C) of
        more than ``given`` frames; fold the number into its keys, else equal conditions continue equally.
      video_BTHWC: floats, at least ``given`` frames; kept as they are, but for the last ``overlap``.
      num_frames: of the result, at least those of the video.
      given: frames that condition a clip.
      overlap: frames to fade, 0..given.

    Raises:
      ValueError: numbers of frames, or shape and type of the video or of a clip, do not fit.
    """
    length = video_BTHWC.shape[1]
    if not (1 <= given <= length <= num_frames and 0 <= overlap <= given):
        raise ValueError(
            f"Found num_frames={num_frames}, given={given}, overlap={overlap} for a video of {length} frames; expected "
            "1 <= given <= frames of the video <= num_frames and 0 <= overlap <= given.")
    if not jnp.issubdtype(video_BTHWC.dtype, jnp.floating):
        raise ValueError(f"Found a video of {video_BTHWC.dtype}; expected floats, as predicted clips are.")
    parts, last = [video_BTHWC[:, :-given]], video_BTHWC[:, -given:]
    while length < num_frames:
        clip = predict(last, len(parts) - 1)
        if clip.shape[1] <= given or clip.shape[:1] + clip.shape[2:] != last.shape[:1] + last.shape[2:]:
            raise ValueError(
                f"predict made a clip of shape {clip.shape} of given frames {last.shape}; expected more frames, and "
                "the same batch and frame size.")
        joined = crossfade([last, clip[:, given - overlap:]], (0, given - overlap))
        parts.append(joined[:, :-given])
        last = joined[:, -given:]
        length += clip.shape[1] - given
    return jnp.concatenate([*parts, last], axis=1)[:, :num_frames]


def paste(video_BTHWC, given_BTHWC, visible_BTHW):
    """The given pixels where there are some, else the generated ones, which decoding alone never does."""
    return jnp.where(visible_BTHW[..., None], given_BTHWC, video_BTHWC)


def _codes_only(logits, num_codes: int):
    """The logits of codes, float32."""
    if logits.shape[-1] < num_codes:
        raise ValueError(f"Found logits {logits.shape} of fewer than {num_codes} codes.")
    return logits[..., :num_codes].astype(jnp.float32)
