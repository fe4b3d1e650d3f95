"""Clips of the world filmed anew on changed paths, in place of the stored ones."""

import dataclasses
from typing import ClassVar

import numpy as np

from videogvt.inputs.contracts import Batch, Streams
from videogvt.world.example import augment
from videogvt.world.spec import SPECS, WorldSpec


@dataclasses.dataclass(frozen=True)
class RandomPath:
    """Films clips of ``trajectories`` anew with their paths mirrored, run backwards or turned; it comes first.

    Look, light and noise stay, and every field that is read follows the new path. ``id`` is left out of the batch, for
    the clip is not the stored one any more. A clip that changes costs a core some milliseconds. Reversed and turned
    paths start elsewhere, not equally for all classes; see ``world.example.augment``.

    Attributes:
      mirror: probability of a mirror image, in which left and right change places.
      reverse: probability that the path is run backwards.
      turn: radians by which a path turns about the vertical at most, evenly to both sides; one that would leave the
        picture is not turned.
    """

    needs: ClassVar[tuple[str, ...]] = ("id",)
    mirror: float = 0.5
    reverse: float = 0.0
    turn: float = 0.0

    def __call__(self, batch: Batch, streams: Streams) -> Batch:
        if "id" not in batch:
            raise ValueError(f"random_path finds clips by their id, and only {sorted(batch)} are read; read the id, or "
                             "leave it out of config.data.transforms.")
        clips = [self._filmed(str(name), stream) for name, stream in zip(batch["id"], streams, strict=True)]
        for clip in filter(None, clips):
            if clip["video"].shape != batch["video"].shape[1:]:
                raise ValueError(f"random_path films clips of {clip['video'].shape}, but these are of "
                                 f"{batch['video'].shape[1:]}; name it before the transforms that change sizes.")
        return {field: _column(field, rows, clips) for field, rows in batch.items() if field != "id"}

    def _filmed(self, name: str, stream: np.random.Generator) -> dict | None:
        """The example of that ``id`` on a changed path; None where nothing changes."""
        change = {"mirror": stream.random() < self.mirror, "reverse": stream.random() < self.reverse}
        turn = self.turn * stream.uniform(-1, 1)
        spec, split, index = _of_world(name)
        if turn:
            try:
                return augment(spec, split, index, **change, turn=turn)
            except ValueError:
                pass  # it leaves the picture
        return augment(spec, split, index, **change) if any(change.values()) else None


def _of_world(name: str) -> tuple[WorldSpec, str, int]:
    """World, split and index of an ``id`` such as "mono64/train/000012"; of resized worlds the one that ships."""
    world, *rest = name.split("/")
    spec = SPECS.get(world) or SPECS.get(world.rpartition("_train")[0])
    if spec is None or len(rest) != 2 or not rest[1].isdecimal():
        raise ValueError(f"random_path films clips of {', '.join(SPECS)} anew, and knows none of id {name!r}; leave it "
                         "out of config.data.transforms.")
    return spec, rest[0], int(rest[1])


def _column(field: str, rows: np.ndarray, clips: list[dict | None]) -> np.ndarray:
    """A field's rows, those of changed clips from these."""
    column = np.stack([row if clip is None else np.asarray(clip[field]) for row, clip in zip(rows, clips)])
    return column if rows.dtype.kind == "U" else column.astype(rows.dtype)
