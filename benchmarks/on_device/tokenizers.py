"""Part "tokenizer": MAGVIT's 3D-VQ in the paper's sizes, on clips of 16 x 128 x 128."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from on_device import sizes
from on_device.job import Bench, Job
from on_device.memory import Needs, batch_sizes, needs
from on_device.networks import random_clips, tokenizer_recipe
from videogvt.bench.parts import Part, Subject
from videogvt.train.contracts import Plan, Recipe

NATIVE = {"lowering": "native"}
"""What accelerators choose, said also where a CPU counts or tries it."""


class Trained:
    """The recipes of one size, their batch sizes, and the states that programs hand on to one another.

    Args:
      settings: of ``sizes.load``.
      bench: tells the bytes that there are.
    """

    def __init__(self, settings: Mapping[str, Any], bench: Bench):
        self._settings, self._bench = settings, bench
        self._states: dict[bool, Any] = {}
        self._batches: dict[bool, tuple[int, int]] = {}

    def batches(self, gan: bool) -> tuple[int, int]:
        """The full batch, and a quarter of it."""
        if gan not in self._batches:
            needed = functools.partial(step_needs, self._recipe(gan), functools.partial(random_clips, self._clip))
            self._batches[gan] = batch_sizes(needed, self._bench.budget, self._settings["batch_size"])
        return self._batches[gan]

    def part(self, gan: bool, name: str = "train step", quarter: bool = False,
             judge: Mapping[str, Any] | None = None, **model: Any) -> Part:
        """The training step, "encode" or "decode".

        Args:
          quarter: whether a quarter of the full batch is used.
          judge: changed fields of the discriminator.
          model: changed fields of the tokenizer that change no parameter.
        """
        recipe = self._recipe(gan, judge, **model)
        batch = random_clips(self._clip, self.batches(gan)[quarter])
        subject = Subject(recipe, batch, Plan(total_steps=1), self._states.pop(gan, None))
        part = next(part for part in subject.parts() if part.name == name)
        return _handing_on(part, lambda: self._states.update({gan: subject.state}))

    @property
    def _clip(self) -> tuple[int, int, int]:
        return tuple(self._settings["clip"])

    def _recipe(self, gan: bool, judge: Mapping[str, Any] | None = None, **model: Any) -> Recipe:
        settings = dict(self._settings)
        settings["tokenizer"] = settings["tokenizer"] | NATIVE | model
        settings["discriminator"] = settings["discriminator"] | NATIVE | (judge or {})
        return tokenizer_recipe(settings, gan)


def _handing_on(part: Part, keep: Callable[[], None]) -> Part:
    """The part; after every call that went well the state is kept for the next program."""
    def call(compiled):
        result = part.call(compiled)
        keep()
        return result

    return dataclasses.replace(part, call=call)


def step_needs(recipe: Recipe, batch_of: Callable[[int], Mapping[str, Any]], rows: int) -> Needs:
    """What a training step on so many rows needs by its shapes."""
    shapes = {name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype) for name, array in batch_of(1).items()}
    state = jax.eval_shape(recipe.init, jax.random.key(0), shapes)
    return needs(recipe.step, state.replace(frozen=dict(recipe.frozen)), shapes, jax.random.key(0))


def jobs(bench: Bench) -> Iterator[Job]:
    """Tokenizer B; with ``more`` further lowerings, rematerialisation, and L."""
    settings = sizes.load("tokenizer B", bench.dry_run)
    base, levels = Trained(settings, bench), len(settings["tokenizer"]["channel_multipliers"])

    def job(name: str, trained: Trained, *arguments: Any, **fields: Any) -> Job:
        return Job(name, functools.partial(trained.part, *arguments, **fields), frames=settings["clip"][0])

    yield job("train step", base, False)
    yield job("encode", base, False, "encode")
    yield job("decode", base, False, "decode")
    yield job("train step with GAN and R1", base, True)
    yield job("train step, time taps in channels", base, False, lowering="taps")
    yield job("train step, quarter of the batch", base, False, quarter=True)
    if not bench.more:
        return
    yield job("train step with GAN and R1, quarter of the batch", base, True, quarter=True)
    yield job("train step with GAN and R1, discriminator in bf16", base, True, judge={"dtype": "bfloat16"})
    yield job("train step, padded with zeros", base, False, padding="zero")
    yield job("train step, rematerialised", base, False, remat_levels=levels)
    yield job("encode, time taps in channels", base, False, "encode", lowering="taps")
    yield job("decode, time taps in channels", base, False, "decode", lowering="taps")
    large = Trained(sizes.load("tokenizer L", bench.dry_run), bench)
    yield job("L: train step", large, False)
    yield job("L: train step with GAN and R1", large, True)
    yield job("L: encode", large, False, "encode")
    yield job("L: decode", large, False, "decode")

