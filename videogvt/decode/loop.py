"""What samplers of masked transformers share: one compiled loop, in which each says what stays hidden after a pass.

Everything begins hidden but what is kept. A pass draws a token for every hidden position; the sampler then names the
positions that are hidden from the next pass, and the tokens of all others stand. A sampler sees the network's
probabilities and the positions alone.

Positions with given pixels show their condition token while they are hidden. They are predicted like all others, so the
model may refine what it was given.

Causal transformers say one token after another, with a cache; long videos are made clip after clip.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from videogvt.ops import sampling
from videogvt.ops.video import crossfade


class Steps(NamedTuple):
    """What each step did.

    Attributes:
      tokens: (B, steps, N) int32, the codes of the whole clip as proposed in each step.
      masked: (B, steps, N) bool, those that are hidden after it; nothing after the last.
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


class Proposal(NamedTuple):
    """What a sampler sees after a pass.

    Attributes:
      index: number of the pass, from 0.
      keys_B: one for each clip, the same in all passes; ``noise_B`` of a pass is made of it.
      logits_BNK: of codes, guided, before filters and temperature.
      drawn_BN: a code for every position.
      unknown_BN: whether a position was hidden from this pass, and so takes its drawn code.
      free_BN: whether it is decoded at all; the others keep their condition token.
    """

    index: jax.Array
    keys_B: jax.Array
    logits_BNK: jax.Array
    drawn_BN: jax.Array
    unknown_BN: jax.Array
    free_BN: jax.Array

    def noise_B(self, index=None) -> jax.Array:
        """Keys of the noise in the choice of positions after this pass, or another."""
        return _keys(self.keys_B, self.index if index is None else index, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedSampler:
    """How masked tokens are filled in.

    Attributes:
      temperature: of the logits when a code is drawn; 0 takes the most likely.
      top_k, nucleus: draw among the most likely codes only, see ``ops.sampling.draw``; at most one of them.
      guidance: s in logits + s (logits - unconditional logits); 0 for none. It asks for a network that
        has seen clips without class and condition in training.
      keep_condition: keep the condition tokens as they are, for models trained that way (``ops.masking.Masking``);
        the schedule then counts the other positions.
      grid: (t, h, w) of the codes, for samplers that ask where a position is; handed in by what makes the sampler.

    Raises:
      ValueError: a setting is out of range, or the sampler asks for a grid and there is none.
    """

    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 0.0
    guidance: float = 0.0
    keep_condition: bool = False
    grid: tuple[int, int, int] | None = None

    needs_grid = False

    def __post_init__(self):
        sampling.check_sampling(self.temperature, self.top_k, self.nucleus)
        if self.grid is not None:
            object.__setattr__(self, "grid", tuple(self.grid))
        if self.needs_grid and (self.grid is None or len(self.grid) != 3 or min(self.grid) < 1):
            raise ValueError(f"{type(self).__name__} found grid={self.grid}; expected three positive integers: frames, "
                             "rows and columns of the codes.")

    @property
    def passes(self) -> int:
        """Calls of the network, one after the other; with guidance, each of both networks."""
        raise NotImplementedError

    def _hidden(self, proposal: Proposal) -> jax.Array:
        """The positions (B, N) that are hidden from the next pass: none of them kept, and none after the last."""
        raise NotImplementedError

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
          ValueError: the keys, the logits or the grid do not fit, or guidance has no ``unconditional_fn``.
        """
        sampling.check_random_keys(keys_B, len(condition_BN))
        self._check_grid(condition_BN.shape[1])
        if self.guidance and unconditional_fn is None:
            raise ValueError(f"guidance={self.guidance} needs an unconditional_fn; pass one, or set guidance to 0.")
        kept_BN = visible_BN & self.keep_condition
        shown_BN = jnp.where(visible_BN, condition_BN, mask_id).astype(jnp.int32)

        def step(state, index):
            tokens_BN, unknown_BN = state
            nothing_BN = jnp.where(unknown_BN | kept_BN, mask_id, tokens_BN)
            logits_BNK = self._logits(logits_fn, tokens_BN, unconditional_fn, nothing_BN, num_codes)
            drawn_BN = sampling.draw(
                _keys(keys_B, index, 0), logits_BNK, temperature=self.temperature, top_k=self.top_k,
                nucleus=self.nucleus)
            proposed_BN = jnp.where(unknown_BN, drawn_BN, tokens_BN)
            hidden_BN = self._hidden(Proposal(index, keys_B, logits_BNK, drawn_BN, unknown_BN, ~kept_BN))
            state = jnp.where(hidden_BN, shown_BN, proposed_BN), hidden_BN
            return state, Steps(proposed_BN, hidden_BN) if keep_steps else None

        (codes_BN, _), steps = jax.lax.scan(step, (shown_BN, ~kept_BN), jnp.arange(self.passes))
        return Decoded(codes_BN, jax.tree.map(lambda rows: jnp.moveaxis(rows, 0, 1), steps))

    def _check_grid(self, num_tokens: int) -> None:
        if self.grid is not None and num_tokens != self.grid[0] * self.grid[1] * self.grid[2]:
            raise ValueError(f"Found {num_tokens} tokens a clip, and a sampler for the grid {self.grid} of codes.")

    def _logits(self, logits_fn, tokens_BN, unconditional_fn, nothing_BN, num_codes: int):
        """Logits (B, N, K), guided away from the unconditional ones."""
        logits_BNK = codes_only(logits_fn(tokens_BN), num_codes)
        if not self.guidance:
            return logits_BNK
        return logits_BNK + self.guidance * (logits_BNK - codes_only(unconditional_fn(nothing_BN), num_codes))


def codes_only(logits, num_codes: int):
    """The logits of codes, float32."""
    if logits.shape[-1] < num_codes:
        raise ValueError(f"Found logits {logits.shape} of fewer than {num_codes} codes.")
    return logits[..., :num_codes].astype(jnp.float32)


def _keys(keys_B, index, part: int):
    """Fresh keys of a pass: part 0 draws codes, part 1 chooses positions."""
    return sampling.fold_in(keys_B, 2 * index + part)


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
        sampling.check_random_keys(keys_B, batch)
        if not length:
            raise ValueError("The prefix is empty; expected at least one token, which says that a clip begins.")

        def step(state, position):
            tokens_B, cache = state
            logits_BV, cache = step_fn(tokens_B, position, cache)
            drawn_B = sampling.draw(
                sampling.fold_in(keys_B, position), codes_only(logits_BV, num_codes), temperature=self.temperature,
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
