"""I3D (arXiv 1705.07750) as a classifier that trains from scratch; ``nn.i3d`` is the same network with fixed norms."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.i3d import MIXED
from videogvt.nn.layers import Conv, Style
from videogvt.ops.conv import max_pool, whole_padding

POOLS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}
"""Windows and strides of the pooling before these."""


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
        x = Unit(64, 7, 2, dtypes=self.dtypes, name="Conv3d_1a_7x7")(x, train)
        x = largest(x, (1, 3, 3), (1, 2, 2))
        x = Unit(64, dtypes=self.dtypes, name="Conv3d_2b_1x1")(x, train)
        x = Unit(192, 3, dtypes=self.dtypes, name="Conv3d_2c_3x3")(x, train)
        for name, widths in MIXED.items():
            if name in POOLS:
                x = largest(x, *POOLS[name])
            x = Mixed(widths, self.dtypes, name=name)(x, train)
        return self.heads(x.astype(jnp.float32).mean((1, 2, 3)), dropout=self.dropout, train=train)


class Unit(nn.Module):
    """Convolution, batch normalization, ReLU."""

    features: int
    size: int = 1
    stride: int = 1
    dtypes: Any = None

    @nn.compact
    def __call__(self, x_BTHWC, train: bool):
        size, strides = (self.size,) * 3, (self.stride,) * 3
        widths = whole_padding(x_BTHWC.shape[1:4], size, strides)
        style = Style(padding="zero", **self.dtypes)
        x_BTHWC = Conv(self.features, size, style, False, strides, widths, name="conv3d")(x_BTHWC)
        return BatchNorm(self.dtypes, epsilon=1e-3, name="bn")(x_BTHWC, train=train)


class Mixed(nn.Module):
    """Inception's four branches beside each other."""

    widths: tuple[int, ...]
    dtypes: Any

    @nn.compact
    def __call__(self, x_BTHWC, train: bool):
        def unit(name: str, features: int, x, size: int = 1):
            return Unit(features, size, dtypes=self.dtypes, name=name)(x, train)

        b0, b1a, b1b, b2a, b2b, b3b = self.widths
        return jnp.concatenate([
            unit("b0", b0, x_BTHWC),
            unit("b1b", b1b, unit("b1a", b1a, x_BTHWC), 3),
            unit("b2b", b2b, unit("b2a", b2a, x_BTHWC), 3),
            unit("b3b", b3b, largest(x_BTHWC, (3, 3, 3), (1, 1, 1))),
        ], axis=-1)


def largest(x_BTHWC, window: tuple[int, int, int], strides: tuple[int, int, int]):
    """As many largest values as strides begin in the input."""
    return max_pool(x_BTHWC, window, strides, whole_padding(x_BTHWC.shape[1:4], window, strides))
