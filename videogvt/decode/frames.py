"""Samplers that finish one frame of codes after another: the masked transformer, autoregressive in time."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.decode.loop import Look, MaskedSampler
from videogvt.decode.parallel import check_choice, check_empty, left_unknown
from videogvt.ops import sampling
from videogvt.ops.masking import Rounding, select_lowest
from videogvt.ops.orders import bisection, rank_of

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
      empty: the most frequent code of the training clips, which "speaking" asks for; a config says "most_frequent", and
        the run finds it.
      (others: see ``MaskedSampler``)

    Raises:
      ValueError: a setting is unknown or out of range, or "speaking" is not told what is empty.
    """

    steps: int = 4
    cells: Cells = "confidence"
    schedule: str = "cosine"
    rounding: Rounding = "floor"
    choice_temperature: float = 0.0
    empty: int | Literal["most_frequent"] | None = None

    needs_grid = True

    def __post_init__(self):
        super().__post_init__()
        check_choice(self)
        if self.cells not in Cells.__args__:
            raise ValueError(unknown_name("decoding.cells", self.cells, Cells.__args__))
        if self.cells == "speaking" or self.empty is not None:
            check_empty(self.empty, f"decoding.cells={self.cells!r}")

    @property
    def passes(self) -> int:
        return self.grid[0] * self.steps

    @property
    def frames(self) -> tuple[int, ...]:
        """The order of the frames."""
        return tuple(range(self.grid[0]))

    def _hidden(self, look: Look) -> jax.Array:
        turn_N = jnp.asarray(np.repeat(rank_of(self.frames), self.grid[1] * self.grid[2]))
        turn, within = look.index // self.steps, look.index % self.steps
        progress, now_N = (within + 1) / self.steps, turn_N == turn
        unknown_BN = look.unknown_BN & now_N
        left_B = left_unknown(self.schedule, self.rounding, progress, (look.free_BN & now_N).sum(-1),
                              unknown_BN.sum(-1), within + 1 >= self.steps)
        chosen_BN = select_lowest(self._scores(look, progress), left_B, unknown_BN)
        return chosen_BN | look.unknown_BN & (turn_N > turn)

    def _scores(self, look: Look, progress) -> jax.Array:
        noise_BN = sampling.gumbel(look.noise_B(), look.unknown_BN.shape[1])
        if self.cells == "random":
            return noise_BN
        if self.cells == "speaking":
            scores_BN = sampling.log_probability_of_others(look.logits_BNK, self.empty)
        else:
            scores_BN = sampling.log_probability(look.logits_BNK, look.drawn_BN)
        return scores_BN + self.choice_temperature * (1 - progress) * noise_BN


@dataclasses.dataclass(frozen=True, kw_only=True)
class BisectionDecoding(FrameDecoding):
    """The first frame, the last, the middle one, and so on by halves: from coarse to fine in time, as NUWA-XL (arXiv
    2303.12346) fills in between key frames. See ``FrameDecoding``."""

    @property
    def frames(self) -> tuple[int, ...]:
        return bisection(self.grid[0])
