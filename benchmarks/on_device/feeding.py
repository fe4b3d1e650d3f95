"""Part "pipeline": clips of tokenizer B's size from ArrayRecord files through the training pipeline.

The clips are those of the world that B trains on, packed as our records have them, without the fields beside.
"""

import functools
import importlib.util
import pathlib
import tempfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from on_device import sizes
from on_device.job import BUDGET_S, REPEATS, Bench, Job, Row, Skip
from videogvt.bench.parts import speed
from videogvt.train.timing import Timing, alternate
from videogvt.world.example import example
from videogvt.world.spec import SPECS

THREADS = (2, 8)
BATCHES = 16  # in one timing; more than the pipeline holds ready
NEEDED = {"grain": "grain", "array_record": "array-record"}
ZLIB_LEVEL = 1


class PackedClips:
    """Clips in one ArrayRecord file, each packed with zlib; what the pipeline asks of a source.

    Args:
      file: the file.
      shape: (T, H, W, 3) of a clip.
    """

    class_names, fields, available = (), ("video",), ("video",)
    splits, split_hash = (), ""

    def __init__(self, file: pathlib.Path, shape: tuple[int, ...]):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._records, self._shape = ArrayRecordDataSource([str(file)]), shape

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """The clips, uint8 (B, T, H, W, 3)."""
        size = int(np.prod(self._shape))
        rows = np.empty((len(indices), *self._shape), np.uint8)
        for row, index in zip(rows, indices, strict=True):
            row[...] = np.frombuffer(zlib.decompress(self._records[int(index)], bufsize=size), np.uint8).reshape(
                self._shape)
        return {"video": rows}


def write(file: pathlib.Path, world: str, clips: int, copies: int) -> tuple[int, ...]:
    """Writes the first training clips of a world, so many times over; returns the shape of one."""
    from array_record.python.array_record_module import ArrayRecordWriter

    videos = [example(SPECS[world], "train", index)["video"] for index in range(clips)]
    packed = [zlib.compress(video.tobytes(), ZLIB_LEVEL) for video in videos]
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for record in packed * copies:
        writer.write(record)
    writer.close()
    return videos[0].shape


def _row(bench: Bench, threads: int) -> Row:
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise Skip(f"Not installed: {', '.join(missing)}.")
    from videogvt.inputs.pipeline import train_batches

    settings = sizes.load("tokenizer B")
    world, clips, batch = ("tiny", 8, 4) if bench.dry_run else (settings["world"], 256, 64)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "clips.array_record"
        shape = write(file, world, clips, copies=4)
        batches = train_batches(PackedClips(file, shape), batch_size=batch, seed=0, num_threads=threads,
                                prefetch=max(4, threads))

        def read():
            for _ in range(BATCHES):
                next(batches)

        timing = alternate({"read": read}, repeats=REPEATS, budget_s=BUDGET_S)["read"]
        batches.close()
    each = Timing(tuple(seconds / BATCHES for seconds in timing.seconds))
    return speed("read", batch, shape[0], each)


def jobs(bench: Bench) -> Iterator[Job]:
    """A job for each number of threads."""
    for threads in THREADS:
        yield Job(f"{threads} threads", row=functools.partial(_row, bench, threads), seconds=10)
