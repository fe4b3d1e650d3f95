"""COMMIT: masking that mixes true tokens, condition tokens and MASK (MAGVIT, arXiv 2212.05199, section 3.2).

Source of the method: the paper; of the curves' names, block masks and frozen conditions: the code released with it.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from videogvt.core.registry import unknown_name

Rounding = Literal["ceil", "floor"]
Weights = Literal["mask+refine+recons", "mask+refine"]
Condition = Literal["commit", "input->input", "cond->cond"]

_CURVES = {  # name: (how many numbers it takes, curve of u in [0, 1], the number of tokens and the numbers)
    "cosine": (0, lambda u, n: jnp.cos(jnp.pi / 2 * u)),
    "arccos": (0, lambda u, n: 2 / jnp.pi * jnp.arccos(u)),
    "uniform": (0, lambda u, n: 1 - u),
    "pow": (1, lambda u, n, exponent: 1 - u**exponent),
    "log": (0, lambda u, n: -jnp.log2(u) / jnp.log2(jnp.maximum(n, 2))),
    "exp": (0, lambda u, n: 1 - jnp.float32(n) ** (u - 1)),
    "poly": (None, lambda u, n, *coefficients: jnp.polyval(jnp.asarray(coefficients), u)),
    "fixed": (1, lambda u, n, ratio: jnp.full_like(u, ratio)),
    "between": (2, lambda u, n, low, high: high - (high - low) * u),
}
SCHEDULES = ("cosine", "arccos", "uniform", "pow2", "log", "exp", "poly:-1,0,1", "fixed:0.75", "between:0.5,1")


def schedule(name: str) -> Callable:
    """The curve gamma that turns u in [0, 1] into the share of tokens to mask, 1 to 0 for all but the last two.

    Args:
      name: "cosine" (the paper's), "arccos" (Halton-MaskGIT's), "uniform", "pow" with an exponent, "log", "exp",
        "poly:" with coefficients, the highest power first; and ours for training: "fixed:" with a ratio, "between:"
        with the bounds of an even distribution.

    Returns:
      Function of (u, number of maskable tokens), numbers or arrays that broadcast, with ratios in [1e-6, 1].

    Raises:
      ValueError: the name is unknown, or its numbers are.
    """
    kind, text = re.fullmatch(r"([a-z]*)(.*)", name, re.DOTALL).groups()
    if kind not in _CURVES:
        raise ValueError(unknown_name("mask schedule", name, SCHEDULES))
    expected, curve = _CURVES[kind]
    try:
        numbers = tuple(map(float, text.removeprefix(":").split(","))) if text else ()
    except ValueError:
        numbers = None
    if numbers is None or len(numbers) != (expected if expected is not None else max(len(numbers), 1)):
        wanted = {0: "no number", 1: "one number", 2: "two numbers", None: "its coefficients"}[expected]
        example = next(example for example in SCHEDULES if example.startswith(kind))
        raise ValueError(f"Mask schedule {name!r}: {kind!r} takes {wanted}; write it like {example!r}.")
    if kind in ("fixed", "between") and not 0 <= numbers[0] <= numbers[-1] <= 1:
        raise ValueError(f"Mask schedule {name!r}: ratios must be in [0, 1], the lower first.")
    return lambda u, num_tokens: jnp.clip(curve(jnp.asarray(u, jnp.float32), num_tokens, *numbers), 1e-6, 1.0)


def count(ratio, total, rounding: Rounding):
    """``ratio * total`` rounded up or down, int32; a product that only float32 keeps off an integer is that integer."""
    exact = ratio * total
    nearest = jnp.round(exact)
    rounded = jnp.ceil(exact) if rounding == "ceil" else jnp.floor(exact)
    return jnp.where(jnp.abs(exact - nearest) <= 1e-6 * total, nearest, rounded).astype(jnp.int32)


def select_lowest(scores_BN, count_B, allowed_BN):
    """Marks the ``count_B`` lowest scores among the allowed positions of each row.

    By rank, not by a cut-off: ties go to the earlier position, and the number is exact (at most all that are allowed;
    0 marks none), whatever infinities the scores hold.
    """
    return (rank(scores_BN, allowed_BN) < jnp.asarray(count_B)[:, None]) & allowed_BN


def rank(scores_BN, allowed_BN):
    """The places (B, N) in the order of rising scores, of the allowed positions first; of equal ones the earlier."""
    return jnp.argsort(jnp.lexsort((scores_BN, ~allowed_BN), axis=-1), axis=-1)


def pool_blocks(key, scores_thw, allowed_thw, block: tuple[int, int, int]):
    """Scores that are alike within blocks of tokens, so that neighbours are masked together.

    For every offset of the grid of blocks, in random order, each score is replaced by the mean of its block: of the
    edge-padded scores, without the positions that are not allowed. A little noise then breaks the ties.
    """
    order_key, noise_key = jax.random.split(key)
    margins = [(b - 1, b - 1) for b in block]
    allowed = jnp.pad(allowed_thw, margins, "edge").astype(jnp.float32)
    sizes = jnp.asarray(block)

    def pool(scores, offset):
        shift = jnp.unravel_index(offset, block)
        blocks = [(jnp.arange(n) - s) // b for n, s, b in zip(scores.shape, shift, sizes)]
        together = [(ids[:, None] == ids[None, :]).astype(jnp.float32) for ids in blocks]
        total = lambda values: jnp.einsum("ti,hj,wk,ijk->thw", *together, values, precision="highest")  # noqa: E731
        return total(scores * allowed) / jnp.maximum(total(allowed), 1.0), None

    offsets = jax.random.permutation(order_key, block[0] * block[1] * block[2])
    pooled, _ = jax.lax.scan(pool, jnp.pad(scores_thw, margins, "edge"), offsets)
    inner = pooled[tuple(slice(b - 1, b - 1 + n) for b, n in zip(block, scores_thw.shape))]
    return inner + 1e-3 * jax.random.uniform(noise_key, inner.shape)


class Masked(NamedTuple):
    """Tokens to train on, t-major, then by row and column.

    Attributes:
      inputs_BN: what the transformer sees, int32.
      targets_BN: what it is to say at every position, int32.
      weights_BN: of the positions in the loss, 0 or 1, float32.
      segments_BN: 1 where the input shows the condition, else 0, int32.
      masked_BN: where the true token was taken away, bool.
    """

    inputs_BN: jax.Array
    targets_BN: jax.Array
    weights_BN: jax.Array
    segments_BN: jax.Array
    masked_BN: jax.Array


@dataclasses.dataclass(frozen=True)
class Masking:
    """How the tokens of training samples are masked; the defaults are the paper's.

    Attributes:
      schedule: see ``schedule``; u is uniform, one for each sample (the released code has one for a whole batch).
      rounding: of the number of masked tokens, "ceil" (paper) or "floor" (released code).
      block: tokens in time, rows and columns that tend to be masked together; it divides the latent grid.
      weights: "mask+refine+recons" has all positions in the loss, "mask+refine" only those selected by their score.
      frames_before: share of clips in which all codes of the frames before a random one are shown, those of the frames
        after it are hidden, and the schedule counts its own: what a sampler of frame after frame asks for. Ours; the
        paper has none.
      corruption: a visible code is replaced by one drawn from all, with a probability that is drawn for each clip,
        evenly up to this one: what a sampler's own mistakes look like, as in 1X's world model (the repository 1xgpt).
        The true frames that networks with ``causal_frames`` are taught from stay as they are.
      extra_conditions: share of clips that are given more than their task gives: whole frames or, as often, single
        codes, each with a probability that is drawn for the clip, evenly up to 1. A task that gives later frames is one
        pattern of many; this way every frame learns what those after it say of it. Ours; the paper has none.
      condition: what happens at positions with condition pixels. "commit" (released as "cond->input") replaces a
        selected token by the condition token, the others stay true; "input->input" shows the true tokens and
        "cond->cond" the condition tokens, in the target too, neither selected nor in the loss.

    Raises:
      ValueError: a name is unknown, or the block is not three positive integers.
    """

    schedule: str = "cosine"
    rounding: Rounding = "ceil"
    block: tuple[int, int, int] = (1, 1, 1)
    weights: Weights = "mask+refine+recons"
    condition: Condition = "commit"
    frames_before: float = 0.0
    corruption: float = 0.0
    extra_conditions: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "block", tuple(self.block))
        for name in ("frames_before", "corruption", "extra_conditions"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"masking.{name} is {getattr(self, name)}; expected a share, 0 to 1.")
        schedule(self.schedule)
        for field, kind in (("rounding", Rounding), ("weights", Weights), ("condition", Condition)):
            if getattr(self, field) not in kind.__args__:
                raise ValueError(unknown_name(f"masking.{field}", getattr(self, field), kind.__args__))
        if len(self.block) != 3 or min(self.block) < 1:
            raise ValueError(f"masking.block={self.block} must be three positive integers: time, rows, columns.")

    def sample(self, key, target_Bthw, condition_Bthw, visible_Bthw, mask_id: int, *,
               frame: int | None = None, every_frame: bool = False) -> Masked:
        """Masks a batch.

        Args:
          key: of this step.
          target_Bthw: codes of the videos.
          condition_Bthw: codes of the padded condition videos; they count only where something is visible.
          visible_Bthw: whether a supervoxel holds a condition pixel; all False where there is no condition.
          mask_id: the id of MASK.
          frame, every_frame: see ``select``.

        Raises:
          ValueError: the block does not divide the latent grid.
        """
        masked_Bthw = self.select(key, visible_Bthw, frame=frame, every_frame=every_frame)
        return self.apply(masked_Bthw, target_Bthw, condition_Bthw, visible_Bthw, mask_id)

    def select(self, key, visible_Bthw, *, frame: int | None = None, every_frame: bool = False):
        """Marks the positions to mask: gamma(u) of those that may be, at least one, by the lowest random scores.

        Args:
          key: of this step.
          visible_Bthw: as in ``sample``.
          frame: parts what is shown from what is hidden in all clips, see ``frames_before``; None leaves it to chance.
          every_frame: whether each frame of a clip is masked for itself, with its own u, at least one of its codes.
        """
        if every_frame:
            frames_F1hw = visible_Bthw.reshape(-1, 1, *visible_Bthw.shape[2:])
            alone = dataclasses.replace(self, frames_before=0.0)
            return alone.select(key, frames_F1hw).reshape(visible_Bthw.shape)
        batch, *grid = visible_Bthw.shape
        if any(n % b for n, b in zip(grid, self.block)):
            raise ValueError(f"masking.block={self.block} must divide the latent grid {tuple(grid)}.")
        allowed_Bthw = ~self._kept(visible_Bthw)
        hidden_Bthw = jnp.zeros_like(allowed_Bthw)
        if self.frames_before or frame is not None:
            key, frames_key = jax.random.split(key)
            frame_B111, chosen_B111 = self._frame_of_interest(frames_key, batch, grid[0])
            if frame is not None:
                frame_B111, chosen_B111 = jnp.full_like(frame_B111, frame), jnp.ones_like(chosen_B111)
            frames_t11 = jnp.arange(grid[0])[:, None, None]
            hidden_Bthw = allowed_Bthw & chosen_B111 & (frames_t11 > frame_B111)
            allowed_Bthw &= ~chosen_B111 | (frames_t11 == frame_B111)
        ratio_key, score_key, block_key = jax.random.split(key, 3)
        scores_Bthw = jax.random.uniform(score_key, visible_Bthw.shape)
        if self.block != (1, 1, 1):
            keys_B = jax.random.split(block_key, batch)
            scores_Bthw = jax.vmap(lambda *args: pool_blocks(*args, self.block))(keys_B, scores_Bthw, allowed_Bthw)
        allowed_BN = allowed_Bthw.reshape(batch, -1)
        total_B = allowed_BN.sum(-1)
        ratio_B = schedule(self.schedule)(jax.random.uniform(ratio_key, (batch,)), total_B)
        count_B = jnp.clip(count(ratio_B, total_B, self.rounding), jnp.minimum(total_B, 1), total_B)
        selected_BN = select_lowest(scores_Bthw.reshape(batch, -1), count_B, allowed_BN)
        return selected_BN.reshape(visible_Bthw.shape) | hidden_Bthw

    def apply(self, masked_Bthw, target_Bthw, condition_Bthw, visible_Bthw, mask_id: int) -> Masked:
        """``sample`` with positions that are selected already."""
        kept = self._kept(visible_Bthw)
        shown = kept | visible_Bthw & masked_Bthw
        given = target_Bthw if self.condition == "input->input" else condition_Bthw
        inputs = jnp.where(shown, given, jnp.where(masked_Bthw, mask_id, target_Bthw))
        targets = jnp.where(kept, given, target_Bthw)
        weights = masked_Bthw if self.weights == "mask+refine" else ~kept
        flat = lambda array, dtype: array.reshape(array.shape[0], -1).astype(dtype)  # noqa: E731
        return Masked(flat(inputs, jnp.int32), flat(targets, jnp.int32), flat(weights, jnp.float32),
                      flat(shown, jnp.int32), flat(masked_Bthw, bool))

    def _frame_of_interest(self, key, batch: int, frames: int):
        """A frame of each clip, and whether it parts what is shown in this clip from what is not."""
        share_key, frame_key = jax.random.split(key)
        frame_B = jax.random.randint(frame_key, (batch,), 0, frames)
        chosen_B = jax.random.bernoulli(share_key, self.frames_before, (batch,))
        return frame_B[:, None, None, None], chosen_B[:, None, None, None]

    def give_more(self, key, target_Bthw, condition_Bthw, visible_Bthw):
        """Conditions and where they are visible, of some clips with true codes besides; see ``extra_conditions``.

        Args:
          key: of this step.
          target_Bthw, condition_Bthw, visible_Bthw: as in ``sample``, which takes what is returned in their place.
        """
        if not self.extra_conditions:
            return condition_Bthw, visible_Bthw
        clip_key, kind_key, rate_key, frame_key, cell_key = jax.random.split(key, 5)
        batch, frames = len(visible_Bthw), visible_Bthw.shape[1]
        of_clips = (batch, 1, 1, 1)
        chosen_B111 = jax.random.bernoulli(clip_key, self.extra_conditions, of_clips)
        score_Bthw = jnp.where(jax.random.bernoulli(kind_key, 0.5, of_clips),
                               jax.random.uniform(frame_key, (batch, frames, 1, 1)),
                               jax.random.uniform(cell_key, visible_Bthw.shape))
        more_Bthw = ~visible_Bthw & chosen_B111 & (score_Bthw < jax.random.uniform(rate_key, of_clips))
        return jnp.where(more_Bthw, target_Bthw, condition_Bthw), visible_Bthw | more_Bthw

    def corrupt(self, key, masked: Masked, num_codes: int) -> Masked:
        """Codes drawn from all in the place of some that are visible; what is a condition stays.

        Args:
          key: of this step.
          masked: of ``sample``.
          num_codes: K.
        """
        if not self.corruption:
            return masked
        rate_key, chance_key, code_key = jax.random.split(key, 3)
        rate_B1 = self.corruption * jax.random.uniform(rate_key, (len(masked.inputs_BN), 1))
        wrong_BN = jax.random.uniform(chance_key, masked.inputs_BN.shape) < rate_B1
        wrong_BN &= ~masked.masked_BN & (masked.segments_BN == 0)
        other_BN = jax.random.randint(code_key, masked.inputs_BN.shape, 0, num_codes)
        return masked._replace(inputs_BN=jnp.where(wrong_BN, other_BN, masked.inputs_BN))

    def _kept(self, visible_Bthw):
        """The positions that always show their condition and are never selected."""
        return visible_Bthw & (self.condition in ("input->input", "cond->cond"))
