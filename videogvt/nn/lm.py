"""The causal transformer over codes: the autoregressive baseline of MAGVIT.

MAGVIT (arXiv 2212.05199, ablations and appendix) compares its parallel decoding with a decoder-only transformer that
predicts one code after the other: pre-norm, learned positions, attention projections without bias, an MLP with
biases, a final norm, an output layer of its own, Xavier's initial values.

    x = drop(word[token] + position[index])
    x = x + drop(attention(LN(x)));  x = x + drop(W2 gelu(W1 LN(x) + b1) + b2)          every layer
    logits = W LN(x) + b,   or, tied,   word LN(x) / sqrt(D)

The mask is purely causal and knows of no padding: whether a token is seen depends on where it stands, never on its id.
"""

import functools
import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from videogvt.nn.blocks import check_tokens, lookup
from videogvt.nn.linear import CodebookProjection, check_codebook, with_rows
from videogvt.ops.attention import attend, attend_cached, empty_cache

XAVIER = nn.initializers.xavier_uniform()


class CausalSelfAttention(nn.Module):
    """Attention to this position and those before it, over all inputs at once or, with a cache, for one more input."""

    hidden: int
    heads: int
    attention: str | None
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x_BLD, position=None, cache=None):
        heads = (self.heads, self.hidden // self.heads)
        query, key, value = (self._dense(heads, name)(x_BLD) for name in ("query", "key", "value"))
        if cache is None:
            mixed = attend(query, key, value, causal=True, implementation=self.attention)
        else:
            mixed, cache = attend_cached(query, key, value, cache, position)
        return self._dense(self.hidden, "out", axis=(-2, -1))(mixed), cache

    def _dense(self, features, name: str, axis=-1):
        return nn.DenseGeneral(
            features, axis, use_bias=False, name=name, kernel_init=XAVIER, dtype=self.dtype,
            param_dtype=self.param_dtype)


class CausalLayer(nn.Module):
    """A pre-norm layer; returns its vectors and its cache, None where none was given."""

    hidden: int
    heads: int
    mlp: int
    dropout: float
    attention: str | None
    train: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x_BLD, position=None, cache=None):
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        drop = nn.Dropout(self.dropout, deterministic=not self.train)
        attention = CausalSelfAttention(self.hidden, self.heads, self.attention, **types, name="attention")
        mixed_BLD, cache = attention(nn.LayerNorm(name="attention_ln", **types)(x_BLD), position, cache)
        x_BLD += drop(mixed_BLD)
        hidden_BLD = nn.LayerNorm(name="mlp_ln", **types)(x_BLD)
        hidden_BLD = nn.gelu(nn.Dense(self.mlp, kernel_init=XAVIER, name="mlp_in", **types)(hidden_BLD))
        hidden_BLD = nn.Dense(self.hidden, kernel_init=XAVIER, name="mlp_out", **types)(hidden_BLD)
        return x_BLD + drop(hidden_BLD), cache


class CausalTransformer(nn.Module):
    """Logits of the next token from the tokens so far.

    Attributes:
      vocab_size: V, see ``models.vocabulary``.
      sequence_length: L, the longest input, and the capacity of the cache.
      layers, hidden, heads, mlp: as in ``nn.transformer``.
      dropout: rate on the embedding and on both branches of every layer.
      tie_embeddings: whether the token embedding table is also the output layer, divided by sqrt(D), without a bias;
        both tables then start with std 1, for which that division is made, otherwise they are Xavier's like all
      kernels. codebook_embeddings: whether codes' vectors in the tokenizer tell input and output too, see
      ``nn.linear``.
      attention: ``implementation`` of ``jax.nn.dot_product_attention`` for whole sequences; steps use the default.
      dtype: of the computation and the cache; statistics of norms, softmax and logits are float32 in any case.
      param_dtype: of the parameters.
    """

    vocab_size: int
    sequence_length: int
    layers: int = 12
    hidden: int = 768
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.1
    tie_embeddings: bool = False
    codebook_embeddings: bool = False
    attention: Literal["xla", "cudnn"] | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden; found hidden={self.hidden} and heads={self.heads}.")
        super().__post_init__()

    def __call__(self, tokens_BL, *, codebook_KC=None, train: bool = False):
        """Logits, float32 (B, length, V); those at i say what follows input i, and depend on inputs 0..i alone.

        Args:
          tokens_BL: integers in 0..V-1, already shifted right: a token that starts all sequences, then all but the last
            token to be predicted. At most ``sequence_length`` of them. Ids out of range are a ``ValueError`` where
            values are at hand; inside jit they make the sample's logits nan.
          codebook_KC: the vectors of the first K ids; needed with ``codebook_embeddings``, otherwise unused.
          train: whether to drop; needs an rng "dropout" unless the rate is 0.
        """
        tokens_BL = jnp.asarray(tokens_BL)
        if tokens_BL.ndim != 2 or tokens_BL.shape[1] > self.sequence_length:
            raise ValueError(
                f"Found tokens of shape {tokens_BL.shape}; expected (B, length) with a length of at most "
                f"sequence_length={self.sequence_length}.")
        return self._forward(tokens_BL, jnp.arange(tokens_BL.shape[1]), None, codebook_KC, train)[0]

    def init_cache(self, batch: int):
        """Keys and values of no inputs yet; see ``ops.attention.empty_cache``."""
        shape = (batch, self.sequence_length, self.heads, self.hidden // self.heads)
        return empty_cache(self.layers, shape, self.dtype)

    def step(self, tokens_B, position, cache, codebook_KC=None):
        """What ``__call__`` says at one position, at a cost that is linear in ``sequence_length``.

        Pure, so that a scan can go through it: ``model.apply(variables, tokens_B, position, cache, method="step")``.

        Args:
          tokens_B: the inputs at ``position``.
          position: scalar integer in 0..L-1, one for the whole batch; all before it were stepped through, in order.
            Beyond L - 1 logits are nan.
          cache: of ``init_cache`` or of the step before.
          codebook_KC: see ``__call__``.

        Returns:
          Logits (B, V), float32, and the cache for the next step.
        """
        token_B1, place_1 = jnp.asarray(tokens_B)[:, None], jnp.asarray(position)[None]
        logits_BLV, cache = self._forward(token_B1, place_1, cache, codebook_KC, False)
        return logits_BLV[:, 0], cache

    @nn.compact
    def _forward(self, tokens_BL, positions_L, cache, codebook_KC, train: bool):
        check_tokens(tokens_BL, self.vocab_size)
        check_codebook(self.codebook_embeddings, codebook_KC, self.vocab_size)
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        table_init = nn.initializers.normal(1.0) if self.tie_embeddings else XAVIER
        table, positions = (
            nn.Embed(rows, self.hidden, embedding_init=table_init, name=name, **types)
            for name, rows in (("words", self.vocab_size), ("positions", self.sequence_length)))
        read = table
        if self.codebook_embeddings:
            rows_KD = CodebookProjection(self.hidden, 0.1, self.param_dtype, name="codebook_embeddings")(codebook_KC)
            read = with_rows(table, rows_KD)
        x_BLD = lookup(read, tokens_BL) + lookup(positions, positions_L)
        x_BLD = nn.Dropout(self.dropout)(x_BLD, deterministic=not train)
        position, caches = (None, [None] * self.layers) if cache is None else (positions_L[0], list(cache))
        for index in range(self.layers):
            layer = CausalLayer(
                self.hidden, self.heads, self.mlp, self.dropout, self.attention, train, **types, name=f"layer_{index}")
            x_BLD, caches[index] = layer(x_BLD, position, caches[index])
        x_BLD = nn.LayerNorm(name="final_ln", **types)(x_BLD)
        return self._told(x_BLD, codebook_KC, self._logits(x_BLD, table)), tuple(caches)

    def _told(self, x_BLD, codebook_KC, logits_BLV):
        """The logits, with what the codes' vectors say."""
        if not self.codebook_embeddings:
            return logits_BLV
        rows_KD = CodebookProjection(self.hidden, 0.0, self.param_dtype, name="codebook_head")(codebook_KC)
        told_BLK = jnp.einsum("BLD,KD->BLK", x_BLD, rows_KD.astype(x_BLD.dtype), preferred_element_type=jnp.float32)
        return logits_BLV.at[..., : len(rows_KD)].add(told_BLK)

    def _logits(self, x_BLD, table: nn.Embed):
        if self.tie_embeddings:
            table_VD = table.embedding.astype(x_BLD.dtype)
            logits_BLV = jnp.einsum("BLD,VD->BLV", x_BLD, table_VD, preferred_element_type=jnp.float32)
            return logits_BLV / math.sqrt(self.hidden)
        head = nn.Dense(
            self.vocab_size, kernel_init=XAVIER, name="head", dtype=self.dtype, param_dtype=self.param_dtype,
            dot_general=functools.partial(jax.lax.dot_general, preferred_element_type=jnp.float32))
        return head(x_BLD)
