"""Samplers that hide and redraw what they have drawn, so that early mistakes need not stay."""

import dataclasses

import jax
import jax.numpy as jnp

from videogvt.decode.loop import Look, MaskedSampler
from videogvt.decode.parallel import ScheduledSampler
from videogvt.ops import sampling
from videogvt.ops.masking import rank, select_lowest


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftAndRevise(MaskedSampler):
    """Draws the clip in random chunks, then each of other random chunks anew, given all the rest; no confidence.

    Source: Draft-and-Revise (arXiv 2206.04452) as TECO has it (arXiv 2210.02396), whose settings are the defaults.

    Attributes:
      steps: chunks of the draft, and of each revision; a partition of its own each time.
      revisions: how often everything is drawn anew.
      (others: see ``MaskedSampler``)

    Raises:
      ValueError: a setting is out of range.
    """

    nucleus: float = 0.8
    steps: int = 8
    revisions: int = 2

    def __post_init__(self):
        super().__post_init__()
        if self.steps < 1 or self.revisions < 0:
            raise ValueError(f"Found decoding.steps={self.steps}, decoding.revisions={self.revisions}; expected at "
                             "least 1 chunk and 0 revisions.")

    @property
    def passes(self) -> int:
        return self.steps * (1 + self.revisions)

    def _hidden(self, look: Look) -> jax.Array:
        turn, chunk = (look.index + 1) // self.steps, (look.index + 1) % self.steps
        rank_BN = rank(sampling.gumbel(look.noise_B(turn * self.steps), look.free_BN.shape[1]), look.free_BN)
        total_B1 = jnp.maximum(look.free_BN.sum(-1, keepdims=True), 1)
        chunk_BN = rank_BN * self.steps // total_B1
        ahead_BN = jnp.where(turn == 0, chunk_BN >= chunk, chunk_BN == chunk)
        return ahead_BN & look.free_BN & (look.index + 1 < self.passes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remasking(ScheduledSampler):
    """Random order, and in each pass some known tokens are hidden again (ReMDM, arXiv 2503.00307, "rescale").

    Each known token is hidden with probability ``eta`` times the largest that the schedule allows, which is hidden
    after / known before, at most 1. As many more become known, so that the number of hidden ones is the schedule's.

    Attributes:
      eta: 0..1; at 0 tokens become known in random order and stay, as in ``RandomDecoding``.
      (others: see ``ScheduledSampler``)

    Raises:
      ValueError: a setting is unknown or out of range.
    """

    steps: int = 32
    temperature: float = 0.8
    eta: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"Found decoding.eta={self.eta}; expected a rate, 0 to 1.")

    def _hidden(self, look: Look) -> jax.Array:
        tokens, left_B = look.unknown_BN.shape[1], jnp.maximum(self._left(look), 0)
        known_BN = look.free_BN & ~look.unknown_BN
        rate_B = self.eta * jnp.minimum(1.0, left_B / jnp.maximum(known_BN.sum(-1), 1))
        chance_BN = jax.vmap(lambda key: jax.random.uniform(key, (tokens,)))(look.noise_B())
        again_BN = select_lowest(chance_BN, left_B, known_BN & (chance_BN < rate_B[:, None]))
        return again_BN | select_lowest(chance_BN, left_B - again_BN.sum(-1), look.unknown_BN)
