"""Tokens of whole clips from a transformer's logits: many at a time, or one by one; and clips in a row.

``samplers`` has the samplers of masked transformers by name, ``loop`` what they share, ``serial`` the decoding of
causal ones, ``long`` videos of more than a clip.
"""

from videogvt.decode.frames import BisectionDecoding, DraftAndRevise, FrameDecoding, Remasking
from videogvt.decode.loop import AutoregressiveDecoding, Decoded, MaskedSampler, Steps, extend
from videogvt.decode.parallel import (
    HaltonDecoding,
    MarginDecoding,
    ParallelDecoding,
    RandomDecoding,
    SpeakingDecoding,
)
from videogvt.decode.samplers import SAMPLERS, changed, sampler_of

__all__ = [
    "SAMPLERS", "AutoregressiveDecoding", "BisectionDecoding", "Decoded", "DraftAndRevise", "FrameDecoding",
    "HaltonDecoding", "MarginDecoding", "MaskedSampler", "ParallelDecoding", "RandomDecoding", "Remasking",
    "SpeakingDecoding", "Steps", "changed", "extend", "sampler_of",
]
