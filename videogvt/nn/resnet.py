"""ResNet-50 for ImageNet, version 1 as torchvision lays it out, as a frozen perceptual network on frames."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from videogvt.nn import state_dicts
from videogvt.nn.state_dicts import FrozenBatchNorm

STAGES = (3, 4, 6, 3)
_FRAME_SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours torchvision's weights were trained on


def _conv(x_NHWC, features: int, size: int, stride: int, name: str):
    """A convolution without bias, padded as in torch: by half the kernel on both sides."""
    edge = (size - 1) // 2
    conv = nn.Conv(features, (size, size), (stride, stride), [(edge, edge)] * 2, use_bias=False, name=name)
    return conv(x_NHWC)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1; the 3x3 convolution has the stride, as in torchvision."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x_NHWC):
        y = nn.relu(FrozenBatchNorm(name="bn1")(_conv(x_NHWC, self.features, 1, 1, "conv1")))
        y = nn.relu(FrozenBatchNorm(name="bn2")(_conv(y, self.features, 3, self.stride, "conv2")))
        y = FrozenBatchNorm(name="bn3")(_conv(y, 4 * self.features, 1, 1, "conv3"))
        if x_NHWC.shape != y.shape:
            shortcut = _conv(x_NHWC, 4 * self.features, 1, self.stride, "downsample_0")
            x_NHWC = FrozenBatchNorm(name="downsample_1")(shortcut)
        return nn.relu(x_NHWC + y)


class ResNet50(nn.Module):
    """Features of every frame of a video. Parameter names are torchvision's, "layer1.0.conv1" as layer1_0/conv1.

    Attributes:
      output: "logits" (1000), MAGVIT's perceptual loss compares these, or "features", the last (7, 7, 2048) map.
      normalize: whether colours in [0, 1] are brought to the mean and std torchvision's weights expect.
      stages, width: blocks of each stage and base width, for small networks in tests.
    """

    output: str = "logits"
    normalize: bool = True
    stages: tuple[int, ...] = STAGES
    width: int = 64
    num_classes: int = 1000
    frame_size: int = _FRAME_SIZE

    @nn.compact
    def __call__(self, video_BTHWC):
        """Videos (B, T, H, W, 3) in [0, 1] to (B, T, 1000) or (B, T, 7, 7, 2048)."""
        if self.output not in ("logits", "features"):
            raise ValueError(f"ResNet50 has the outputs 'logits' and 'features', found {self.output!r}.")
        batch, frames = video_BTHWC.shape[:2]
        x = resize(video_BTHWC.reshape(batch * frames, *video_BTHWC.shape[2:]), self.frame_size)
        if self.normalize:
            x = (x - jnp.asarray(MEAN, x.dtype)) / jnp.asarray(STD, x.dtype)
        x = nn.relu(FrozenBatchNorm(name="bn1")(_conv(x, self.width, 7, 2, "conv1")))
        x = nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                x = _Bottleneck(self.width * 2**stage, stride, name=f"layer{stage + 1}_{block}")(x)
        if self.output == "logits":
            x = nn.Dense(self.num_classes, name="fc")(x.mean((1, 2)))
        return x.reshape(batch, frames, *x.shape[1:])


def resize(frames_NHWC, size: int):
    """Frames at ``size`` x ``size``, bilinear, as they are if they have that size already."""
    if frames_NHWC.shape[1:3] == (size, size):
        return frames_NHWC
    shape = (frames_NHWC.shape[0], size, size, frames_NHWC.shape[-1])
    return jax.image.resize(frames_NHWC, shape, "bilinear", antialias=False)


def load_resnet50(path: str, model: ResNet50 = ResNet50()) -> dict[str, Any]:
    """Parameters of ``model`` from torchvision's state dict: a .pth file, or the same tensors as .safetensors.

    Raises: as ``state_dicts.read_state_dict`` and ``convert_state_dict``.
    """
    advice = ("Save torchvision's ResNet-50 there: "
              "torch.save(torchvision.models.resnet50(weights='IMAGENET1K_V1').state_dict(), path).")
    return convert_state_dict(state_dicts.read_state_dict(path, advice), model)


def convert_state_dict(state_dict: Mapping[str, np.ndarray], model: ResNet50 = ResNet50()) -> dict[str, Any]:
    """The parameters of ``model`` from arrays under torchvision's names; an error names those that do not fit.

    The classifier may be absent from the file if the output is "features".
    """
    return state_dicts.convert(
        model, (1, 1, 32, 32, 3), state_dict, "torchvision's ResNet-50", name=_torch_name,
        spare=("fc.weight", "fc.bias"))


def _torch_name(path: tuple[str, ...]) -> str:
    """("layer1_0", "bn1", "mean") to "layer1.0.bn1.running_mean"."""
    return state_dicts.torch_name((*(module.replace("_", ".") for module in path[:-1]), path[-1]))
