"""What generated clips show: whether one object is there from first to last, how it moves, and how that compares.

There is no original to compare with, so everything is measured on the clip's own track and then set beside the same
measure of real clips. Positions are pixels, speeds pixels a frame. A clip in which nothing can be tracked must never
look good: it has no family, it is not plausible, it adds nothing to the spread, and its fit is as bad as can be.
"""

import dataclasses

import numpy as np

from videogvt.evals import baselines
from videogvt.evals.appearance import appearance_columns
from videogvt.evals.baselines import name_families
from videogvt.evals.rows import Columns
from videogvt.inputs.sources import ClipSource
from videogvt.world import oracle, tracker

_MIN_FRAMES = oracle.MIN_TRACK_FRAMES
"""Frames with an object below which a clip counts as having no track."""

BAND = (1.0, 99.0)
"""Percentiles of the training clips of a class between which a speed or a radius is plausible."""

TRUTH = ("pixel_position", "radius_px")
"""Fields that spare the tracking of training clips; they agree with the tracker to 0.1 px."""


PROBED = 8
"""Clips that are tracked to see whether a source without ``TRUTH`` is of tracked objects."""


def has_tracks(source: ClipSource) -> bool:
    """Whether clips are of tracked objects: they say where it is, or the first ones can be tracked, half of them at
    least from first to last frame. Open the source with ``video``, ``fps`` and ``TRUTH`` as far as it has them."""
    if "fps" not in source.fields or set(TRUTH) <= set(source.fields):
        return "fps" in source.fields
    video_BTHWC = source.read(list(range(min(PROBED, len(source)))))["video"]
    return bool(motion_columns(video_BTHWC)["found"].all(axis=1).mean() >= 0.5)


def motionless_background(video_BTHWC: np.ndarray) -> np.ndarray:
    """What stands still behind the object, uint8, broadcasting to the clips.

    Of a plain scene, one whose border has the border's median colour in nine of ten pixels, it is that colour: a stain
    that never moves is then an object too. Of any other scene it is the still picture of ``baselines.background``.
    """
    colour_B111C = tracker.border_colour(video_BTHWC)
    edges = (video_BTHWC[:, :, 0], video_BTHWC[:, :, -1], video_BTHWC[:, :, :, 0], video_BTHWC[:, :, :, -1])
    border_BTXC = np.concatenate(edges, axis=2).astype(np.int16)
    near_BTX = np.abs(border_BTXC - colour_B111C[:, 0]).max(axis=-1) < 255 * tracker.THRESHOLD
    busy_B = near_BTX.mean(axis=(1, 2)) < 0.9
    still = np.broadcast_to(colour_B111C, (len(video_BTHWC), 1, *video_BTHWC.shape[2:])).copy()
    if busy_B.any():
        still[busy_B] = baselines.background(video_BTHWC[busy_B])[:, :1]
    return still


def motion_columns(video_BTHWC: np.ndarray) -> Columns:
    """A row for each clip, uint8: ``track`` (B, T, 2), ``found`` (B, T), ``area`` (B, T), ``stray`` (B, T), and
    ``colour`` (B, T, 3), the mean colour of the tracked object's pixels, NaN without one.

    ``stray`` counts the pixels that stand out of the background more than 3 px beyond the rim of the tracked object:
    the tracker itself overlooks what is too small or too large for an object. Where nothing is tracked it counts all.
    """
    still = motionless_background(video_BTHWC)
    track = tracker.track(video_BTHWC, still)
    high = np.maximum(video_BTHWC, still) - np.minimum(video_BTHWC, still)  # bytes do not wrap around this way
    out_BTHW = high.max(axis=-1) >= np.ceil(255 * tracker.THRESHOLD)
    rows, columns = np.arange(video_BTHWC.shape[2])[:, None], np.arange(video_BTHWC.shape[3])
    reach_BT = np.sqrt(track.area_T / np.pi) + 3.0
    x_BT, y_BT = np.moveaxis(np.nan_to_num(track.position_T2, nan=-1e6), -1, 0)
    apart_BTHW = (columns - x_BT[..., None, None]) ** 2 + (rows - y_BT[..., None, None]) ** 2
    beyond_BTHW = apart_BTHW > reach_BT[..., None, None] ** 2
    stray_BT = (out_BTHW & beyond_BTHW).sum(axis=(2, 3))
    own_BTHW = (out_BTHW & ~beyond_BTHW).astype(np.float32)
    pixels_BT1 = np.where(track.found_T, own_BTHW.sum(axis=(2, 3)), np.nan)[..., None]
    colour_BT3 = np.einsum("bthw,bthwc->btc", own_BTHW, video_BTHWC.astype(np.float32)) / pixels_BT1
    return {"track": track.position_T2.astype(np.float32), "found": track.found_T,
            "area": track.area_T.astype(np.float32), "stray": stray_BT.astype(np.int32),
            "colour": colour_BT3.astype(np.float32)}


def one_object(columns: Columns, size: int, longest_step: float) -> np.ndarray:
    """Whether one and only one object persists, bool (B).

    It is found in every frame; its area stays between half and twice the clip's median; it moves at most
    ``longest_step`` pixels from one frame to the next, so that it is the same object; and in no frame do as many pixels
    stray as the smallest object has (3 at 64 pixels on the short side).
    """
    middle_B1 = np.median(columns["area"], axis=1, keepdims=True)
    steady_BT = (columns["area"] >= 0.5 * middle_B1) & (columns["area"] <= 2.0 * middle_B1)
    least = max(1.0, tracker.PLAUSIBLE_AREA[0] * (size / 64.0) ** 2)
    frames_BT = columns["found"] & steady_BT & (columns["stray"] < least)
    steps_BT = np.nan_to_num(np.linalg.norm(np.diff(columns["track"], axis=1), axis=-1), nan=np.inf)
    return frames_BT.all(axis=1) & (steps_BT <= longest_step).all(axis=1)


def roughness(track_BT2: np.ndarray, order: int) -> np.ndarray:
    """Root mean square over time of the differences of order 1 (speed), 2 (acceleration) or 3 (jerk), in pixels per
    frame to that power: (B), NaN where no ``order + 1`` frames in a row are tracked."""
    return np.sqrt(_mean_where_finite((np.diff(track_BT2, n=order, axis=1) ** 2).sum(axis=-1)))


def mean_speed(track_BT2: np.ndarray) -> np.ndarray:
    """Pixels a frame (B), the mean over neighbouring tracked frames; NaN where there are none."""
    return _mean_where_finite(np.linalg.norm(np.diff(track_BT2, axis=1), axis=-1))


def mean_radius(columns: Columns) -> np.ndarray:
    """The radius in pixels of a disc of the object's area (B), the mean over the frames where it is found."""
    return _mean_where_finite(radii(columns))


def radii(columns: Columns) -> np.ndarray:
    """The same frame by frame (B, T), NaN where it is not found."""
    return np.where(columns["found"], np.sqrt(columns["area"] / np.pi), np.nan)


def _mean_where_finite(values_BT: np.ndarray) -> np.ndarray:
    finite_BT = np.isfinite(values_BT)
    total_B = np.where(finite_BT, values_BT, 0.0).sum(axis=1)
    return np.where(finite_BT.any(axis=1), total_B / np.maximum(finite_BT.sum(axis=1), 1), np.nan)


@dataclasses.dataclass(frozen=True)
class Training:
    """The motion of the training clips, in the light of which generated ones are looked at.

    Attributes:
      columns: ``track``, ``found``, ``area`` and ``stray`` of clips that are tracked in every frame.
      label_N: their classes.
      class_names: by label.
      families: the same, if the oracle knows them all; else ().
      fps: frames per second.
      size: short side of the picture.
      diagonal: of the picture, in pixels.
    """

    columns: Columns
    label_N: np.ndarray
    class_names: tuple[str, ...]
    families: tuple[str, ...]
    fps: float
    size: int
    diagonal: float

    @classmethod
    def of(cls, source: ClipSource, limit: int | None = None) -> "Training":
        """Reads the tracks of a training split opened with ``video``, ``label``, ``fps`` and, where they exist,
        ``TRUTH``; of ``limit`` clips, spread evenly, or of all. Without truth every clip is tracked, 30 a second."""
        count = min(len(source), limit or len(source))
        indices = np.unique(np.linspace(0, len(source) - 1, count).astype(int))
        parts = []
        for chunk in np.array_split(indices, -(-len(indices) // 256)):
            batch = source.read(chunk.tolist())
            parts.append(_truth_columns(batch) if set(TRUTH) <= set(batch) else motion_columns(batch["video"]))
            parts[-1] |= {"label": batch["label"], "fps": batch["fps"]}
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        whole_N = columns["found"].all(axis=1)
        if not whole_N.any():
            raise ValueError(f"No object can be tracked in {len(indices)} training clips of {source}, so there is no "
                             "motion to compare with. Evaluate generation on a world of tracked objects.")
        columns = {name: column[whole_N] for name, column in columns.items()}
        height, width = batch["video"].shape[2:4]
        names = tuple(source.class_names)
        return cls(
            columns={name: columns[name] for name in ("track", "found", "area", "stray")}, label_N=columns["label"],
            class_names=names, families=names if set(names) <= set(oracle.FAMILIES) else (),
            fps=float(np.median(columns["fps"])), size=min(height, width), diagonal=float(np.hypot(height, width)),
        )

    @property
    def longest_step(self) -> float:
        """Pixels that an object may move from one frame to the next: half more than it ever does in training."""
        return 1.5 * float(np.linalg.norm(np.diff(self.columns["track"], axis=1), axis=-1).max())

    def plausible(self, values_B: np.ndarray, label_B: np.ndarray, of_training_N: np.ndarray) -> np.ndarray:
        """Whether values lie in the ``BAND`` of the training clips of their class, bool (B); NaN does not."""
        inside_B = np.zeros(len(values_B), bool)
        for label in np.unique(label_B):
            rows = label_B == label
            low, high = np.percentile(of_training_N[self.label_N == label], BAND)
            inside_B[rows] = (values_B[rows] >= low) & (values_B[rows] <= high)
        return inside_B


def _truth_columns(batch: Columns) -> Columns:
    track_BT2, radius_BT = batch["pixel_position"][:, 0].astype(np.float64), batch["radius_px"][:, 0]
    found_BT = np.isfinite(track_BT2).all(axis=-1)
    return {"track": track_BT2, "found": found_BT, "area": np.pi * radius_BT.astype(np.float64) ** 2,
            "stray": np.zeros(found_BT.shape, np.int32)}


def describe_motion(columns: Columns, label_B: np.ndarray, training: Training) -> Columns:
    """The table of clips that are meant to show the classes ``label_B``.

    To the given columns it adds, one value for each clip: ``label``; ``one_object``; ``tracked``, whether at least
    ``_MIN_FRAMES`` frames have a track; ``speed``, ``radius``, ``acceleration``, ``jerk`` (NaN without a track);
    ``speed_plausible`` and ``radius_plausible``; ``nearest_train_px``, the distance to the nearest training track of
    any class. Where the oracle knows the classes, ``named`` (an index into the classes, their number standing for
    "unknown"), ``correct``, and ``fit_px``, the misfit of the claimed family (inf without a track). Where there
    is a ``colour``, also ``hue``, ``hue_drift`` and ``radius_drift``, see ``appearance.appearance_columns``.
    """
    track_BT2, known = columns["track"], training.columns
    table = dict(columns) | {
        "label": label_B, "one_object": one_object(columns, training.size, training.longest_step),
        "tracked": columns["found"].sum(axis=1) >= _MIN_FRAMES, "speed": mean_speed(track_BT2),
        "radius": mean_radius(columns), "acceleration": roughness(track_BT2, 2), "jerk": roughness(track_BT2, 3),
    }
    table["speed_plausible"] = training.plausible(table["speed"], label_B, mean_speed(known["track"]))
    table["radius_plausible"] = training.plausible(table["radius"], label_B, mean_radius(known))
    nearest_B = nearest_px(track_BT2, known["track"])
    table["nearest_train_px"] = np.where(table["tracked"], nearest_B, np.nan)
    if "colour" in columns:
        table |= appearance_columns(columns["colour"], radii(columns), _MIN_FRAMES)
    if training.families:
        names = [*training.families, oracle.UNKNOWN]
        named_B = name_families(track_BT2, np.full(len(label_B), training.fps), training.families, training.size)
        table["named"] = np.array([names.index(name) for name in named_B])
        table["correct"] = table["named"] == label_B
        table["fit_px"] = _claimed_fit(track_BT2, label_B, training)
    return table


def _claimed_fit(track_BT2: np.ndarray, label_B: np.ndarray, training: Training) -> np.ndarray:
    fit_B = np.full(len(label_B), np.inf)
    for label in np.unique(label_B):
        family, rows = training.families[label], label_B == label
        fit_B[rows] = oracle.residuals(track_BT2[rows], training.fps, (family,), training.size)[family]
    return fit_B


def nearest_px(track_BT2: np.ndarray, known_NT2: np.ndarray) -> np.ndarray:
    """Root-mean-square distance over the tracked frames to the nearest of whole tracks: pixels (B), NaN without."""
    there_BT = np.isfinite(track_BT2).all(axis=-1)
    here_BT2 = np.where(there_BT[..., None], track_BT2, 0.0).astype(np.float64)  # squares nearly cancel below
    frames_B = there_BT.sum(axis=1)
    crossed_BN = here_BT2.reshape(len(track_BT2), -1) @ known_NT2.reshape(len(known_NT2), -1).T
    known_BN = there_BT.astype(np.float64) @ (known_NT2**2).sum(axis=-1).T
    square_B = ((here_BT2**2).sum(axis=(1, 2))[:, None] - 2.0 * crossed_BN + known_BN).min(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(frames_B > 0, np.sqrt(np.maximum(square_B, 0.0) / frames_B), np.nan)


def spread_px(track_BT2: np.ndarray, shape_alone: bool = False) -> float:
    """How far tracks lie apart: the root-mean-square distance of two tracks over their common frames, the mean over all
    pairs of clips. A pair with fewer than ``_MIN_FRAMES`` common frames counts as 0: empty clips are all alike.

    Args:
      track_BT2: at least two tracks.
      shape_alone: move every track's centre to the same place first, so that only shape, size and direction count.
    """
    there_BT = np.isfinite(track_BT2).all(axis=-1)
    track_BT2 = np.where(there_BT[..., None], track_BT2, 0.0)
    if shape_alone:
        centre_B12 = track_BT2.sum(axis=1, keepdims=True) / np.maximum(there_BT.sum(axis=1), 1)[:, None, None]
        track_BT2 = np.where(there_BT[..., None], track_BT2 - centre_B12, 0.0)
    total, pairs = 0.0, 0
    for row in range(len(track_BT2) - 1):
        common_BT = there_BT[row] & there_BT[row + 1 :]
        square_BT = ((track_BT2[row] - track_BT2[row + 1 :]) ** 2).sum(axis=-1)
        frames_B = common_BT.sum(axis=1)
        apart_B = np.sqrt(np.where(common_BT, square_BT, 0.0).sum(axis=1) / np.maximum(frames_B, 1))
        total += apart_B[frames_B >= _MIN_FRAMES].sum()
        pairs += len(apart_B)
    return total / pairs


def mean_tracks(training: Training) -> tuple[Columns, np.ndarray]:
    """The baseline: for every class the mean of its training tracks, twice, and the labels."""
    labels = np.unique(training.label_N)
    of_class = [{name: column[training.label_N == label] for name, column in training.columns.items()}
                for label in labels]
    columns = {name: np.stack([part[name].mean(axis=0) for part in of_class]) for name in ("track", "area")}
    columns |= {"found": np.ones(columns["area"].shape, bool), "stray": np.zeros(columns["area"].shape, int)}
    return {name: np.repeat(column, 2, axis=0) for name, column in columns.items()}, np.repeat(labels, 2)


def rows_of(columns: Columns, rows: np.ndarray) -> Columns:
    """Some rows of a table."""
    return {name: column[rows] for name, column in columns.items()}
