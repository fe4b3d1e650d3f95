"""Clips of any length through a causal network, chunk after chunk: what is seen of a clip at once stays small."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from videogvt.nn.layers import PAST


def in_chunks(
    network: nn.Module, method: Callable[..., jax.Array], later: int
) -> Callable[[Mapping[str, Any], np.ndarray], np.ndarray]:
    """A method of a causal network as a function that sees few frames at a time and makes of them what the method does.

    Args:
      network: with norms over frames; with others chunks differ.
      method: of the network and an array (B, T, ...), one of a clip's frames or of its latent frames.
      later: of these in a chunk; the first one has one more.

    Returns:
      A function (params, array (B, T, ...)) -> array (B, T', ...), on the host.
    """
    step = jax.jit(lambda variables, array: network.apply(variables, array, method=method, mutable=[PAST]))

    def run(params: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
        ends = [*range(1 + later, array.shape[1], later), array.shape[1]]
        past, parts = {}, []
        for start, end in zip([0, *ends], ends):
            part, past = step({"params": params, **past}, array[:, start:end])
            parts.append(np.asarray(part))
        return np.concatenate(parts, axis=1)

    return run
