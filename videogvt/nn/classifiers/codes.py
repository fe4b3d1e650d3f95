"""Classifiers of what a tokenizer makes of clips: a linear probe, an MLP, attention pooling, a small transformer.

Inputs are codes, integers (B, t, h, w), which are looked up in a table that is learned here, or latents, floats
(B, t, h, w, D). The views of several cameras follow each other in t.

The same transformer encoder, pre-norm layers and one norm at the end, reads pixels in the factorised encoder of ViViT
(arXiv 2103.15691), its Model 2.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.blocks import INITIALIZER, BertLayer, check_tokens, lookup
from videogvt.nn.blocks import Style as BertStyle
from videogvt.nn.classifiers.heads import Classifier, centred, coordinates, pool_by_attention
from videogvt.nn.layers import Conv, LayerStyle
from videogvt.ops.conv import space_to_depth


class CodeEncoder(nn.Module):
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
        style = BertStyle(
            self.hidden, self.heads, self.mlp, self.dropout, 0.0, True, None, jnp.dtype(self.dtype),
            jnp.dtype(self.param_dtype), train, False)
        for index in range(self.layers):
            x_BLD, _, _ = BertLayer(style, name=f"layer_{index}")(x_BLD)
        return style.norm("norm")(x_BLD)


class CodeClassifier(Classifier):
    """A classifier of codes or latents.

    Attributes:
      num_codes: of the tokenizer, rows of the table; 0 where the inputs are latents.
    """

    sees: ClassVar[str] = "codes"
    num_codes: int = 0

    def cells(self, inputs, width: int, project: bool = True):
        """Vectors (B, t, h, w, ``width``) of codes by a table, of latents by a linear map or, without ``project``, as
        they are; to be called in a compact method."""
        inputs = jnp.asarray(inputs)
        floating = jnp.issubdtype(inputs.dtype, jnp.floating)
        if inputs.ndim != 4 + floating or floating == bool(self.num_codes):
            expected = "codes, integers (B, t, h, w)" if self.num_codes else "latents, floats (B, t, h, w, D)"
            raise ValueError(
                f"With num_codes={self.num_codes} a {type(self).__name__} sees {expected}; found {inputs.dtype} "
                f"{inputs.shape}. Set num_codes to the tokenizer's number of codes for codes, to 0 for latents.")
        if not floating:
            check_tokens(inputs, self.num_codes)
            return lookup(nn.Embed(self.num_codes, width, name="codes", **self.dtypes), inputs)
        return nn.Dense(width, name="latents", **self.dtypes)(inputs) if project else inputs.astype(self.dtype)


class LinearProbe(CodeClassifier):
    """A linear map of everything: each cell of the grid has weights of its own (as in arXiv 1610.01644).

    Attributes:
      width: of the table of codes; a probe that is linear in one-hot codes, of this rank.
    """

    width: int = 16

    @nn.compact
    def __call__(self, inputs, *, train: bool = False):
        x_BthwD = self.cells(inputs, self.width, project=False)
        return self.heads(x_BthwD.reshape(len(x_BthwD), -1), train=train)


class Mlp(CodeClassifier):
    """Hidden layers over the whole grid at once.

    Attributes:
      width: of the table of codes.
      hidden: of each of the ``layers``.
      dropout: rate after each.
    """

    width: int = 16
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs, *, train: bool = False):
        x_BthwD = self.cells(inputs, self.width, project=False)
        x_BD = x_BthwD.reshape(len(x_BthwD), -1)
        for index in range(self.layers):
            x_BD = nn.gelu(nn.Dense(self.hidden, name=f"hidden_{index}", **self.dtypes)(x_BD))
            x_BD = nn.Dropout(self.dropout)(x_BD, deterministic=not train)
        return self.heads(x_BD, train=train)


class AttentionPooling(CodeClassifier):
    """At each time of the grid, each of A learned queries looks somewhere in space and brings along what stands there
    and where that is; then one MLP over all times. Where a position is asked for, its head sees what the queries
    brought as well: where things go is nearly linear in where they were.

    This is attention from learned queries (the pooling of arXiv 1810.00825, the probe of arXiv 2404.08471), with the
    coordinates of a spatial softmax (arXiv 1504.00702): a mean of features would lose where things are. As queries do
    not depend on the clip, keys need no map of their own: query and key make one linear map to A scores.

    Attributes:
      width: of a cell's vector.
      features: of the hidden layer over a cell, which sees its vector, row and column.
      blocks: residual convolutions over 3x3 cells of one time that follow, for what takes several codes to tell.
      queries: A.
      values: numbers that a query brings along beside row and column.
      hidden: of each of the MLP's ``layers``.
      dropout: rate after each.
    """

    width: int = 32
    features: int = 64
    blocks: int = 0
    queries: int = 8
    values: int = 4
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.0

    def __call__(self, inputs, *, train: bool = False):
        return self._forward(inputs, train)[0]

    def attention(self, inputs):
        """Where the queries look: float32 (B, A, t, h, w), which sums to 1 over h and w."""
        return self._forward(inputs, train=False)[1]

    @nn.compact
    def _forward(self, inputs, train: bool):
        x_BthwD = self.cells(inputs, self.width)
        place_Bthw2 = coordinates(x_BthwD) * (jnp.array(x_BthwD.shape[2:4], x_BthwD.dtype) - 1)  # in half cells
        x_BthwD = jnp.concatenate([x_BthwD, place_Bthw2], -1)
        x_BthwD = nn.gelu(nn.Dense(self.features, name="cells", **self.dtypes)(x_BthwD))
        style = LayerStyle(padding="zero", **self.dtypes)
        for index in range(self.blocks):
            x_BthwD += nn.gelu(Conv(self.features, (1, 3, 3), style, name=f"block_{index}")(x_BthwD))
        scores_BthwA = nn.Dense(self.queries, use_bias=False, name="queries", **self.dtypes)(x_BthwD)
        values_BthwD = nn.Dense(self.values, name="values", **self.dtypes)(x_BthwD)
        seen_BtAD, weights_BthwA = pool_by_attention(jnp.concatenate([values_BthwD, place_Bthw2], -1), scores_BthwA)
        x_BD = seen_BD = seen_BtAD.reshape(len(seen_BtAD), -1)
        for index in range(self.layers):
            x_BD = nn.gelu(nn.Dense(self.hidden, name=f"hidden_{index}", **self.dtypes)(x_BD))
            x_BD = nn.Dropout(self.dropout)(x_BD, deterministic=not train)
        if self.num_positions:
            x_BD = jnp.concatenate([x_BD, seen_BD], -1)
        return self.heads(x_BD, train=train), jnp.moveaxis(weights_BthwA, -1, 1)


class CodeTransformer(CodeClassifier):
    """A small pre-norm transformer over patches of the grid, averaged at the end (ViT, arXiv 2010.11929, without its
    class token).

    Attributes:
      patch: times, rows and columns of codes in one token.
      width: of a cell before it joins a patch.
      hidden, layers, num_heads, mlp: of the transformer.
      dropout: rate on both branches of every layer.
    """

    patch: tuple[int, int, int] = (1, 2, 2)
    width: int = 16
    hidden: int = 96
    layers: int = 3
    num_heads: int = 4
    mlp: int = 384
    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs, *, train: bool = False):
        x_BthwD = self.cells(inputs, self.width)
        if any(length % size for length, size in zip(x_BthwD.shape[1:4], self.patch)):
            raise ValueError(f"A grid of {x_BthwD.shape[1:4]} codes is no whole number of patches of "
                             f"{tuple(self.patch)}; choose another config.classifier.patch.")
        x_BthwD = nn.Dense(self.hidden, name="patches", **self.dtypes)(space_to_depth(x_BthwD, tuple(self.patch)))
        x_BLD = x_BthwD.reshape(len(x_BthwD), -1, self.hidden)
        x_BLD += self.param("positions", INITIALIZER, x_BLD.shape[1:], self.param_dtype).astype(x_BLD.dtype)
        x_BLD = CodeEncoder(
            self.layers, self.hidden, self.num_heads, self.mlp, self.dropout, self.dtype, self.param_dtype,
            name="encoder",
        )(x_BLD, train=train)
        return self.heads(x_BLD.mean(1), train=train)


_PLACES = nn.initializers.normal(0.2)  # beside a patch with a ball; a tenth of that drowns where the ball is


class ViViT(Classifier):
    """A transformer over the patches of each moment, then one over the moments' class tokens; heads on the latter's.

    The size is ours, for clips of 64 pixels; the patches are those of the paper's ViViT-B/16x2, which has ``hidden=768,
    num_heads=12, mlp=3072, spatial_layers=12, temporal_layers=4``, 115.1 million parameters with 400 classes.

    Attributes:
      tubelet: frames, rows and columns of a patch.
      hidden, num_heads, mlp: of both transformers.
      spatial_layers, temporal_layers: their depths.
      dropout: rate on both branches of every layer.
    """

    tubelet: tuple[int, int, int] = (2, 16, 16)
    hidden: int = 128
    num_heads: int = 4
    mlp: int = 512
    spatial_layers: int = 4
    temporal_layers: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        video_BTHWC = centred(video_BTHWC, tuple(self.tubelet), "ViViT").astype(self.dtype)
        x_BthwD = nn.Dense(self.hidden, name="tubelets", **self.dtypes)(space_to_depth(video_BTHWC, self.tubelet))
        batch, moments = x_BthwD.shape[:2]
        x_NLD = self._first(x_BthwD.reshape(batch * moments, -1, self.hidden), "spatial")
        x_BtD = self._encoder(self.spatial_layers, "spatial")(x_NLD, train=train)[:, 0].reshape(batch, moments, -1)
        x_BtD = self._encoder(self.temporal_layers, "temporal")(self._first(x_BtD, "temporal"), train=train)
        return self.heads(x_BtD[:, 0], train=train)

    def _encoder(self, layers: int, name: str) -> CodeEncoder:
        return CodeEncoder(
            layers, self.hidden, self.num_heads, self.mlp, self.dropout, self.dtype, self.param_dtype, name=name)

    def _first(self, x_BLD, name: str):
        """A class token before the others, and positions on all."""
        token_D = self.param(f"{name}_token", nn.initializers.zeros, (self.hidden,), self.param_dtype)
        first_B1D = jnp.broadcast_to(token_D.astype(x_BLD.dtype), (len(x_BLD), 1, self.hidden))
        x_BLD = jnp.concatenate([first_B1D, x_BLD], axis=1)
        places_LD = self.param(f"{name}_positions", _PLACES, x_BLD.shape[1:], self.param_dtype)
        return x_BLD + places_LD.astype(x_BLD.dtype)
