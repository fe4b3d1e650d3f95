"""C3D (arXiv 1412.0767) trained on UCF-101, as TGANv2 (arXiv 1811.09245) used it: the network behind the video IS.

Files: that project's pair conv3d_deepnetA_ucf.npz ("conv1a/W", "conv1a/b", ... "fc8/b") and mean2.npz ("mean"), or one
state dict of PyTorch with "conv1a.weight", "conv1a.bias", ... "fc8.bias" and "offset" (3, 16, 112, 112): blue, green,
red, to be added to colours times 255, the negative of the mean clip's window [8:120, 8:120].
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from videogvt.nn import state_dicts

_FRAME_SIZE, FRAMES = 112, 16
C3D_FORMAT = (
    "Expected TGANv2's conv3d_deepnetA_ucf.npz with its mean2.npz (see github.com/pfnet-research/tgan2), or one "
    "state dict, .pt or .safetensors, with a tensor 'offset'; docs/fvd.md describes both layouts.")
CONVOLUTIONS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
POOLED = ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b")
_WINDOW = slice(8, 8 + _FRAME_SIZE)  # of the mean clip, which has frames of 128 x 171


class C3D(nn.Module):
    """Logits of clips of 16 frames, float32; convolutions are in full precision on every device.

    Attributes:
      num_classes: 101 of UCF.
      widths, hidden, frame_size: channels of the eight convolutions, of the layers after them, and pixels of a side;
        other than these only for small networks in tests.
    """

    num_classes: int = 101
    widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512)
    hidden: int = 4096
    frame_size: int = _FRAME_SIZE

    @nn.compact
    def __call__(self, video_BTHWC):
        """Videos (B, 16, 112, 112, 3), blue, green, red in [0, 255], to logits (B, 101)."""
        shape = (FRAMES, self.frame_size, self.frame_size, 3)
        if video_BTHWC.shape[1:] != shape:
            raise ValueError(f"C3D needs clips of {FRAMES} frames of {self.frame_size} x {self.frame_size} pixels, "
                             f"expected (B, {', '.join(map(str, shape))}), found {video_BTHWC.shape}.")
        x = video_BTHWC.astype(jnp.float32) + self.param("offset", nn.initializers.zeros, shape)
        for name, width in zip(CONVOLUTIONS, self.widths, strict=True):
            x = nn.relu(nn.Conv(width, (3, 3, 3), padding="SAME", precision="highest", name=name)(x))
            if name in POOLED:
                window = (1 if name == "conv1a" else 2, 2, 2)
                x = nn.max_pool(x, window, window, "SAME")  # what is left over at the far edge is pooled too
        x = x.transpose(0, 4, 1, 2, 3).reshape(len(x), -1)  # channels first, as the weights were laid out
        for name in ("fc6", "fc7"):
            x = nn.relu(nn.Dense(self.hidden, precision="highest", name=name)(x))
        return nn.Dense(self.num_classes, precision="highest", name="fc8")(x)


def load_c3d(path: str, mean: str | None = None, model: C3D = C3D()) -> dict[str, Any]:
    """Parameters of ``model``; see the head of this file, and ``nn.state_dicts`` for files and errors.

    Args:
      mean: mean2.npz, where the weights hold no offset; None is the file of that name beside the weights, if any.
    """
    state_dict = {_renamed(name): value for name, value in state_dicts.read_state_dict(path, C3D_FORMAT).items()}
    beside = pathlib.Path(path).expanduser().with_name("mean2.npz")
    if "offset" not in state_dict and (mean or beside.is_file()):
        state_dict["offset"] = -_mean_clip(state_dicts.read_state_dict(mean or str(beside), C3D_FORMAT))
    if "offset" in state_dict:
        state_dict["offset"] = np.moveaxis(np.asarray(state_dict["offset"], np.float32), 0, -1)
    shape = (1, FRAMES, model.frame_size, model.frame_size, 3)
    try:
        return state_dicts.convert(model, shape, state_dict, "TGANv2's C3D", name=_name)
    except ValueError as error:
        raise ValueError(f"{error} {C3D_FORMAT}") from None


def _mean_clip(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The window of the mean clip that belongs to frames of 112 x 112, (3, 16, 112, 112)."""
    if "mean" not in arrays:
        raise ValueError(f"The file of the mean clip holds {sorted(arrays)}, not 'mean'. {C3D_FORMAT}")
    mean = arrays["mean"]
    if mean.shape[-4:-2] != (3, FRAMES) or mean.size != np.prod(mean.shape[-4:]) or min(mean.shape[-2:]) < _WINDOW.stop:
        raise ValueError(f"The mean clip has the shape {mean.shape}; expected (3, {FRAMES}, 128, 171). {C3D_FORMAT}")
    return mean.reshape(mean.shape[-4:])[..., _WINDOW, _WINDOW]


def _renamed(name: str) -> str:
    """Chainer's "conv1a/W" to "conv1a.weight"; other names stay."""
    layer, _, leaf = name.rpartition("/")
    return f"{layer}.{ {'W': 'weight', 'b': 'bias'}[leaf]}" if leaf in ("W", "b") and layer else name


def _name(path: tuple[str, ...]) -> str:
    return path[0] if path == ("offset",) else state_dicts.torch_name(path)
