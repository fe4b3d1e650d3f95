"""The contract of quantizers, and their registry."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from videogvt.core.registry import Registry, unknown_name

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
