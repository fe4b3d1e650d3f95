"""Samplers that uncover a growing share of the whole clip in each pass, and differ in what comes first.

The paper's (MAGVIT, arXiv 2212.05199, 3.3) draws a token for every unknown position, keeps those the model is sure of,
and hides the others again:

    u = step / steps;  score = log p(token) + choice_temperature (1 - u) Gumbel
    hide the floor(gamma(u) N) lowest scores, at least 1 and fewer than before; after the last step none

The others have other scores: the margin to the second code, the probability of not being empty, or a fixed order.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from videogvt.core.registry import unknown_name
from videogvt.decode.loop import MaskedSampler, Proposal
from videogvt.ops import sampling
from videogvt.ops.masking import Rounding, count, schedule, select_lowest
from videogvt.ops.sampling import halton_order, rank_of

Confidence = Literal["log", "prob"]


def left_unknown(curve: str, rounding: Rounding, progress, total_B, unknown_B, last) -> jax.Array:
    """How many (B,) of so many unknown positions stay unknown.

    One becomes known in any case. One stays unknown if there were two or more, but none after the last pass.

    Args:
      curve: see ``ops.masking.schedule``.
      rounding: of the number.
      progress: u, the share of the passes that is over.
      total_B: positions that the schedule counts.
      unknown_B: of them, those unknown before.
      last: whether it is the last pass.
    """
    count_B = count(schedule(curve)(progress, total_B), total_B, rounding)
    return jnp.where(last, 0, jnp.minimum(jnp.maximum(count_B, 1), unknown_B - 1))


def check_choice(sampler) -> None:
    """Settings that make sense of how many positions are chosen, and with how much noise.

    Raises:
      ValueError: one of them is unknown or out of range.
    """
    schedule(sampler.schedule)
    if sampler.rounding not in Rounding.__args__:
        raise ValueError(unknown_name("decoding.rounding", sampler.rounding, Rounding.__args__))
    noise = getattr(sampler, "choice_temperature", 0.0)
    if sampler.steps < 1 or not noise >= 0:
        raise ValueError(f"Found decoding.steps={sampler.steps}, decoding.choice_temperature={noise}; expected at "
                         "least 1 step and a temperature of 0 or more.")


def check_empty(empty: int | str | None, asked_by: str) -> None:
    """A code that can be the empty one.

    Raises:
      ValueError: it is none.
    """
    if isinstance(empty, bool) or not isinstance(empty, int) or empty < 0:
        raise ValueError(f"Found decoding.empty={empty!r}, and {asked_by} asks which code is the empty one. Expected "
                         "the number of the most frequent code of the training clips; in the config of a run, "
                         "'most_frequent' finds it.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduledSampler(MaskedSampler):
    """Hides a falling number of positions, those with the lowest scores among the unknown.

    Attributes:
      steps: passes through the transformer; what exceeds N changes nothing.
      schedule: of the share that stays hidden, see ``ops.masking.schedule``.
      rounding: of the number of hidden tokens, "floor" (released code of the paper) or "ceil" (paper).
      (others: see ``MaskedSampler``)
    """

    steps: int = 12
    schedule: str = "cosine"
    rounding: Rounding = "floor"

    def __post_init__(self):
        super().__post_init__()
        check_choice(self)

    @property
    def passes(self) -> int:
        return self.steps

    def _hidden(self, proposal: Proposal) -> jax.Array:
        return select_lowest(self._scores(proposal), self._left(proposal), proposal.unknown_BN)

    def _left(self, proposal: Proposal) -> jax.Array:
        return left_unknown(
            self.schedule, self.rounding, self._progress(proposal), proposal.free_BN.sum(-1),
            proposal.unknown_BN.sum(-1), proposal.index + 1 >= self.steps)

    def _progress(self, proposal: Proposal) -> jax.Array:
        return (proposal.index + 1) / self.steps

    def _scores(self, proposal: Proposal) -> jax.Array:
        """(B, N); the highest become known first."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisySampler(ScheduledSampler):
    """Scores that the network gives, with noise.

    Attributes:
      choice_temperature: of Gumbel noise on the scores, which fades out linearly. 0 keeps the highest, a large one
        (the paper has 400 for BAIR) keeps any, in random order.
      (others: see ``ScheduledSampler``)
    """

    choice_temperature: float = 0.0

    def _scores(self, proposal: Proposal) -> jax.Array:
        noise_BN = sampling.gumbel(proposal.noise_B(), proposal.unknown_BN.shape[1])
        return self._sure(proposal) + self.choice_temperature * (1 - self._progress(proposal)) * noise_BN

    def _sure(self, proposal: Proposal) -> jax.Array:
        """(B, N), the scores without noise."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelDecoding(NoisySampler):
    """The surest tokens first, with noise: the paper's; the defaults are the released code's.

    Attributes:
      confidence: what the score starts from, the probability of the drawn code ("prob", paper) or its logarithm ("log",
        released code), of the logits before filters and temperature.
      (others: see ``NoisySampler``)

    Raises:
      ValueError: a setting is unknown or out of range.
    """

    choice_temperature: float = 4.5
    confidence: Confidence = "log"

    def __post_init__(self):
        super().__post_init__()
        if self.confidence not in Confidence.__args__:
            raise ValueError(unknown_name("decoding.confidence", self.confidence, Confidence.__args__))

    def _sure(self, proposal: Proposal) -> jax.Array:
        log_probability_BN = sampling.log_probability(proposal.logits_BNK, proposal.drawn_BN)
        return log_probability_BN if self.confidence == "log" else jnp.exp(log_probability_BN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarginDecoding(NoisySampler):
    """First where the two most likely codes are farthest apart, whichever is drawn (arXiv 2502.06768, top-k margin)."""

    def _sure(self, proposal: Proposal) -> jax.Array:
        return sampling.margin(proposal.logits_BNK)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakingDecoding(NoisySampler):
    """First where something is most probable, whatever it is: the object before the empty cells around it; ours.

    Most cells of a clip with one small object are empty, and surest. Drawn first, they crowd the object out.

    Attributes:
      empty: the most frequent code of the training clips; a config says "most_frequent", and the run finds it.
      (others: see ``NoisySampler``)
    """

    empty: int | Literal["most_frequent"] | None = None

    def __post_init__(self):
        super().__post_init__()
        check_empty(self.empty, "decoding.sampler='speaking'")

    def _sure(self, proposal: Proposal) -> jax.Array:
        return sampling.log_probability_of_others(proposal.logits_BNK, self.empty)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomDecoding(ScheduledSampler):
    """In an order drawn for each clip, whatever the network says; as masked diffusion does (arXiv 2406.07524)."""

    def _scores(self, proposal: Proposal) -> jax.Array:
        return sampling.gumbel(proposal.noise_B(0), proposal.unknown_BN.shape[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class HaltonDecoding(ScheduledSampler):
    """In an order that spreads over rows, columns and frames; defaults of valeoai/Halton-MaskGIT (arXiv 2503.17076).

    Tokens of one pass are drawn without knowing of each other: those far apart depend least on one another. The order
    is that of ``ops.sampling.halton_order``, in time as well (the source has images).

    Attributes:
      randomize: begin at a place in the order that is drawn for each clip.
      (others: see ``ScheduledSampler``)
    """

    steps: int = 32
    schedule: str = "arccos"
    rounding: Rounding = "ceil"
    randomize: bool = False

    needs_grid = True

    def _scores(self, proposal: Proposal) -> jax.Array:
        rank_N = jnp.asarray(rank_of(halton_order(self.grid)))
        if not self.randomize:
            return jnp.broadcast_to(-rank_N, proposal.unknown_BN.shape)
        start_B = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(rank_N)))(proposal.noise_B(0))
        return -((rank_N - start_B[:, None]) % len(rank_N))
