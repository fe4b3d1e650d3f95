"""Encoder and decoder of the 3D-VQ tokenizer (MAGVIT, arXiv 2212.05199, section 3.1 and appendix A)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn

from videogvt.nn.causal import AdaptiveGroupNorm, Upsample
from videogvt.nn.layers import Conv, ResBlock, Style, conv1, conv3, frames_as_clips, norm_swish
from videogvt.ops import conv as ops


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

    def strides(self, style: Style) -> tuple[tuple[int, int, int], ...]:
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

    def __init__(self, pyramid: Pyramid, style: Style, train: bool):
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
      latent_bias: deviation of the random bias that the last convolution begins with; 0, the paper's, for zeros.
    """

    pyramid: Pyramid
    blocks: int | Sequence[int]
    embedding_dim: int
    style: Style
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
        z = conv1(x, self.embedding_dim, style, name="Conv_1", bias_deviation=self.latent_bias)
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
    style: Style
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
