"""How fast clips are read, and whether reading keeps a training step waiting.

    python benchmarks/reading.py [--config=mono64] [--batch_size=64] [--data_dir=DIR]

The first table reads one epoch of the training split (built if it is missing) in each way, with the files dropped from
the operating system's cache before; it prints clips per second of wall time and per second of processor time, which
other work on the machine changes less. The second runs a compiled step on every core, three convolutions over eight
clips, and prints what the step takes alone, what it takes while batches are read, and how long it waits for a batch.
"""

import argparse
import itertools
import os
import pathlib
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs import pipeline
from videogvt.inputs.sources import ArraySource, RecordSource, open_source

THREADS = (0, 1, 2, 4)
STEPS, STEP_BATCH = 20, 8


def drop_from_cache(directory: pathlib.Path) -> None:
    """Asks the operating system to forget the contents of the files."""
    for path in directory.glob("*.array_record*"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def one_by_one(source: RecordSource) -> Iterator[np.ndarray]:
    """TFDS's own reader, example by example, in a shuffled order, stacked to batches of 64."""
    examples = tfds.builder_from_directory(source.directory).as_data_source(source.split)
    order = np.random.default_rng(0).permutation(len(examples)).tolist()
    for start in range(0, len(order), 64):
        yield np.stack([examples[index]["video"] for index in order[start : start + 64]])


def through_pipeline(
    source: RecordSource | ArraySource, batch_size: int, num_threads: int, field: str = "video"
) -> Iterator[np.ndarray]:
    """One epoch of a field through the training pipeline."""
    batches = pipeline.train_batches(source, batch_size=batch_size, seed=0, num_threads=num_threads)
    for batch in itertools.islice(batches, len(source) // batch_size):
        yield batch[field]
    batches.close()


def speed(batches: Iterator[np.ndarray]) -> tuple[float, float]:
    """Clips per second of wall time and of processor time, from before the first batch to the last."""
    wall, processor = time.perf_counter(), time.process_time()
    clips = sum(len(video_BTHWC) for video_BTHWC in batches)
    return clips / (time.perf_counter() - wall), clips / (time.process_time() - processor)


def training_step() -> Callable[[np.ndarray], jax.Array]:
    """A compiled function of a batch of videos that occupies every core for a while."""
    kernels = [jax.random.normal(jax.random.key(i), (3, 3, c, 16)) * 0.1 for i, c in enumerate((3, 16, 16))]

    @jax.jit
    def step(video_BTHWC: jax.Array) -> jax.Array:
        frames = video_BTHWC.reshape(-1, *video_BTHWC.shape[2:]).astype(jnp.float32) / 255
        for kernel in kernels:
            frames = jax.nn.relu(jax.lax.conv_general_dilated(
                frames, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))  # fmt: skip
        return frames.mean()

    return step


def waiting(source: RecordSource, step: Callable, batch_size: int, num_threads: int) -> tuple[float, float]:
    """Milliseconds of a whole step while batches are read, and of its wait for the batch."""
    batches = pipeline.train_batches(source, batch_size=batch_size, seed=0, num_threads=num_threads)
    step(next(batches)["video"]).block_until_ready()
    waited, begin = 0.0, time.perf_counter()
    for _ in range(STEPS):
        asked = time.perf_counter()
        video_BTHWC = next(batches)["video"]
        waited += time.perf_counter() - asked
        step(video_BTHWC).block_until_ready()
    whole = time.perf_counter() - begin
    batches.close()
    return 1e3 * whole / STEPS, 1e3 * waited / STEPS


def alone(source: RecordSource, step: Callable, batch_size: int) -> float:
    """Milliseconds of a step whose batch is there already."""
    video_BTHWC = source.read(range(batch_size))["video"]
    step(video_BTHWC).block_until_ready()
    begin = time.perf_counter()
    for _ in range(STEPS):
        step(video_BTHWC).block_until_ready()
    return 1e3 * (time.perf_counter() - begin) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="mono64", help="trajectory data set; default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--data_dir", help="root of the data sets")
    options = parser.parse_args()
    source = open_source("trajectories", "train", config=options.config, data_dir=options.data_dir)
    batch_size = min(options.batch_size, len(source))
    size = "x".join(map(str, source.read([0])["video"].shape[1:4]))
    load = os.getloadavg()[0]
    print(f"{len(source)} clips of {size}, batches of {batch_size}, {os.cpu_count()} cores, load {load:.1f} before\n")
    memory = ArraySource(source.read(range(len(source))))
    ways = {"TFDS data source, one by one": lambda: one_by_one(source)}
    for threads in THREADS:
        ways[f"pipeline, {threads} threads"] = lambda t=threads: through_pipeline(source, batch_size, t)
    ways["pipeline, 2 threads, in memory"] = lambda: through_pipeline(memory, batch_size, 2)
    print(f"{'first epoch':<34}{'clips/s':>10}{'clips/s of processor':>24}")
    for name, batches in ways.items():
        drop_from_cache(source.directory)
        wall, processor = speed(batches())
        print(f"{name:<34}{wall:>10,.0f}{processor:>24,.0f}", flush=True)
    step = training_step()
    print(f"\n{f'training step of {STEP_BATCH} clips':<34}{'ms a step':>10}{'of which waiting':>24}")
    print(f"{'alone':<34}{alone(source, step, STEP_BATCH):>10.0f}")
    for threads in THREADS:
        whole, waited = waiting(source, step, STEP_BATCH, threads)
        print(f"{f'pipeline, {threads} threads':<34}{whole:>10.0f}{waited:>24.2f}", flush=True)


if __name__ == "__main__":
    main()
