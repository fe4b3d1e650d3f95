"""Dense layers, norms and tables of transformers.

``nn.DenseGeneral`` and ``nn.LayerNorm`` of Flax, with the same parameters, by the formulas of ``ops.linear``; and
vectors of the tokenizer's codes as a part of a transformer's tables, so that like codes are read alike.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from videogvt.ops.linear import layer_norm, linear


class Dense(nn.Module):
    """A linear map with a bias from the last axes to others.

    Attributes:
      features: lengths of the axes it leads to.
      axis: -1, or those it leads from: (-2, -1), say.
      kernel_init: initializer, of a matrix (product of lengths, product of features).
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    features: int | tuple[int, ...]
    axis: int | tuple[int, ...] = -1
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        features = (self.features,) if isinstance(self.features, int) else self.features
        kept = x.ndim - (1 if isinstance(self.axis, int) else len(self.axis))
        width = math.prod(x.shape[kept:])

        def init(key, shape, dtype):
            return self.kernel_init(key, (width, math.prod(features)), dtype).reshape(shape)

        kernel = self.param("kernel", init, (*x.shape[kept:], *features), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, features, self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        rows = linear(x.reshape(*x.shape[:kept], width), kernel.reshape(width, -1), bias.reshape(-1))
        return rows.reshape(*x.shape[:kept], *features)


class Norm(nn.Module):
    """Layer normalisation over the last axis, with a gain and an offset; its statistics are float32.

    Attributes:
      epsilon: added to the variance.
      dtype: of the result.
      param_dtype: of the parameters.
    """

    epsilon: float = 1e-6
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        scale_D = self.param("scale", nn.initializers.ones, x.shape[-1:], self.param_dtype)
        bias_D = self.param("bias", nn.initializers.zeros, x.shape[-1:], self.param_dtype)
        return layer_norm(x, scale_D, bias_D, epsilon=self.epsilon).astype(self.dtype)


class CodebookProjection(nn.Module):
    """The vectors of a tokenizer's codes, projected to a transformer's width; ours, not MAGVIT's.

    A transformer learns from scratch what each row of its token embedding table stands for. The tokenizer knows it
    already: with a part of every row that is linear in the code's vector, what is learned of one code holds for those
    like it.

    Attributes:
      features: D, the width.
      std: of the rows at first, for vectors of length 1; 0 begins without them.
      param_dtype: of the kernel.
    """

    features: int
    std: float
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, codebook_KC):
        """Rows (K, D)."""
        init = nn.initializers.normal(self.std) if self.std else nn.initializers.zeros
        kernel_CD = self.param("kernel", init, (codebook_KC.shape[-1], self.features), self.param_dtype)
        return codebook_KC.astype(kernel_CD.dtype) @ kernel_CD


def added(words_VD, rows_KD):
    """The table with rows added to those of its first ids, the codes."""
    return words_VD.at[: len(rows_KD)].add(rows_KD.astype(words_VD.dtype))


def with_rows(embeddings: nn.Embed, rows_KD) -> Callable:
    """The table as a function of ids, as a module is, with rows added to those of its first ids."""
    return functools.partial(jnp.take, added(embeddings.embedding, rows_KD).astype(embeddings.dtype), axis=0)


def check_codebook(asked: bool, codebook_KC, ids: int) -> None:
    """An error where a network that is asked to know codes' vectors is given none, or more of them than it has ids.

    Raises:
      ValueError: as said.
    """
    if asked and (codebook_KC is None or codebook_KC.ndim != 2 or len(codebook_KC) > ids):
        found = None if codebook_KC is None else codebook_KC.shape
        raise ValueError(
            f"codebook_embeddings needs codebook_KC, the vectors (K, C) of K <= {ids} codes; found {found}.")
