"""ResNet-50 for ImageNet, version 1 as torchvision lays it out, as a frozen perceptual network on frames."""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

STAGES = (3, 4, 6, 3)
FRAME_SIZE = 224
BATCH_NORM_EPSILON = 1e-5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours torchvision's weights were trained on


class FrozenBatchNorm(nn.Module):
    """Batch normalization in inference mode: a fixed map of every channel."""

    @nn.compact
    def __call__(self, x_NHWC):
        shape = (x_NHWC.shape[-1],)
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        scale, bias = self.param("scale", ones, shape), self.param("bias", zeros, shape)
        mean, var = self.param("mean", zeros, shape), self.param("var", ones, shape)
        factor = scale * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
        return x_NHWC * factor + (bias - mean * factor)


def _conv(x_NHWC, features: int, size: int, stride: int, name: str):
    """A convolution without bias, padded as in torch: by half the kernel on both sides."""
    edge = (size - 1) // 2
    conv = nn.Conv(features, (size, size), (stride, stride), [(edge, edge)] * 2, use_bias=False, name=name)
    return conv(x_NHWC)


class Bottleneck(nn.Module):
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
      normalize: whether colours in [0, 1] are brought to the mean and deviation torchvision's weights expect.
      stages, width: blocks of each stage and base width, for small networks in tests.
    """

    output: str = "logits"
    normalize: bool = True
    stages: tuple[int, ...] = STAGES
    width: int = 64
    num_classes: int = 1000
    frame_size: int = FRAME_SIZE

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
                x = Bottleneck(self.width * 2**stage, stride, name=f"layer{stage + 1}_{block}")(x)
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

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: the package that reads this kind of file is missing; says how to install it.
      ValueError: the file holds something else.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f"The perceptual network's weights {path!r} do not exist. Save torchvision's ResNet-50 there: "
            "torch.save(torchvision.models.resnet50(weights='IMAGENET1K_V1').state_dict(), path).")
    readers = {".pth": _read_torch, ".pt": _read_torch, ".safetensors": _read_safetensors}
    if file.suffix not in readers:
        raise ValueError(f"Expected weights in a .pth or .safetensors file, found {path!r}.")
    return convert_state_dict(readers[file.suffix](file), model)


def convert_state_dict(state_dict: Mapping[str, np.ndarray], model: ResNet50 = ResNet50()) -> dict[str, Any]:
    """The parameters of ``model`` from arrays under torchvision's names; an error names what is missing or misshapen.

    The classifier may be absent from the file if the output is "features".
    """
    video = jax.ShapeDtypeStruct((1, 1, 32, 32, 3), jnp.float32)
    wanted = flatten_dict(jax.eval_shape(model.init, jax.random.key(0), video)["params"])
    params, wrong = {}, []
    for path, leaf in wanted.items():
        name = _torch_name(path)
        value = np.asarray(state_dict[name], np.float32) if name in state_dict else None
        if value is not None and value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # from (out, in, h, w)
        elif value is not None and value.ndim == 2:
            value = value.T
        if value is None or value.shape != leaf.shape:
            wrong.append(f"{name}: {'missing' if value is None else value.shape}, expected {leaf.shape}")
        params[path] = value
    if wrong:
        raise ValueError(
            f"These are not the weights of torchvision's ResNet-50: {len(wrong)} of {len(wanted)} tensors do not fit, "
            f"the first being {'; '.join(wrong[:3])}.")
    return unflatten_dict(params)


def _torch_name(path: tuple[str, ...]) -> str:
    """("layer1_0", "bn1", "mean") to "layer1.0.bn1.running_mean"."""
    *modules, leaf = path
    leaves = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    return ".".join((*(module.replace("_", ".") for module in modules), leaves[leaf]))


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {file} needs PyTorch: pip install torch, or convert the file to .safetensors.") from error
    state_dict = torch.load(file, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state_dict.items()}


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Reading {file} needs safetensors: pip install safetensors.") from error
    return load_file(file)
