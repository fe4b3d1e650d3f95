"""Samplers that finish one frame of codes after another: the masked transformer, autoregressive in time.

Samplers that hide and redraw what they have drawn, so that early mistakes need not stay.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.decode.loop import Decoded, MaskedSampler, Proposal, Steps
from videogvt.decode.parallel import ScheduledSampler, check_choice, check_empty, left_unknown
from videogvt.ops import sampling
from videogvt.ops.masking import Rounding, rank, select_lowest
from videogvt.ops.sampling import bisection, rank_of

Cells = Literal["confidence", "random", "speaking"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameDecoding(MaskedSampler):
    """Frame 0, then frame 1, and so on, each in a few passes (Genie, arXiv 2402.15391, has 25 a frame).

    Attributes:
      steps: passes for each frame; what exceeds its cells changes nothing.
      cells: which cells of a frame become known first: the surest ("confidence", as in ``ParallelDecoding``), any
        ("random"), or those most probably not empty ("speaking", as in ``SpeakingDecoding``).
      schedule, rounding: of the share of a frame's cells that stays hidden, as for whole clips.
      choice_temperature: of the noise on the scores, which fades out within each frame.
      speaking_temperature: of the codes that say something among themselves: whether a cell is empty is drawn as the
        network has it, and what another one says with less noise. Ours; 1 for none.
      empty: the most frequent code of the training clips, which "speaking" and ``speaking_temperature`` ask for; a
        config says "most_frequent", and the run finds it.
      (others: see ``MaskedSampler``)

    Raises:
      ValueError: a setting is unknown or out of range, or "speaking" is not told what is empty.
    """

    steps: int = 4
    cells: Cells = "confidence"
    schedule: str = "cosine"
    rounding: Rounding = "floor"
    choice_temperature: float = 0.0
    speaking_temperature: float = 1.0
    empty: int | Literal["most_frequent"] | None = None

    needs_grid = True

    def __post_init__(self):
        super().__post_init__()
        check_choice(self)
        if self.cells not in Cells.__args__:
            raise ValueError(unknown_name("decoding.cells", self.cells, Cells.__args__))
        if not self.speaking_temperature > 0:
            raise ValueError(f"decoding.speaking_temperature={self.speaking_temperature} must be more than 0.")
        if self.cells == "speaking" or self.speaking_temperature != 1 or self.empty is not None:
            check_empty(self.empty, f"decoding.cells={self.cells!r}, or a speaking_temperature,")

    @property
    def passes(self) -> int:
        return self.grid[0] * self.steps

    @property
    def frames(self) -> tuple[int, ...]:
        """The order of the frames."""
        return tuple(range(self.grid[0]))

    def framewise(
        self, step_fns: Sequence[Callable], caches: Sequence[Any], condition_BN, visible_BN, *, mask_id: int,
        num_codes: int, keys_B, keep_steps: bool = False,
    ) -> Decoded:
        """What ``__call__`` does, for networks whose codes see no later frame: a pass looks at one frame's codes alone.

        Args:
          step_fns: a function of (tokens (B, n) of a frame, its number, cache) with logits (B, n, num_codes or more)
            and the cache with these tokens, see ``nn.transformer.MaskedTransformer.step``; with ``guidance`` also a
            second one, of a model that knows neither class nor condition.
          caches: of the prefix, one for each function.
          condition_BN, visible_BN, mask_id, num_codes, keys_B: see ``MaskedSampler.__call__``.
          keep_steps: whether to return what each step did; frames that were not begun are shown as the one at hand.
        """
        sampling.check_random_keys(keys_B, len(condition_BN))
        self._check_grid(condition_BN.shape[1])
        if not len(step_fns) == len(caches) == 1 + bool(self.guidance):
            raise ValueError(f"guidance={self.guidance} needs {1 + bool(self.guidance)} step_fns and as many caches; "
                             f"found {len(step_fns)} and {len(caches)}.")
        frames, rows, columns = self.grid
        alone = dataclasses.replace(self, grid=(1, rows, columns))
        by_frame = lambda array_BN: array_BN.reshape(len(array_BN), frames, -1).swapaxes(0, 1)  # noqa: E731

        def frame(caches, given):
            index, condition_Bn, visible_Bn = given
            steps = [lambda tokens_Bn, step_fn=step_fn, cache=cache: step_fn(tokens_Bn, index, cache)
                     for step_fn, cache in zip(step_fns, caches)]
            logits_fns = [lambda tokens_Bn, step=step: step(tokens_Bn)[0] for step in steps]
            decoded = alone(
                logits_fns[0], condition_Bn, visible_Bn, mask_id=mask_id, num_codes=num_codes,
                keys_B=sampling.fold_in(keys_B, index), unconditional_fn=logits_fns[1] if self.guidance else None,
                keep_steps=keep_steps)
            return [step(decoded.codes_BN)[1] for step in steps], decoded

        given = jnp.arange(frames), by_frame(condition_BN), by_frame(visible_BN)
        _, decoded = jax.lax.scan(frame, list(caches), given)
        codes_BN = decoded.codes_BN.swapaxes(0, 1).reshape(condition_BN.shape)
        return Decoded(codes_BN, _whole_steps(codes_BN, decoded.steps) if keep_steps else None)

    def _hidden(self, proposal: Proposal) -> jax.Array:
        turn_N = jnp.asarray(np.repeat(rank_of(self.frames), self.grid[1] * self.grid[2]))
        turn, within = proposal.index // self.steps, proposal.index % self.steps
        progress, now_N = (within + 1) / self.steps, turn_N == turn
        unknown_BN = proposal.unknown_BN & now_N
        left_B = left_unknown(self.schedule, self.rounding, progress, (proposal.free_BN & now_N).sum(-1),
                              unknown_BN.sum(-1), within + 1 >= self.steps)
        chosen_BN = select_lowest(self._scores(proposal, progress), left_B, unknown_BN)
        return chosen_BN | proposal.unknown_BN & (turn_N > turn)

    def _logits(self, *arguments) -> jax.Array:
        logits_BNK = super()._logits(*arguments)
        if self.speaking_temperature == 1:
            return logits_BNK
        return sampling.sharpen_others(logits_BNK, self.empty, self.speaking_temperature)

    def _scores(self, proposal: Proposal, progress) -> jax.Array:
        noise_BN = sampling.gumbel(proposal.noise_B(), proposal.unknown_BN.shape[1])
        if self.cells == "random":
            return noise_BN
        if self.cells == "speaking":
            scores_BN = sampling.log_probability_of_others(proposal.logits_BNK, self.empty)
        else:
            scores_BN = sampling.log_probability(proposal.logits_BNK, proposal.drawn_BN)
        return scores_BN + self.choice_temperature * (1 - progress) * noise_BN


def _whole_steps(codes_BN, steps: Steps) -> Steps:
    """The steps (B, t S, N) of whole clips from those of frames, (t, B, S, n)."""
    frames, batch, count, cells = steps.tokens.shape
    codes_Bttn = jnp.broadcast_to(codes_BN.reshape(batch, 1, 1, frames, cells), (batch, frames, count, frames, cells))
    now, other = np.arange(frames)[:, None, None, None], np.arange(frames)[:, None]
    tokens, masked = (rows.swapaxes(0, 1)[:, :, :, None] for rows in steps)
    tokens = jnp.where(other < now, codes_Bttn, tokens)
    masked = jnp.where(other == now, masked, other > now)
    return Steps(*(rows.reshape(batch, frames * count, -1) for rows in (tokens, masked)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BisectionDecoding(FrameDecoding):
    """The first frame, the last, the middle one, and so on by halves: from coarse to fine in time, as NUWA-XL (arXiv
    2303.12346) fills in between key frames. See ``FrameDecoding``."""

    @property
    def frames(self) -> tuple[int, ...]:
        return bisection(self.grid[0])


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

    def _hidden(self, proposal: Proposal) -> jax.Array:
        turn, chunk = (proposal.index + 1) // self.steps, (proposal.index + 1) % self.steps
        noise_BN = sampling.gumbel(proposal.noise_B(turn * self.steps), proposal.free_BN.shape[1])
        rank_BN = rank(noise_BN, proposal.free_BN)
        total_B1 = jnp.maximum(proposal.free_BN.sum(-1, keepdims=True), 1)
        chunk_BN = rank_BN * self.steps // total_B1
        ahead_BN = jnp.where(turn == 0, chunk_BN >= chunk, chunk_BN == chunk)
        return ahead_BN & proposal.free_BN & (proposal.index + 1 < self.passes)


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

    def _hidden(self, proposal: Proposal) -> jax.Array:
        tokens, left_B = proposal.unknown_BN.shape[1], jnp.maximum(self._left(proposal), 0)
        known_BN = proposal.free_BN & ~proposal.unknown_BN
        rate_B = self.eta * jnp.minimum(1.0, left_B / jnp.maximum(known_BN.sum(-1), 1))
        chance_BN = jax.vmap(lambda key: jax.random.uniform(key, (tokens,)))(proposal.noise_B())
        again_BN = select_lowest(chance_BN, left_B, known_BN & (chance_BN < rate_B[:, None]))
        return again_BN | select_lowest(chance_BN, left_B - again_BN.sum(-1), proposal.unknown_BN)
