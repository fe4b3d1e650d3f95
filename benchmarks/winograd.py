"""Winograd's F(2x2,3x3) beside our lowering of a 3x3x3 convolution, by shape; printed whoever wins.

    python benchmarks/winograd.py [--shapes=2,16,64,32,...] [--repeats=5] [--output=FILE.json]

Ours is that of ``ops.conv``: one 2-D convolution over the frames. The other folds the time taps of the kernel into
channels and cuts frames into overlapping tiles of 4 x 4 and multiplies 16 numbers a tile where the convolution
multiplies 36. Exact up to rounding; in float32. A shape is clips, frames, sides, channels in and out; the default ones
are those of the network of ``benchmarks/lowerings.py``. Forward, and forward with both gradients. Calls take turns, so
that what else the machine does hits both; medians with the fastest and the slowest.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from lowerings import difference  # noqa: E402

from videogvt.ops import conv  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.journal import environment  # noqa: E402
from videogvt.train.timing import Timing, alternate  # noqa: E402

SHAPES = "2,16,64,32 2,8,32,64 2,4,16,128"
INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
"""The three transforms of Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308, section 4.1)."""


def winograd(video_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 1 with zeros outside; the kernel is 3x3x3, height and width are even."""
    batch, frames, height, width, channels = video_BTHWC.shape
    padded = jnp.pad(video_BTHWC, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    taps = jnp.concatenate([padded[:, tap:tap + frames] for tap in range(3)], axis=-1)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(3, 3, 3 * channels, -1)
    rows = [taps[:, :, row:row + height - 1:2] for row in range(4)]
    tiles = jnp.stack([jnp.stack([part[:, :, :, column:column + width - 1:2] for column in range(4)]) for part in rows])
    tiles = jnp.einsum("xr,yc,rcbthwi->xybthwi", INPUT, INPUT, tiles)
    kernels = jnp.einsum("xr,yc,rcio->xyio", KERNEL, KERNEL, kernel)
    products = jax.lax.optimization_barrier(jnp.einsum("xybthwi,xyio->xybthwo", tiles, kernels))
    blocks = jnp.einsum("rx,cy,xybthwo->bthrwco", OUTPUT, OUTPUT, products)
    return blocks.reshape(batch, frames, height, width, -1)


def ours(video_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """What runs today."""
    return conv.conv(video_BTHWC, kernel, padding="zero", lowering="taps")


def trained(function: Callable) -> Callable:
    """The result's weighted sum with the gradients of both arguments, as a backward pass asks for them."""
    def loss(video_BTHWC, kernel, weights):
        return (function(video_BTHWC, kernel) * weights).sum()

    return jax.value_and_grad(loss, (0, 1))


def compare(shape: list[int], repeats: int) -> list[dict[str, Any]]:
    """A row forward and one with gradients."""
    clips, frames, side, channels, features = shape
    keys = jax.random.split(jax.random.key(0), 3)
    video_BTHWC = jax.random.normal(keys[0], (clips, frames, side, side, channels))
    kernel = jax.random.normal(keys[1], (3, 3, 3, channels, features)) / np.sqrt(27 * channels)
    weights_BTHWC = jax.random.normal(keys[2], (clips, frames, side, side, features))
    gflop = 2 * 27 * channels * weights_BTHWC.size / 1e9
    rows = []
    for name, wrap, inputs, work in (("forward", lambda function: function, (video_BTHWC, kernel), gflop),
                                     ("with gradients", trained, (video_BTHWC, kernel, weights_BTHWC), 3 * gflop)):
        calls = {}
        for title, function in (("ours", ours), ("winograd", winograd)):
            program = jax.jit(wrap(function)).lower(*inputs).compile()
            calls[title] = lambda program=program, inputs=inputs: program(*inputs)
        apart = difference(calls["ours"](), calls["winograd"]())
        timings = alternate(calls, repeats=repeats, budget_s=60)
        rows.append({
            "shape": shape, "name": name, "gflop": work, "difference": apart,
            **{title: timing.seconds for title, timing in timings.items()},
            "faster": timings["ours"].median / timings["winograd"].median,
        })
    return rows


def numbers(text: str) -> list[int]:
    """"2,16,64,32" as clips, frames, sides, channels in and out; the last is the one before where it is missing."""
    found = [int(part) for part in text.split(",")]
    return found if len(found) == 5 else [*found, found[-1]]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=numbers, nargs="+", default=[numbers(shape) for shape in SHAPES.split()])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", help="JSON file for the figures")
    flags = parser.parse_args(arguments)
    rows = [row for shape in flags.shapes for row in compare(shape, flags.repeats)]
    lines = []
    for row in rows:
        both = [Timing(tuple(row[title])) for title in ("ours", "winograd")]
        lines.append([f"{','.join(map(str, row['shape']))} {row['name']}", f"{row['gflop']:,.1f}", *map(str, both),
                      f"{row['faster']:.2f}", f"{row['difference']:.1e}"])
    print(as_text(["shape", "GFLOP", "ours", "Winograd", "times faster", "largest relative difference"], lines))
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps({"rows": rows, "about": environment()}, indent=2))


if __name__ == "__main__":
    main()
