"""Sources that change the clips of another one, or choose among them: what controls of an experiment are made of."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from videogvt.inputs.contracts import ClipSource, Derived

Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class EditedSource(Derived):
    """A source whose clips are changed: ``edit(rows, indices)``, named by ``name`` in the hash."""

    name: str
    edit: Callable[[Rows, Sequence[int]], Rows]

    fields = property(lambda self: tuple(name for name in self.source.fields if name != "views"))

    @property
    def split_hash(self) -> str:
        """Of the clips and what is done to them."""
        whole = f"{self.source.split_hash} {self.name}"
        return hashlib.sha256(whole.encode()).hexdigest() if self.source.split_hash else ""

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        rows = self.edit(self.source.read(indices), indices)
        return {name: rows[name] for name in self.fields}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some clips of a source, in a given order, with further columns that lie in memory; a ``ClipSource``.

    Attributes:
      source: where the clips are read, or None if the columns are all there is.
      rows: (N,) their places in it.
      columns: (N, ...) each, by field; they win over the source's.
      class_names, split_hash, splits: of the data set.
    """

    source: ClipSource | None
    rows: np.ndarray
    columns: Mapping[str, np.ndarray]
    class_names: tuple[str, ...]
    split_hash: str
    splits: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        read = self.source.fields if self.source is not None else ()
        return tuple(dict.fromkeys((*read, *self.columns)))

    available = fields

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        places = np.asarray(indices)
        read = self.source.read(self.rows[places]) if self.source is not None else {}
        return read | {name: column[places] for name, column in self.columns.items()}


def edited(source: ClipSource, edit: str | None) -> ClipSource:
    """A source of videos as an edit of their frames leaves them."""
    edits = {"first_frame": _first_frame, "shuffled_time": _shuffled_frames, "mirrored": _mirrored}
    return EditedSource(source, edit, edits[edit]) if edit in edits else source


def _first_frame(rows: Rows, indices: Sequence[int]) -> Rows:
    video_BTHWC = rows["video"]
    return rows | {"video": np.repeat(video_BTHWC[:, :1], video_BTHWC.shape[1], axis=1)}


def _shuffled_frames(rows: Rows, indices: Sequence[int]) -> Rows:
    orders = [np.random.default_rng(int(index)).permutation(rows["video"].shape[1]) for index in indices]
    return rows | {"video": np.stack([video[order] for video, order in zip(rows["video"], orders, strict=True)])}


def _mirrored(rows: Rows, indices: Sequence[int]) -> Rows:
    return rows | {"video": np.ascontiguousarray(rows["video"][:, :, :, ::-1])}


def side_by_side(rows: Rows, indices: Sequence[int]) -> Rows:
    """The videos of all cameras in one, from left to right."""
    views = rows["views"]
    return rows | {"video": np.concatenate([rows["video"], *(views[:, v] for v in range(views.shape[1]))], axis=3)}


def one_view(view: int, rows: Rows, indices: Sequence[int]) -> Rows:
    """The video of one of the further cameras in place of the first's."""
    return rows | {"video": rows["views"][:, view]}
