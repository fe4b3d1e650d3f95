"""What a training step costs, before it is run."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.train.contracts import Recipe
from videogvt.train.parallel import global_shapes, numeric
from videogvt.train.state import TrainState


def step_flops(recipe: Recipe, state: TrainState, batch: Mapping[str, Any]) -> float:
    """Floating-point operations of one step on a batch of all hosts together, as the compiler counts them.

    Args:
      recipe: whose step.
      state: of which shapes count.
      batch: this host's part of any batch, of which shapes count.
    """
    state = state.replace(frozen=dict(recipe.frozen))
    lowered = jax.jit(recipe.step).lower(state, global_shapes(numeric(batch)), jax.random.key(0))
    return float(lowered.cost_analysis()["flops"])


def matrix_product_rate(size: int = 2048) -> float:
    """FLOP/s of a float32 matrix product on the first device, the best of three."""
    product = jax.jit(jnp.matmul)
    matrix = jnp.ones((size, size), jnp.float32)
    product(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
