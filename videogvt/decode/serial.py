"""Tokens of whole clips from a transformer's logits, one after another: the paper's baseline."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.decode.loop import codes_only
from videogvt.ops import sampling


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
                sampling.fold_in(keys_B, position), codes_only(logits_BV, num_codes), temperature=self.temperature,
                top_k=self.top_k, nucleus=self.nucleus)
            forced_B = prefix_BP[:, jnp.minimum(position + 1, length - 1)]
            next_B = jnp.where(position + 1 < length, forced_B, drawn_B)
            return (next_B, cache), next_B

        _, next_LB = jax.lax.scan(step, (prefix_BP[:, 0], cache), jnp.arange(length + num_tokens - 1))
        return next_LB[length - 1:].T
