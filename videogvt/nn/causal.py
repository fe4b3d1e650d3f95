"""What a causal network has besides causal convolutions (MAGVIT-v2, arXiv 2310.05737; layers of Open-MAGVIT2, arXiv
2409.04410).

A clip has 1 + s * k frames, s being the time stride, and 1 + k latent frames: the first of them says the first frame,
and each further one the next s. So a picture is a clip of one frame, and a clip can be seen in chunks: 1 + s * k
frames, then any multiples of s (collection ``PAST`` of ``nn.layers``).

Latent frame i sees frames up to s * i, and the frames made of it see latent frames up to i, where all statistics are
of one frame (``norm_scope`` "frame"). With those of the clip, which Open-MAGVIT2's weights are made for, every frame
sees all others through its norms, and chunks of a clip are not the clip.
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.layers import PAST, Conv, Style, normalized
from videogvt.ops import conv as ops


class Upsample(nn.Module):
    """A causal convolution to as many times the channels as a cell becomes cells, which are then put beside each other.

    Of the frames that the clip's first one becomes, the first alone is kept.
    """

    strides: tuple[int, int, int]
    style: Style

    @nn.compact
    def __call__(self, x_BTHWC):
        """(B, 1 + T, H, W, C) to (B, 1 + s T, .., .., C), and frames that follow others, (B, T, ...), to s T."""
        follows = bool(self.variables.get(PAST))
        features = math.prod(self.strides) * x_BTHWC.shape[-1]
        x_BTHWC = ops.depth_to_space(Conv(features, (3, 3, 3), self.style, name="Conv_0")(x_BTHWC), self.strides)
        return x_BTHWC if follows else jnp.concatenate([x_BTHWC[:, :1], x_BTHWC[:, self.strides[0]:]], axis=1)


class AdaptiveGroupNorm(nn.Module):
    """GroupNorm whose scale and bias are linear maps of the latents' deviation and mean, channel by channel.

    Both are over the latents of the clip, or of the latent frame that a frame is made of where ``norm_scope`` is
    "frame". The deviation is that of a sample: n - 1 in the place of n.

    Attributes:
      frames: of the input for a latent frame.
    """

    style: Style
    frames: int

    @nn.compact
    def __call__(self, x_BTHWC, latents_BthwD):
        style = self.style
        if style.norm_scope == "position":
            raise ValueError("The adaptive norms of a causal network take statistics over space; found norm_scope="
                             "'position'. Set 'frame', or 'clip' for a network that is causal but for its norms.")
        batch, latent_frames, *_, depth = latents_BthwD.shape
        per_frame = style.norm_scope == "frame"
        z_NMD = latents_BthwD.astype(jnp.float32).reshape(batch * latent_frames if per_frame else batch, -1, depth)
        mean_ND = z_NMD.mean(1)
        variance_ND = jnp.square(z_NMD - mean_ND[:, None]).sum(1) / max(z_NMD.shape[1] - 1, 1)
        linear = functools.partial(nn.Dense, x_BTHWC.shape[-1], kernel_init=nn.initializers.zeros,
                                   param_dtype=style.param_dtype)  # an ordinary GroupNorm at first
        scale = linear(bias_init=nn.initializers.ones, name="gamma")(jnp.sqrt(variance_ND + style.norm_epsilon))
        bias = linear(bias_init=nn.initializers.zeros, name="beta")(mean_ND)
        if per_frame:
            first = latent_frames * self.frames - x_BTHWC.shape[1]  # frames that the first latent frame makes no more
            frame_T = (jnp.arange(x_BTHWC.shape[1]) + first) // self.frames
            scale, bias = (
                row.reshape(batch, latent_frames, -1)[:, frame_T].reshape(-1, row.shape[-1]) for row in (scale, bias))
        return normalized(x_BTHWC, style, scale, bias)
