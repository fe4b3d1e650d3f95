"""Convolution networks on pixels that earlier work compared with.

Two small ones; I3D (arXiv 1705.07750), which trains from scratch here, where ``nn.i3d`` is the same network with fixed
norms; and SlowFast networks (arXiv 1812.03982), few frames with many channels beside many frames with few channels.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.i3d import trunk
from videogvt.nn.layers import Conv, LayerStyle
from videogvt.ops.conv import Lowering, max_pool, whole_padding


class Cnn3d(Classifier):
    """The plainest baseline: 3x3x3 convolutions, each with ReLU and a 2x2x2 maximum; everything to a dense layer.

    Attributes:
      filters: of the convolutions.
      hidden: of the dense layer.
      dropout: rate after it.
      lowering: see ``ops.conv.conv``.
    """

    filters: tuple[int, ...] = (16, 32, 64)
    hidden: int = 128
    dropout: float = 0.0
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        style = LayerStyle(padding="zero", lowering=self.lowering, **self.dtypes)
        x_BTHWC = centred(video_BTHWC, network="Cnn3d").astype(self.dtype)
        for index, features in enumerate(self.filters):
            x_BTHWC = nn.relu(Conv(features, (3, 3, 3), style, name=f"conv_{index}")(x_BTHWC))
            x_BTHWC = max_pool(x_BTHWC, (2, 2, 2))
        x_BD = nn.relu(nn.Dense(self.hidden, name="dense", **self.dtypes)(x_BTHWC.reshape(len(x_BTHWC), -1)))
        return self.heads(nn.Dropout(self.dropout)(x_BD, deterministic=not train), train=train)


class FrameCnnAttention(Classifier):
    """Convolutions on every frame, convolutions over time, self-attention over time, the mean, and heads with a hidden
    layer.

    An earlier report compares with this network under the name "MagVIT"; it has no part of MAGVIT. What that report
    leaves open is chosen here: strides of 2 and one 2x2 maximum, by which frames of 64 pixels end on 4x4 cells;
    ReLU; kernels of 3 over time; 4 heads; the residual sum before the LayerNorm. With 4 classes and 3 positions it has
    4,191,879 numbers in parameters and batch statistics.

    Attributes:
      filters: of the convolutions on frames, whose kernels are 7, 3 and 3 wide.
      width: of a frame.
      temporal: of the convolutions over time.
      num_heads: of the attention.
      hidden: of the heads.
    """

    filters: tuple[int, int, int] = (64, 128, 256)
    width: int = 512
    temporal: tuple[int, int] = (512, 256)
    num_heads: int = 4
    hidden: int = 512

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        x = centred(video_BTHWC, (1, 16, 16), "FrameCnnAttention").astype(self.dtype)
        for index, (features, size) in enumerate(zip(self.filters, (7, 3, 3), strict=True)):
            half = size // 2
            x = nn.Conv(features, (size,) * 2, 2, [(half, half)] * 2, name=f"conv_{index}", **self.dtypes)(x)
            x = BatchNorm(self.dtypes, name=f"norm_{index}")(x, train=train)
            x = max_pool(x, (1, 2, 2)) if index == 0 else x
        x_BTD = nn.relu(nn.Dense(self.width, name="frame", **self.dtypes)(x.reshape(*x.shape[:2], -1)))
        for index, features in enumerate(self.temporal):
            x_BTD = nn.Conv(features, (3,), padding="SAME", name=f"time_{index}", **self.dtypes)(x_BTD)
            x_BTD = BatchNorm(self.dtypes, name=f"time_norm_{index}")(x_BTD, train=train)
        x_BTD += nn.MultiHeadDotProductAttention(
            self.num_heads, force_fp32_for_softmax=True, name="attention", **self.dtypes)(x_BTD)
        x_BTD = nn.LayerNorm(epsilon=1e-5, name="norm", **self.dtypes)(x_BTD)
        return self.heads(x_BTD.astype(jnp.float32).mean(1), self.hidden, train=train)


class I3DClassifier(Classifier):
    """Inception-v1 inflated to three dimensions; the heads are linear in the mean over time and space.

    Clips of 16 x 64 x 64 end on 2 x 2 x 2 cells. With 400 classes it has the 12,697,264 parameters of pytorch-i3d's
    network for Kinetics; names are its, too, but for the head.

    Attributes:
      dropout: rate before the heads.
    """

    dropout: float = 0.0

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1] of any length and size."""
        x = centred(video_BTHWC, network="I3DClassifier").astype(self.dtype)
        x = trunk(x, functools.partial(_Unit, dtypes=self.dtypes, train=train), largest)
        return self.heads(x.astype(jnp.float32).mean((1, 2, 3)), dropout=self.dropout, train=train)


class _Unit(nn.Module):
    """Convolution, batch normalization, ReLU."""

    features: int
    size: int = 1
    stride: int = 1
    dtypes: Any = None
    train: bool = False

    @nn.compact
    def __call__(self, x_BTHWC):
        size, strides = (self.size,) * 3, (self.stride,) * 3
        widths = whole_padding(x_BTHWC.shape[1:4], size, strides)
        style = LayerStyle(padding="zero", **self.dtypes)
        x_BTHWC = Conv(self.features, size, style, False, strides, widths, name="conv3d")(x_BTHWC)
        return BatchNorm(self.dtypes, epsilon=1e-3, name="bn")(x_BTHWC, train=self.train)


def largest(x_BTHWC, window: tuple[int, int, int], strides: tuple[int, int, int]):
    """As many largest values as strides begin in the input."""
    return max_pool(x_BTHWC, window, strides, whole_padding(x_BTHWC.shape[1:4], window, strides))


SLOW_TIME, FAST_TIME = (1, 1, 1, 3, 3), (5, 3, 3, 3, 3)  # frames that kernels of the stem and the stages see


class SlowFast(Classifier):
    """Two residual networks of bottlenecks; before each stage the fast one reports to the slow one.

    The size is ours, for clips of 64 pixels: 26 layers of half the paper's width, of which the slow pathway sees every
    fourth frame. The paper's SlowFast 4x16, R50, has ``depths=(3, 4, 6, 3), width=64, alpha=8``, for 32 frames.

    Attributes:
      depths: blocks of the four stages.
      width: channels of the slow stem; a stage's blocks are 1, 2, 4 and 8 times as wide inside, and 4 times that
        outside.
      alpha: the slow pathway sees every alpha-th frame.
      beta: the fast pathway has this fraction of the channels, as a divisor.
      lateral_frames: that the kernels of the reports see.
      dropout: rate before the heads.
    """

    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    width: int = 32
    alpha: int = 4
    beta: int = 8
    lateral_frames: int = 5
    dropout: float = 0.0

    def __post_init__(self):
        if self.width % self.beta:
            raise ValueError(f"beta must divide the width; found width={self.width} and beta={self.beta}.")
        super().__post_init__()

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]; frames are a multiple of alpha, rows and columns of 32."""
        video_BTHWC = centred(video_BTHWC, (self.alpha, 32, 32), "SlowFast").astype(self.dtype)
        thin = self.width // self.beta
        slow = Stem(self.width, SLOW_TIME[0], self.dtypes, name="slow_stem")(video_BTHWC[:, :: self.alpha], train)
        fast = Stem(thin, FAST_TIME[0], self.dtypes, name="fast_stem")(video_BTHWC, train)
        for stage, depth in enumerate(self.depths):
            slow = jnp.concatenate([slow, self._report(fast, stage, train)], axis=-1)
            for block in range(depth):
                shape = {"factor": 2**stage, "stride": 2 if stage and not block else 1, "dtypes": self.dtypes}
                name = f"{stage}_{block}"
                slow = _Bottleneck(self.width, SLOW_TIME[stage + 1], **shape, name=f"slow_{name}")(slow, train)
                fast = _Bottleneck(thin, FAST_TIME[stage + 1], **shape, name=f"fast_{name}")(fast, train)
        pooled_BD = jnp.concatenate([x.astype(jnp.float32).mean((1, 2, 3)) for x in (slow, fast)], axis=-1)
        return self.heads(pooled_BD, dropout=self.dropout, train=train)

    def _report(self, fast_BTHWC, stage: int, train: bool):
        """What the fast pathway tells the slow one: twice its channels, at every alpha-th frame."""
        x = strided(2 * fast_BTHWC.shape[-1], (self.lateral_frames, 1, 1), (self.alpha, 1, 1), self.dtypes,
                    name=f"lateral_{stage}")(fast_BTHWC)
        return BatchNorm(self.dtypes, name=f"lateral_norm_{stage}")(x, train=train)


class Stem(nn.Module):
    """A convolution 7 wide and a maximum 3 wide, each of stride 2."""

    features: int
    frames: int
    dtypes: Any

    @nn.compact
    def __call__(self, x_BTHWC, train: bool):
        x_BTHWC = strided(self.features, (self.frames, 7, 7), (1, 2, 2), self.dtypes, name="conv")(x_BTHWC)
        x_BTHWC = BatchNorm(self.dtypes, name="norm")(x_BTHWC, train=train)
        return max_pool(x_BTHWC, (1, 3, 3), (1, 2, 2), ((0, 0), (1, 1), (1, 1)))


class _Bottleneck(nn.Module):
    """A residual block: (frames, 1, 1), then (1, 3, 3) with the stride, then (1, 1, 1) to 4 times the channels."""

    width: int
    frames: int
    factor: int
    stride: int
    dtypes: Any

    @nn.compact
    def __call__(self, x_BTHWC, train: bool):
        inner, outer = self.width * self.factor, 4 * self.width * self.factor
        style = LayerStyle(padding="zero", **self.dtypes)
        x = Conv(inner, (self.frames, 1, 1), style, use_bias=False, name="conv_0")(x_BTHWC)
        x = BatchNorm(self.dtypes, name="norm_0")(x, train=train)
        x = self._frames(inner, 3, "conv_1")(x)
        x = BatchNorm(self.dtypes, name="norm_1")(x, train=train)
        x = BatchNorm(self.dtypes, relu=False, name="norm_2")(
            nn.Dense(outer, use_bias=False, name="conv_2", **self.dtypes)(x), train=train)
        if x_BTHWC.shape != x.shape:
            x_BTHWC = self._frames(outer, 1, "shortcut")(x_BTHWC)
            x_BTHWC = BatchNorm(self.dtypes, relu=False, name="shortcut_norm")(x_BTHWC, train=train)
        return nn.relu(x_BTHWC + x)

    def _frames(self, features: int, size: int, name: str) -> Conv:
        """A convolution of every frame by itself, with the stride."""
        return strided(features, (1, size, size), (1, self.stride, self.stride), self.dtypes, name=name)


def strided(features: int, kernel_size: tuple[int, int, int], strides: tuple[int, int, int], dtypes, *, name: str):
    """A convolution among as many zeros on both sides as put its first result on the first cell."""
    widths = tuple((size // 2,) * 2 for size in kernel_size)
    return Conv(features, kernel_size, LayerStyle(padding="zero", **dtypes), False, strides, widths, name=name)
