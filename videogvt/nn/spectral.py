"""Codes of a whole clip: every frame as a few coordinates, and the course of each coordinate as a polynomial (ours).

A grid of patches says of every place and time what is there. What a motion is like follows from many of its codes, to
fractions of a cell, and a generator that draws several of them at once draws motions that do not fit together. The
amplitudes of polynomials are drawn almost independently of each other: the first says where the object is on average,
the next how fast it goes, then how it turns. Whatever they say, the clip moves smoothly.

    frame -> Encoder beside mean colours -> one linear map -> coordinates (h w D) of each of T frames
          -> their t polynomials over time -> quantizer -> T frames again -> MLP, Decoder -> frame

Codecs transform before they quantize for the same reason (Goyal, IEEE Signal Processing Magazine 18(5), 2001). The
coordinates are learned. Nothing says that they are positions, but what moves smoothly is quantized with least error.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from videogvt.nn.layers import Style
from videogvt.ops.conv import average_pool


@dataclass(frozen=True)
class Spectrum:
    """The shape of a spectrum, and of the network that draws frames from coordinates.

    Attributes:
      clip: (T, H, W) of the clips, the only ones it is for.
      grid: (t, h, w) of their codes: polynomials of the t lowest degrees, and h * w cells of coordinates, which have
        no place in the picture. They divide T, H and W: a code stands for as many frames, rows and columns.
      channels: of the features between which and the coordinates there is one linear map, or an MLP on the way back.
      width: of that MLP.
      blocks: residual blocks of two linear maps in it.
    """

    clip: tuple[int, int, int]
    grid: tuple[int, int, int]
    channels: int = 64
    width: int = 256
    blocks: int = 2

    def __post_init__(self):
        fits = all(n > 0 and size % n == 0 for size, n in zip(self.clip, self.grid))
        if len(self.clip) != 3 or len(self.grid) != 3 or not fits:
            raise ValueError(
                f"tokenizer.spectrum has clip={tuple(self.clip)} and grid={tuple(self.grid)}; expected (T, H, W) and "
                "(t, h, w) which divide them.")

    @property
    def strides(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a clip per code."""
        return tuple(size // n for size, n in zip(self.clip, self.grid))


def polynomials(frames: int, count: int) -> np.ndarray:
    """Discrete Legendre polynomials of degree 0 to ``count - 1`` at evenly spaced frames, (count, frames).

    The rows are orthogonal, each of mean square 1 and rising at its end: ``polynomials @ course / frames`` are the
    amplitudes of a course, of which the first is its mean, and ``amplitudes @ polynomials`` is the polynomial nearest
    to the course.
    """
    powers = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, frames), count - 1)
    basis, signs = np.linalg.qr(powers)
    return (np.sqrt(frames) * basis * np.sign(np.diag(signs))).T.astype(np.float32)


def places(high: int, wide: int, colours: int = 3) -> nn.initializers.Initializer:
    """An initializer of the linear map (h' w' C, count) from what a frame's cells hold to its coordinates.

    Of a cell's C channels the last ``colours`` count alone: they are its mean colour, which is 0 for the background.
    The first coordinate is how far down colour is in the picture, the second how far to the right, all others how much
    of it there is. With random weights the map from places to coordinates folds, and a fold is hardly ever learned
    away.
    """
    down, right = polynomials(high, 2)[-1][:, None], polynomials(wide, 2)[-1]
    kinds = np.stack([np.broadcast_to(kind, (high, wide)) for kind in (down, right, 1.0)], axis=-1)

    def initialize(key, shape, dtype=jnp.float32):
        del key  # nothing here is random
        inputs, count = shape
        kernel = np.zeros((high, wide, inputs // (high * wide), count))
        kernel[:, :, -colours:] = kinds[:, :, None, np.minimum(np.arange(count), 2)]
        return jnp.asarray(kernel.reshape(shape), dtype)

    return initialize


class SpectralEncoder(nn.Module):
    """Video to the amplitudes of its coordinates.

    Attributes:
      spectrum: the shapes.
      frames: makes (B, T, h', w', channels) of a video: an ``autoencoder.Encoder`` which halves no time.
      embedding_dim: coordinates of a cell, D.
      style: of the layers.
    """

    spectrum: Spectrum
    frames: nn.Module
    embedding_dim: int
    style: Style

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """(B, T, H, W, C) to (B, t, h, w, D)."""
        batch, length = video_BTHWC.shape[:2]
        (t, h, w), style = self.spectrum.grid, self.style
        features_BThwC = self.frames(video_BTHWC, train=train)
        high, wide = features_BThwC.shape[2:4]
        factors = 1, video_BTHWC.shape[2] // high, video_BTHWC.shape[3] // wide
        colours_BThwC = average_pool(video_BTHWC, factors).astype(features_BThwC.dtype)
        slowly_BThwC = features_BThwC / np.sqrt(features_BThwC[0, 0].size)  # else a few steps undo ``places``
        cells_BTF = jnp.concatenate([slowly_BThwC, colours_BThwC], axis=-1).reshape(batch, length, -1)
        coordinates_BTF = nn.Dense(
            h * w * self.embedding_dim, kernel_init=places(high, wide, video_BTHWC.shape[-1]), dtype=style.dtype,
            param_dtype=style.param_dtype, name="coordinates")(cells_BTF)
        amplitudes_BtF = jnp.einsum("kT,BTF->BkF", polynomials(length, t) / length, coordinates_BTF.astype(jnp.float32))
        return amplitudes_BtF.reshape(batch, t, h, w, self.embedding_dim)


class SpectralDecoder(nn.Module):
    """Quantised amplitudes to video, in the two stages of ``autoencoder.Decoder``.

    Attributes:
      spectrum: the shapes.
      frames: draws a video from (B, T, h', w', channels): an ``autoencoder.Decoder``.
      features: (h', w').
      style: of the layers.
    """

    spectrum: Spectrum
    frames: nn.Module
    features: tuple[int, int]
    style: Style

    @nn.compact
    def __call__(self, x, *, train: bool = False, stages: tuple[int, ...] = (1, 2)):
        """(B, t, h, w, D) to (B, T, H, W, 3); see ``autoencoder.Decoder``."""
        return self.frames(self._features(x) if 1 in stages else x, train=train, stages=stages)

    def _features(self, latents_BthwD):
        spectrum, (high, wide) = self.spectrum, self.features
        batch, (length, t) = len(latents_BthwD), (spectrum.clip[0], spectrum.grid[0])
        amplitudes_BtF = latents_BthwD.reshape(batch, t, -1)
        x = jnp.einsum("kT,BkF->BTF", polynomials(length, t), amplitudes_BtF)
        x = self._dense(spectrum.width, "in")(x)
        for block in range(spectrum.blocks):
            inner = nn.swish(self._dense(spectrum.width, f"inner_{block}")(self._norm(f"norm_{block}")(x)))
            x += self._dense(spectrum.width, f"outer_{block}")(inner)
        x = self._dense(high * wide * spectrum.channels, "out")(self._norm("norm_out")(x))
        return x.reshape(batch, length, high, wide, spectrum.channels)

    def _dense(self, features: int, name: str):
        return nn.Dense(features, dtype=self.style.dtype, param_dtype=self.style.param_dtype, name=name)

    def _norm(self, name: str):
        return nn.LayerNorm(epsilon=1e-6, dtype=self.style.dtype, param_dtype=self.style.param_dtype, name=name)
