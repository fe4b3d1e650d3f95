"""``nn.DenseGeneral`` and ``nn.LayerNorm`` of Flax, with the same parameters, by the formulas of ``ops.linear``."""

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
