"""Sources of clips: read many examples at once, only the fields asked for, as stacked numpy arrays.

``open_source(name, split, ...)`` looks the name up in ``sources``; what can be generated is built on first use.
"""

import functools
import math
import os
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.proto import tf_example_pb2

from videogvt.core.registry import Registry, unknown_name
from videogvt.inputs import builders, coded
from videogvt.inputs.contracts import CLIP_FIELDS, ClipSource, Thinned, thinning
from videogvt.inputs.datasets import INFO, MANIFEST, is_complete, read_manifest
from videogvt.inputs.digits import CROP_FIELDS, NEEDS, DigitCrops, prepared_digits
from videogvt.inputs.images import ImageFolderConfig, prepared_images
from videogvt.inputs.imports import IMPORTED_LAYOUTS, imported
from videogvt.inputs.videos import VideoFolderConfig, prepared_videos

sources = Registry("source")


def open_source(
    name: str,
    split: str,
    *,
    fields: Sequence[str] = ("video", "label"),
    data_dir: os.PathLike | None = None,
    **options: Any,
) -> ClipSource:
    """Opens a split of a registered source, building the data set first where it is missing and can be generated.

    Args:
      name: a name in ``sources``: "trajectories", "digits", "videos", "images", "imported", "codes", or a data set of
        TFDS ("ucf101").
      split: "train", "validation", "test", ...
      fields: what ``read`` shall return; fewer fields read faster.
      data_dir: root of the data sets; None takes the environment's (see ``builders.data_root``).
      options: of the source, such as ``config="mono64"`` for trajectories or ``folder=...`` for videos.
    """
    return sources[name](split, fields=tuple(fields), data_dir=data_dir, **options)


def training_fields(name: str) -> tuple[str, ...]:
    """What a network learns from of a source."""
    return ("codes", "label") if name == "codes" else ("video", "label")


class RecordSource:
    """A split of a TFDS data set in ArrayRecord files, read without TensorFlow.

    Records are parsed field by field, and only the fields asked for are decoded, straight into the batch. ArrayRecord
    and the decompression release Python's global lock, so that threads reading different batches work in parallel.

    Args:
      directory: the folder that holds ``dataset_info.json``.
      split: one of its splits.
      fields: names of features; tensors of known shape, labels, scalars and texts can be read.

    Attributes:
      metadata: what its writer noted beside the clips.
    """

    def __init__(self, directory: os.PathLike, split: str, fields: Sequence[str] = ("video", "label")):
        self.directory = pathlib.Path(directory).expanduser()
        if not is_complete(self.directory):
            raise FileNotFoundError(
                f"{self.directory} holds no finished data set ({INFO} is missing). Name the folder of one version, "
                "such as .../trajectories/mono64/1.0.0, or build the data set first."
            )
        info = tfds.builder_from_directory(self.directory).info
        if split not in info.splits:
            raise KeyError(unknown_name("split", split, info.splits))
        if not fields:
            raise ValueError(f"No fields were asked of {self.directory}; it has {sorted(info.features)}.")
        self.split = split
        self.splits = tuple(info.splits)
        self.available = tuple(info.features)
        self.metadata = dict(info.metadata or {})
        self.fields = tuple(fields)
        self._decoders = {field: _decoder(info.features, field) for field in self.fields}
        self.class_names = tuple(info.features["label"].names) if "label" in info.features else ()
        files = info.splits[split].file_instructions if info.splits[split].num_examples else []
        self._records = ArrayRecordDataSource(files) if files else ()

    def __repr__(self) -> str:
        return f"RecordSource({str(self.directory)!r}, {self.split!r})"

    def __len__(self) -> int:
        return len(self._records)

    @functools.cached_property
    def split_hash(self) -> str:
        """SHA-256 of the split's examples as the manifest records it; "" for a folder without a manifest."""
        if not (self.directory / MANIFEST).exists():
            return ""
        return read_manifest(self.directory)["splits"][self.split]["content_sha256"]

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        examples = [tf_example_pb2.Example.FromString(self._records[i]).features.feature for i in indices]
        return {field: decode([example[field] for example in examples]) for field, decode in self._decoders.items()}


class ArraySource:
    """Clips that lie in memory: ``arrays`` by field, each with one row per example."""

    split_hash = ""

    def __init__(self, arrays: Mapping[str, np.ndarray], class_names: Sequence[str] = ()):
        sizes = {field: len(array) for field, array in arrays.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"Every field needs one row per example, but the numbers of rows are {sizes}.")
        self._arrays = dict(arrays)
        self.fields = self.available = tuple(arrays)
        self.splits = ()
        self.class_names = tuple(class_names)

    def __repr__(self) -> str:
        return f"ArraySource({', '.join(self.fields)})"

    def __len__(self) -> int:
        return len(self._arrays[self.fields[0]])

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        return {field: array[np.asarray(indices)] for field, array in self._arrays.items()}


def _decoder(features: tfds.features.FeaturesDict, field: str) -> Callable[[list], np.ndarray]:
    """A function from the protos of a field, one per row, to one stacked array."""
    if field not in features:
        raise KeyError(unknown_name("field", field, features))
    feature = features[field]
    if isinstance(feature, tfds.features.Text):
        return lambda protos: np.array([proto.bytes_list.value[0].decode() for proto in protos])
    if isinstance(feature, tfds.features.ClassLabel):
        return lambda protos: np.array([proto.int64_list.value[0] for proto in protos], np.int32)
    if not isinstance(feature, tfds.features.Tensor) or None in feature.shape:
        raise ValueError(
            f"Field {field!r} is stored as {feature!r}, which cannot be read without TensorFlow; fields must be "
            "tensors of known shape, labels or texts. `run.py --mode=import` converts data sets that TFDS distributes."
        )
    encoding = feature.to_json_content().encoding
    if encoding in ("bytes", "zlib"):
        size = math.prod(feature.shape) * feature.np_dtype.itemsize
        unpack = functools.partial(zlib.decompress, bufsize=size) if encoding == "zlib" else bytes
        return functools.partial(_decode_bytes, shape=feature.shape, dtype=feature.np_dtype, unpack=unpack)
    values = "float_list" if np.issubdtype(feature.np_dtype, np.floating) else "int64_list"
    return functools.partial(_decode_numbers, shape=feature.shape, dtype=feature.np_dtype, values=values)


def _decode_bytes(protos: list, *, shape: tuple[int, ...], dtype: np.dtype, unpack: Callable) -> np.ndarray:
    rows = np.empty((len(protos), *shape), dtype)
    for row, proto in zip(rows, protos, strict=True):
        row[...] = np.frombuffer(unpack(proto.bytes_list.value[0]), dtype).reshape(shape)
    return rows


def _decode_numbers(protos: list, *, shape: tuple[int, ...], dtype: np.dtype, values: str) -> np.ndarray:
    rows = np.array([getattr(proto, values).value for proto in protos], dtype)
    return rows.reshape(len(protos), *shape)


@sources.register("trajectories")
def _trajectories(
    split: str,
    *,
    fields: Sequence[str],
    data_dir: os.PathLike | None,
    config: Any = "mono64",
    workers: int | None = None,
    clips: int | None = None,
    frames: int | None = None,
) -> ClipSource:
    """Synthetic trajectories: ``config`` is the name of a shipped world, or a config object, ``clips`` the size of its
    training split, None for the world's own (see ``builders``), and ``frames`` how many of a clip's stay, None for all
    (see ``thinned``)."""
    builder = builders.prepared(config, data_dir, workers, clips)
    if frames is None:
        return RecordSource(builder.data_dir, split, fields)
    stride = thinning(builder.info.features["video"].shape[0], frames)
    if beyond := sorted(set(fields) - set(CLIP_FIELDS)):
        raise ValueError(f"config.data.options.frames leaves frames out, and {', '.join(beyond)} may be of each frame; "
                         f"of such clips there are {', '.join(CLIP_FIELDS)}. Leave frames out.")
    return Thinned(RecordSource(builder.data_dir, split, fields), frames, stride)


@sources.register("digits")
def _digits(
    split: str,
    *,
    fields: Sequence[str],
    data_dir: os.PathLike | None,
    config: Any = "digits64",
    workers: int | None = None,
    clips: int | None = None,
    crops: int | None = None,
) -> ClipSource:
    """Moving digits: ``config`` is the name of a shipped world of digits, or a config object, ``clips`` the size of its
    training split, None for the world's own, and ``crops`` the side in px of single digits to be cut out of the clips,
    None for the clips (see ``digits``)."""
    directory = prepared_digits(config, data_dir, workers, clips).data_dir
    if crops is None:
        return RecordSource(directory, split, fields)
    if beyond := sorted(set(fields) - set(CROP_FIELDS)):
        raise ValueError(f"config.data.options.crops asks for single digits, which have {', '.join(CROP_FIELDS)} and "
                         f"no {', '.join(beyond)}. Leave crops out.")
    return DigitCrops(RecordSource(directory, split, NEEDS), crops, tuple(fields))


@sources.register("imported")
def _imported(
    split: str, *, fields: Sequence[str], data_dir: os.PathLike | None, path: os.PathLike
) -> RecordSource:
    """Any finished data set in the clip format: ``path`` is its folder, absolute or under the data root."""
    folder = builders.data_root(data_dir) / pathlib.Path(path).expanduser()
    if not is_complete(folder):
        raise FileNotFoundError(
            f"{folder} holds no finished data set ({INFO} is missing). `path` names the folder of one version, such as "
            ".../trajectories/mono64/1.0.0, absolute or under the root of the data sets, which --data_dir=DIR, data_dir"
            f" in Python or the environment variable {builders.DATA_VARIABLE} names."
        )
    return RecordSource(folder, split, fields)


@sources.register("videos")
def _videos(
    split: str,
    *,
    fields: Sequence[str],
    data_dir: os.PathLike | None,
    workers: int | None = None,
    **settings: Any,
) -> RecordSource:
    """A folder of videos: ``folder``, ``num_frames``, ``height``, ... are those of ``VideoFolderConfig``."""
    return RecordSource(prepared_videos(VideoFolderConfig(**settings), data_dir, workers).data_dir, split, fields)


@sources.register("images")
def _images(
    split: str,
    *,
    fields: Sequence[str],
    data_dir: os.PathLike | None,
    workers: int | None = None,
    **settings: Any,
) -> RecordSource:
    """A folder of pictures as clips of one frame; the settings are those of ``ImageFolderConfig``."""
    return RecordSource(prepared_images(ImageFolderConfig(**settings), data_dir, workers).data_dir, split, fields)


@sources.register("codes")
def _codes(
    split: str, *, fields: Sequence[str], data_dir: os.PathLike | None, codes: str, files: str | None = None
) -> RecordSource:
    """Codes without videos: those that were imported as ``codes`` from ``files`` (see ``coded``), or that
    --mode=tokenize wrote below ``codes/`` of the data root."""
    folder = coded.codes_folder(codes, data_dir)
    if not is_complete(folder):
        raise FileNotFoundError(f"There are no codes {codes!r}: {folder} is missing. Import them once, from a folder "
                                f"of .npz files: --mode=import --config.data.options.files={files or 'FOLDER'}.")
    return RecordSource(folder, split, fields)


def _tfds_set(
    name: str, split: str, *, fields: Sequence[str], data_dir: os.PathLike | None, **cut: Any
) -> RecordSource:
    """A data set of TFDS that was imported; ``num_frames``, ``height``, ... are those of ``imports.Cut``."""
    return RecordSource(imported(name, data_dir=data_dir, **cut), split, fields)


for _name in IMPORTED_LAYOUTS:
    sources.register(_name)(functools.partial(_tfds_set, _name))
