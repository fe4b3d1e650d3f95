"""Part "default networks": the networks of two cores, trained here, and their losses beside those of a CPU.

Tokenizer and transformer of the main configs see the first training clips of their world in order, again and again. The
transformer's codes are the brightness of what a code's cell shows, in whole numbers, so that they are the same on every
machine; its token embeddings begin at random.
"""

import functools
import json
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from on_device import sizes
from on_device.job import Bench, Job, Row
from on_device.networks import tokenizer_recipe, transformer_recipe
from videogvt.train.contracts import Plan, Recipe
from videogvt.train.parallel import global_shapes
from videogvt.train.program import Program
from videogvt.world.example import example
from videogvt.world.spec import SPECS

CLIPS = 256
COMPARED = 100
"""Steps whose losses are compared with a CPU's."""

TINY_STEPS = 40
"""Steps of a dry run."""

WINDOW = 20
"""Steps whose mean losses are compared: single ones differ by what rounding does to the codes of a few clips."""

TOLERANCE = 0.05
"""Of a window's mean loss, relative."""

Batches = Mapping[str, np.ndarray]


def training(name: str) -> tuple[Recipe, dict[str, np.ndarray], int]:
    """The recipe of a network in ``sections.json``, the clips or codes that it is trained on, and rows of a batch."""
    settings = json.loads(sizes.SECTIONS.read_text())[name]
    spec = SPECS[settings["world"]]
    examples = [example(spec, "train", index) for index in range(min(CLIPS, spec.split_size("train")))]
    clips = np.stack([each["video"] for each in examples])
    if "transformer" not in settings:
        return tokenizer_recipe(settings), {"video": clips}, settings["batch_size"]
    recipe = transformer_recipe(settings, settings["network"], settings["clip"], settings["classes"])
    generation = recipe.generation
    codes_Bthw = brightness(clips, generation.latent_shape, generation.vocabulary.num_codes)
    labels = np.array([each["label"] for each in examples], np.int32)
    return recipe, {"codes": codes_Bthw, "label": labels}, settings["batch_size"]


def brightness(video_BTHWC: np.ndarray, grid: tuple[int, int, int], codes: int) -> np.ndarray:
    """Codes (B, t, h, w) of the brightness of their cells, int32 in 0..codes-1, by whole numbers alone."""
    cells = video_BTHWC.astype(np.int64).sum(-1)
    for axis, size in enumerate(grid, start=1):
        edges = np.arange(size) * cells.shape[axis] // size
        cells = np.add.reduceat(cells, edges, axis=axis)
    darkest, brightest = cells.min(), cells.max()
    return ((cells - darkest) * (codes - 1) // max(brightest - darkest, 1)).astype(np.int32)


def rows(arrays: Batches, size: int, step: int) -> dict[str, np.ndarray]:
    """The batch of a step."""
    places = (step * size + np.arange(size)) % len(next(iter(arrays.values())))
    return {name: array[places] for name, array in arrays.items()}


def train(name: str, steps: int | None = None, deadline: float = float("inf")) -> Row:
    """Trains from the beginning, and says what it cost and how the loss fell.

    Args:
      name: of the network.
      steps: how many; None for as many as there is time for, ``COMPARED`` at least.
      deadline: ``time.monotonic()`` after which no further window of steps begins.

    Returns:
      "losses" of the first steps, ``COMPARED`` at most; "ms" of a step, the median over windows of ``WINDOW`` steps
      that are started without waiting, "ms_low" and "ms_high"; "steps", "seconds" and "compile_s".
    """
    recipe, arrays, size = training(name)
    program = Program(recipe, Plan(total_steps=1), rows(arrays, size, 0))
    state, begin = program.fresh(), time.perf_counter()
    compiled = program.lower(state, rows(arrays, size, 0)).compile()
    compile_s, done, losses, windows, start = time.perf_counter() - begin, 0, [], [], time.perf_counter()
    while done < (steps or COMPARED) or (steps is None and time.monotonic() < deadline):
        begin, made = time.perf_counter(), min(WINDOW, (steps or done + WINDOW) - done)
        for step in range(done, done + made):
            state, numbers = program.step_with(compiled, state, rows(arrays, size, step))
            if step < COMPARED:
                losses.append(numbers["loss"])
            last = numbers["loss"]
        jax.block_until_ready(last)
        done += made
        windows.append(1e3 * (time.perf_counter() - begin) / made)
    seconds = time.perf_counter() - start
    steady = windows[1:] or windows  # the first has the start of the device in it
    flops = recipe.flops(state, global_shapes(rows(arrays, size, 0)))
    return {
        "clips": size, "steps": done, "seconds": seconds, "compile_s": compile_s,
        "ms": float(np.median(steady)), "ms_low": min(steady), "ms_high": max(steady),
        "clips_per_s": 1e3 * size / float(np.median(steady)), "gflop": flops / 1e9,
        "losses": [loss.compute() for loss in losses], "loss_last": last.compute(),
    }


def compared(found: list[float], expected: list[float]) -> Row:
    """How far losses are from a CPU's at equal steps: relative difference of the first step and, over windows of
    ``WINDOW`` steps, the largest of the means."""
    count = min(len(found), len(expected))
    one, other = np.array(found[:count]), np.array(expected[:count])
    edges = range(0, count, WINDOW)
    means = np.array([(one[at : at + WINDOW].mean(), other[at : at + WINDOW].mean()) for at in edges])
    windows = np.abs(means[:, 0] / means[:, 1] - 1)
    return {"compared": count, "difference_first": abs(one[0] / other[0] - 1), "difference": float(windows.max()),
            "differences": windows.tolist(), "agrees": bool(windows.max() <= TOLERANCE), "loss_first": found[0],
            "loss_window": float(means[-1, 0]), "loss_window_cpu": float(means[-1, 1])}


def _row(bench: Bench, name: str, share: float) -> Row:
    """Trains for a share of the time that is left, and compares."""
    cpu = json.loads(sizes.LOSSES.read_text())[name]
    if cpu["sections"] != sizes.digest(json.loads(sizes.SECTIONS.read_text())[name]):
        raise ValueError(f"{sizes.LOSSES.name} has losses of another {name}; run accelerator.py --refresh on a CPU.")
    ceiling, now = bench.ceilings["float32"], time.monotonic()
    steps = TINY_STEPS if bench.dry_run else None
    row = train(name, steps, deadline=now + share * (bench.deadline - now) - 5)
    losses = row.pop("losses")
    rate = row["gflop"] * 1e9 / (row["ms"] / 1e3)
    return row | compared(losses, cpu["losses"]) | {"matrix_share": rate / ceiling, "dtype": "float32"}


def jobs(bench: Bench) -> Iterator[Job]:
    """Both networks, each in half of the time."""
    for name, share in (("tokenizer", 0.5), ("transformer", 1.0)):
        full = f"{'tiny' if bench.dry_run else 'default'} {name}"
        yield Job(f"default {name}", row=functools.partial(_row, bench, full, share), seconds=25)
