"""Encoder and decoder of the 3D-VQ tokenizer (MAGVIT, arXiv 2212.05199, section 3.1 and appendix A).

Causal ones have besides (MAGVIT-v2, arXiv 2310.05737; layers of Open-MAGVIT2, arXiv 2409.04410):

A clip has 1 + s * k frames, s being the time stride, and 1 + k latent frames: the first of them says the first frame,
and each further one the next s. So a picture is a clip of one frame, and a clip can be seen in chunks: 1 + s * k
frames, then any multiples of s (collection ``PAST`` of ``nn.layers``).

Latent frame i sees frames up to s * i, and the frames made of it see latent frames up to i, where all statistics are
of one frame (``norm_scope`` "frame"). With those of the clip, which Open-MAGVIT2's weights are made for, every frame
sees all others through its norms, and chunks of a clip are not the clip.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.layers import PAST, Conv, LayerStyle, ResBlock, conv1, conv3, frames_as_clips, norm_swish, normalized
from videogvt.ops import conv as ops


class Upsample(nn.Module):
    """A causal convolution to as many times the channels as a cell becomes cells, which are then put beside each other.

    Of the frames that the clip's first one becomes, the first alone is kept.
    """

    strides: tuple[int, int, int]
    style: LayerStyle

    @nn.compact
    def __call__(self, x_BTHWC):
        """(B, 1 + T, H, W, C) to (B, 1 + s T, .., .., C), and frames that follow others, (B, T, ...), to s T."""
        follows = bool(self.variables.get(PAST))
        features = math.prod(self.strides) * x_BTHWC.shape[-1]
        x_BTHWC = ops.depth_to_space(Conv(features, (3, 3, 3), self.style, name="Conv_0")(x_BTHWC), self.strides)
        return x_BTHWC if follows else jnp.concatenate([x_BTHWC[:, :1], x_BTHWC[:, self.strides[0]:]], axis=1)


class AdaptiveGroupNorm(nn.Module):
    """GroupNorm whose scale and bias are linear maps of the latents' std and mean, channel by channel.

    Both are over the latents of the clip, or of the latent frame that a frame is made of where ``norm_scope`` is
    "frame". The std is that of a sample: n - 1 in the place of n.

    Attributes:
      frames: of the input for a latent frame.
    """

    style: LayerStyle
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


@dataclass(frozen=True)
class Pyramid:
    """The levels of resolution that encoder and decoder share, from the finest to the coarsest.

    Attributes:
      filters: base width.
      channel_multipliers: width of each level in units of ``filters``.
      temporal_downsample: for each step to the next level, whether it halves time as well as space. Further entries
        are not used, and a per-frame network halves no time at all.
      stem: (T, H, W) size of the patches that the finest level sees as pixels, through a linear map; (1, 1, 1) for
        pixels themselves.
      remat_levels: levels whose blocks, the finest first, are computed again in the backward pass instead of stored.
    """

    filters: int
    channel_multipliers: Sequence[int]
    temporal_downsample: Sequence[bool]
    stem: tuple[int, int, int] = (1, 1, 1)
    remat_levels: int = 0

    def __post_init__(self):
        if len(self.temporal_downsample) < len(self.channel_multipliers) - 1:
            raise ValueError(
                f"temporal_downsample={tuple(self.temporal_downsample)} has {len(self.temporal_downsample)} flags, but "
                f"channel_multipliers={tuple(self.channel_multipliers)} makes {len(self.channel_multipliers) - 1} "
                "steps from level to level; give one flag per step.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.filters * multiplier for multiplier in self.channel_multipliers)

    def strides(self, style: LayerStyle) -> tuple[tuple[int, int, int], ...]:
        """(T, H, W) factor of each step from a level to the next coarser one."""
        if (style.per_frame or style.causal) and self.stem[0] != 1:
            kind = "causal" if style.causal else "per-frame"
            raise ValueError(
                f"A {kind} network cannot join {self.stem[0]} frames: with conv={style.conv!r}, stem={self.stem} "
                f"must be {(1, *self.stem[1:])}.")
        flags = self.temporal_downsample[:len(self.channel_multipliers) - 1]
        return tuple((2 if halve and not style.per_frame else 1, 2, 2) for halve in flags)


def blocks_per_level(blocks: int | Sequence[int], levels: int) -> tuple[int, ...]:
    """Residual blocks of every level, the finest first, and of the extra ones at latent resolution.

    Args:
      blocks: one number for all, or a sequence of levels + 1 numbers.
    """
    if isinstance(blocks, int):
        return (blocks,) * (levels + 1)
    if len(blocks) != levels + 1:
        raise ValueError(
            f"A network of {levels} levels takes one number of blocks, or {levels + 1} of them (one per level from the "
            f"finest, then that of the extra blocks at latent resolution), found {tuple(blocks)}.")
    return tuple(blocks)


class _Blocks:
    """Numbers the residual blocks of a network in the order in which they are called."""

    def __init__(self, pyramid: Pyramid, style: LayerStyle, train: bool):
        self.pyramid, self.style, self.train, self.made = pyramid, style, train, 0

    def __call__(self, x_BTHWC, level: int, repeats: int):
        """``repeats`` blocks at a level's width."""
        remat = self.train and level < self.pyramid.remat_levels
        make = nn.remat(ResBlock) if remat else ResBlock
        for _ in range(repeats):
            block = make(self.pyramid.widths[level], self.style, name=f"ResBlock_{self.made}")
            x_BTHWC, self.made = block(x_BTHWC), self.made + 1
        return x_BTHWC


class Encoder(nn.Module):
    """Video to continuous latents.

    Attributes:
      blocks: residual blocks, see ``blocks_per_level``.
      embedding_dim: width D of the latents.
      latent_bias: std of the random bias that the last convolution begins with; 0, the paper's, for zeros.
    """

    pyramid: Pyramid
    blocks: int | Sequence[int]
    embedding_dim: int
    style: LayerStyle
    latent_bias: float = 0.0

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """(B, T, H, W, C) to (B, t, h, w, D). With ``train``, ``remat_levels`` applies."""
        pyramid, style = self.pyramid, self.style
        *per_level, extra = blocks_per_level(self.blocks, len(pyramid.widths))
        strides = pyramid.strides(style)
        res_blocks = _Blocks(pyramid, style, train)
        batch = video_BTHWC.shape[0]

        x = frames_as_clips(video_BTHWC) if style.per_frame else video_BTHWC
        patched = pyramid.stem != (1, 1, 1)
        if patched:
            x = conv1(ops.space_to_depth(x, pyramid.stem), pyramid.filters, style, name="stem")
        else:
            x = conv3(x, pyramid.filters, style, name="Conv_0", use_bias=False)
        for level, repeats in enumerate(per_level):
            x = res_blocks(x, level, repeats)
            if level < len(strides) and style.causal:
                x = Conv(x.shape[-1], (3, 3, 3), style, strides=strides[level], name=f"Down_{level}")(x)
            elif level < len(strides):
                x = ops.average_pool(x, strides[level])
        x = res_blocks(x, len(per_level) - 1, extra)
        x = norm_swish(x, style, name="GroupNorm_0")
        z = conv1(x, self.embedding_dim, style, name="Conv_1", bias_std=self.latent_bias)
        return z.reshape(batch, -1, *z.shape[2:])


class Decoder(nn.Module):
    """Quantised latents to video, in two stages between which long clips can be blended.

    Attributes:
      blocks: residual blocks, see ``blocks_per_level``.
      output_bias, output_scale: the video is ``output_bias + output_scale * (last convolution)``. The paper's is
        (0, 1). With the background's value and a small scale (ours), training starts near the all-background video.
      reach: size of the first convolution's kernel, odd; None for the style's own. A wide one (ours) lets a cell see
        what its neighbours say at once, at the latents' small width, where wide kernels cost little.
    """

    pyramid: Pyramid
    blocks: int | Sequence[int]
    style: LayerStyle
    output_bias: float = 0.0
    output_scale: float = 1.0
    reach: tuple[int, int, int] | None = None

    @nn.compact
    def __call__(self, x, *, train: bool = False, stages: tuple[int, ...] = (1, 2)):
        """(B, t, h, w, D) to (B, T, H, W, 3), linear: values may leave [0, 1].

        Args:
          train: with it, ``remat_levels`` applies.
          stages: (1,) stops before the last convolution and returns its input (B, T', H', W', filters), where T', H',
            W' are the video's sizes in units of ``stem``; (2,) goes on from there.
        """
        batch = x.shape[0]
        x = frames_as_clips(x) if self.style.per_frame else x
        for stage in stages:
            x = self._features(x, train) if stage == 1 else self._pixels(x)
        return x.reshape(batch, -1, *x.shape[2:])

    def _features(self, latents_BthwD, train):
        pyramid, style = self.pyramid, self.style
        *per_level, extra = blocks_per_level(self.blocks, len(pyramid.widths))
        strides = pyramid.strides(style)
        res_blocks = _Blocks(pyramid, style, train)

        if self.reach is None:
            x = conv3(latents_BthwD, pyramid.widths[-1], style, name="Conv_0")
        else:
            x = Conv(pyramid.widths[-1], self.reach, style, name="Conv_0")(latents_BthwD)
        x = res_blocks(x, len(per_level) - 1, extra)
        for step, level in enumerate(reversed(range(len(per_level)))):
            if style.causal:
                frames = math.prod(time for time, *_ in strides[level:])
                x = AdaptiveGroupNorm(style, frames, name=f"AdaptiveGroupNorm_{level}")(x, latents_BthwD)
            x = res_blocks(x, level, per_level[level])
            if level and style.causal:
                x = Upsample(strides[level - 1], style, name=f"Up_{level}")(x)
            elif level:
                x = ops.upsample_nearest(x, strides[level - 1])
                x = conv3(x, x.shape[-1], style, name=f"Conv_{step + 1}")
        return norm_swish(x, style, name="GroupNorm_0")

    def _pixels(self, features_BTHWC):
        patch = self.pyramid.stem
        if patch != (1, 1, 1):
            x = ops.depth_to_space(conv1(features_BTHWC, 3 * math.prod(patch), self.style, name="stem"), patch)
        else:
            x = conv3(features_BTHWC, 3, self.style, name=f"Conv_{len(self.pyramid.widths)}")
        if (self.output_bias, self.output_scale) != (0.0, 1.0):
            x = self.output_bias + self.output_scale * x
        return x
