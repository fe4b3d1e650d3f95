"""Attention by formulas that XLA runs fast on CPUs; ``ops.attention`` chooses them where they are to be had."""

import math

import jax
import jax.numpy as jnp


@jax.custom_vjp
def attend(query_BLAd, key_BLAd, value_BLAd, hidden_LL=None):
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


attend.defvjp(_forward, _backward)


def _swapped(x):
    """(B, L, A, d) to (B, A, L, d), and back."""
    return x.swapaxes(1, 2)


def _product(one, other, axis: int, other_axis: int):
    """For every clip and head the product over an axis of each."""
    return jax.lax.dot_general(one, other, (((axis,), (other_axis,)), ((0, 1), (0, 1))))
