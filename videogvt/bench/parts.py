"""What there is to measure in a recipe: each part as a program to compile and a call of it.

These imports need jax, flax and optax alone, so that benchmarks run where the rest is not installed.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.decode import MaskedSampler
from videogvt.train.contracts import Plan, Recipe
from videogvt.train.flops import count_flops
from videogvt.train.parallel import global_shapes, place_batch
from videogvt.train.program import Program
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing to measure.

    Attributes:
      name: "train step", "decode", ...
      clips: that one call makes or reads, on all devices.
      lowered: the program, not yet compiled.
      call: runs it, given what ``lowered.compile()`` returns.
      flops: of one call, see ``train.flops`` and ``recipes.flops``.
      dtype: that its products are computed in.
      looped: whether it holds a loop, whose body the compiler's count of bytes takes once.
    """

    name: str
    clips: int
    lowered: Callable[[], jax.stages.Lowered]
    call: Callable[[Any], Any]
    flops: float
    dtype: jnp.dtype
    looped: bool = False


class Subject:
    """A recipe with an untrained state.

    Args:
      recipe: what is trained.
      batch: this host's rows of a batch.
      plan: gives the mesh and the seed.
      state: to go on with, of a subject of the same networks; None for a fresh one.

    Attributes:
      clips: rows of the batches of all hosts.
      video_shape: (T, H, W) of its clips.
    """

    def __init__(self, recipe: Recipe, batch: Mapping[str, np.ndarray], plan: Plan, state: TrainState | None = None):
        self.recipe, self._batch = recipe, batch
        self._program = Program(recipe, plan, batch)
        self._state = self._program.fresh() if state is None else state
        self.clips = next(iter(global_shapes(batch).values())).shape[0]
        stage = getattr(self.recipe, "generation", None)
        if stage is not None and stage.outside:
            raise ValueError("--mode=bench times compiled programs, and this config's codes are made outside; name a "
                             "tokenizer of ours in config.tokenizer.run.")
        self._trained, self._read = (stage.transformer, stage.tokenizer) if stage else (self.recipe.model,) * 2
        self.video_shape = tuple(stage.video_shape if stage else batch["video"].shape[1:4])

    @property
    def state(self) -> TrainState:
        """The state as it is now: measuring the training step trains."""
        return self._state

    def parts(self) -> Iterator[Part]:
        """The training step; the recipe's functions on a batch of its size; generation of one clip a device as well."""
        yield self.training()
        functions, clips = self.recipe.predict_fns, self.clips
        for name, key in (("encode", "codes"), ("decode", "video"), ("reconstruct", "reconstruct"),
                          ("classify", "answer")):
            if key in functions:
                yield self._prediction(name, functions[key], self._inputs(key, clips), self._read)
        if "generate" in functions:
            decoding = self.recipe.generation.decoding
            how = f"{decoding.passes} steps" if isinstance(decoding, MaskedSampler) else "one by one"
            for number in sorted({self._program.mesh.shape["data"], clips}):
                inputs = self._inputs("generate", number)
                yield self._prediction(f"generate, {how}", functions["generate"], inputs, self._trained, looped=True)

    def training(self) -> Part:
        """One step with its batch's way to the devices."""
        batch = self._batch

        def call(compiled):
            self._state, numbers = self._program.step_with(compiled, self._state, batch)
            return self._state, numbers

        return Part(
            "train step", self.clips, lambda: self._program.lower(self._state, batch), call,
            self.recipe.flops(self._state, global_shapes(batch)), jnp.dtype(self._trained.dtype),
        )

    def _prediction(self, name: str, function: Callable, inputs: tuple, network: Any, looped: bool = False) -> Part:
        return Part(
            name, len(inputs[0]), lambda: jax.jit(function).lower(self._state, *inputs),
            lambda compiled: compiled(self._state, *inputs), count_flops(function, self._state, *inputs),
            jnp.dtype(network.dtype), looped,
        )

    def _inputs(self, key: str, clips: int) -> tuple[jax.Array, ...]:
        """What a function takes beside the state; noise, of which only shapes count."""
        rng = np.random.default_rng(0)
        arrays: Mapping[str, np.ndarray] = {"video": rng.integers(0, 256, (clips, *self.video_shape, 3), np.uint8)}
        if key == "video":
            grid, codes = self._read.latent_shape(self.video_shape), self._read.num_codes
            arrays = {"codes": rng.integers(0, codes, (clips, *grid), np.int32)}
        if key == "generate":
            arrays = {"task": np.zeros(clips, np.int32), "label": np.full(clips, -1, np.int32), **arrays}
        inputs = tuple(place_batch(arrays, self._program.mesh).values())
        if key == "generate":
            along = NamedSharding(self._program.mesh, PartitionSpec("data"))
            inputs += (jax.device_put(jax.random.split(jax.random.key(0), clips), along),)
        return inputs
