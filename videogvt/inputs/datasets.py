"""Datasets on disk: written whole or not at all, with TFDS metadata and a manifest that can be checked.

``write_dataset`` is the way to turn a function from an index to an example into a dataset that
``tfds.builder_from_directory(...).as_data_source()`` and this package read, without TensorFlow.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tqdm import tqdm

from videogvt.inputs import workers as workers_lib
from videogvt.inputs.shards import FULL, ShardJob, Splits, Written, file_sha256, filename, plan_shards

MANIFEST = "manifest.json"
INFO = "dataset_info.json"  # TFDS writes it last, and the whole folder gets its name after that


@contextlib.contextmanager
def locked(directory: os.PathLike) -> Iterator[None]:
    """Holds the right to build ``directory``; another process that holds it is waited for.

    The lock is the operating system's and ends with the process, so a killed build never blocks the next one. What
    killed builds of this host left behind (see ``note_unfinished``) is removed. The locks of some shared disks do not
    reach other hosts, so that what another host left, or any other folder of such a name, may be growing: it is named
    and stays. A disk that is full meanwhile is told with the way to name another root.
    """
    directory = pathlib.Path(directory)
    with _naming_the_root_of_a_full_disk(directory), _opened_lock(directory) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process is building {directory}; waiting for it.", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_leftovers(directory)
        yield


def _opened_lock(directory: pathlib.Path) -> IO[str]:
    with naming_the_root(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        return _lock_file(directory).open("a")


@contextlib.contextmanager
def naming_the_root(directory: os.PathLike) -> Iterator[None]:
    """A context in which an error of the file system that is about ``directory`` says how another root is named."""
    try:
        yield
    except OSError as error:
        raise type(error)(
            f"The data set {directory} cannot be written: {error.filename or directory}: "
            f"{os.strerror(error.errno or errno.EIO)}. Name another root of data sets: --data_dir=DIR, "
            "in Python data_dir, or the environment variable VIDEOGVT_DATA."
        ) from error


@contextlib.contextmanager
def _naming_the_root_of_a_full_disk(directory: os.PathLike) -> Iterator[None]:
    """``naming_the_root`` for what a full disk says alone: while a data set is built, other files are read."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        with naming_the_root(directory):
            raise


def note_unfinished(directory: os.PathLike, unfinished: os.PathLike) -> None:
    """Notes in the lock file of ``directory`` that this host builds it in the folder ``unfinished`` beside it."""
    with _lock_file(pathlib.Path(directory)).open("a") as notes:
        notes.write(f"{socket.gethostname()} {pathlib.Path(unfinished).name}\n")


def _lock_file(directory: pathlib.Path) -> pathlib.Path:
    return directory.parent / f".{directory.name}.lock"


def _remove_leftovers(directory: pathlib.Path) -> None:
    """Removes the unfinished folders of this host, whose lock is held, and their notes."""
    notes, host = _lock_file(directory), socket.gethostname()
    lines = [line.split() for line in notes.read_text().splitlines()]
    for owner, folder in lines:
        if owner == host and (directory.parent / folder).exists():
            shutil.rmtree(directory.parent / folder)
    kept = [line for line in lines if line[0] != host and (directory.parent / line[1]).exists()]
    if kept != lines:
        notes.write_text("".join(f"{owner} {folder}\n" for owner, folder in kept))
    for other in sorted(directory.parent.glob(f"incomplete.*_{directory.name}")):
        print(f"{other} is of another host, or of unknown origin; it stays. Remove it if nobody builds there.",
              file=sys.stderr, flush=True)


def is_complete(directory: os.PathLike) -> bool:
    """Whether a finished dataset lies there."""
    return (pathlib.Path(directory) / INFO).exists()


def check_free(directory: os.PathLike) -> None:
    """Raises ``FileExistsError`` if something that is no finished dataset lies where one shall be built."""
    directory = pathlib.Path(directory)
    if directory.exists() and not is_complete(directory):
        raise FileExistsError(f"{directory} exists, and is no finished dataset ({INFO} is missing). Move it away.")


def write_splits(
    directory: os.PathLike,
    name: str,
    features: tfds.features.FeaturesDict,
    splits: Splits,
    *,
    workers: int | None = None,
    pipeline: Callable[[], object] | None = None,
) -> list[tfds.core.SplitInfo]:
    """Writes the shards and the manifest into an existing folder and describes the splits to TFDS.

    Arguments are those of ``write_dataset``, which most callers want.
    """
    job = ShardJob(os.fspath(directory), name, features, splits)
    shards = plan_shards(splits, features)
    workers = workers_lib.default_workers(shards) if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}; pass 1 or more, or None for one per core.")
    total = sum(size for size, _ in splits.values())
    quiet = {} if sys.stderr.isatty() else {"mininterval": 10.0}
    if pipeline is not None:
        written = workers_lib.write_on_beam(job, shards, pipeline)
    else:
        with tqdm(total=total, unit=" examples", desc=f"Building {name}", **quiet) as bar:
            if workers == 1:
                written = workers_lib.write_here(job, shards, bar)
            else:
                written = workers_lib.write_in_processes(job, shards, workers, bar)
    by_split = {split: _settle(job, split, written) for split in splits}
    _write_manifest(directory, name, splits, by_split)
    return [_split_info(directory, name, split, parts) for split, parts in by_split.items()]


def _settle(job: ShardJob, split: str, written: Sequence[Written]) -> list[Written]:
    """A split's non-empty shards in order, their files renamed to close the gaps that empty ones leave."""
    parts = sorted((part for part in written if part.shard.split == split), key=lambda part: part.shard.index)
    parts = [part for part in parts if part.examples]
    if not parts:
        raise ValueError(f"Split {split!r} is empty: its example function returned None for every index.")
    for index, part in enumerate(parts):
        job.path(part.shard).rename(pathlib.Path(job.directory) / filename(job.name, split, index, len(parts)))
    return parts


def _split_info(directory: os.PathLike, name: str, split: str, parts: Sequence[Written]) -> tfds.core.SplitInfo:
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=name, split=split, filetype_suffix="array_record"
    )
    return tfds.core.SplitInfo(
        name=split, shard_lengths=[part.examples for part in parts], num_bytes=sum(part.num_bytes for part in parts),
        filename_template=template,
    )  # fmt: skip


def _write_manifest(
    directory: os.PathLike, name: str, splits: Splits, by_split: Mapping[str, Sequence[Written]]
) -> None:
    described = {}
    for split, parts in by_split.items():
        content = hashlib.sha256("".join(part.content_sha256 for part in parts).encode()).hexdigest()
        examples = sum(part.examples for part in parts)
        described[split] = {
            "examples": examples,
            "left_out": splits[split][0] - examples,
            "content_sha256": content,
            "shards": [
                {"file": filename(name, split, i, len(parts)), "examples": part.examples, "sha256": part.sha256}
                for i, part in enumerate(parts)
            ],
        }
    (pathlib.Path(directory) / MANIFEST).write_text(json.dumps({"name": name, "splits": described}, indent=1) + "\n")


def read_manifest(directory: os.PathLike) -> dict[str, object]:
    """The manifest of a dataset folder.

    ``splits`` maps a split's name to ``examples``, ``left_out`` (indices whose example was None), ``content_sha256``
    (of the decoded examples: equal on machines whose zlib compresses differently) and ``shards``, a list of ``file``,
    ``examples`` and ``sha256``.
    """
    path = pathlib.Path(directory) / MANIFEST
    if not path.exists():
        raise FileNotFoundError(
            f"{directory} has no {MANIFEST}, so it is no finished dataset of this package. Expected a folder such as"
            " <data root>/trajectories/mono64/1.0.0."
        )
    return json.loads(path.read_text())


def verify(directory: os.PathLike) -> int:
    """Checks every shard of a dataset folder against its manifest and returns the number of shards.

    Raises ``ValueError`` with one line per shard that is missing, changed or not in the manifest.
    """
    directory = pathlib.Path(directory)
    manifest = read_manifest(directory)
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    problems = []
    for shard in shards:
        path = directory / shard["file"]
        if not path.exists():
            problems.append(f"{shard['file']} is missing")
        elif (found := file_sha256(path)) != shard["sha256"]:
            problems.append(f"{shard['file']} has SHA-256 {found}, the manifest says {shard['sha256']}")
    known = {shard["file"] for shard in shards}
    extra = sorted(path.name for path in directory.glob("*.array_record*") if path.name not in known)
    problems += [f"{name} is not in the manifest" for name in extra]
    if not is_complete(directory):
        problems.append(f"{INFO} is missing")
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"{directory} is damaged:\n  {listed}\nRemove the folder and build the dataset again.")
    return len(shards)


def write_dataset(
    directory: os.PathLike,
    features: tfds.features.FeaturesDict,
    splits: Splits,
    *,
    name: str,
    version: str = "1.0.0",
    config: str | None = None,
    description: str = "",
    citation: str = "",
    homepage: str | None = None,
    metadata: Mapping[str, object] | None = None,
    workers: int | None = None,
    pipeline: Callable[[], object] | None = None,
    check: Callable[[Mapping[str, object]], None] | None = None,
) -> tfds.core.DatasetBuilder:
    """Writes a dataset folder that TFDS reads, all of it or nothing, and returns its reader.

    The same arguments give the same files whatever ``workers`` and ``pipeline`` are. A finished dataset in
    ``directory`` is returned as it is. A second process that asks for the same folder waits and then uses the first
    one's. The folder gets its name only when everything is in it; what a killed build leaves beside it is removed by
    the next one on the same host.

    Args:
      directory: the folder to make, by TFDS's custom ``<data root>/<name>/[<config>/]<version>``.
      features: ``FeaturesDict``. Videos: ``Tensor(shape=(T, H, W, 3), dtype=np.uint8, encoding='zlib')``;
        ``tfds.features.Video`` needs TensorFlow, even to read.
      splits: split name to (size, ``example``), where ``example(index)`` returns the field values for 0 <= index <
        size, or None to leave the index out. It must be pure, and importable from a module: it is pickled, so take a
        ``functools.partial`` of a module-level function.
      name, version, config: how TFDS shall call it; the version is SemVer.
      description, citation, homepage: for ``builder.info``.
      metadata: JSON-ready values, kept in ``builder.info.metadata``.
      workers: processes; None for one per core, and 1 (this process) for small datasets.
      pipeline: returns a new Beam pipeline to write with, instead of ``workers``.
      check: called with the manifest's ``splits`` before the dataset is finished; by raising it stops the build.

    Returns:
      ``tfds.builder_from_directory(directory)``; ``.as_data_source(split)`` gives random access without TensorFlow.
    """
    directory = pathlib.Path(directory).expanduser().absolute()
    if is_complete(directory):  # before the lock, so that a read-only dataset can be used
        return tfds.builder_from_directory(directory)
    with locked(directory):
        if not is_complete(directory):
            check_free(directory)
            with _whole_or_nothing(directory) as unfinished:
                infos = write_splits(unfinished, name, features, splits, workers=workers, pipeline=pipeline)
                if check is not None:
                    check(read_manifest(unfinished)["splits"])
                identity = DatasetIdentity(
                    name=name, version=tfds.core.Version(version), data_dir=os.fspath(unfinished),
                    module_name=__name__, config_name=config,
                )  # fmt: skip
                info = tfds.core.DatasetInfo(
                    builder=identity, description=description, citation=citation, homepage=homepage, features=features,
                    disable_shuffling=True, metadata=tfds.core.MetadataDict(metadata or {}),
                )  # fmt: skip
                info.set_file_format("array_record")
                info.set_splits(tfds.core.SplitDict(infos))
                info.write_to_directory(unfinished)
    return tfds.builder_from_directory(directory)


@contextlib.contextmanager
def unless_complete(directory: os.PathLike) -> Iterator[None]:
    """Inside, a folder is renamed to ``directory``; that fails without an error if another host, which no lock kept
    out, has finished the same dataset there."""
    try:
        yield
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError) or error.errno == errno.ENOTEMPTY
        if not in_the_way or not is_complete(directory):
            raise


@contextlib.contextmanager
def _whole_or_nothing(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside ``directory`` that becomes it at the end, or is removed."""
    unfinished = directory.parent / f"incomplete.{socket.gethostname()}-{os.getpid()}_{directory.name}"
    note_unfinished(directory, unfinished)
    unfinished.mkdir()
    try:
        yield unfinished
        with unless_complete(directory):
            unfinished.rename(directory)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
