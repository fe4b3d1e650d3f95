"""Finite scalar quantization (arXiv 2309.15505): every channel rounded to a few levels; no table and no losses."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.nn.quantizers.base import Quantized, Quantizer, quantized, quantizers, straight_through

MARGIN = 1e-3  # the bound lies this far beyond the outermost levels, so that they are reached at a finite latent


@quantizers.register("fsq")
class FiniteScalarQuantizer(Quantizer):
    """A latent's channels, bounded and rounded; its code counts the combinations of levels.

    Attributes:
      levels: number of levels of each channel, at least 2; the first channel counts fastest. (8, 5, 5, 5) has 1,000
        codes and is the paper's replacement for a codebook of 1,024.
    """

    levels: Sequence[int] = (8, 5, 5, 5)

    @property
    def num_codes(self) -> int:
        """K."""
        return math.prod(self.levels)

    @property
    def width(self) -> int:
        """Channels of a latent."""
        return len(self.levels)

    @property
    def feature_width(self) -> int:
        """Numbers of ``features``."""
        return sum(self.levels)

    @property
    def _basis_D(self):
        return np.cumprod((1, *self.levels[:-1]), dtype=np.int32)

    def __call__(self, z_BthwD, *, train: bool, entropy_scale: float = 1.0) -> Quantized:
        z_BthwD = z_BthwD.astype(jnp.float32)
        levels_D = np.asarray(self.levels)
        if levels_D.min() < 2:
            raise ValueError(f"FSQ takes at least 2 levels per channel, found levels={tuple(self.levels)}.")
        bounded_BthwD = self._bounded(z_BthwD, levels_D)
        rounded_BthwD = jnp.round(bounded_BthwD)
        digits_BthwD = rounded_BthwD.astype(jnp.int32) + levels_D // 2
        codes_Bthw = (digits_BthwD * self._basis_D).sum(-1).astype(jnp.int32)
        steps_BthwD = straight_through(bounded_BthwD, rounded_BthwD) if train else rounded_BthwD
        latents_BthwD = steps_BthwD / (levels_D // 2).astype(np.float32)
        return quantized(latents_BthwD, codes_Bthw, z_BthwD, {}, self.num_codes)

    def _bounded(self, z_BthwD, levels_D: np.ndarray):
        """In units of levels, of which 0 is one."""
        half_D = (levels_D - 1) * (1 + MARGIN) / 2
        # An even number of levels has no level at 0: half a step down, and a shift that keeps 0 at 0.
        offset_D = np.where(levels_D % 2, 0.0, 0.5)
        shift_D = np.arctanh(offset_D / half_D).astype(np.float32)
        return jnp.tanh(z_BthwD + shift_D) * half_D.astype(np.float32) - offset_D.astype(np.float32)

    def _digits(self, codes_Bthw):
        """The level of every channel, from 0 on."""
        return codes_Bthw[..., None] // self._basis_D % np.asarray(self.levels, np.int32)

    def features(self, codes_Bthw):
        """Which level each channel has, one-hot and at length 1 in all: (B, t, h, w, sum of levels)."""
        digits_BthwD = self._digits(codes_Bthw)
        ones = [jax.nn.one_hot(digits_BthwD[..., d], levels) for d, levels in enumerate(self.levels)]
        return jnp.concatenate(ones, axis=-1) / math.sqrt(len(self.levels))

    def lookup(self, codes_Bthw):
        """The latents (B, t, h, w, D) that codes stand for, in [-1, 1]."""
        levels_D = np.asarray(self.levels, np.int32)
        digits_BthwD = self._digits(codes_Bthw)
        return (digits_BthwD - levels_D // 2).astype(jnp.float32) / (levels_D // 2).astype(np.float32)
