"""Lookup-free quantization (MAGVIT-v2, arXiv 2310.05737): a code is the signs of its channels, with no table."""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.nn.quantizers.base import Quantized, Quantizer, quantized, quantizers, straight_through
from videogvt.ops import losses as ops

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
