"""Quantizers behind one contract: latents in, discrete codes out."""

from videogvt.nn.quantizers import fsq, vq  # noqa: F401  (importing enters them in the registry)
from videogvt.nn.quantizers.vq import Quantized, Quantizer, make_quantizer, perplexity, quantizers, restart_dead_codes

__all__ = ["Quantized", "Quantizer", "make_quantizer", "perplexity", "quantizers", "restart_dead_codes"]
