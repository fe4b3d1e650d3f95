"""Attention of queries to keys: jax's own, what cuDNN's needs beside it, and formulas that XLA runs fast on CPUs.

Rotary embeddings are of places in a grid (RoFormer, arXiv 2104.09864, with an angle for each axis). Queries and keys
turn by angles that are linear in t, row and column, so that their product depends on what lies between two places and
not on where they are: a layer can look for "the code to the left" from its first step on.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.ops.linear import for_cpu


@jax.custom_vjp
def attend_on_cpu(query_BLAd, key_BLAd, value_BLAd, hidden_LL=None):
    """softmax(query key^T / sqrt(d)) value of clips, positions, heads and the width d of a head: (B, L, A, d).

    ``hidden_LL`` are numbers that are added to the logits, of all clips and heads or (B, 1, L, L) of each clip,
    constants: 0 where the position of the row sees that of the column, and as good as -infinity where it does not.
    """
    return _forward(query_BLAd, key_BLAd, value_BLAd, hidden_LL)[0]


def _forward(query_BLAd, key_BLAd, value_BLAd, hidden_LL=None):
    """The quotient of the softmax is taken on the sums over keys, which are L / d times fewer than the weights."""
    query_BALd = _swapped(query_BLAd / math.sqrt(query_BLAd.shape[-1]))
    key_BALd, value_BALd = _swapped(key_BLAd), _swapped(value_BLAd)
    logits_BALL = _product(query_BALd, key_BALd, 3, 3)
    if hidden_LL is not None:
        logits_BALL += hidden_LL
    weights_BALL = jnp.exp(logits_BALL - logits_BALL.max(-1, keepdims=True))
    rate_BAL1 = 1 / weights_BALL.sum(-1, keepdims=True)
    mixed_BALd = _product(weights_BALL, value_BALd, 3, 2) * rate_BAL1
    return _swapped(mixed_BALd), (query_BALd, key_BALd, value_BALd, weights_BALL, rate_BAL1, mixed_BALd)


def _backward(saved, gradient_BLAd):
    """The sum over keys of probability times its gradient is that over the width of result times gradient."""
    query_BALd, key_BALd, value_BALd, weights_BALL, rate_BAL1, mixed_BALd = saved
    gradient_BALd = _swapped(gradient_BLAd) * rate_BAL1
    along_BAL1 = (gradient_BALd * mixed_BALd).sum(-1, keepdims=True)
    by_logits_BALL = weights_BALL * (_product(gradient_BALd, value_BALd, 3, 3) - along_BAL1)
    by_query_BALd = _product(by_logits_BALL, key_BALd, 3, 2) / math.sqrt(query_BALd.shape[-1])
    by_key_BALd = _product(by_logits_BALL, query_BALd, 2, 2)
    by_value_BALd = _product(weights_BALL, gradient_BALd, 2, 2)
    return _swapped(by_query_BALd), _swapped(by_key_BALd), _swapped(by_value_BALd), None


attend_on_cpu.defvjp(_forward, _backward)


def _swapped(x):
    """(B, L, A, d) to (B, A, L, d), and back."""
    return x.swapaxes(1, 2)


def _product(one, other, axis: int, other_axis: int):
    """For every clip and head the product over an axis of each."""
    return jax.lax.dot_general(one, other, (((axis,), (other_axis,)), ((0, 1), (0, 1))))


Implementation = Literal["xla", "cudnn"]


def between_times(maps_BALL, prefix: int, times: int):
    """Attention from time to time, (..., A, 1 + t, 1 + t), whose rows sum to 1: of all queries of a time the mean of
    what they give to all keys of another.

    Args:
      maps_BALL: probabilities (..., A, L, L) of ``prefix`` tokens, which are the first "time", and of the codes of
        ``times`` times, as many of each.
    """
    codes = (maps_BALL.shape[-1] - prefix) // times
    time_L = np.concatenate([np.zeros(prefix, int), 1 + np.arange(times * codes) // codes])
    of_LT = (time_L[:, None] == np.arange(1 + times)).astype(np.float32)
    return jnp.einsum("...qk,qs,kt->...st", maps_BALL, of_LT / of_LT.sum(0), of_LT)


def visible(seen_LL: np.ndarray | None, ignored_BL):
    """Which positions (B, 1, L or 1, L) see which: those that are seen by the row and not ignored by all of a clip."""
    kept_B11L = ~ignored_BL[:, None, None]
    return kept_B11L if seen_LL is None else kept_B11L & seen_LL


def attend(query_BLAd, key_BLAd, value_BLAd, *, causal: bool = False, seen_LL: np.ndarray | None = None,
           ignored_BL=None, implementation: Implementation | None = None):
    """softmax(query key^T / sqrt(d)) value for every head, (B, L, A, d), over one sequence of L positions.

    Args:
      query_BLAd, key_BLAd, value_BLAd: of a head's width d each; bfloat16 or float16 where cuDNN computes.
      causal: whether a position sees itself and those before it alone.
      seen_LL: whether the position of the row sees that of the column, which is some position for each; None for all.
      ignored_BL: positions that none of a clip sees all the same; None for none.
      implementation: of ``jax.nn.dot_product_attention``; None lets the backend choose, which on CPUs takes
        the formulas of ``attend_on_cpu`` unless it is causal. jax trains cuDNN's attention on even
        lengths only, so that odd ones get a position more.
    """
    if implementation is None and not causal and for_cpu(query_BLAd):
        if ignored_BL is not None:
            hidden = jnp.where(visible(seen_LL, ignored_BL), 0, jnp.float32(-1e30))
        else:
            hidden = None if seen_LL is None else np.where(seen_LL, 0, -1e30).astype(np.float32)
        return attend_on_cpu(query_BLAd, key_BLAd, value_BLAd, hidden)
    if implementation == "cudnn" and query_BLAd.shape[1] % 2:
        return attend_padded(query_BLAd, key_BLAd, value_BLAd, causal=causal, seen_LL=seen_LL, ignored_BL=ignored_BL,
                             implementation=implementation)
    return jax.nn.dot_product_attention(query_BLAd, key_BLAd, value_BLAd, is_causal=causal,
                                        mask=_mask(seen_LL, ignored_BL), implementation=implementation)


def attend_padded(query_BLAd, key_BLAd, value_BLAd, *, causal: bool, seen_LL: np.ndarray | None = None,
                  ignored_BL=None, implementation: Implementation | None):
    """``attend`` by way of one position more at the end, which no other sees and which is cut off again."""
    batch, length = query_BLAd.shape[:2]
    padded = (jnp.pad(array, ((0, 0), (0, 1), (0, 0), (0, 0))) for array in (query_BLAd, key_BLAd, value_BLAd))
    hidden = {} if causal else {"key_value_seq_lengths": jnp.full(batch, length, jnp.int32)}
    if seen_LL is not None or ignored_BL is not None:
        seen_LL = np.ones((length, length), bool) if seen_LL is None else seen_LL
        seen_LL = np.pad(seen_LL, ((0, 1), (0, 1))) | (np.arange(length + 1) == length)[:, None]
        hidden["mask"] = _mask(seen_LL, None if ignored_BL is None else jnp.pad(ignored_BL, ((0, 0), (0, 1))))
    mixed = jax.nn.dot_product_attention(*padded, is_causal=causal, implementation=implementation, **hidden)
    return mixed[:, :length]


def _mask(seen_LL: np.ndarray | None, ignored_BL=None):
    if ignored_BL is not None:
        return visible(seen_LL, ignored_BL)
    return None if seen_LL is None else jnp.asarray(seen_LL)[None, None]


def empty_cache(layers: int, shape: tuple[int, int, int, int], dtype) -> tuple[dict[str, jax.Array], ...]:
    """Keys and values of no inputs yet: for every layer two zero arrays of a shape (B, L, A, d)."""
    return tuple({name: jnp.zeros(shape, dtype) for name in ("key", "value")} for _ in range(layers))


def attend_cached(query_BkAd, key_BkAd, value_BkAd, cache, position, seen_BL=None):
    """``attend`` of k positions to themselves and to those before them, whose keys and values are in the cache.

    Args:
      query_BkAd, key_BkAd, value_BkAd: of these positions.
      cache: {"key", "value"}, each (B, L, A, d); see ``empty_cache``.
      position: of the first of the k, an integer or a traced one.
      seen_BL: which positions of the cache they see, (B or 1, L); None for themselves and all before them.

    Returns:
      What they mix, (B, k, A, d), and the cache with them.
    """
    cache = {name: jax.lax.dynamic_update_slice_in_dim(cache[name], rows, position, axis=1)
             for name, rows in (("key", key_BkAd), ("value", value_BkAd))}
    if seen_BL is None:
        seen_BL = (jnp.arange(cache["key"].shape[1]) < position + query_BkAd.shape[1])[None]
    mixed = jax.nn.dot_product_attention(query_BkAd, cache["key"], cache["value"], mask=seen_BL[:, None, None])
    return mixed, cache


WAVES = (4.0, 48.0)
"""Shortest and longest wavelength, in cells: a quarter turn from neighbour to neighbour, to a grid's whole extent."""


def angles(grid: tuple[int, int, int], prefix: int, width: int) -> np.ndarray:
    """Angles (prefix + t * h * w, width / 2), float32 radians; the prefix, which has no place, is not turned.

    Args:
      grid: (t, h, w) of the positions after the prefix, t-major, then by row and column.
      prefix: how many positions come before them.
      width: of a head, at least 6; its pairs are shared out among the axes, t having those that are left over.

    Raises:
      ValueError: the width is odd, or too small for a pair on every axis.
    """
    if width % 2 or width < 6:
        raise ValueError(f"Rotary embeddings turn pairs on three axes; found heads of width {width}, expected an even "
                         "number from 6 on. Change heads or hidden.")
    pairs, third = width // 2, width // 6
    places = np.stack(np.meshgrid(*(1 + np.arange(size) for size in grid), indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.concatenate([np.zeros((prefix, 3)), places])
    columns = [
        places[:, axis, None] * (2 * np.pi / np.geomspace(*WAVES, count))
        for axis, count in enumerate((pairs - 2 * third, third, third))
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def rotate(x_BLAd, angles_Lp):
    """The vectors, float (B, L, A, d), with pair p, entries p and p + d / 2, turned by its angle (L, d / 2)."""
    module = np if isinstance(angles_Lp, np.ndarray) else jnp
    cosine, sine = (jnp.asarray(function(angles_Lp)[:, None], x_BLAd.dtype) for function in (module.cos, module.sin))
    first, second = jnp.split(x_BLAd, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)
