"""Gradients of large batches in parts, one after the other, so that only one part's activations are in memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Found(NamedTuple):
    """What a loss found besides its value; each field any tree of arrays.

    Attributes:
      rows: what every row has of its own, along the leading axis; put together again in the order of the rows.
      sums: what adds up over rows: counts, ``Mean``s.
      means: what is averaged over rows.
    """

    rows: Any = ()
    sums: Any = ()
    means: Any = ()


def gradients(
    loss: Callable[[Any, Any, jax.Array], tuple[jax.Array, Found]], params: Any, rows: Any, key: jax.Array, parts: int
) -> tuple[Any, Found]:
    """The gradient of ``loss(params, rows, key)``, and what the loss found.

    A loss that is a mean over rows has the same gradient in any number of parts, up to rounding; one that looks at the
    whole batch (an entropy of its codes) then looks at each part. Part p has the rows p, p + parts, p + 2 parts, ...,
    so that the rows of every device are shared out alike, and the key folded with p.

    Args:
      rows: arrays with a common leading axis, a multiple of ``parts``.
      parts: 1 for all at once, with the key as it is.
    """
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        return gradient(params, rows, key)
    shared = jax.tree.map(lambda array: _shared_out(array, parts), rows)

    def add(total, part):
        index, own = part
        grads, found = gradient(params, own, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, (grads, found.sums, found.means)), found.rows

    grads, found = jax.eval_shape(gradient, params, jax.tree.map(lambda array: array[0], shared), key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (grads, found.sums, found.means))
    (grads, sums, means), own = jax.lax.scan(add, zeros, (jnp.arange(parts), shared))
    grads, means = jax.tree.map(lambda total: total / parts, (grads, means))
    return grads, Found(jax.tree.map(_in_order, own), sums, means)


def _shared_out(array: jax.Array, parts: int) -> jax.Array:
    if len(array) % parts:
        raise ValueError(
            f"config.optimizer.accumulate is {parts}, which does not divide a batch of {len(array)} rows; choose a "
            "divisor of config.data.batch_size, such that every part still divides by the devices."
        )
    return jnp.swapaxes(array.reshape(-1, parts, *array.shape[1:]), 0, 1)


def _in_order(array: jax.Array) -> jax.Array:
    return jnp.swapaxes(array, 0, 1).reshape(-1, *array.shape[2:])
