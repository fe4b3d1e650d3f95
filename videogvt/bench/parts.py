"""What there is to measure in a recipe: each part as a program to compile and a call of it.

These imports need jax, flax and optax alone, so that benchmarks run where the rest is not installed.

A part's row of numbers: it is compiled, and its calls are timed.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.decode import MaskedSampler
from videogvt.train.contracts import Plan, Recipe
from videogvt.train.parallel import global_shapes, place_batch
from videogvt.train.program import Program
from videogvt.train.state import TrainState
from videogvt.train.timing import Timing, alternate, count_flops


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing to measure.

    Attributes:
      name: "train step", "decode", ...
      clips: that one call makes or reads, on all devices.
      lowered: the program, not yet compiled.
      call: runs it, given what ``lowered.compile()`` returns.
      flops: of one call, see ``train.timing`` and ``recipes.flops``.
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
        generation = getattr(self.recipe, "generation", None)
        if generation is not None and generation.outside:
            raise ValueError("--mode=bench times compiled programs, and this config's codes are made outside; name a "
                             "tokenizer of ours in config.tokenizer.run.")
        self._trained, self._read = (
            (generation.transformer, generation.tokenizer) if generation else (self.recipe.model,) * 2)
        self.video_shape = tuple(generation.video_shape if generation else batch["video"].shape[1:4])

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


Row = dict[str, Any]


def timed(
    part: Part, frames: int, ceilings: Mapping[str, float], repeats: int = 10, budget_s: float = 20.0,
    deadline: float = float("inf"),
) -> Row:
    """Compiles and times one part.

    Args:
      part: what to run.
      frames: of a clip.
      ceilings: FLOP/s of products of the part's dtype by its name, and bytes/s under "copy"; of one device.
      repeats, budget_s: see ``timing.alternate``.
      deadline: ``time.monotonic()`` until which calls are repeated.

    Returns:
      "ms" is the median and "ms_low" and "ms_high" the fastest and slowest call, "compile_s" what compiling took,
      "memory" the bytes that the program needs at once on each device, its arguments and results included;
      "matrix_share" and "copy_share" what it reaches of the ceilings. What is not known is None: the bytes that a loop
      moves, say.
    """
    start = time.perf_counter()
    compiled = part.lowered().compile()
    compile_s = time.perf_counter() - start
    budget_s = max(0.0, min(budget_s, deadline - time.monotonic()))
    timing = alternate({part.name: lambda: part.call(compiled)}, repeats=repeats, budget_s=budget_s)[part.name]
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    rate, moved = part.flops / timing.median, None
    if costs and "bytes accessed" in costs and not part.looped:
        moved = costs["bytes accessed"] / timing.median
    return speed(part.name, part.clips, frames, timing) | {
        "compile_s": compile_s,
        "memory": memory and (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
                              - memory.alias_size_in_bytes),
        "gflop": part.flops / 1e9, "dtype": str(part.dtype),
        "matrix_share": rate / (ceilings[str(part.dtype)] * jax.device_count()),
        "copy_share": moved and moved / ceilings["copy"],
    }


def speed(name: str, clips: int, frames: int, timing: Timing) -> Row:
    """What the time of a call that handles so many clips says."""
    low, high = timing.spread
    return {
        "name": name, "clips": clips, "ms": 1e3 * timing.median, "ms_low": 1e3 * low, "ms_high": 1e3 * high,
        "repeats": len(timing.seconds), "clips_per_s": clips / timing.median,
        "ms_per_frame": 1e3 * timing.median / (clips * frames),
    }
