"""Shards: which examples a file holds, how an example becomes bytes, and what is remembered about a written file.

A split is a size and a function from an index to an example. Everything here follows from these two and the features,
so one process, several, or a Beam pipeline write the same files. Records are the ``tf.train.Example`` messages that
TFDS reads, in index order; TFDS's own writer is not used, since its shuffler needs TensorFlow above 1,000 MiB a split.
"""

import contextlib
import errno
import functools
import hashlib
import math
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

ExampleFn = Callable[[int], Mapping[str, object] | None]  # None: the index is left out
Splits = Mapping[str, tuple[int, ExampleFn]]

SHARD_EXAMPLES = 1000  # at most; more shards than cores, so that a build keeps them busy
SHARD_BYTES = 256 * 2**20  # at most, before compression
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a disk says that takes no more
ZLIB_LEVEL = 1  # on rendered clips as small as level 3 and twice as fast as 6; on noisy ones nine times as fast


@dataclass(frozen=True)
class Shard:
    """The examples ``start`` to ``stop`` of a split, the ``index``-th of ``count`` files."""

    split: str
    index: int
    count: int
    start: int
    stop: int


@dataclass(frozen=True)
class Written:
    """A shard on disk.

    Attributes:
      shard: what was asked for.
      examples: records in the file; fewer than asked for where an example function returned None.
      num_bytes: their size without the file's own overhead.
      sha256: of the file.
      content_sha256: of the decoded examples, the same whatever zlib wrote the file.
    """

    shard: Shard
    examples: int
    num_bytes: int
    sha256: str
    content_sha256: str


def plan_shards(splits: Splits, features: tfds.features.FeaturesDict) -> list[Shard]:
    """The shards of all splits, largest first; a function of sizes and features only."""
    raw = sum(math.prod(info.shape) * _item_bytes(info.np_dtype) for info in _tensor_infos(features))
    most = min(SHARD_EXAMPLES, max(SHARD_BYTES // max(raw, 1), 1))
    shards = []
    for split, (size, _) in splits.items():
        if size < 1:
            raise ValueError(f"Split {split!r} has {size} examples; every split needs at least one.")
        count = min(max(math.ceil(size / most), 2), size)
        bounds = [size * i // count for i in range(count + 1)]
        shards += [Shard(split, i, count, bounds[i], bounds[i + 1]) for i in range(count)]
    return sorted(shards, key=lambda shard: shard.start - shard.stop)


def _tensor_infos(features: tfds.features.FeaturesDict):
    """Infos of the tensors whose shape is known."""
    infos = [feature.get_tensor_info() for feature in features.values()]
    return [info for info in infos if not isinstance(info, dict) and None not in info.shape]


def _item_bytes(dtype) -> int:
    return 64 if np.dtype(dtype).kind in "OUS" else np.dtype(dtype).itemsize


def filename(name: str, split: str, index: int, count: int) -> str:
    """The name TFDS expects of a shard's file."""
    return f"{name}-{split}.array_record-{index:05d}-of-{count:05d}"


class ExampleEncoder:
    """Turns examples into records: ``tf.train.Example`` bytes, the same on every call.

    TFDS compresses ``encoding='zlib'`` tensors at level 6 and leaves the order of a message's fields open; both are
    settled here. Any TFDS reader understands the result.
    """

    def __init__(self, features: tfds.features.FeaturesDict):
        self._features = features
        self._serializer = ExampleSerializer(features.get_serialized_info())
        self._zlib = {name for name, feature in features.items() if _plain_zlib(feature)}

    def __call__(self, example: Mapping[str, object]) -> bytes:
        if example.keys() != self._features.keys():
            raise ValueError(
                f"The example has the fields {sorted(example)}; the features are {sorted(self._features.keys())}."
            )
        encoded = {name: self._encode(name, value) for name, value in example.items()}
        return self._serializer.get_tf_example(encoded).SerializeToString(deterministic=True)

    def _encode(self, name: str, value: object) -> object:
        feature = self._features[name]
        if name not in self._zlib:
            return feature.encode_example(value)
        if not isinstance(value, np.ndarray) or value.dtype != feature.np_dtype or value.shape != feature.shape:
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"Field {name!r} is {found}; the feature is {feature.np_dtype} {feature.shape}.")
        return zlib.compress(value.tobytes(), ZLIB_LEVEL)


def _plain_zlib(feature: tfds.features.FeatureConnector) -> bool:
    """Whether it is a zlib tensor of fixed shape."""
    if type(feature) is not tfds.features.Tensor or None in feature.shape:
        return False
    return feature.to_json_content().encoding == "zlib"


def content_digest(example: Mapping[str, object]) -> bytes:
    """SHA-256 of an example's fields: names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(example):
        array = np.asarray(example[name])
        if array.dtype.kind in "OUS":
            payload = "\0".join(map(_text, array.reshape(-1).tolist())).encode()
            digest.update(f"{name}|text|{array.shape}|{len(payload)}|".encode() + payload)
        else:
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.digest()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def write_shard(
    path: os.PathLike, shard: Shard, example_fn: ExampleFn, encoder: ExampleEncoder, progress: Callable[[int], None]
) -> Written:
    """Writes one file and checks that it holds what was written; ``progress`` is told of each finished index.

    A shard whose every example is None leaves no file. The file gets its name when it is complete, so that a Beam
    worker's second attempt cannot meet the first one's.
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    with _room_for(unfinished):
        writer = ArrayRecordWriter(os.fspath(unfinished), "group_size:1")
    content, examples, num_bytes = hashlib.sha256(), 0, 0
    for index in range(shard.start, shard.stop):
        try:
            example = example_fn(index)
            record = None if example is None else encoder(example)
        except Exception as error:
            error.add_note(f"This happened in example {index} of split {shard.split!r}.")
            raise
        if record is not None:
            with _room_for(unfinished):
                writer.write(record)
            content.update(content_digest(example))
            examples, num_bytes = examples + 1, num_bytes + len(record)
        progress(1)
    with _room_for(unfinished):
        writer.close()
    if not examples:
        unfinished.unlink()
        return Written(shard, 0, 0, "", content.hexdigest())
    reader = ArrayRecordReader(os.fspath(unfinished))
    found = reader.num_records()
    reader.close()
    if found != examples:
        raise OSError(f"{unfinished} holds {found} records after {examples} were written; is the disk full?")
    unfinished.rename(path)
    return Written(shard, examples, num_bytes, file_sha256(path), content.hexdigest())


@contextlib.contextmanager
def _room_for(path: pathlib.Path) -> Iterator[None]:
    """A context in which a writer's RuntimeError about a full disk is the ``OSError`` that it is."""
    try:
        yield
    except RuntimeError as error:
        for code in FULL:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), os.fspath(path)) from error
        raise


def file_sha256(path: os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to write any of a dataset's shards; it is pickled to processes and Beam workers."""

    directory: str
    name: str
    features: tfds.features.FeaturesDict
    splits: Splits

    @functools.cached_property
    def _encoder(self) -> ExampleEncoder:
        return ExampleEncoder(self.features)

    def __getstate__(self):
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def path(self, shard: Shard) -> pathlib.Path:
        return pathlib.Path(self.directory) / filename(self.name, shard.split, shard.index, shard.count)

    def write(self, shard: Shard, progress: Callable[[int], None] = lambda done: None) -> Written:
        """Writes one shard where it belongs."""
        return write_shard(self.path(shard), shard, self.splits[shard.split][1], self._encoder, progress)
