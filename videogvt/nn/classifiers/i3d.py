"""I3D (arXiv 1705.07750) as a classifier that trains from scratch; ``nn.i3d`` is the same network with fixed norms."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.i3d import MIXED

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
        x_BTHWC = nn.Conv(
            self.features, (self.size,) * 3, self.stride, use_bias=False, name="conv3d", **self.dtypes)(x_BTHWC)
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
    """``flax.linen.max_pool`` with padding "SAME", one axis after the other by shifts, whose gradient is many times
    cheaper on CPUs than that of a window reduction."""
    for axis, (size, stride) in enumerate(zip(window, strides), start=1):
        length = x_BTHWC.shape[axis]
        count = -(-length // stride)
        missing = max((count - 1) * stride + size - length, 0)
        widths = [(0, 0)] * x_BTHWC.ndim
        widths[axis] = (missing // 2, missing - missing // 2)
        padded, before = jnp.pad(x_BTHWC, widths, constant_values=-jnp.inf), (slice(None),) * axis
        last = (count - 1) * stride + 1
        x_BTHWC = functools.reduce(jnp.maximum, (padded[*before, tap : tap + last : stride] for tap in range(size)))
    return x_BTHWC
