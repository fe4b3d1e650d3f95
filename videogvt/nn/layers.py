"""The layers of which encoder, decoder and discriminator are made, and the style they share.

Clips of any length go through a causal network chunk after chunk: what is seen of a clip at once stays small.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.ops import conv as ops

CONV_KINDS = ("3d", "2d", "2plus1d", "split", "split2d", "point", "causal")
ConvKind = Literal["3d", "2d", "2plus1d", "split", "split2d", "point", "causal"]
NORM_SCOPES = ("clip", "frame", "position")
NormScope = Literal["clip", "frame", "position"]
SHORTCUTS = ("input", "output")
Shortcut = Literal["input", "output"]

PAST = "past"
"""The collection of what causal convolutions keep of a clip's frames for those that follow, see ``Conv``."""


@dataclass(frozen=True)
class LayerStyle:
    """What all layers of a network have in common.

    Attributes:
      conv: "3d"; "2d", the same network applied to every frame by itself, with 4-D kernels and otherwise the same
        parameter tree; "2plus1d", a (1, 3, 3) kernel under the usual name, which takes the bias, followed by a
        (3, 1, 1) kernel under that name plus "_t", in place of every (3, 3, 3) kernel; "split", a cheaper network of
        the same names: a residual block's first kernel is (1, 3, 3) and its second (3, 1, 1), all others (1, 3, 3);
        "split2d", to that what "2d" is to "3d": its kernels are (3, 3), and (1, 1) for a residual block's second;
        "point" (ours), the same names with kernels of (1, 1, 1): no cell sees another; "causal", MAGVIT-v2's (arXiv
        2310.05737), in which no frame sees a later one: all that a kernel has in time is before its frame, see
        ``nn.autoencoder``.
      padding: "reflect" (the paper's), "zero" (the released code's) or "replicate". A causal network has "zero".
      norm_groups: groups of every GroupNorm; must divide every width.
      norm_scope: what the statistics of a group are over besides its channels: "clip", all of time and space (the
        paper's); "frame", the space of each frame, without which a causal network sees later frames in them; or
        "position" (ours), nothing, so that what a cell becomes does not depend on the rest of the clip.
      norm_epsilon: added to every variance. Where the scope is a position, a cell that shows next to nothing has
        next to no variance, and the paper's 1e-6 would make the noise of its pixels as large as what others show.
      shortcut: what the linear shortcut reads of a residual block that changes the width: "input", its input (the
        paper's), or "output", its last convolution (MaskGIT's released code, whose weights were trained so).
      dtype: of the computation; GroupNorm's statistics are float32 in any case.
      param_dtype: of the parameters.
      lowering: see ``ops.conv.conv``.
      kernel_init: initializer of kernels.
    """

    conv: ConvKind = "3d"
    padding: ops.Padding = "reflect"
    norm_groups: int = 32
    norm_scope: NormScope = "clip"
    norm_epsilon: float = 1e-6
    shortcut: Shortcut = "input"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    lowering: ops.Lowering = "auto"
    kernel_init: Callable = nn.initializers.lecun_normal()

    def __post_init__(self):
        for kind, name, legal in (
            ("conv", self.conv, CONV_KINDS), ("padding", self.padding, ops.PAD_MODES),
            ("lowering", self.lowering, ops.LOWERINGS), ("norm_scope", self.norm_scope, NORM_SCOPES),
            ("shortcut", self.shortcut, SHORTCUTS),
        ):
            if name not in legal:
                raise ValueError(unknown_name(kind, name, legal))
        if self.causal and self.padding != "zero":
            raise ValueError(f"A causal network has zeros outside of its clips; found padding={self.padding!r}. Set "
                             "padding='zero', or another conv.")

    @property
    def causal(self) -> bool:
        """Whether convolutions see no later frames."""
        return self.conv == "causal"

    @property
    def per_frame(self) -> bool:
        """Whether frames know nothing of each other."""
        return self.conv in ("2d", "split2d")


class Conv(nn.Module):
    """A convolution; the parameters are those of ``flax.linen.Conv``.

    A causal one has its zeros in time before the clip. Where the collection ``PAST`` is mutable, the frames that the
    next ones need are kept there, and where it holds some, they come before the input in place of the zeros: so a clip
    can be seen in chunks.

    Attributes:
      kernel_size: (kt, kh, kw), or (kh, kw) for a 4-D kernel that is applied to every frame.
      strides: along T, H and W; None for one that keeps its input's size.
      widths: zeros (before, after) each axis, where there are strides; the style's padding is for others.
      bias_std: of the normal numbers that the bias begins with; 0 for zeros.
    """

    features: int
    kernel_size: tuple[int, ...]
    style: LayerStyle
    use_bias: bool = True
    strides: tuple[int, int, int] | None = None
    widths: tuple[tuple[int, int], ...] = ((0, 0),) * 3
    bias_std: float = 0.0

    @nn.compact
    def __call__(self, x_BTHWC):
        style = self.style
        shape = (*self.kernel_size, x_BTHWC.shape[-1], self.features)
        kernel = self.param("kernel", style.kernel_init, shape, style.param_dtype).astype(style.dtype)
        if kernel.ndim == 4:
            kernel = kernel[None]
        x_BTHWC = x_BTHWC.astype(style.dtype)
        if style.causal:
            out = self._causal(x_BTHWC, kernel)
        elif self.strides is None:
            out = ops.conv(x_BTHWC, kernel, padding=style.padding, lowering=style.lowering)
        else:
            out = ops.strided_conv(x_BTHWC, kernel, self.strides, self.widths, lowering=style.lowering)
        if self.use_bias:
            init = nn.initializers.normal(self.bias_std) if self.bias_std else nn.initializers.zeros
            out += self.param("bias", init, (self.features,), style.param_dtype).astype(style.dtype)
        return out

    def _causal(self, x_BTHWC, kernel):
        """Frame j of the result sees up to frame j * stride of the input, and none that is later."""
        taps, *sides = kernel.shape[:3]
        strides, before = self.strides or (1, 1, 1), taps - 1
        keeps = self.is_mutable_collection(PAST) and not self.is_initializing()
        if taps > 1 and (keeps or self.has_variable(PAST, "frames")):
            batch, _, *rest = x_BTHWC.shape
            zeros = functools.partial(jnp.zeros, (batch, before, *rest), x_BTHWC.dtype)
            past = self.variable(PAST, "frames", zeros)
            x_BTHWC, before = jnp.concatenate([past.value, x_BTHWC], axis=1), 0
            if keeps:  # the next result's first frame is so many strides on
                past.value = x_BTHWC[:, x_BTHWC.shape[1] - (taps - strides[0]):]
        widths = ((before, 0), *((size // 2, size // 2) for size in sides))
        return ops.strided_conv(x_BTHWC, kernel, strides, widths, lowering=self.style.lowering)


def conv3(
    x_BTHWC, features: int, style: LayerStyle, *, name: str, use_bias: bool = True,
    split: tuple[int, int, int] = (1, 3, 3),
):
    """The network's standard convolution, 3 cells wide along every axis it has; to be called in a compact method.

    Args:
      split: size of the kernel that stands in its place in a "split" network, and without time in a "split2d" one.
    """
    sizes = {"3d": (3, 3, 3), "2d": (3, 3), "2plus1d": (1, 3, 3), "split": split, "split2d": split[1:],
             "point": (1, 1, 1), "causal": (3, 3, 3)}
    x_BTHWC = Conv(features, sizes[style.conv], style, use_bias, name=name)(x_BTHWC)
    if style.conv != "2plus1d":
        return x_BTHWC
    return Conv(features, (3, 1, 1), style, use_bias=False, name=f"{name}_t")(x_BTHWC)


def conv1(x_BTHWC, features: int, style: LayerStyle, *, name: str, use_bias: bool = True, bias_std: float = 0.0):
    """A linear map of the channels; to be called in a compact method."""
    kernel_size = (1, 1) if style.per_frame else (1, 1, 1)
    return Conv(features, kernel_size, style, use_bias, bias_std=bias_std, name=name)(x_BTHWC)


class GroupNorm(nn.Module):
    """Parameters and results of ``flax.linen.GroupNorm`` with the style's epsilon, for a third of its cost on CPUs.

    Mean and variance are over what ``norm_scope`` says; the parameters are the same for all scopes.
    """

    style: LayerStyle

    @nn.compact
    def __call__(self, x_BTHWC):
        channels, dtype = x_BTHWC.shape[-1], self.style.param_dtype
        scale_C = self.param("scale", nn.initializers.ones, (channels,), dtype).astype(jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros, (channels,), dtype).astype(jnp.float32)
        return normalized(x_BTHWC, self.style, scale_C, bias_C)


def normalized(x_BTHWC, style: LayerStyle, scale, bias):
    """The input with each group of channels at mean 0 and std 1, times ``scale`` and plus ``bias``.

    Mean and variance, float32, are over time, space and a group's channels; they and scale and bias become one factor
    and one offset for each channel of a clip. With ``norm_scope`` "frame" the same for each frame, and with "position"
    they are over a group's channels alone.

    Args:
      scale, bias: float32, (C,); or of every clip, (B, C), and with scope "frame" of every frame, (B * T, C).
    """
    shape, groups, width = x_BTHWC.shape, style.norm_groups, x_BTHWC.shape[-1]
    if width % groups:
        raise ValueError(
            f"GroupNorm: {width} channels are not divisible into norm_groups={groups} groups. Make filters "
            f"times each multiplier a multiple of {groups}, or norm_groups a divisor of {width}.")
    if style.norm_scope == "position":
        grouped = x_BTHWC.astype(jnp.float32).reshape(*shape[:-1], groups, shape[-1] // groups)
        centred = grouped - grouped.mean(-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + style.norm_epsilon)
        return (normed.reshape(shape) * scale + bias).astype(style.dtype)
    if style.norm_scope == "frame":
        x_BTHWC = frames_as_clips(x_BTHWC)
    batch, *_, channels = x_BTHWC.shape
    grouped = x_BTHWC.astype(jnp.float32).reshape(batch, -1, groups, channels // groups)
    mean = grouped.mean((1, 3))
    variance = jnp.maximum(jnp.square(grouped).mean((1, 3)) - jnp.square(mean), 0.0)
    mean_BC, inverse_BC = (
        jnp.repeat(statistic, channels // groups, axis=-1)
        for statistic in (mean, jax.lax.rsqrt(variance + style.norm_epsilon))
    )
    factor_BC = inverse_BC * scale
    offset_BC = bias - mean_BC * factor_BC
    factor, offset = (row_BC[:, None, None, None] for row_BC in (factor_BC, offset_BC))
    return (x_BTHWC * factor + offset).astype(style.dtype).reshape(shape)


def norm_swish(x_BTHWC, style: LayerStyle, *, name: str):
    """GroupNorm, with the statistics that the style asks for, then swish."""
    return nn.swish(GroupNorm(style, name=name)(x_BTHWC))


class ResBlock(nn.Module):
    """A pre-activation residual block; its shortcut is linear where the width changes and the identity elsewhere."""

    features: int
    style: LayerStyle

    @nn.compact
    def __call__(self, x_BTHWC):
        residual = norm_swish(x_BTHWC, self.style, name="GroupNorm_0")
        residual = conv3(residual, self.features, self.style, name="Conv_0", use_bias=False)
        residual = norm_swish(residual, self.style, name="GroupNorm_1")
        residual = conv3(residual, self.features, self.style, name="Conv_1", use_bias=False, split=(3, 1, 1))
        if x_BTHWC.shape[-1] != self.features:
            read_BTHWC = residual if self.style.shortcut == "output" else x_BTHWC
            x_BTHWC = conv1(read_BTHWC, self.features, self.style, name="Conv_2", use_bias=False)
        return x_BTHWC + residual


def frames_as_clips(x_BTHWC):
    """Every frame as a clip of one frame, for per-frame networks: (B * T, 1, H, W, C)."""
    return x_BTHWC.reshape(-1, 1, *x_BTHWC.shape[2:])


def in_chunks(
    network: nn.Module, method: Callable[..., jax.Array], later: int
) -> Callable[[Mapping[str, Any], np.ndarray], np.ndarray]:
    """A method of a causal network as a function that sees few frames at a time and makes of them what the method does.

    Args:
      network: with norms over frames; with others chunks differ.
      method: of the network and an array (B, T, ...), one of a clip's frames or of its latent frames.
      later: of these in a chunk; the first one has one more.

    Returns:
      A function (params, array (B, T, ...)) -> array (B, T', ...), on the host.
    """
    step = jax.jit(lambda variables, array: network.apply(variables, array, method=method, mutable=[PAST]))

    def run(params: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
        ends = [*range(1 + later, array.shape[1], later), array.shape[1]]
        past, parts = {}, []
        for start, end in zip([0, *ends], ends):
            part, past = step({"params": params, **past}, array[:, start:end])
            parts.append(np.asarray(part))
        return np.concatenate(parts, axis=1)

    return run
