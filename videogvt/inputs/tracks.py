"""A user's own trajectories: an ``.npz`` file that is read with suspicion, and its split into train, validation, test.

The file holds ``trajectories`` (N, T, 2 or 3), numbers, and ``labels`` (N,), integers or strings; optionally
``class_names`` (C,), strings, which integer labels 0..C-1 then index. Other arrays are ignored.
"""

import hashlib
import os
import pathlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from videogvt.core.arrays import Damaged, read_npz
from videogvt.inputs.paths import printable_name
from videogvt.inputs.shards import file_sha256

_MIN_FRAMES = 8
MIN_CLIPS = 10  # of each class, so that every class is in every split
_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
NEEDED = (
    f"needed are 'trajectories' (N, T, 2 or 3) of finite numbers with T >= {_MIN_FRAMES}, and 'labels' (N,) of integers"
    f" or strings with 2 or more classes of {MIN_CLIPS} or more clips each"
)


@dataclass(frozen=True)
class Tracks:
    """What a file holds.

    Attributes:
      position_NTD: float64; D is 2 or 3.
      label_N: index into ``class_names``.
      class_names: in label order; sorted where the file does not name them.
      sha256: of the file.
    """

    position_NTD: np.ndarray
    label_N: np.ndarray
    class_names: tuple[str, ...]
    sha256: str


def read_tracks(path: os.PathLike) -> Tracks:
    """Reads and checks a file; a ``ValueError`` says what was found and what is needed."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; {NEEDED}.")
    arrays = _load(path)
    missing = [name for name in ("trajectories", "labels") if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no array {' or '.join(map(repr, missing))}; {NEEDED}.")
    position_NTD = _checked_positions(path, arrays["trajectories"])
    labels = arrays["labels"]
    if labels.shape != position_NTD.shape[:1]:
        raise ValueError(
            f"{path}: 'labels' has shape {labels.shape} beside {len(position_NTD)} trajectories; {NEEDED}."
        )
    label_N, class_names = _classes(path, labels, arrays)
    _check_counts(path, label_N, class_names)
    return Tracks(position_NTD, label_N, class_names, file_sha256(path))


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .npz file; {NEEDED}.")
    try:
        return read_npz(path, ("trajectories", "labels", "class_names"))
    except Damaged as error:
        if "Python objects" in str(error):
            raise ValueError(
                f"{path} holds an object array (Python objects, or trajectories of unequal lengths), which is not"
                f" loaded; {NEEDED}."
            ) from error
        raise ValueError(f"{path} is a damaged .npz file ({error}); {NEEDED}.") from error


def _checked_positions(path: pathlib.Path, trajectories: np.ndarray) -> np.ndarray:
    shape = trajectories.shape
    if trajectories.dtype.kind not in "fiu":
        raise ValueError(f"{path}: 'trajectories' has dtype {trajectories.dtype}; {NEEDED}.")
    if len(shape) != 3 or shape[2] not in (2, 3) or shape[1] < _MIN_FRAMES:
        raise ValueError(f"{path}: 'trajectories' has shape {shape}; {NEEDED}.")
    position_NTD = trajectories.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(position_NTD).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"{path}: NaN or infinity in {len(bad)} of {len(position_NTD)} trajectories, the first at index {bad[0]};"
            f" {NEEDED}."
        )
    return position_NTD


def _classes(
    path: pathlib.Path, labels: np.ndarray, arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.dtype.kind not in "iuUS":
        raise ValueError(f"{path}: 'labels' has dtype {labels.dtype}; {NEEDED}.")
    if "class_names" not in arrays:
        values, label_N = np.unique(labels, return_inverse=True)
        return label_N, tuple(_text(value) for value in values.tolist())
    names = arrays["class_names"]
    if names.dtype.kind not in "US" or names.ndim != 1 or len(set(names.tolist())) != len(names):
        raise ValueError(
            f"{path}: 'class_names' is {names.dtype} {names.shape}; it may be left out, or be (C,) distinct strings."
        )
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(names):
        raise ValueError(
            f"{path}: 'labels' are {labels.dtype}; beside {len(names)} 'class_names' they must be integers from 0 to"
            f" {len(names) - 1}."
        )
    return labels.astype(np.int64), tuple(_text(name) for name in names.tolist())


def _text(value: object) -> str:
    """The name of a class as TFDS can store it."""
    return printable_name(value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value))


def _check_counts(path: pathlib.Path, label_N: np.ndarray, class_names: tuple[str, ...]) -> None:
    if "" in class_names or len(set(class_names)) < len(class_names):
        raise ValueError(f"{path}: the names of the classes are {class_names[:20]}; each must have one of its own.")
    counts = np.bincount(label_N, minlength=len(class_names))
    if len(class_names) < 2 or counts.min() < MIN_CLIPS:
        found = ", ".join(f"{name}: {count}" for name, count in zip(class_names[:20], counts))
        raise ValueError(f"{path}: clips per class are {{{found}}}; {NEEDED}.")


def split_tracks(tracks: Tracks) -> dict[str, np.ndarray]:
    """Split name to the rows of the file in it, ascending; every row is in exactly one split.

    The rule: within each class, distinct trajectories are ordered by their SHA-256; the first 80 % are train, the next
    10 % validation, the rest test. All copies of a trajectory go where the first one goes, whatever their labels.
    """
    digests = [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in tracks.position_NTD]
    first = {}
    for row, digest in enumerate(digests):
        first.setdefault(digest, row)
    owner = {}
    for label in range(len(tracks.class_names)):
        ordered = sorted(digest for digest, row in first.items() if tracks.label_N[row] == label)
        ends = np.round(np.cumsum(list(_SHARES.values())) * len(ordered)).astype(int)
        for split, start, stop in zip(_SHARES, [0, *ends], ends):
            owner.update(dict.fromkeys(ordered[start:stop], split))
    rows = {split: [row for row, digest in enumerate(digests) if owner[digest] == split] for split in _SHARES}
    empty = [split for split, members in rows.items() if not members]
    if empty:
        raise ValueError(
            f"Of {len(digests)} trajectories only {len(first)} are distinct, too few for a split {empty[0]!r};"
            f" {MIN_CLIPS} distinct ones in each class are enough."
        )
    return {split: np.array(members) for split, members in rows.items()}
