"""What classifiers have in common: answers (of all but the judge), norms of networks on pixels, and attention that
looks at places.

The judge: a small convolution network on pixels that names the family of a motion.

It is ours, and made to be cheap: it trains on a laptop in minutes, is a perceptual network for the tokenizer, and can
judge generated clips.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from videogvt.nn.layers import Conv, ConvKind, LayerStyle, ResBlock, conv1, norm_swish
from videogvt.ops.conv import Lowering, space_to_depth


class Classifier(nn.Module):
    """A network that names the class of a clip, says where its object goes, or both.

    ``module(inputs, *, train=False)`` is a dict of float32 heads: "logits" (B, num_classes) and "position"
    (B, num_positions), each only where its size is not 0. Networks with BatchNorm keep the statistics in the collection
    "batch_stats", which is mutable where ``train``; under ``jit`` over a mesh they are those of the whole batch.
    Networks with a ``dropout`` above 0 need the rng "dropout" where ``train``.

    Attributes:
      num_classes: K, or 0.
      num_positions: P numbers of the position head, or 0; their meaning is the recipe's business.
      dtype: of the computation; statistics of norms, softmax and heads are float32 in any case.
      param_dtype: of the parameters.
    """

    sees: ClassVar[Literal["pixels", "codes"]] = "pixels"
    num_classes: int
    num_positions: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if min(self.num_classes, self.num_positions) < 0 or not self.num_classes + self.num_positions:
            raise ValueError(
                f"A classifier needs classes, positions or both; found num_classes={self.num_classes} and "
                f"num_positions={self.num_positions}. Give one of them a size above 0.")
        super().__post_init__()

    def heads(self, features_BD, hidden: int = 0, dropout: float = 0.0, *, train: bool):
        """The answers, linear in the features or with a hidden layer for each; to be called in a compact method."""
        heads, dtypes = {}, {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        for name, size in (("logits", self.num_classes), ("position", self.num_positions)):
            if not size:
                continue
            x_BD = nn.Dropout(dropout)(features_BD.astype(jnp.float32), deterministic=not train)
            if hidden:
                x_BD = nn.relu(nn.Dense(hidden, name=f"{name}_hidden", **dtypes)(x_BD))
            heads[name] = nn.Dense(size, name=name, **dtypes)(x_BD)
        return heads

    @property
    def dtypes(self) -> dict[str, Any]:
        """Of a layer of the network."""
        return {"dtype": jnp.dtype(self.dtype), "param_dtype": jnp.dtype(self.param_dtype)}


class BatchNorm(nn.Module):
    """Batch normalization, then ReLU where asked for. In training the statistics move a tenth of the way at a time.

    Attributes:
      relu: whether ReLU follows.
      epsilon: added to the variance.
      dtypes: of computation and parameters; the statistics are float32.
    """

    dtypes: Any
    relu: bool = True
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = nn.BatchNorm(not train, momentum=0.9, epsilon=self.epsilon, name="norm", **self.dtypes)(x)
        return nn.relu(x) if self.relu else x


def centred(video_BTHWC, patch: tuple[int, int, int] = (1, 1, 1), network: str = ""):
    """Videos about each clip's mean colour, so that a bright and plain background does not drown what moves on it.

    Raises:
      ValueError: this is no batch of videos, or no whole number of ``patch`` cells fits.
    """
    if video_BTHWC.ndim != 5 or not jnp.issubdtype(video_BTHWC.dtype, jnp.floating):
        raise ValueError(
            f"{network} sees videos (B, T, H, W, C) of floats in [0, 1]; found {video_BTHWC.dtype} "
            f"{video_BTHWC.shape}. Divide bytes by 255; for codes or latents choose a network on codes.")
    for axis, length, size in zip(("frames", "height", "width"), video_BTHWC.shape[1:4], patch):
        if length % size:
            raise ValueError(
                f"{network} needs {axis} in multiples of {size}; found {axis} = {length}. Crop or resize the clips.")
    return video_BTHWC - video_BTHWC.mean((1, 2, 3), keepdims=True)


def coordinates(map_BthwC):
    """Row and column of every cell of a map, (B, t, h, w, 2), from -1 at the first to 1 at the last."""
    *cells_Bthw, _ = map_BthwC.shape
    rows_columns = jnp.meshgrid(*(jnp.linspace(-1, 1, length) for length in cells_Bthw[2:]), indexing="ij")
    return jnp.broadcast_to(jnp.stack(rows_columns, -1), (*cells_Bthw, 2)).astype(map_BthwC.dtype)


def pool_by_attention(things_BthwD, scores_BthwA):
    """What each of A queries sees at every time: the mean over space of things, weighted by the softmax of its scores.

    Returns:
      (B, t, A, D), and the weights, float32 (B, t, h, w, A).
    """
    weights_BthwA = jax.nn.softmax(scores_BthwA.astype(jnp.float32), axis=(2, 3))
    return jnp.einsum("bthwa,bthwd->btad", weights_BthwA.astype(things_BthwD.dtype), things_BthwD), weights_BthwA


class MotionClassifier(nn.Module):
    """Patches, residual blocks, attention over space, convolutions over time, a mean over time, and a linear head.

    A mean over space would lose where things are. Attention keeps it: each head says where to look in a frame and takes
    along the features and the coordinates found there (the spatial softmax of arXiv 1504.00702). What follows sees how
    these change over time. Clips may have any length and size in whole patches.

    Attributes:
      num_classes: K.
      patch: frames, rows and columns of a cell of the feature map.
      filters: channels of the feature map.
      blocks: residual blocks on it.
      heads: places to look at in a frame.
      width: of the features over time, and of the pooled features.
      motion_blocks: residual blocks over time, each five cells wide.
      conv, norm_groups, dtype, param_dtype, lowering: see ``layers.LayerStyle``. The padding is "replicate", so that a
        plain background stays plain up to its borders.
    """

    num_classes: int
    patch: Sequence[int] = (2, 8, 8)
    filters: int = 32
    blocks: int = 1
    heads: int = 4
    width: int = 64
    motion_blocks: int = 2
    conv: ConvKind = "2plus1d"
    norm_groups: int = 8
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    lowering: Lowering = "auto"

    @property
    def style(self) -> LayerStyle:
        """What all layers have in common."""
        return LayerStyle(
            conv=self.conv, padding="replicate", norm_groups=self.norm_groups, dtype=jnp.dtype(self.dtype),
            param_dtype=jnp.dtype(self.param_dtype), lowering=self.lowering)

    def __call__(self, video_BTHWC):
        """Logits (B, K), float32, of videos in [0, 1]."""
        return self.features(video_BTHWC)["logits"]

    @nn.compact
    def features(self, video_BTHWC) -> dict[str, jax.Array]:
        """What the network makes of videos in [0, 1], float32.

        "map" (B, t, h, w, filters) says what is where, and is what the perceptual loss compares; "pooled" (B, width) is
        of the clip as a whole, for distances between sets of clips; "logits" (B, K) are linear in "pooled".
        """
        for axis, length, size in zip(("frames", "height", "width"), video_BTHWC.shape[1:4], self.patch):
            if length % size:
                raise ValueError(
                    f"The judge looks at patches of {tuple(self.patch)}; {axis} = {length} is not a multiple of {size}."
                    " Crop the clips, or train it with another config.classifier.patch.")
        style = self.style
        # About the mean colour: a bright, plain background would drown what moves on it in every GroupNorm.
        colours_BTHWC = video_BTHWC - video_BTHWC.mean((1, 2, 3), keepdims=True)
        patches_BthwP = space_to_depth(colours_BTHWC, tuple(self.patch))
        x_BthwC = conv1(patches_BthwP, self.filters, style, name="stem", use_bias=False)
        for index in range(self.blocks):
            x_BthwC = ResBlock(self.filters, style, name=f"ResBlock_{index}")(x_BthwC)
        map_BthwC = norm_swish(x_BthwC, style, name="GroupNorm_0")
        placed_BthwC = jnp.concatenate([map_BthwC, coordinates(map_BthwC)], -1)
        seen_BtAC, _ = pool_by_attention(placed_BthwC, conv1(map_BthwC, self.heads, style, name="attention"))
        seen_BtD = seen_BtAC.reshape(*seen_BtAC.shape[:2], -1)
        dtypes = {"dtype": style.dtype, "param_dtype": style.param_dtype}
        motion_Bt11D = nn.Dense(self.width, name="motion", **dtypes)(seen_BtD)[:, :, None, None]
        for index in range(self.motion_blocks):
            motion_Bt11D = MotionBlock(style, name=f"MotionBlock_{index}")(motion_Bt11D)
        motion_Bt11D = norm_swish(motion_Bt11D, style, name="GroupNorm_1")
        pooled_BD = motion_Bt11D.astype(jnp.float32).mean((1, 2, 3))
        logits_BK = nn.Dense(self.num_classes, param_dtype=style.param_dtype, name="head")(pooled_BD)
        return {"map": map_BthwC.astype(jnp.float32), "pooled": pooled_BD, "logits": logits_BK}


class MotionBlock(nn.Module):
    """A pre-activation residual block whose convolutions are over time alone."""

    style: LayerStyle

    @nn.compact
    def __call__(self, x_BTHWC):
        residual = x_BTHWC
        for index in range(2):
            residual = norm_swish(residual, self.style, name=f"GroupNorm_{index}")
            residual = Conv(x_BTHWC.shape[-1], (3, 1, 1), self.style, name=f"Conv_{index}")(residual)
        return x_BTHWC + residual
