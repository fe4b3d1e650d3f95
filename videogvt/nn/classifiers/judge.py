"""The judge: a small convolution network on pixels that names the family of a motion.

It is ours, and made to be cheap: it trains on a laptop in minutes, is a perceptual network for the tokenizer, and can
judge generated clips.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import coordinates, look
from videogvt.nn.layers import Conv, ConvKind, ResBlock, Style, conv1, norm_swish
from videogvt.ops.conv import Lowering, space_to_depth


class Judge(nn.Module):
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
      conv, norm_groups, dtype, param_dtype, lowering: see ``layers.Style``. The padding is "replicate", so that a
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
    def style(self) -> Style:
        """What all layers have in common."""
        return Style(
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
        seen_BtAC, _ = look(placed_BthwC, conv1(map_BthwC, self.heads, style, name="attention"))
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

    style: Style

    @nn.compact
    def __call__(self, x_BTHWC):
        residual = x_BTHWC
        for index in range(2):
            residual = norm_swish(residual, self.style, name=f"GroupNorm_{index}")
            residual = Conv(x_BTHWC.shape[-1], (3, 1, 1), self.style, name=f"Conv_{index}")(residual)
        return x_BTHWC + residual
