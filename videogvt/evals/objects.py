"""What PSNR cannot see: whether the object is there, where it is, and whether it still moves in the same way.

Positions are pixels, x right and y down, pixel centres at integers. An object is what differs from the background by at
least 0.15; the background is the original's own (``trivial.background``), for an answer as for the original.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from videogvt.evals import trivial
from videogvt.world import oracle, tracker


@dataclasses.dataclass(frozen=True)
class Originals:
    """What is known of a batch of originals.

    Attributes:
      background_B1HWC: the clips without their object, uint8.
      track: the object as tracked in the originals.
      position_BT2, radius_BT: the true centre and radius in the picture of the first camera, in pixels.
      label_B, fps_B: the true family and the frames per second.
      families: names by label; () when the oracle does not know them.
    """

    background_B1HWC: np.ndarray
    track: tracker.Track
    position_BT2: np.ndarray
    radius_BT: np.ndarray
    label_B: np.ndarray
    fps_B: np.ndarray
    families: tuple[str, ...]

    @classmethod
    def of(cls, batch: Mapping[str, np.ndarray], families: tuple[str, ...]) -> "Originals":
        """Tracks the originals of a batch that has ``pixel_position``, ``radius_px`` and ``fps``."""
        background = trivial.background(batch["video"])[:, :1]
        return cls(
            background_B1HWC=background, track=tracker.track(batch["video"], background),
            position_BT2=batch["pixel_position"][:, 0], radius_BT=batch["radius_px"][:, 0],
            label_B=batch["label"], fps_B=batch["fps"], families=families,
        )


def object_columns(video_BTHWC: np.ndarray, originals: Originals) -> dict[str, np.ndarray]:
    """A row for each clip: ``found`` (B, T), ``track_error_px`` (B, T), ``track`` (B, T, 2) and ``named_right`` (B).

    ``found`` is exactly one component that differs from the background by 0.15, of half to twice the true area, centred
    within 3 px of the true centre. ``track_error_px`` is the distance to the object as tracked in the original: NaN
    where the original has no track, and the diagonal of the frame, the most there can be, where only the clip has none,
    so that to lose the object is never better than to misplace it. ``named_right`` tells whether the kinematic oracle
    names the true family from this track; it is missing without families.

    Args:
      video_BTHWC: clips that stand for the originals, uint8.
      originals: what is known of the originals.
    """
    track = tracker.track(video_BTHWC, originals.background_B1HWC)
    height, width = video_BTHWC.shape[2:4]
    gap_BT = np.linalg.norm(track.position_T2 - originals.track.position_T2, axis=-1)
    gap_BT = np.where(track.found_T, gap_BT, np.hypot(height, width))
    columns = {
        "found": tracker.agrees(track, originals.position_BT2, originals.radius_BT),
        "track_error_px": np.where(originals.track.found_T, gap_BT, np.nan).astype(np.float32),
        "track": track.position_T2.astype(np.float32),
    }
    if originals.families:
        named_B = name_families(track.position_T2, originals.fps_B, originals.families, min(height, width))
        columns["named_right"] = named_B == np.array(originals.families)[originals.label_B]
    return columns


def name_families(track_BT2: np.ndarray, fps_B: np.ndarray, families: Sequence[str], size: int) -> np.ndarray:
    """The oracle's name for every track, str (B); tracks of one frame rate are named together."""
    names_B = np.full(len(track_BT2), oracle.UNKNOWN, dtype="U32")
    for fps in np.unique(fps_B):
        rows = fps_B == fps
        names_B[rows] = oracle.classify(track_BT2[rows], fps=float(fps), families=families, size=size)
    return names_B
