"""The 3-D discriminator of MAGVIT (arXiv 2212.05199), in the manner of StyleGAN's: one logit per clip."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.layers import ConvKind, LayerStyle, conv1, conv3, frames_as_clips
from videogvt.ops import conv as ops


class DiscriminatorBlock(nn.Module):
    """A residual block that halves time, height and width."""

    features: int
    style: LayerStyle

    @nn.compact
    def __call__(self, x_BTHWC):
        window = (2, 2, 2)
        main = conv3(x_BTHWC, x_BTHWC.shape[-1], self.style, name="Conv_0")
        main = ops.average_pool(_leaky(main), window)
        shortcut = ops.average_pool(x_BTHWC, window)
        shortcut = conv1(shortcut, self.features, self.style, name="Conv_1", use_bias=False)
        main = _leaky(conv3(main, self.features, self.style, name="Conv_2"))
        return (main + shortcut) / math.sqrt(2)


class Discriminator(nn.Module):
    """Real or reconstructed? The defaults are the paper's for 128 px and filters of B.

    The size of clips is fixed at initialisation, as the last feature map goes through a dense layer. Padding is zero
    and there is no normalisation, as released.

    Attributes:
      filters: base width; the paper's is the generator's.
      channel_multipliers: output width of each block in units of ``filters``; (2, 4, 4, 4) for 64 px.
      conv, dtype, param_dtype, lowering: see ``layers.LayerStyle``; "2d" judges every frame by itself.
      remat_levels: blocks, the first ones first, that are computed again in the backward pass instead of stored.
    """

    filters: int = 64
    channel_multipliers: Sequence[int] = (2, 4, 4, 4, 4)
    conv: ConvKind = "3d"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    lowering: ops.Lowering = "auto"
    remat_levels: int = 0

    @nn.compact
    def __call__(self, video_BTHWC):
        """Logits, float32: (B,), or (B, T) of a per-frame discriminator."""
        init = nn.initializers.xavier_uniform()
        dtypes = {"dtype": jnp.dtype(self.dtype), "param_dtype": jnp.dtype(self.param_dtype)}
        style = LayerStyle(conv=self.conv, padding="zero", lowering=self.lowering, kernel_init=init, **dtypes)
        batch, frames = video_BTHWC.shape[:2]

        x = frames_as_clips(video_BTHWC) if style.per_frame else video_BTHWC
        x = _leaky(conv3(x, self.filters, style, name="Conv_0"))
        for index, multiplier in enumerate(self.channel_multipliers):
            block = nn.remat(DiscriminatorBlock) if index < self.remat_levels else DiscriminatorBlock
            x = block(self.filters * multiplier, style, name=f"ResBlock_{index}")(x)
        width = x.shape[-1]
        x = _leaky(conv3(x, width, style, name="Conv_1"))
        x = x.reshape(x.shape[0], -1)
        x = _leaky(nn.Dense(width, kernel_init=init, name="Dense_0", **dtypes)(x))
        logits = nn.Dense(1, kernel_init=init, name="Dense_1", **dtypes)(x)
        return logits.astype(jnp.float32).reshape((batch, frames) if style.per_frame else (batch,))


def _leaky(x):
    return nn.leaky_relu(x, 0.2)
