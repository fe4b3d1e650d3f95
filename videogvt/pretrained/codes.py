"""Data sets of codes: what a language model, or the second stage, trains on instead of videos.

    <data root>/codes/<name>-<hash>/1.0.0/     ArrayRecord files that TFDS and the source "imported" read
                                   jsonl/      the same as text, one file a split, one line a clip

``<hash>`` is the beginning of the tokenizer's: codes of two tokenizers never share a folder.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs.builders import data_root
from videogvt.inputs.contracts import Derived
from videogvt.inputs.datasets import naming_the_root, write_dataset
from videogvt.inputs.sources import ClipSource, RecordSource
from videogvt.models.tasks import TaskTable
from videogvt.ops.video import as_float
from videogvt.pretrained.codec import OwnTokenizer
from videogvt.pretrained.tokenizer import VideoTokenizer

_VERSION = "1.0.0"
Tokenizer = VideoTokenizer | OwnTokenizer
TEXTS = ("id", "caption", "equation", "family")
"""Fields that are copied where the source has them, besides the label."""

DESCRIPTION = """\
Codes of videos. `codes` is the grid (t, h, w) of each clip; in a sequence it is read frame after frame, row after row.
The tokenizer that decodes them is the one with the hash in the metadata.
"""


def write_codes(
    tokenizer: Tokenizer, sources: Mapping[str, ClipSource], name: str, data_dir: os.PathLike | None = None,
    tasks: TaskTable | None = None, *, other: str = "To keep both, name another data_dir",
) -> pathlib.Path:
    """Tokenizes all splits of a data set and returns the folder of the codes; a finished one is returned as it is.

    Args:
      tokenizer: the tokenizer, ours or ``OwnTokenizer.of`` any codec.
      sources: split to source, opened with ``fields_to_open(source)``.
      name: of the data set.
      data_dir: root of the data sets.
      tasks: whose condition videos become codes too, the field "conditions", for a codec that cannot be asked while
        training; None for none.
      other: how the caller names codes of other clips, for the message.

    Raises:
      ValueError: the folder holds the codes of other clips.
    """
    hashes = (tokenizer.hash, *([tasks.hash] if tasks else ()))
    folder = data_root(data_dir) / "codes" / "-".join((name, *(digits[:8] for digits in hashes))) / _VERSION
    first = next(iter(sources.values()))
    frames, height, width = first.read([0])["video"].shape[1:4]
    grid = tokenizer.network.latent_shape((frames, height, width))
    about = {
        "tokenizer": {"hash": tokenizer.hash, "num_codes": tokenizer.num_codes, "fields": tokenizer.config},
        "grid": list(grid), "video": [frames, height, width],
        "splits": {split: source.split_hash for split, source in sources.items()},
        **({"conditions": {"hash": tasks.hash, "tasks": tasks.names}} if tasks else {}),
    }
    about = json.loads(json.dumps(about))
    write_dataset(
        folder, features(first, grid, tasks), {split: (len(source), CodedClips(tokenizer, source, tasks))
                                               for split, source in sources.items()},
        name="codes", config=folder.parent.name, version=_VERSION, description=DESCRIPTION, metadata=about, workers=1,
    )  # fmt: skip
    found = tfds.builder_from_directory(folder).info.metadata
    if {key: found[key] for key in about} != about:
        there, here = ({split: digits[:8] for split, digits in one["splits"].items()} for one in (found, about))
        raise ValueError(
            f"{folder} holds the codes of other clips. {other}; or remove {folder}, and these take its place. Found "
            f"hashes {there} of clips {found['video']}, these are {here} of {about['video']}."
        )
    return folder


def fields_to_open(source: ClipSource) -> tuple[str, ...]:
    """The fields of a source that are needed to write its codes."""
    return tuple(field for field in ("video", "label", *TEXTS) if field in source.available)


def features(source: ClipSource, grid: Sequence[int], tasks: TaskTable | None = None) -> tfds.features.FeaturesDict:
    """What an example holds."""
    fields: dict[str, Any] = {"codes": tfds.features.Tensor(shape=tuple(grid), dtype=np.int32, doc="(t, h, w)")}
    if tasks:
        shape = (len(tasks.names), *grid)
        fields["conditions"] = tfds.features.Tensor(shape=shape, dtype=np.int32, doc="(n, t, h, w), by task")
    if "label" in source.fields:
        names = list(source.class_names) or None
        fields["label"] = tfds.features.ClassLabel(names=names) if names else np.int64
    return tfds.features.FeaturesDict(fields | {name: tfds.features.Text() for name in TEXTS if name in source.fields})


@dataclasses.dataclass
class CodedClips:
    """A split as a function from an index to an example; neighbours are tokenized together."""

    tokenizer: Tokenizer
    source: ClipSource
    tasks: TaskTable | None = None
    batch: int = 32
    _block: int = dataclasses.field(default=-1, init=False)
    _rows: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, init=False)

    def __call__(self, index: int) -> dict[str, Any]:
        if index // self.batch != self._block:
            self._block = index // self.batch
            start = self._block * self.batch
            rows = dict(self.source.read(range(start, min(start + self.batch, len(self.source)))))
            self._rows = {**self.coded(rows.pop("video")), **rows}
        row = {name: column[index % self.batch] for name, column in self._rows.items()}
        return {name: value if value.ndim else value.item() for name, value in row.items()}

    def coded(self, video_NTHWC: np.ndarray) -> dict[str, np.ndarray]:
        """What an example has of codes, of many clips."""
        codes = {"codes": self.tokenizer.codes(video_NTHWC)}
        if self.tasks is None:
            return codes
        conditions = [self._conditions(video_NTHWC, task) for task in range(len(self.tasks.names))]
        return codes | {"conditions": np.stack(conditions, axis=1)}

    def _conditions(self, video_NTHWC: np.ndarray, task: int) -> np.ndarray:
        """The codes of what a task gives of each clip; zeros where it gives nothing, for nobody looks at them."""
        if not self.tasks.visible_nTHW[task].any():
            grid = self.tokenizer.network.latent_shape(video_NTHWC.shape[1:4])
            return np.zeros((len(video_NTHWC), *grid), np.int32)
        return self.tokenizer.codes(self._condition(video_NTHWC, np.full(len(video_NTHWC), task, np.int32)))

    @functools.cached_property
    def _condition(self) -> Callable:
        return jax.jit(lambda video_NTHWC, task_N: self.tasks.condition_video(as_float(video_NTHWC), task_N))


@dataclasses.dataclass(frozen=True)
class CodedSource(Derived):
    """A source of clips whose videos are read as codes, made anew each time; see ``CodedClips``.

    Attributes:
      source: opened with ``video``; the ``split_hash`` is that of its clips.
      tokenizer: makes them.
      tasks: whose condition videos become codes too, the field "conditions"; None for none.
    """

    tokenizer: Tokenizer
    tasks: TaskTable | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        added = ("codes", "conditions") if self.tasks else ("codes",)
        return (*(name for name in self.source.fields if name != "video"), *added)

    @property
    def available(self) -> tuple[str, ...]:
        return self.fields

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        rows = dict(self.source.read(indices))
        return CodedClips(self.tokenizer, self.source, self.tasks).coded(rows.pop("video")) | rows


def most_frequent_code(tokenizer: Tokenizer, source: ClipSource, clips: int = 1000) -> int:
    """The code that the first clips of a split have most often: of empty cells, where most cells are empty.

    Of equally frequent ones the first.
    """
    rows = source.read(range(min(clips, len(source))))
    codes_Nthw = rows["codes"] if "codes" in rows else tokenizer.codes(rows["video"])
    return int(np.bincount(codes_Nthw.ravel()).argmax())


def independent_codes(
    tokenizer: VideoTokenizer, source: ClipSource, video: Callable[..., jax.Array], clips: int = 2000
) -> Callable[..., dict[str, jax.Array]]:
    """A generator whose codes know nothing of each other: a control of those that model them.

    Each code of a clip is that which some training clip of its class has in this place, another one for every place.

    Args:
      tokenizer: reads the training clips.
      source: of them, with labels.
      video: ``(state, codes_Bthw) -> video_BTHWC``, as a recipe's.
      clips: so many training clips, evenly spread over all, for these may be in the order of their classes; of each
        class as many as the rarest has.

    Returns:
      A function like a recipe's "generate": of (state, task_B, label_B, video_BTHWC, keys_B), of which labels and keys
      count, with "video" and "codes" (B, t, h, w).

    Raises:
      ValueError: a class has none of these clips.
    """
    rows = source.read(np.linspace(0, len(source) - 1, min(clips, len(source))).astype(int).tolist())
    codes_Mthw, label_M = tokenizer.codes(rows["video"]), np.asarray(rows["label"])
    counts_C = np.bincount(label_M, minlength=len(source.class_names))
    if not counts_C.all():
        raise ValueError(f"Of {len(label_M)} training clips the classes {list(source.class_names)} have "
                         f"{counts_C.tolist()}; codes of every class are asked for.")
    grid = codes_Mthw.shape[1:]
    table_CMN = np.stack([codes_Mthw[label_M == label][: counts_C.min()] for label in range(len(counts_C))])
    table_CMN = table_CMN.reshape(*table_CMN.shape[:2], -1)

    def generate(state, task_B, label_B, video_BTHWC, keys_B):
        del task_B, video_BTHWC
        clips, places_N = table_CMN.shape[1], np.arange(table_CMN.shape[2])
        clip_BN = jax.vmap(lambda key: jax.random.randint(key, places_N.shape, 0, clips))(keys_B)
        codes_Bthw = jnp.asarray(table_CMN)[label_B[:, None], clip_BN, places_N].reshape(-1, *grid)
        return {"video": video(state, codes_Bthw), "codes": codes_Bthw}

    return generate


def write_jsonl(folder: os.PathLike) -> list[pathlib.Path]:
    """Writes a finished data set of codes as text, beside it; returns the files, one a split.

    A line is ``{"id", "codes": "12 7 ...", "grid": [t, h, w], "tokenizer": hash, "label", "class", "caption",
    "equation", "family"}``, with those of the latter that the data set has.
    """
    folder = pathlib.Path(folder)
    metadata = tfds.builder_from_directory(folder).info.metadata
    common = {"grid": metadata["grid"], "tokenizer": metadata["tokenizer"]["hash"]}
    target = folder.parent / "jsonl"
    with naming_the_root(target):
        target.mkdir(exist_ok=True)
    paths = []
    for split in metadata["splits"]:
        path = target / f"{split}.jsonl"
        half = path.with_name(f".{path.name}.{os.getpid()}")
        with naming_the_root(target), half.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line | common, ensure_ascii=False) + "\n" for line in _lines(folder, split))
        half.replace(path)
        paths.append(path)
    return paths


def _lines(folder: pathlib.Path, split: str) -> Iterator[dict[str, Any]]:
    available = RecordSource(folder, split, ("codes",)).available
    source = RecordSource(folder, split, available)
    for index in range(len(source)):
        row = {name: column[0] for name, column in source.read([index]).items()}
        line: dict[str, Any] = {name: str(row[name]) for name in TEXTS if name in row}
        if "label" in row:
            line["label"] = int(row["label"])
            if source.class_names:
                line["class"] = source.class_names[line["label"]]
        yield line | {"codes": " ".join(map(str, row["codes"].ravel().tolist()))}
