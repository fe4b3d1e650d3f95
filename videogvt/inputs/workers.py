"""Workers: write a job's shards in this process, in fresh processes, or on Beam; the files are the same.

Worker processes are new interpreters that import only what the pickled job names. They never import the caller's script
again, so a build may start at the top level of a script or in a notebook; and they end by themselves when the caller
does, however it ends, because their pipe breaks.
"""

import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from tqdm import tqdm

from videogvt.inputs.shards import FULL, Shard, ShardJob, Written

REPORT_SECONDS = 0.25
_SMALL = 500  # examples below which starting processes takes longer than it saves


def default_workers(shards: Sequence[Shard]) -> int:
    """As many processes as this one may use cores and there are shards; 1 for a small dataset."""
    examples = sum(shard.stop - shard.start for shard in shards)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if examples < _SMALL else min(cores, len(shards))


def write_here(job: ShardJob, shards: Sequence[Shard], bar: tqdm) -> list[Written]:
    """Writes the shards one after the other in this process."""
    return [job.write(shard, bar.update) for shard in shards]


def write_in_processes(job: ShardJob, shards: Sequence[Shard], workers: int, bar: tqdm) -> list[Written]:
    """Writes the shards in ``workers`` fresh processes; the first failure stops all of them."""
    payload = pickle.dumps(job)
    if b"__main__" in payload:
        raise ValueError(
            "An example function or a feature is defined in the script itself (__main__), which worker processes"
            " cannot import. Move it to a module, or pass workers=1."
        )
    todo, done, running = list(shards), [], {}
    try:
        for _ in range(min(workers, len(todo))):
            process, connection = _start()
            running[connection] = process
            _talk(process, connection.send_bytes, payload)
            _talk(process, connection.send, todo.pop(0))
        while running:
            for connection in wait(list(running)):
                kind, value = _talk(running[connection], connection.recv)
                if kind == "progress":
                    bar.update(value)
                    continue
                if kind == "full":
                    code, path = value
                    raise OSError(code, os.strerror(code), path)
                if kind == "error":
                    raise RuntimeError(f"A worker failed:\n{value}")
                done.append(value)
                if todo:
                    _talk(running[connection], connection.send, todo.pop(0))
                else:
                    connection.close()
                    running.pop(connection).wait()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return done


def _start() -> tuple[subprocess.Popen, Connection]:
    ours, theirs = Pipe()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
        # One thread each: the workers already use every core.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    code = "import sys; from videogvt.inputs.workers import serve; serve(int(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(theirs.fileno())],
        pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    return process, ours


def _talk(process: subprocess.Popen, speak: Callable[..., object], *words: object) -> object:
    """``speak(*words)`` on the pipe to a worker; if the worker is gone, an error that says how it went."""
    try:
        return speak(*words)
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        status = process.wait()
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise RuntimeError(
            f"A worker process ended with {reason} before its shard was done. If memory ran out, pass fewer workers."
        ) from error


def serve(handle: int) -> None:
    """A worker's life: receive the job, then write shard after shard until the caller hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides
    connection = Connection(handle)
    try:
        job: ShardJob = pickle.loads(connection.recv_bytes())
        while True:
            shard = connection.recv()
            progress, flush = _throttled(lambda count: connection.send(("progress", count)))
            written = job.write(shard, progress)
            flush()
            connection.send(("written", written))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            connection.send(("full", (error.errno, error.filename)))
            return
        connection.send(("error", traceback.format_exc()))


def _throttled(report: Callable[[int], None]) -> tuple[Callable[[int], None], Callable[[], None]]:
    """``progress(count)`` which reports the sum every ``REPORT_SECONDS``, and ``flush()`` for the rest."""
    pending, last = 0, time.monotonic()

    def flush():
        nonlocal pending, last
        report(pending)
        pending, last = 0, time.monotonic()

    def progress(count):
        nonlocal pending
        pending += count
        if time.monotonic() - last > REPORT_SECONDS:
            flush()

    return progress, flush


def write_on_beam(job: ShardJob, shards: Sequence[Shard], pipeline: Callable[[], object]) -> list[Written]:
    """Writes the shards in a Beam pipeline; ``pipeline()`` makes it. Needs the extra ``beam``.

    The job's directory must be reachable from every Beam worker under the same path, and the workers must have this
    package installed. What a worker learns of its shard travels back in a small file beside it.
    """
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ImportError("Building on Beam needs apache-beam: pip install 'videogvt[beam]'.") from error
    with pipeline() as root:
        _ = (
            root
            | "Shards" >> beam.Create([asdict(shard) for shard in shards])
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(_write_and_note, job=job)
        )
    notes = [pathlib.Path(f"{job.path(shard)}.note.json") for shard in shards]
    missing = [note.name for note in notes if not note.exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(notes)} shards of the Beam pipeline are not in {job.directory} (first:"
            f" {missing[0]}); its workers must write to the same file system."
        )
    written = [json.loads(note.read_text()) for note in notes]
    for note in notes:
        note.unlink()
    return [Written(**{**record, "shard": Shard(**record["shard"])}) for record in written]


def _write_and_note(shard: dict[str, object], job: ShardJob) -> None:
    written = job.write(Shard(**shard))
    note = pathlib.Path(f"{job.path(written.shard)}.note.json")
    temporary = note.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    temporary.write_text(json.dumps(asdict(written)))
    temporary.rename(note)
