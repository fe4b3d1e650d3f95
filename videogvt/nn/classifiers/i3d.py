"""I3D (arXiv 1705.07750) as a classifier that trains from scratch; ``nn.i3d`` is the same network with fixed norms."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.i3d import trunk
from videogvt.nn.layers import Conv, Style
from videogvt.ops.conv import max_pool, whole_padding


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
        x = trunk(x, functools.partial(Unit, dtypes=self.dtypes, train=train), largest)
        return self.heads(x.astype(jnp.float32).mean((1, 2, 3)), dropout=self.dropout, train=train)


class Unit(nn.Module):
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
        style = Style(padding="zero", **self.dtypes)
        x_BTHWC = Conv(self.features, size, style, False, strides, widths, name="conv3d")(x_BTHWC)
        return BatchNorm(self.dtypes, epsilon=1e-3, name="bn")(x_BTHWC, train=self.train)


def largest(x_BTHWC, window: tuple[int, int, int], strides: tuple[int, int, int]):
    """As many largest values as strides begin in the input."""
    return max_pool(x_BTHWC, window, strides, whole_padding(x_BTHWC.shape[1:4], window, strides))
