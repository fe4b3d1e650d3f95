"""What masked and causal transformers and classifiers are made of: embedding, attention, layers and head of a BERT.

``nn.transformer`` says which BERT it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from videogvt.nn.frames import Layout
from videogvt.nn.linear import CodebookProjection, Dense, Norm, added, with_rows
from videogvt.ops.attention import attend, attend_cached, rotate, visible
from videogvt.ops.linear import linear

NORMS = ("post", "pre")

INITIALIZER = nn.initializers.truncated_normal(0.02)
"""0.02 times a standard normal cut at 2 stds; what remains of the std, 0.0176, is not corrected."""


def check_tokens(tokens, vocab_size: int) -> None:
    """Refuses ids that are no rows of a table of ``vocab_size`` rows.

    Inside jit values cannot be looked at, and only the type is checked; there ``lookup`` answers such an id with nan.

    Raises:
      TypeError: ``tokens`` are no integers.
      ValueError: an id is negative or too large.
    """
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"Tokens are integers; found an array of {tokens.dtype}.")
    if isinstance(tokens, jax.core.Tracer):
        return
    found = np.asarray(tokens)
    wrong = (found < 0) | (found >= vocab_size)
    if wrong.any():
        raise ValueError(
            f"Found token {found[wrong][0]} at index {tuple(map(int, np.argwhere(wrong)[0]))}; this model knows ids "
            f"0..{vocab_size - 1}. Take special ids from a Vocabulary of {vocab_size} ids; none of them is negative.")


def lookup(table: Callable, ids):
    """Rows of a table; nan, which no loss survives unseen, for ids it has no row for, negative ones included."""
    return table(ids.astype(jnp.uint32))


def attention_probabilities(query, key, seen_LL: np.ndarray | None = None, ignored_BL=None):
    """softmax(query key^T / sqrt(width of a head)) in float32: two (B, L, A, width of a head) to (B, A, L, L).

    Over the positions that are seen and not ignored; None for all, and for none.
    """
    logits = jnp.einsum("BQAd,BKAd->BAQK", query, key, preferred_element_type=jnp.float32)
    seen = seen_LL if ignored_BL is None else visible(seen_LL, ignored_BL)
    return jax.nn.softmax(logits / math.sqrt(query.shape[-1]), axis=-1, where=seen)


@dataclass(frozen=True, eq=False)
class Style:
    """What all layers have in common: fields of ``MaskedTransformer``, what is asked of a call, makers of sublayers."""

    hidden: int
    heads: int
    mlp: int
    dropout: float
    attention_dropout: float
    pre_norm: bool
    attention: str | None
    dtype: Any
    param_dtype: Any
    train: bool
    maps: bool
    layout: Layout = Layout()
    angles_Lp: np.ndarray | jax.Array | None = None

    def dense(self, features, name: str, axis=-1):
        return Dense(
            features, axis, name=name, kernel_init=INITIALIZER, dtype=self.dtype, param_dtype=self.param_dtype)

    def embed(self, rows: int, name: str):
        return nn.Embed(
            rows, self.hidden, name=name, embedding_init=INITIALIZER, dtype=self.dtype, param_dtype=self.param_dtype)

    def norm(self, name: str):
        """LayerNorm; its statistics are float32 whatever ``dtype`` is."""
        return Norm(epsilon=1e-12, name=name, dtype=self.dtype, param_dtype=self.param_dtype)

    def drop(self, x_BLD):
        return nn.Dropout(self.dropout)(x_BLD, deterministic=not self.train)


class BertEmbed(nn.Module):
    """Tokens, positions and, where given, segments as vectors; with the token embedding table for the tied head.

    The vectors of codes, where given, add to what is read and not to the table, whose head adds its own.
    """

    vocab_size: int
    sequence_length: int
    style: Style

    @nn.compact
    def __call__(self, tokens_BL, segments_BL, codebook_KC):
        style = self.style
        table = style.embed(self.vocab_size, "word_embeddings")
        words = table
        if codebook_KC is not None:
            rows_KD = CodebookProjection(style.hidden, 0.1, style.param_dtype, name="codebook_embeddings")(codebook_KC)
            words = with_rows(table, rows_KD)
        x_BLD = lookup(words, tokens_BL)
        x_BLD += style.embed(self.sequence_length, "position_embeddings")(jnp.asarray(style.layout.places_L))
        if segments_BL is not None:
            x_BLD += lookup(style.embed(2, "segment_embeddings"), segments_BL)
        return style.drop(style.norm("embeddings_ln")(x_BLD)), table.embedding


class SelfAttention(nn.Module):
    """Attention to what a position sees; returns its output, its probabilities (B, A, L, L) if asked for, or None, and
    its cache, None where none was given. With a cache the inputs stand after those that it holds.

    ``jax.nn.dot_product_attention`` knows no dropout, and does not hand out probabilities. Where they are to be dropped
    or returned they are computed here, in the open: O(L^2) memory per head. ``attention_dropout=0`` trains fused.
    """

    style: Style

    @nn.compact
    def __call__(self, x_BLD, cache=None):
        style = self.style
        heads = (style.heads, style.hidden // style.heads)
        query, key, value = (style.dense(heads, name)(x_BLD) for name in ("query", "key", "value"))
        if style.angles_Lp is not None:
            query, key = rotate(query, style.angles_Lp), rotate(key, style.angles_Lp)
        if cache is not None:
            maps_BALL = None
            mixed, cache = attend_cached(query, key, value, cache, style.layout.write, style.layout.cached_BL)
        elif style.maps or (style.train and style.attention_dropout):
            maps_BALL = attention_probabilities(query, key, style.layout.seen_LL, style.layout.ignored_BL)
            dropped_BALL = nn.Dropout(style.attention_dropout)(maps_BALL, deterministic=not style.train)
            mixed = jnp.einsum("BAQK,BKAd->BQAd", dropped_BALL.astype(value.dtype), value)
        else:
            maps_BALL = None
            mixed = attend(query, key, value, seen_LL=style.layout.seen_LL, ignored_BL=style.layout.ignored_BL,
                           implementation=style.attention)
        return style.dense(style.hidden, "out", axis=(-2, -1))(mixed), maps_BALL, cache


class BertAttention(nn.Module):
    """The attention half of a layer; see ``SelfAttention``."""

    style: Style

    @nn.compact
    def __call__(self, x_BLD, cache=None):
        style = self.style
        inputs_BLD = style.norm("attention_input_ln")(x_BLD) if style.pre_norm else x_BLD
        mixed_BLD, maps_BALL, cache = SelfAttention(style, name="self_attention")(inputs_BLD, cache)
        x_BLD += style.drop(mixed_BLD)
        return x_BLD if style.pre_norm else style.norm("attention_output_ln")(x_BLD), maps_BALL, cache


class BertMlp(nn.Module):
    """The half of a layer that works on every position by itself."""

    style: Style

    @nn.compact
    def __call__(self, x_BLD):
        style = self.style
        hidden_BLD = style.norm("layer_input_ln")(x_BLD) if style.pre_norm else x_BLD
        hidden_BLD = nn.gelu(style.dense(style.mlp, "intermediate_output")(hidden_BLD), approximate=True)
        hidden_BLD = style.dense(style.hidden, "layer_output")(hidden_BLD)
        x_BLD += style.drop(hidden_BLD)
        return x_BLD if style.pre_norm else style.norm("layer_output_ln")(x_BLD)


class BertLayer(nn.Module):
    """Attention, then the MLP; returns beside the vectors what ``SelfAttention`` does."""

    style: Style

    @nn.compact
    def __call__(self, x_BLD, cache=None):
        x_BLD, maps_BALL, cache = BertAttention(self.style, name="BertAttention_0")(x_BLD, cache)
        return BertMlp(self.style, name="BertMlp_0")(x_BLD), maps_BALL, cache


class Bias(nn.Module):
    """A learned vector, zero at first."""

    features: int
    param_dtype: Any

    @nn.compact
    def __call__(self):
        return self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)


class BertMlmLayer(nn.Module):
    """Vectors to float32 logits of the first ids: a hidden layer, then the transposed token embeddings, a bias each."""

    style: Style

    @nn.compact
    def __call__(self, x_BLD, words_VD, ids: int | None, codebook_KC):
        style = self.style
        if codebook_KC is not None:
            rows_KD = CodebookProjection(style.hidden, 0.0, style.param_dtype, name="codebook_head")(codebook_KC)
            words_VD = added(words_VD, rows_KD)
        x_BLD = style.norm("mlm_ln")(nn.gelu(style.dense(style.hidden, "mlm_dense")(x_BLD), approximate=True))
        bias_V = Bias(words_VD.shape[0], style.param_dtype, name="mlm_bias")()
        words_KD = words_VD[:ids].astype(x_BLD.dtype)
        return linear(x_BLD, words_KD.T, bias_V[:ids].astype(jnp.float32), dtype=jnp.float32)
