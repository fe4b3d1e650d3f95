"""Codes that were made elsewhere: from ``.npz`` files to a data set that transformers and probes learn from.

A folder holds one file a split, ``train.npz`` and, where there are, ``validation.npz``, ``test.npz``. Each has

    codes         integers (N, t, h, w), or (N, L) with ``grid``
    num_codes     a number K: codes are 0 to K - 1
    grid          (t, h, w) with t h w = L; where codes are flat
    label         integers (N,), where clips have classes
    class_names   texts, by label, where there are labels
    strides       frames, rows and columns of a video per code; by default 1, 1, 1
    lead          1 where the first frame of codes says one frame of the video alone, as causal tokenizers' do; else 0
    hash          a text that changes with the meaning of the codes; by default that of the files
    id            texts (N,); by default split and number

No code is run, no claim of a file is believed (``core.arrays``), and a data set that is there is never written over.
"""

import dataclasses
import hashlib
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from videogvt.core.arrays import Damaged, read_npz
from videogvt.inputs.builders import data_root
from videogvt.inputs.datasets import is_complete, write_dataset

_VERSION = "1.0.0"
_NO_CLASSES = "all"
_ARRAYS = ("codes", "num_codes", "grid", "label", "class_names", "strides", "lead", "hash", "id")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MANY = 2**31 - 1
_DIGITS = re.compile(r"[0-9a-f]{16}")
_SAME = ("grid", "num_codes", "strides", "lead", "hash", "class_names")
"""What all splits have in common."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """A split as its file says: a function from an index to an example."""

    codes_Nthw: np.ndarray
    label_N: np.ndarray
    id_N: np.ndarray
    num_codes: int
    strides: tuple[int, ...]
    lead: int
    class_names: tuple[str, ...]
    hash: str

    @property
    def grid(self) -> tuple[int, ...]:
        """(t, h, w)."""
        return self.codes_Nthw.shape[1:]

    @property
    def video(self) -> tuple[int, ...]:
        """(T, H, W) of the clips that codes stand for."""
        leads = self.lead, 0, 0
        return tuple((cells - lead) * stride + lead for cells, stride, lead in zip(self.grid, self.strides, leads))

    def __len__(self) -> int:
        return len(self.codes_Nthw)

    def __call__(self, index: int) -> dict[str, Any]:
        return {"codes": self.codes_Nthw[index], "label": int(self.label_N[index]), "id": str(self.id_N[index])}


def digits_of(text: str) -> str:
    """The 16 hexadecimal digits by which a tokenizer of that hash is known here: a hash of ours itself, else of it."""
    return text if _DIGITS.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:16]


def codes_folder(name: str, data_dir: os.PathLike | None) -> pathlib.Path:
    """The folder of the codes of a name, ``<data root>/codes/<name>/1.0.0``, which need not be there.

    Raises:
      ValueError: the name is no plain one.
    """
    if not _NAME.fullmatch(str(name)):
        raise ValueError(f"config.data.options.codes is {name!r}; expected letters, digits, '.', '_' and '-', of which "
                         "the folder of the codes is called.")
    return data_root(data_dir) / "codes" / name / _VERSION


def import_codes(name: str, files: os.PathLike | None, data_dir: os.PathLike | None = None) -> pathlib.Path:
    """Writes the codes of a folder of ``.npz`` files as a data set, and returns its folder.

    Args:
      name: what the data set is called.
      files: the folder; see the module.
      data_dir: root of the data sets.

    Raises:
      ValueError: a file is not as the module says; the message names it, what was found and what is expected.
      FileNotFoundError: there is no such folder, or no ``train.npz`` in it.
      FileExistsError: another data set has that name; it is left as it is.
    """
    folder = codes_folder(name, data_dir)
    parts = _parts(files)
    first = parts["train"]
    about = {
        "tokenizer": {"hash": first.hash, "num_codes": first.num_codes}, "grid": list(first.grid),
        "video": list(first.video),
        "files": {split: _digest(part) for split, part in parts.items()},
    }
    if is_complete(folder):
        found = tfds.builder_from_directory(folder).info.metadata
        if {key: found.get(key) for key in about} != about:
            raise FileExistsError(f"{folder} holds other codes than {files}, and is left as it is. Name these "
                                  f"differently: --config.data.options.codes={name}-2.")
        return folder
    features = tfds.features.FeaturesDict({
        "codes": tfds.features.Tensor(shape=first.grid, dtype=np.int32, doc="(t, h, w)"),
        "label": tfds.features.ClassLabel(names=list(first.class_names)), "id": tfds.features.Text(),
    })  # fmt: skip
    write_dataset(folder, features, {split: (len(part), part) for split, part in parts.items()}, name="codes",
                  config=name, version=_VERSION, description="Codes that were imported.", metadata=about, workers=1)
    return folder


def _parts(files: os.PathLike | None) -> dict[str, _Part]:
    """All splits of a folder, "train" first."""
    folder = pathlib.Path(files or "").expanduser()
    if files is None or not folder.is_dir():
        raise FileNotFoundError(f"config.data.options.files is {str(files)!r}; expected a folder with train.npz and, "
                                "where there are, validation.npz and test.npz.")
    paths = {path.stem: path for path in sorted(folder.glob("*.npz")) if path.is_file()}
    if "train" not in paths:
        raise FileNotFoundError(f"{folder} has no train.npz; it has {', '.join(paths) or 'no .npz file'}. A file is "
                                "called by its split.")
    if wrong := [stem for stem in paths if not re.fullmatch(r"[a-z]\w*", stem)]:
        raise ValueError(f"{paths[wrong[0]]}: {wrong[0]!r} is no name of a split; take train, validation or test.")
    parts = {split: _part(paths[split]) for split in sorted(paths, key=lambda stem: (stem != "train", stem))}
    for split, part in parts.items():
        for what in _SAME:
            here, there = getattr(part, what), getattr(parts["train"], what)
            if here != there:
                raise ValueError(f"{paths[split]} has {what} {_short(here)}, train.npz {_short(there)}; all splits "
                                 "have the same.")
    digits = digits_of(parts["train"].hash or "".join(map(_digest, parts.values())))
    return {split: dataclasses.replace(part, hash=digits) for split, part in parts.items()}


def _part(path: pathlib.Path) -> _Part:
    try:
        arrays = read_npz(path)
    except Damaged as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if "codes" not in arrays or "num_codes" not in arrays:
        raise ValueError(f"{path} has {', '.join(arrays) or 'no array'}; expected codes and num_codes.")
    if unknown := sorted(arrays.keys() - set(_ARRAYS)):
        raise ValueError(f"{path} has an array {unknown[0]!r}; known are {', '.join(_ARRAYS)}.")
    num_codes = _whole(path, "num_codes", arrays["num_codes"], (), 2)
    codes_Nthw = _grids(path, arrays, int(num_codes))
    clips = len(codes_Nthw)
    label_N, names = _classes(path, arrays, clips)
    strides = _whole(path, "strides", arrays.get("strides", np.ones(3, int)), (3,), 1)
    if int(strides.max()) > 1024:
        raise ValueError(f"{path}: strides are {strides.tolist()}; expected at most 1024.")
    lead = int(_whole(path, "lead", arrays.get("lead", np.int64(0)), (), 0))
    if lead > 1:
        raise ValueError(f"{path}: lead is {lead}; expected 1 for the codes of a causal tokenizer, else 0.")
    default = np.array([f"{path.stem}/{index:06d}" for index in range(clips)])
    return _Part(codes_Nthw, label_N, _texts(path, "id", arrays.get("id", default), (clips,)), int(num_codes),
                tuple(strides.tolist()), lead, names, str(_texts(path, "hash", arrays.get("hash", np.array("")), ())))


def _grids(path: pathlib.Path, arrays: Mapping[str, np.ndarray], num_codes: int) -> np.ndarray:
    """The codes (N, t, h, w), int32, all of them in range."""
    codes = arrays["codes"]
    if "grid" in arrays:
        grid = tuple(_whole(path, "grid", arrays["grid"], (3,), 1).tolist())
        if codes.shape[1:] not in (grid, (math.prod(grid),)):
            raise ValueError(f"{path}: codes are {codes.shape}; expected (N, {math.prod(grid)}) or (N, t, h, w), by "
                             f"the grid {grid}.")
        codes = codes.reshape(-1, *grid)
    if codes.ndim != 4 or not codes.size or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"{path}: codes are {codes.dtype} {codes.shape}; expected integers (N, t, h, w), or (N, L) "
                         "with an array grid of three numbers.")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= num_codes:
        clip = int(((codes < 0) | (codes >= num_codes)).any((1, 2, 3)).argmax())
        raise ValueError(f"{path}: codes run from {low} to {high}, first outside in clip {clip}; expected 0 to "
                         f"{num_codes - 1}, by num_codes.")
    return codes.astype(np.int32)


def _classes(path: pathlib.Path, arrays: Mapping[str, np.ndarray], clips: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels (N,) and the classes' names; one class of all where there are no labels."""
    if "label" not in arrays:
        if "class_names" in arrays:
            raise ValueError(f"{path} has class_names and no label; give both, or neither.")
        return np.zeros(clips, np.int64), (_NO_CLASSES,)
    label_N = _whole(path, "label", arrays["label"], (clips,), 0)
    if "class_names" not in arrays:
        raise ValueError(f"{path} has labels and no class_names; give the classes' names too, as texts by label.")
    texts = _texts(path, "class_names", arrays["class_names"], (arrays["class_names"].size,)).tolist()
    if len(set(texts)) != len(texts) or not all(text.strip() == text and text.isprintable() and text for text in texts):
        raise ValueError(f"{path}: class_names are {_short(texts)}; expected one name for each class, no two alike, of "
                         "one line without blanks around it.")  # a data set keeps them as lines
    if int(label_N.max()) >= len(texts):
        raise ValueError(f"{path}: labels reach {label_N.max()}; expected 0 to {len(texts) - 1}, by class_names.")
    return label_N, tuple(texts)


def _whole(path: pathlib.Path, name: str, array: np.ndarray, shape: tuple[int, ...], least: int) -> np.ndarray:
    if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{path}: {name} is {array.dtype} {array.shape}; expected whole numbers {shape}.")
    if int(array.min()) < least or int(array.max()) > MANY:
        raise ValueError(f"{path}: {name} is from {array.min()} to {array.max()}; expected {least} to {MANY}.")
    return array.astype(np.int64)


def _texts(path: pathlib.Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.dtype.kind != "U" or array.shape != shape:
        raise ValueError(f"{path}: {name} is {array.dtype} {array.shape}; expected texts {shape}.")
    return array


def _digest(part: _Part) -> str:
    """Of all that a split says."""
    facts = repr((part.codes_Nthw.shape, part.num_codes, part.strides, part.class_names, part.id_N.tolist()))
    digest = hashlib.sha256(facts.encode())
    for array in (part.codes_Nthw, part.label_N):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
