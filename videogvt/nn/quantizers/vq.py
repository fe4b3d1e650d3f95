"""The contract of quantizers, their registry, and the first of them.

Vector quantization with a learned codebook, as in MAGVIT (arXiv 2212.05199) and its released code.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from videogvt.core.registry import Registry, unknown_name
from videogvt.ops import losses as ops

quantizers = Registry("quantizer")


@flax.struct.dataclass
class Quantized:
    """What a quantizer makes of latents.

    Attributes:
      latents_BthwD: what the decoder gets, float32; in training it passes gradients straight through to the encoder.
      codes_Bthw: indices of codes, int32, in [0, num_codes).
      inputs_BthwD: the latents as they were compared with the codes, float32.
      losses: weighted terms to be added to the total loss; empty outside of training.
      stats: "usage" (K,), how often each code was used, float32; "perplexity", the exponential of the usage's entropy.
    """

    latents_BthwD: jax.Array
    codes_Bthw: jax.Array
    inputs_BthwD: jax.Array
    losses: dict[str, jax.Array]
    stats: dict[str, jax.Array]


class Quantizer(nn.Module):
    """Base of quantizers. A subclass has the properties ``num_codes`` and ``width``, and two methods.

    ``num_codes`` is K; ``width`` is D, the number of channels of a latent.

    Attributes:
      param_dtype: of the parameters, if there are any; quantizers compute in float32.
    """

    param_dtype: Any = jnp.float32

    def __call__(self, z_BthwD, *, train: bool, entropy_scale: float = 1.0) -> Quantized:
        """Nearest codes. ``entropy_scale`` multiplies the weight of the entropy loss, for annealing it."""
        raise NotImplementedError

    def lookup(self, codes_Bthw):
        """The latents (B, t, h, w, D) that codes stand for."""
        raise NotImplementedError

    def features(self, codes_Bthw):
        """What a transformer over codes is told of them, (B, t, h, w, ``feature_width``): here their latents."""
        return self.lookup(codes_Bthw)

    @property
    def feature_width(self) -> int:
        """Numbers of ``features``."""
        return self.width


def quantized(latents_BthwD, codes_Bthw, inputs_BthwD, losses, num_codes: int) -> Quantized:
    """A ``Quantized`` with the statistics that all quantizers have."""
    usage_K = jnp.zeros(num_codes, jnp.float32).at[codes_Bthw.ravel()].add(1.0)
    return Quantized(
        latents_BthwD, codes_Bthw, inputs_BthwD, losses, {"usage": usage_K, "perplexity": perplexity(usage_K)})


def perplexity(usage_K):
    """Exponential of the entropy of code counts: K when all codes are used alike, 1 when a single one is."""
    share_K = usage_K / usage_K.sum()
    return jnp.exp(-jax.scipy.special.xlogy(share_K, share_K).sum())


def straight_through(latents, value):
    """``value``, with the gradient of ``latents``."""
    return latents + jax.lax.stop_gradient(value - latents)


def make_quantizer(config: Mapping[str, Any], **module_fields) -> Quantizer:
    """The quantizer that ``config["name"]`` names, with the other entries as its fields.

    Args:
      module_fields: Flax's own fields, ``name`` and ``parent``.
    """
    if "name" not in config:
        raise ValueError(f"quantizer={dict(config)} has no name; give one of {', '.join(sorted(quantizers))}.")
    cls = quantizers[config["name"]]
    fields = {key: value for key, value in config.items() if key != "name"}
    legal = [field.name for field in dataclasses.fields(cls) if field.name not in ("parent", "name")]
    for key in fields:
        if key not in legal:
            raise ValueError(unknown_name(f"field of the quantizer {config['name']}", key, legal))
    return cls(**fields, **module_fields)


@quantizers.register("vq")
class VectorQuantizer(Quantizer):
    """The nearest of K learned vectors, in Euclidean distance; the lowest index wins a tie.

    Attributes:
      num_codes: K.
      embedding_dim: D.
      commitment_weight, codebook_weight, entropy_weight: of the three losses.
      entropy_temperature, entropy_kind: see ``ops.losses.entropy``.
      latent_normalize: whether latents and codes are brought to length 1 before anything else is done with them.
    """

    num_codes: int = 1024
    embedding_dim: int = 256
    commitment_weight: float = 0.25
    codebook_weight: float = 1.0
    entropy_weight: float = 0.1
    entropy_temperature: float = 0.01
    entropy_kind: ops.EntropyKind = "softmax"
    latent_normalize: bool = False

    @property
    def width(self) -> int:
        """Channels of a latent."""
        return self.embedding_dim

    def setup(self):
        # The variance is that of fan-in K: uniform in +-sqrt(3 / K), whatever the width.
        init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
        self.codebook = self.param("codebook", init, (self.num_codes, self.embedding_dim), self.param_dtype)

    def _vectors(self):
        codebook_KD = self.codebook.astype(jnp.float32)
        return unit_length(codebook_KD) if self.latent_normalize else codebook_KD

    def __call__(self, z_BthwD, *, train: bool, entropy_scale: float = 1.0) -> Quantized:
        z_BthwD = z_BthwD.astype(jnp.float32)
        if self.latent_normalize:
            z_BthwD = unit_length(z_BthwD)
        codebook_KD = self._vectors()
        distance_MK = squared_distance(z_BthwD.reshape(-1, self.embedding_dim), codebook_KD)
        codes_Bthw = distance_MK.argmin(-1).astype(jnp.int32).reshape(z_BthwD.shape[:-1])
        vectors_BthwD = codebook_KD[codes_Bthw]
        losses, latents_BthwD = {}, vectors_BthwD
        if train:
            losses = {
                "commitment": self.commitment_weight * ops.commitment(z_BthwD, vectors_BthwD),
                "codebook": self.codebook_weight * ops.codebook(z_BthwD, vectors_BthwD),
            }
            if self.entropy_weight:  # without it a softmax over all codes of every cell would be made in vain
                entropy = ops.entropy(-distance_MK, temperature=self.entropy_temperature, kind=self.entropy_kind)
                losses["entropy"] = self.entropy_weight * entropy_scale * entropy
            latents_BthwD = straight_through(z_BthwD, vectors_BthwD)
        return quantized(latents_BthwD, codes_Bthw, z_BthwD, losses, self.num_codes)

    def lookup(self, codes_Bthw):
        """The latents (B, t, h, w, D) that codes stand for."""
        return jnp.asarray(self._vectors())[codes_Bthw]  # of frozen parameters, which are NumPy's, too


def squared_distance(z_MD, codebook_KD):
    """Squared Euclidean distances (M, K), with a matrix product of the highest precision."""
    products_MK = jnp.matmul(z_MD, codebook_KD.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.square(z_MD).sum(-1, keepdims=True) - 2 * products_MK + jnp.square(codebook_KD).sum(-1)


def unit_length(vectors):
    """Vectors of the last axis at length 1; a zero vector stays zero."""
    return vectors * jax.lax.rsqrt(jnp.maximum(jnp.square(vectors).sum(-1, keepdims=True), 1e-12))


def restart_dead_codes(codebook_KD, usage_K, inputs_BthwD, key, *, threshold: float, weights_Bthw=None):
    """The codebook with codes used less than ``threshold`` replaced by latents drawn from the batch, each at most once.

    Ours, not MAGVIT's. Where the batch has fewer latents to draw than there are dead codes, the first of these are
    replaced and the others stay, so that no two codes become one.

    Args:
      usage_K: how often each code was used lately, in any unit, the threshold's.
      inputs_BthwD: latents to draw from (``Quantized.inputs_BthwD``).
      weights_Bthw: chances of the latents, in any unit; those of 0 are never drawn. None for equal ones.

    Returns:
      (codebook_KD, replaced_K): which codes were replaced, so that their optimizer state can be cleared too.
    """
    inputs_MD = inputs_BthwD.reshape(-1, inputs_BthwD.shape[-1])
    weights_M = jnp.ones(len(inputs_MD)) if weights_Bthw is None else weights_Bthw.reshape(-1)
    # Sorted by log weight plus Gumbel noise, latents stand in the order of draws without replacement.
    order_M = jnp.argsort(-jnp.log(weights_M) - jax.random.gumbel(key, weights_M.shape))
    dead_K = usage_K < threshold
    rank_K = jnp.cumsum(dead_K) - 1
    replaced_K = dead_K & (rank_K < (weights_M > 0).sum())
    drawn_KD = jax.lax.stop_gradient(inputs_MD[order_M[jnp.clip(rank_K, 0, len(inputs_MD) - 1)]])
    return jnp.where(replaced_K[:, None], drawn_KD.astype(codebook_KD.dtype), codebook_KD), replaced_K
