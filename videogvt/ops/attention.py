"""Attention of queries to keys: jax's own, what cuDNN's needs beside it, and a faster one on CPUs."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.ops import attention_cpu
from videogvt.ops.linear import for_cpu

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
        the formulas of ``attention_cpu`` unless it is causal. jax trains cuDNN's attention on even
        lengths only, so that odd ones get a position more.
    """
    if implementation is None and not causal and for_cpu(query_BLAd):
        if ignored_BL is not None:
            hidden = jnp.where(visible(seen_LL, ignored_BL), 0, jnp.float32(-1e30))
        else:
            hidden = None if seen_LL is None else np.where(seen_LL, 0, -1e30).astype(np.float32)
        return attention_cpu.attend(query_BLAd, key_BLAd, value_BLAd, hidden)
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
