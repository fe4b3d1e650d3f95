"""The video tokenizer: encoder, quantizer and decoder behind three calls (codes, video, embed)."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict

from videogvt.nn.autoencoder import Decoder, Encoder, Pyramid
from videogvt.nn.layers import PAST, ConvKind, LayerStyle, NormScope, Shortcut
from videogvt.nn.quantizers import Quantized, make_quantizer
from videogvt.ops.conv import Lowering, Padding
from videogvt.ops.layout import check_shape, fitted_expression

KEYS = {"frames": "num_frames", "height": "height", "width": "width"}
"""The keys that change a side of the clips of a folder."""


class TokenizerNetwork(nn.Module):
    """The generator of MAGVIT's 3D-VQ (arXiv 2212.05199). The defaults are the paper's B model for 128 px.

    Attributes:
      filters, channel_multipliers, temporal_downsample, stem, remat_levels: see ``autoencoder.Pyramid``.
      encoder_blocks, decoder_blocks: residual blocks, see ``autoencoder.blocks_per_level``.
      quantizer: its name and fields, such as ``{"name": "vq", "num_codes": 1024, "embedding_dim": 256}``. It sets the
        width of the latents.
      conv, padding, norm_groups, norm_scope, norm_epsilon, shortcut, dtype, param_dtype, lowering: see
        ``layers.LayerStyle``. With ``conv`` "point", ``norm_scope`` "position" and all strides in ``stem`` (ours), a
        code says what is in its own cell and nothing else, and what the decoder hears of other cells comes through
        ``decoder_reach``. With "causal" the network is MAGVIT-v2's (``nn.autoencoder``), and clips have 1 + a
        multiple of the time stride frames.
      input_bias, input_scale: the encoder sees ``input_scale * (video - input_bias)``. The paper's is (0, 1). With the
        background's value as the bias (ours), what a small object adds is not lost beside a constant when GroupNorm
        divides by the std of both.
      input_threshold: values that differ from ``input_bias`` by less are taken for it, and others come so much nearer
        (soft thresholding, Donoho 1995); 0, the paper's, for none. A camera's noise on an even background is not seen.
      output_bias, output_scale: see ``autoencoder.Decoder``.
      latent_bias: see ``autoencoder.Encoder``. Where norms see a cell alone and the input of an empty one is zero, so
        would be its latent, which has no direction: brought to length 1 its gradient grows a millionfold, and rounding
        decides which code is nearest. With a bias (ours) empty cells begin somewhere, and all at the same place.
      decoder_reach: ``reach`` of ``autoencoder.Decoder``.
    """

    filters: int = 64
    channel_multipliers: Sequence[int] = (1, 2, 2, 4)
    temporal_downsample: Sequence[bool] = (True, True, False)
    encoder_blocks: int | Sequence[int] = 2
    decoder_blocks: int | Sequence[int] = 2
    quantizer: Mapping[str, Any] = FrozenDict(name="vq")
    conv: ConvKind = "3d"
    padding: Padding = "reflect"
    norm_groups: int = 32
    norm_scope: NormScope = "clip"
    norm_epsilon: float = 1e-6
    shortcut: Shortcut = "input"
    stem: Sequence[int] = (1, 1, 1)
    input_bias: float = 0.0
    input_scale: float = 1.0
    input_threshold: float = 0.0
    output_bias: float = 0.0
    output_scale: float = 1.0
    latent_bias: float = 0.0
    decoder_reach: tuple[int, int, int] | None = None
    remat_levels: int = 0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    lowering: Lowering = "auto"

    @property
    def style(self) -> LayerStyle:
        """What all layers have in common."""
        return LayerStyle(
            conv=self.conv, padding=self.padding, norm_groups=self.norm_groups, norm_scope=self.norm_scope,
            norm_epsilon=self.norm_epsilon, shortcut=self.shortcut, dtype=jnp.dtype(self.dtype),
            param_dtype=jnp.dtype(self.param_dtype), lowering=self.lowering)

    @property
    def pyramid(self) -> Pyramid:
        """The levels of resolution."""
        return Pyramid(
            self.filters, tuple(self.channel_multipliers), tuple(self.temporal_downsample), tuple(self.stem),
            self.remat_levels)

    @property
    def num_codes(self) -> int:
        """K, the size of the codes' alphabet."""
        return self._make_quantizer(parent=None).num_codes

    @property
    def feature_width(self) -> int:
        """C, the numbers of ``features``."""
        return self._make_quantizer(parent=None).feature_width

    @property
    def strides(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a video per cell of its grid of codes."""
        return tuple(int(stride) for stride in np.prod((self.stem, *self.pyramid.strides(self.style)), axis=0))

    @property
    def lead(self) -> int:
        """Frames of a clip before those that the time stride divides: 1 of a causal network, or 0."""
        return int(self.style.causal)

    @property
    def local(self) -> bool:
        """Whether a code is of its own cell's pixels alone, whatever the rest of the clip shows."""
        apart = self.conv == "point" and self.norm_scope == "position"
        return apart and self.strides == tuple(self.stem)

    @property
    def exact_in_chunks(self) -> bool:
        """Whether a clip that is seen chunk after chunk has the codes and the pixels of one that is seen at once."""
        return self.style.causal and self.norm_scope == "frame"

    def latent_shape(self, video_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The grid (t, h, w) of codes of a video of (T, H, W).

        Raises:
          ValueError: sides are not divisible by ``strides`` (of a causal network, frames after the first one); all of
            them are named, and what changes them.
        """
        if problem := self.size_problem(video_shape):
            raise ValueError(problem)
        return tuple(-(-length // stride) for length, stride in zip(video_shape, self.strides))

    def fitting(self, video_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The (T, H, W) that has codes and is next to a video's: the next smaller one, or the smallest there is."""
        leads = (self.lead, 0, 0)
        return tuple(max(lead or stride, (length - lead) // stride * stride + lead)
                     for length, stride, lead in zip(video_shape, self.strides, leads))

    def size_problem(self, video_shape: tuple[int, int, int], expression: str = "video") -> str | None:
        """All that is wrong with a video's (T, H, W), and what changes it; None where nothing is.

        Args:
          expression: of the video (B, T, H, W, 3), for the hint.
        """
        fit = self.fitting(video_shape)
        wrong = [(axis, side, new, stride) for axis, side, new, stride
                 in zip(("frames", "height", "width"), video_shape, fit, self.strides) if side != new]
        if not wrong:
            return None
        leads = {"frames": "1 and "} if self.lead else {}
        reasons = [f"{axis} = {side} is not {leads.get(axis, '')}a multiple of {stride}"
                   for axis, side, _, stride in wrong]
        known = f"This tokenizer's strides are {self.strides}" + (", after a first frame" if self.lead else "")
        sizes = ", ".join(f"{axis} = {new}" for axis, _, new, _ in wrong)
        keys = " ".join(f"--config.data.options.{KEYS[axis]}={new}" for axis, _, new, _ in wrong)
        return (
            f"A video of (T, H, W) = {tuple(video_shape)} cannot be tokenized: {', '.join(reasons)}. {known}; crop or "
            f"pad to {sizes}. In Python, {fitted_expression(expression, video_shape, fit)} does it, and "
            f"videogvt.read_clip makes clips of files that fit; for a run, {keys}, or where the data set has one size, "
            "temporal_window and center_crop in config.data.transforms and config.evals.transforms.")

    def _make_quantizer(self, **module_fields):
        return make_quantizer({"param_dtype": jnp.dtype(self.param_dtype), **self.quantizer}, **module_fields)

    def setup(self):
        self._quantizer = self._make_quantizer(name="quantizer")
        self.encoder = Encoder(self.pyramid, self.encoder_blocks, self._quantizer.width, self.style, self.latent_bias)
        self.decoder = Decoder(self.pyramid, self.decoder_blocks, self.style, self.output_bias, self.output_scale,
                               self.decoder_reach and tuple(self.decoder_reach))

    def __call__(self, video_BTHWC, *, train: bool = False, entropy_scale: float = 1.0,
                 continuous: jax.Array | bool = False) -> tuple[Any, Quantized]:
        """The reconstruction, unclipped, and what the quantizer made of the latents.

        Args:
          video_BTHWC: in [0, 1].
          train: straight-through gradients, the quantizer's losses, and ``remat_levels``.
          entropy_scale: multiplies the weight of the quantizer's entropy loss.
          continuous: whether the decoder gets the latents as they are, in place of their codes.
        """
        z_BthwD = self.encode(video_BTHWC, train=train)
        quantized = self._quantizer(z_BthwD, train=train, entropy_scale=entropy_scale)
        latents_BthwD = quantized.latents_BthwD
        if continuous is not False:
            latents_BthwD = jnp.where(continuous, quantized.inputs_BthwD, latents_BthwD)
        return self.decode(latents_BthwD, train=train), quantized

    def encode(self, video_BTHWC, *, train: bool = False):
        """Continuous latents (B, t, h, w, D), before quantization.

        Of a causal network and a chunk that follows others (collection ``layers.PAST``), they go on from theirs.
        """
        check_shape(video_BTHWC.shape)
        frames, *sides = video_BTHWC.shape[1:4]
        follows = "encoder" in self.variables.get(PAST, {})
        self.latent_shape((frames + self.lead * follows, *sides))
        if (self.input_bias, self.input_scale, self.input_threshold) != (0.0, 1.0, 0.0):
            video_BTHWC = video_BTHWC - self.input_bias
            if self.input_threshold:
                video_BTHWC -= jnp.clip(video_BTHWC, -self.input_threshold, self.input_threshold)
            video_BTHWC = self.input_scale * video_BTHWC
        return self.encoder(video_BTHWC, train=train)

    def decode(self, latents_BthwD, *, train: bool = False):
        """The video of quantised latents, unclipped."""
        return self.decoder(latents_BthwD, train=train)

    def decode_features(self, latents_BthwD):
        """The first stage of ``decode``, up to the input of the last convolution."""
        return self.decoder(latents_BthwD, stages=(1,))

    def decode_pixels(self, features_BTHWC):
        """The second stage of ``decode``."""
        return self.decoder(features_BTHWC, stages=(2,))

    def codes(self, video_BTHWC):
        """Codes (B, t, h, w), int32 in [0, num_codes), of videos in [0, 1]."""
        return self._quantizer(self.encode(video_BTHWC), train=False).codes_Bthw

    def embed(self, codes_Bthw):
        """The quantised latents (B, t, h, w, D) that codes stand for: what the decoder gets."""
        return self._quantizer.lookup(codes_Bthw)

    def features(self, codes_Bthw):
        """What a transformer over codes is told of them, (B, t, h, w, C): their latents, and of codes of finite scalars
        which level each channel has."""
        return self._quantizer.features(codes_Bthw)

    def video(self, codes_Bthw):
        """The videos (B, T, H, W, 3) of codes, in [0, 1], float32."""
        return jnp.clip(self.decode(self.embed(codes_Bthw)).astype(jnp.float32), 0, 1)
