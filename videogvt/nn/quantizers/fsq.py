"""Quantizers without a table.

Finite scalar quantization (arXiv 2309.15505) rounds every channel to a few levels and has no losses; lookup-free
quantization (MAGVIT-v2, arXiv 2310.05737) takes the signs of its channels as the code.
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.nn.quantizers.vq import Quantized, Quantizer, quantized, quantizers, straight_through
from videogvt.ops import losses as ops

_MARGIN = 1e-3  # the bound lies this far beyond the outermost levels, so that they are reached at a finite latent


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
        half_D = (levels_D - 1) * (1 + _MARGIN) / 2
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


MAX_BITS = 18  # the exact entropy holds 2^bits probabilities


@quantizers.register("lfq")
class LookupFreeQuantizer(Quantizer):
    """Signs of the latent's channels, with 0 counted as negative; each channel is a bit of the code.

    Attributes:
      num_bits: channels of a latent, 1 to 18; there are 2^num_bits codes.
      first_bit: which bit the first channel is: the "lowest", so that channel i is bit i (the paper's), or the
        "highest" (Open-MAGVIT2's).
      commitment_weight, entropy_weight: of the two losses; MAGVIT-v2 starts with 3 times this entropy weight and
        comes down to it over 2,000 steps (``entropy_scale``).
      entropy_temperature: see ``ops.losses.bits_entropy``.
    """

    num_bits: int = 10
    first_bit: Literal["lowest", "highest"] = "lowest"
    commitment_weight: float = 0.25
    entropy_weight: float = 0.1
    entropy_temperature: float = 0.01

    @property
    def num_codes(self) -> int:
        """K."""
        return 2**self.num_bits

    @property
    def width(self) -> int:
        """Channels of a latent."""
        return self.num_bits

    @property
    def _bit_D(self):
        """Which bit each channel is."""
        if self.first_bit not in ("lowest", "highest"):
            raise ValueError(unknown_name("first_bit of LFQ", self.first_bit, ("lowest", "highest")))
        bit_D = np.arange(self.num_bits, dtype=np.int32)
        return bit_D if self.first_bit == "lowest" else bit_D[::-1]

    def __call__(self, z_BthwD, *, train: bool, entropy_scale: float = 1.0) -> Quantized:
        if not 1 <= self.num_bits <= MAX_BITS:
            raise ValueError(f"LFQ takes 1 to {MAX_BITS} bits, found num_bits={self.num_bits}.")
        z_BthwD = z_BthwD.astype(jnp.float32)
        bits_BthwD = (z_BthwD > 0).astype(jnp.int32)
        codes_Bthw = (bits_BthwD << self._bit_D).sum(-1).astype(jnp.int32)
        latents_BthwD = signs_BthwD = 2.0 * bits_BthwD - 1.0
        losses = {}
        if train:
            entropy = ops.bits_entropy(
                z_BthwD.reshape(-1, self.num_bits), temperature=self.entropy_temperature)
            losses = {
                "commitment": self.commitment_weight * ops.commitment(z_BthwD, signs_BthwD),
                "entropy": self.entropy_weight * entropy_scale * entropy,
            }
            latents_BthwD = straight_through(z_BthwD, signs_BthwD)
        return quantized(latents_BthwD, codes_Bthw, z_BthwD, losses, self.num_codes)

    def lookup(self, codes_Bthw):
        """The latents (B, t, h, w, D) that codes stand for, of -1 and 1."""
        return 2.0 * (codes_Bthw[..., None] >> self._bit_D & 1) - 1.0
