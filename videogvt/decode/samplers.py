"""Samplers of masked transformers by name: what ``config.decoding`` says, and what a caller changes of it."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from videogvt.core.registry import configure, unknown_name
from videogvt.decode.frames import BisectionDecoding, DraftAndRevise, FrameDecoding, Remasking
from videogvt.decode.loop import MaskedSampler
from videogvt.decode.parallel import (
    HaltonDecoding,
    MarginDecoding,
    ParallelDecoding,
    RandomDecoding,
    SpeakingDecoding,
)

SAMPLERS: Mapping[str, type[MaskedSampler]] = {
    "confidence": ParallelDecoding, "margin": MarginDecoding, "speaking": SpeakingDecoding, "random": RandomDecoding,
    "halton": HaltonDecoding, "frames": FrameDecoding, "bisection": BisectionDecoding,
    "draft_and_revise": DraftAndRevise, "remasking": Remasking,
}
"""``decoding.sampler``; without one it is "confidence", the paper's."""

OF_THE_MODEL = ("guidance", "keep_condition", "grid", "empty")
"""Fields that follow from how the network was trained: another sampler of it takes them over."""


def sampler_of(section: Mapping[str, Any], grid: tuple[int, int, int]) -> MaskedSampler:
    """The sampler that the section ``decoding`` describes: its ``sampler``, and that one's fields.

    Args:
      section: plain values.
      grid: (t, h, w) of the codes.

    Raises:
      ValueError: there is no such sampler or field, or a value is not usable.
    """
    fields = dict(section)
    name = fields.pop("sampler", "confidence")
    return configure(_kind(name), f"decoding, of the sampler {name!r},", fields, grid=grid)


def changed(decoding: Any, changes: Mapping[str, Any], fixed: Collection[str] = ("grid",)) -> Any:
    """A sampler with other fields; with ``sampler`` among them another sampler, from that one's own defaults.

    Args:
      decoding: a sampler, or another object of fields, which then has no ``sampler`` to change.
      changes: fields and values.
      fixed: fields that must not be changed.

    Raises:
      ValueError: there is no such field, or its value is not usable.
    """
    changes, kind, fields = dict(changes), type(decoding), vars(decoding)
    others = ("sampler",) if isinstance(decoding, MaskedSampler) else ()
    if others and "sampler" in changes:
        kind = _kind(changes.pop("sampler"))
        legal = {field.name for field in dataclasses.fields(kind)}
        fields = {name: fields[name] for name in OF_THE_MODEL if name in fields and name in legal}
    legal = {field.name for field in dataclasses.fields(kind)}.union(others).difference(fixed)
    for name in changes:
        if name not in legal:
            raise ValueError(unknown_name("field of this generator's decoding", name, legal))
    return kind(**{**fields, **changes})


def _kind(name: str) -> type[MaskedSampler]:
    if name not in SAMPLERS:
        raise ValueError(unknown_name("decoding.sampler", name, SAMPLERS))
    return SAMPLERS[name]
