"""The transformer encoder of classifiers: pre-norm layers and one norm at the end."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.transformer import BertLayer, Style


class Encoder(nn.Module):
    """(B, L, D) to (B, L, D); it knows no order but what positions in its inputs tell it.

    Attributes:
      layers, hidden, heads, mlp: sizes, as of ``nn.transformer.MaskedTransformer``.
      dropout: rate on both branches of every layer.
      dtype, param_dtype: of computation and parameters.
    """

    layers: int
    hidden: int
    heads: int
    mlp: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if self.hidden % self.heads:
            raise ValueError(f"The number of heads must divide the width; found {self.hidden} and {self.heads} heads.")
        super().__post_init__()

    @nn.compact
    def __call__(self, x_BLD, *, train: bool):
        style = Style(
            self.hidden, self.heads, self.mlp, self.dropout, 0.0, True, None, jnp.dtype(self.dtype),
            jnp.dtype(self.param_dtype), train, False)
        for index in range(self.layers):
            x_BLD, _, _ = BertLayer(style, name=f"layer_{index}")(x_BLD)
        return style.norm("norm")(x_BLD)
