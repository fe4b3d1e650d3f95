"""SlowFast networks (arXiv 1812.03982): few frames with many channels beside many frames with few channels."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.layers import Conv, Style
from videogvt.ops.conv import max_pool

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
                slow = Bottleneck(self.width, SLOW_TIME[stage + 1], **shape, name=f"slow_{name}")(slow, train)
                fast = Bottleneck(thin, FAST_TIME[stage + 1], **shape, name=f"fast_{name}")(fast, train)
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


class Bottleneck(nn.Module):
    """A residual block: (frames, 1, 1), then (1, 3, 3) with the stride, then (1, 1, 1) to 4 times the channels."""

    width: int
    frames: int
    factor: int
    stride: int
    dtypes: Any

    @nn.compact
    def __call__(self, x_BTHWC, train: bool):
        inner, outer = self.width * self.factor, 4 * self.width * self.factor
        style = Style(padding="zero", **self.dtypes)
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
    return Conv(features, kernel_size, Style(padding="zero", **dtypes), False, strides, widths, name=name)
