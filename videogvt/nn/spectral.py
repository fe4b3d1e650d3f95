"""Codes of a whole clip: every frame as a few coordinates, the course of each as a parabola and cosines (ours).

A grid of patches says of every place and time what is there. What a motion is like follows from many of its codes, to
fractions of a cell, and a generator that draws several of them at once draws motions that do not fit together. The
amplitudes of a few curves are drawn almost independently of each other: the first says where the object is on average,
the next how fast it goes, the next how it falls, the others how it winds. Whatever they say, the clip moves smoothly.

    frame -> Encoder beside moments of colour -> one linear map -> coordinates of each of T frames
          -> curves over time, or the mean -> quantizer -> T frames again -> MLP, Decoder -> frame

Codecs transform before they quantize for the same reason (Goyal, IEEE Signal Processing Magazine 18(5), 2001). The
quantizer must not bend what it rounds, or the sum of curves is no course any more: FSQ with ``bound="clip"``. The
coordinates begin as moments of colour, which for one object are its place and size, and are learned from there.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from videogvt.nn.layers import Style

EDGE = 1.0
"""A moment of place at the picture's edge, where the outermost levels of FSQ are."""

CROWD = 64
"""A frame full of colour holds so much of it: a moment of amount is 1 for an object on one 64th of the picture."""

FAINT = 1e-4
"""Mean colour of a frame that is as good as empty, and whose colour is said to lie in the middle."""

MOMENTS = 6
"""Of RGB: two of place, and amounts of all colour and of each."""


@dataclass(frozen=True)
class Spectrum:
    """The shape of a spectrum, and of the network that draws frames from coordinates.

    Attributes:
      clip: (T, H, W) of the clips, the only ones it is for.
      grid: (t, h, w) of their codes: h * w cells of coordinates, which have no place in the picture, and t of their
        curves. They divide T, H and W: a code stands for as many frames, rows and columns.
      still: of the t, so many at the end are instead the means over the clip of further h * w cells of coordinates.
        What does not change, such as a colour, has room there, and what changes has none to be told twice.
      channels: of the features between which and the coordinates there is one linear map, or an MLP on the way back.
      width: of that MLP.
      blocks: residual blocks of two linear maps in it.
      octaves: it sees each coordinate and its sines and cosines of so many frequencies, 1 to 2^(octaves - 1), without
        which networks hardly learn what is as narrow as an object (Tancik et al., arXiv 2006.10739).
    """

    clip: tuple[int, int, int]
    grid: tuple[int, int, int]
    still: int = 0
    channels: int = 64
    width: int = 256
    blocks: int = 2
    octaves: int = 5

    def __post_init__(self):
        fits = all(n > 0 and size % n == 0 for size, n in zip(self.clip, self.grid))
        if len(self.clip) != 3 or len(self.grid) != 3 or not fits:
            raise ValueError(
                f"tokenizer.spectrum has clip={tuple(self.clip)} and grid={tuple(self.grid)}; expected (T, H, W) and "
                "(t, h, w) which divide them.")
        if not 0 <= self.still < self.grid[0]:
            raise ValueError(f"tokenizer.spectrum.still is {self.still}; expected at least 0 and less than the "
                             f"{self.grid[0]} of grid.")

    @property
    def moving(self) -> int:
        """Curves of each coordinate that changes."""
        return self.grid[0] - self.still

    @property
    def strides(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a clip per code."""
        return tuple(size // n for size, n in zip(self.clip, self.grid))


def curves(frames: int, count: int) -> np.ndarray:
    """What courses over time are made of, (count, frames): a mean, a line, a parabola, cosines of 1, 2, ... half turns.

    Each is orthogonal to those before it and of mean square 1: ``curves @ course / frames`` are the amplitudes of a
    course, of which the first is its mean, and ``amplitudes @ curves`` is the nearest course that has no others.
    Cosines alone converge slowly, since they are level at both ends; what is left beside a parabola nearly is, too
    (after Lanczos, Discourse on Fourier Series, 1966).
    """
    powers = np.linspace(-1.0, 1.0, frames) ** np.arange(3)[:, None]
    waves = np.cos(np.pi / frames * np.arange(1, frames)[:, None] * (np.arange(frames) + 0.5))
    basis, triangle = np.linalg.qr(np.concatenate([powers, waves])[:count].T)
    return (np.sqrt(frames) * basis * np.sign(np.diag(triangle))).T.astype(np.float32)


def moments(video_BTHWC):
    """Where colour is in each frame and how much, (B, T, 3 + C), float32, of videos whose background is 0.

    How far down its centre of mass is and how far to the right, from -``EDGE`` to ``EDGE``; how much of it there is,
    and how much of each of the C colours, in units of 1 / ``CROWD`` of a full frame.
    """
    video_BTHWC = video_BTHWC.astype(jnp.float32)
    mass_BTHW = jnp.abs(video_BTHWC).mean(-1)
    high, wide = mass_BTHW.shape[2:]
    mean_BT = mass_BTHW.mean((2, 3))
    down_BT = jnp.einsum("BTHW,H->BT", mass_BTHW, np.linspace(-EDGE, EDGE, high)) / (high * wide)
    right_BT = jnp.einsum("BTHW,W->BT", mass_BTHW, np.linspace(-EDGE, EDGE, wide)) / (high * wide)
    places_BT2 = jnp.stack([down_BT, right_BT], axis=-1) / (mean_BT + FAINT)[..., None]
    return jnp.concatenate([places_BT2, CROWD * mean_BT[..., None], CROWD * video_BTHWC.mean((2, 3))], axis=-1)


def begin_as_moments(key, shape, dtype=jnp.float32):
    """The kernel of a linear map from features and, last, the moments of RGB to the moments alone.

    Where more coordinates are asked for than there are moments, those of amount come again. With random weights the map
    from places to coordinates folds, and a fold is hardly ever learned away.
    """
    del key  # nothing here is random
    inputs, count = shape
    amounts = MOMENTS - 2
    wanted = [index if index < 2 else 2 + (index - 2) % amounts for index in range(count)]
    return jnp.zeros(shape, dtype).at[inputs - MOMENTS + np.array(wanted), np.arange(count)].set(1.0)


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
        (t, h, w), still, style = self.spectrum.grid, self.spectrum.still, self.style
        cells = h * w * self.embedding_dim
        features_BThwC = self.frames(video_BTHWC, train=train)
        features_BTF = features_BThwC.reshape(batch, length, -1)
        slowly_BTF = features_BTF * features_BTF.shape[-1] ** -0.5  # else a few steps undo how the map begins
        known_BTF = moments(video_BTHWC).astype(slowly_BTF.dtype)
        coordinates_BTF = nn.Dense(
            (1 + still) * cells, kernel_init=begin_as_moments, dtype=style.dtype, param_dtype=style.param_dtype,
            name="coordinates")(jnp.concatenate([slowly_BTF, known_BTF], axis=-1)).astype(jnp.float32)
        courses_BTF, looks_BTF = jnp.split(coordinates_BTF, [cells], axis=-1)
        amplitudes_BkF = jnp.einsum("kT,BTF->BkF", curves(length, self.spectrum.moving) / length, courses_BTF)
        means_BsF = looks_BTF.mean(axis=1).reshape(batch, still, cells)
        return jnp.concatenate([amplitudes_BkF, means_BsF], axis=1).reshape(batch, t, h, w, self.embedding_dim)


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
        """(B, t, h, w, D) to (B, T, H, W, 3); see ``autoencoder.Decoder``.

        Raises:
          ValueError: t, h and w are not those of the spectrum.
        """
        if 1 in stages and x.shape[1:4] != tuple(self.spectrum.grid):
            raise ValueError(
                f"Found codes of a grid (t, h, w) = {x.shape[1:4]}; this tokenizer's are the spectrum of a whole clip, "
                f"on a grid of {tuple(self.spectrum.grid)}. Pass the codes of one clip, uncut.")
        return self.frames(self._features(x) if 1 in stages else x, train=train, stages=stages)

    def _features(self, latents_BthwD):
        spectrum, (high, wide) = self.spectrum, self.features
        batch, length = len(latents_BthwD), spectrum.clip[0]
        amplitudes_BkF, means_BsF = jnp.split(latents_BthwD.reshape(batch, spectrum.grid[0], -1), [spectrum.moving], 1)
        courses_BTF = jnp.einsum("kT,BkF->BTF", curves(length, spectrum.moving), amplitudes_BkF)
        looks_BTF = jnp.broadcast_to(means_BsF.reshape(batch, 1, -1), (batch, length, means_BsF[0].size))
        coordinates_BTF = jnp.concatenate([courses_BTF, looks_BTF], axis=-1)
        angles_BTF = jnp.concatenate([coordinates_BTF * 2**octave for octave in range(spectrum.octaves)], axis=-1)
        waves_BTF = jnp.concatenate([coordinates_BTF, jnp.sin(angles_BTF), jnp.cos(angles_BTF)], axis=-1)
        x = self._dense(spectrum.width, "in")(waves_BTF)
        for block in range(spectrum.blocks):
            inner = nn.swish(self._dense(spectrum.width, f"inner_{block}")(self._norm(f"norm_{block}")(x)))
            x += self._dense(spectrum.width, f"outer_{block}")(inner)
        x = self._dense(high * wide * spectrum.channels, "out")(self._norm("norm_out")(x))
        return x.reshape(batch, length, high, wide, spectrum.channels)

    def _dense(self, features: int, name: str):
        return nn.Dense(features, dtype=self.style.dtype, param_dtype=self.style.param_dtype, name=name)

    def _norm(self, name: str):
        return nn.LayerNorm(epsilon=1e-6, dtype=self.style.dtype, param_dtype=self.style.param_dtype, name=name)
