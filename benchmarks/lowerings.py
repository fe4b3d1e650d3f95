"""Our lowering of convolutions and pooling beside the usual one, on the same parameters and the same clips.

    python benchmarks/lowerings.py [--filters=32] [--multipliers=1,2,4] [--clip=16,64,64] [--batch_size=2]
        [--padding=zero] [--repeats=5] [--output=FILE.json]

The usual one is XLA's 3-D convolution (`conv_general_dilated`) and pooling by windows (`reduce_window`). Both make a
training step (squared error, vector quantization, Adam; no GAN), encode and decode. Their calls take turns, so that
what else the machine does hits both; medians with the fastest and the slowest call. Results are compared as well.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from videogvt.core.backend import prepare_backend

prepare_backend()

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from videogvt.core.trees import frozen, parameter_count  # noqa: E402
from videogvt.nn.tokenizer import TokenizerNetwork  # noqa: E402
from videogvt.ops import conv  # noqa: E402
from videogvt.recipes.optimizer import Adam  # noqa: E402
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.journal import environment  # noqa: E402
from videogvt.train.timing import Timing, alternate  # noqa: E402

WORK = ("train step", "encode", "decode")
WIDTH = 256  # of the latents


@contextlib.contextmanager
def windows() -> Iterator[None]:
    """Inside, networks are traced with pooling by `reduce_window`."""

    def average_pool(video_BTHWC, window):
        return nn.avg_pool(video_BTHWC, window, window, "SAME", count_include_pad=False)

    with mock.patch.object(conv, "average_pool", average_pool):
        yield


def network(flags: argparse.Namespace) -> TokenizerRecipe:
    """The tokenizer to be trained, lowered our way."""
    levels = len(flags.multipliers)
    model = TokenizerNetwork(
        filters=flags.filters, channel_multipliers=tuple(flags.multipliers), temporal_downsample=(True,) * (levels - 1),
        norm_groups=math.gcd(32, flags.filters), padding=flags.padding,
        quantizer=frozen({"name": "vq", "num_codes": 1024, "embedding_dim": WIDTH}),
    )
    return TokenizerRecipe(model, TokenizerLosses(), Adam(learning_rate=1e-4, total_steps=1000))


def start(recipe: TokenizerRecipe, flags: argparse.Namespace) -> tuple[Any, jax.Array]:
    """Untrained state and random clips."""
    video_BTHWC = jnp.asarray(np.random.default_rng(0).random((flags.batch_size, *flags.clip, 3), np.float32))
    return jax.jit(recipe.init)(jax.random.key(0), {"video": video_BTHWC}), video_BTHWC


def compiled(recipe: TokenizerRecipe, state: Any, video_BTHWC: jax.Array) -> dict[str, Callable[[], Any]]:
    """Calls of the compiled programs by name. What they return first is to be compared."""
    grid = recipe.model.latent_shape(video_BTHWC.shape[1:4])
    latents_BthwD = jax.random.normal(jax.random.key(1), (len(video_BTHWC), *grid, WIDTH))

    def step(state, video_BTHWC):
        after, numbers = recipe.step(state, {"video": video_BTHWC}, jax.random.key(0))
        return {name: numbers[name].total for name in ("loss", "grad_norm/generator")}, after

    def method(name):
        return lambda state, inputs: (recipe.model.apply({"params": state.params["generator"]}, inputs, method=name),)

    def ready(function, inputs):
        program = jax.jit(function).lower(state, inputs).compile()
        return lambda: program(state, inputs)

    functions = (step, video_BTHWC), (method("encode"), video_BTHWC), (method("decode"), latents_BthwD)
    return {name: ready(*each) for name, each in zip(WORK, functions, strict=True)}


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Timings of both and how far their results are apart."""
    recipe = network(flags)
    usual = dataclasses.replace(recipe, model=recipe.model.clone(lowering="native"))
    state, video_BTHWC = start(recipe, flags)
    ours = compiled(recipe, state, video_BTHWC)
    with windows():
        theirs = compiled(usual, state, video_BTHWC)
    found = {"rows": [], "about": {
        "parameters": parameter_count(state.params), "batch_size": flags.batch_size, "clip": flags.clip,
        "padding": flags.padding, "gflop": recipe.flops(state, {"video": video_BTHWC}) / 1e9, **environment(),
    }}
    for name in WORK:
        timings = alternate({"usual": theirs[name], "ours": ours[name]}, repeats=flags.repeats, budget_s=300)
        found["rows"].append({
            "name": name, **{key: timing.seconds for key, timing in timings.items()},
            "faster": timings["usual"].median / timings["ours"].median,
            "difference": difference(theirs[name]()[0], ours[name]()[0]),
        })
    return found


def difference(one: Any, other: Any) -> float:
    """The largest difference between two trees of arrays, relative to the largest number of its array."""
    return max(float(jnp.abs(a - b).max() / (jnp.abs(a).max() + 1e-30))
               for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def numbers(text: str) -> list[int]:
    """"16,64,64" as a list."""
    return [int(part) for part in text.split(",")]


def parser(description: str) -> argparse.ArgumentParser:
    """The flags: sizes of the network and of the clips."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--filters", type=int, default=32)
    flags.add_argument("--multipliers", type=numbers, default=[1, 2, 4])
    flags.add_argument("--clip", type=numbers, default=[16, 64, 64], help="frames, height, width")
    flags.add_argument("--batch_size", type=int, default=2)
    flags.add_argument("--padding", default="zero", choices=conv.PAD_MODES, help="of our network")
    flags.add_argument("--repeats", type=int, default=5)
    flags.add_argument("--output", help="JSON file for the figures")
    return flags


def main(arguments: list[str] | None = None) -> None:
    flags = parser(__doc__).parse_args(arguments)
    found = compare(flags)
    about = found["about"]
    print(f"{about['parameters']:,} parameters, {about['gflop']:,.1f} GFLOP a step of {flags.batch_size} clips, "
          f"{about['device']}, jax {about['packages']['jax']}\n")
    print(as_text(["", "usual lowering", "ours", "times faster", "largest relative difference"], [
        [row["name"], str(Timing(row["usual"])), str(Timing(row["ours"])), f"{row['faster']:.2f}",
         f"{row['difference']:.1e}"] for row in found["rows"]]))
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
