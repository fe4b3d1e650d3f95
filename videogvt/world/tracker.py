"""The tracker: where one object stands against a background, frame by frame, to a few hundredths of a pixel.

What statistics know of a track: where it runs, how fast, how it speeds up and how it bends.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

THRESHOLD = 0.15  # of full scale: the largest channel's difference from which a pixel belongs to an object
PLAUSIBLE_AREA = (3.0, 120.0)  # pixels in a picture of 64 on the short side; grows with its square


@dataclass(frozen=True)
class Track:
    """One object through the frames.

    Attributes:
      position_T2: (..., T, 2) centre in pixels, x right and y down, (0, 0) the centre of the top-left pixel; nan where
        the object was not found.
      found_T: (..., T) whether exactly one component of plausible area stands out.
      area_T: (..., T) its area in pixels, edges counted by their strength; 0 where not found.
    """

    position_T2: np.ndarray
    found_T: np.ndarray
    area_T: np.ndarray


def track(video_THWC: np.ndarray, background: np.ndarray | None = None) -> Track:
    """Tracks the object of a clip (..., T, H, W, C), uint8 or float in 0..1.

    An object is an 8-connected component of pixels that differ from the background by ``THRESHOLD`` or more in some
    channel; it is found where exactly one component has a plausible area. Its centre is the centroid of the differences
    over the component and the ring of pixels around it.

    Args:
      video_THWC: the clip or clips.
      background: anything that broadcasts to the video, in its units; by default each clip's median border colour.
    """
    if video_THWC.ndim < 4 or not (video_THWC.dtype == np.uint8 or np.issubdtype(video_THWC.dtype, np.floating)):
        raise ValueError(
            f"A video to track is uint8 or float and (..., T, H, W, C); this one is {video_THWC.dtype}"
            f" {video_THWC.shape}."
        )
    *lead, height, width, channels = video_THWC.shape
    strength = _difference(video_THWC, border_colour(video_THWC) if background is None else background)
    padded = np.pad(strength.reshape(-1, height, width), ((0, 0), (1, 1), (1, 1)))
    scale = (min(height, width) / 64.0) ** 2
    position, found, area = _measure(padded, max(1.0, PLAUSIBLE_AREA[0] * scale), PLAUSIBLE_AREA[1] * scale)
    return Track(position.reshape(*lead, 2), found.reshape(lead), area.reshape(lead))


def track_over_scenery(video_NTHWC: np.ndarray) -> Track:
    """Tracks the objects of clips (N, T, H, W, C) whose background may be a picture: where the border's colour as the
    background finds the object in less than half of a clip's frames, the median over time is the background."""
    found = track(video_NTHWC)
    rows = np.flatnonzero(found.found_T.mean(axis=1) < 0.5)
    if len(rows):
        again = track(video_NTHWC[rows], still_background(video_NTHWC[rows]))
        for known, new in ((found.position_T2, again.position_T2), (found.found_T, again.found_T),
                           (found.area_T, again.area_T)):
            known[rows] = new
    return found


def border_colour(video_THWC: np.ndarray) -> np.ndarray:
    """The median colour of each clip's border pixels: (..., 1, 1, 1, C), in the video's units."""
    edges = (video_THWC[..., 0, :, :], video_THWC[..., -1, :, :], video_THWC[..., :, 0, :], video_THWC[..., :, -1, :])
    border = np.concatenate(edges, axis=-2)
    border = border.reshape(*border.shape[:-3], -1, border.shape[-1])
    middle = border.shape[-2] // 2
    return np.partition(border, middle, axis=-2)[..., middle, :][..., None, None, None, :]


def still_background(video_THWC: np.ndarray) -> np.ndarray:
    """The median over time: the background (..., 1, H, W, C) of a clip whose camera and scenery stand still."""
    return np.median(video_THWC, axis=-4, keepdims=True).astype(video_THWC.dtype)


def agrees(track: Track, position_T2: np.ndarray, radius_T: np.ndarray, distance: float = 3.0) -> np.ndarray:
    """Where a track found the true object: (..., T) bool. Its centre lies within ``distance`` pixels of the true one
    and its area is half to twice that of the true disc."""
    apart = np.nan_to_num(np.linalg.norm(track.position_T2 - position_T2, axis=-1), nan=np.inf)
    share = track.area_T / (np.pi * radius_T**2)
    return track.found_T & (apart <= distance) & (share >= 0.5) & (share <= 2.0)


def _difference(video_THWC: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The largest channel's absolute difference, float32 in 0..1: (..., T, H, W)."""
    strongest, background = None, np.asarray(background, video_THWC.dtype)
    for c in range(video_THWC.shape[-1]):
        here, there = video_THWC[..., c], background[..., c]
        difference = np.maximum(here, there) - np.minimum(here, there)  # bytes do not wrap around this way
        strongest = difference if strongest is None else np.maximum(strongest, difference)
    return strongest.astype(np.float32) / np.float32(255.0 if video_THWC.dtype == np.uint8 else 1.0)


def _measure(padded_NHW: np.ndarray, min_area: float, max_area: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (N, 2), found (N,) and areas (N,) in frames that are padded by one pixel all around."""
    num_frames, height, width = padded_NHW.shape
    flat, over = padded_NHW.reshape(-1), padded_NHW >= THRESHOLD
    pixels = np.flatnonzero(over)
    around = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    labels, _ = ndimage.label(over.reshape(-1, width), np.ones((3, 3)))  # one picture: the padding keeps frames apart
    _, first, member, count = np.unique(
        labels.reshape(-1)[pixels], return_index=True, return_inverse=True, return_counts=True)
    plausible = (count >= min_area) & (count <= max_area)
    frame_of = pixels[first] // (height * width)
    found = np.bincount(frame_of[plausible], minlength=num_frames) == 1
    chosen = plausible & found[frame_of]
    near = np.zeros(flat.size, bool)
    near[(pixels[chosen[member]][:, None] + around).reshape(-1)] = True
    support = np.flatnonzero(near)
    frame, place = np.divmod(support, height * width)
    y, x = np.divmod(place, width)
    weight = flat[support].astype(np.float64)
    mass, by_x, by_y = (np.bincount(frame, weight * by, num_frames) for by in (1.0, x - 1.0, y - 1.0))
    peak = np.zeros(num_frames)
    np.maximum.at(peak, frame, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        position = np.stack([by_x / mass, by_y / mass], axis=-1)
        area = np.where(found, mass / peak, 0.0)
    return np.where(found[:, None], position, np.nan), found, area


STATISTICS = {
    "mean": lambda x_NT: x_NT.mean(1), "std": lambda x_NT: x_NT.std(1), "min": lambda x_NT: x_NT.min(1),
    "max": lambda x_NT: x_NT.max(1), "first": lambda x_NT: x_NT[:, 0], "last": lambda x_NT: x_NT[:, -1],
}
_MIN_FRAMES = 4  # below which acceleration has no second value and a track tells nothing but its absence
_AXES = "xyz"


def track_features(
    track_NTD: np.ndarray, radius_NT: np.ndarray | None = None, *, fps: float = 24.0, resolution: float = 0.25
) -> dict[str, np.ndarray]:
    """Statistics of tracks by name, float32 (N,) each: "velocity/x/mean", "curvature/max", ...

    They are of position, velocity and acceleration along each axis, of speed, size of acceleration and curvature, and,
    where given, of the apparent radius and its rate; besides, "path/length", "path/straightness" (distance from start
    to end over length), "path/found" (share of frames) and, in two dimensions, "path/turns" (whole turns, signed: from
    x towards y is positive). Differences are between neighbouring frames. Missing frames are filled in on a straight
    line, or with the nearest at the ends; below 4 found frames everything but "path/found" is nan.

    Args:
      track_NTD: positions in two or three dimensions; nan where the object was not found.
      radius_NT: apparent radii, nan likewise.
      fps: frames per second; velocities are per second.
      resolution: steps from frame to frame shorter than this, in the track's unit, count as this long where curvature
        divides by them, for their direction is noise.
    """
    track_NTD = np.asarray(track_NTD, np.float64)
    if track_NTD.ndim != 3 or track_NTD.shape[1] < _MIN_FRAMES or track_NTD.shape[2] not in (2, 3):
        raise ValueError(f"Tracks are (N, T, 2) or (N, T, 3) with T of {_MIN_FRAMES} at least; found "
                         f"{track_NTD.shape}.")
    if radius_NT is not None and np.shape(radius_NT) != track_NTD.shape[:2]:
        raise ValueError(f"Radii of tracks {track_NTD.shape} are {track_NTD.shape[:2]}; found {np.shape(radius_NT)}.")
    found_NT = np.isfinite(track_NTD).all(-1)
    told_N = found_NT.sum(1) >= _MIN_FRAMES
    place = _filled(track_NTD, found_NT & told_N[:, None])
    series = _series(place, fps, resolution)
    if radius_NT is not None:
        radius_NT1 = np.asarray(radius_NT, np.float64)[..., None]
        radius = _filled(radius_NT1, np.isfinite(radius_NT1[..., 0]) & told_N[:, None])[..., 0]
        series |= {"radius": radius, "radius_rate": np.diff(radius) * fps}
    features = {f"{name}/{kind}": of(x_NT) for name, x_NT in series.items() for kind, of in STATISTICS.items()}
    features |= _path(place)
    told = {name: np.where(told_N, value, np.nan) for name, value in features.items()}
    return {name: value.astype(np.float32) for name, value in (told | {"path/found": found_NT.mean(1)}).items()}


def _series(place_NTD: np.ndarray, fps: float, resolution: float) -> dict[str, np.ndarray]:
    """What statistics are taken of, (N, some T) each."""
    velocity = np.diff(place_NTD, axis=1) * fps
    acceleration = np.diff(velocity, axis=1) * fps
    middle = (velocity[:, 1:] + velocity[:, :-1]) / 2
    speed, force = np.linalg.norm(velocity, axis=-1), np.linalg.norm(acceleration, axis=-1)
    pace = np.linalg.norm(middle, axis=-1)
    along = np.sum(middle * acceleration, -1)
    across = np.sqrt(np.maximum((pace * force) ** 2 - along**2, 0.0))
    series = {"speed": speed, "acceleration": force, "curvature": across / np.maximum(pace, resolution * fps) ** 3}
    for name, vector in (("position", place_NTD), ("velocity", velocity), ("acceleration", acceleration)):
        series |= {f"{name}/{_AXES[axis]}": vector[..., axis] for axis in range(vector.shape[-1])}
    return series


def _path(place_NTD: np.ndarray) -> dict[str, np.ndarray]:
    """Length, straightness and turns of whole paths, (N,) each."""
    step = np.diff(place_NTD, axis=1)
    length = np.linalg.norm(step, axis=-1).sum(1)
    reach = np.linalg.norm(place_NTD[:, -1] - place_NTD[:, 0], axis=-1)
    path = {"path/length": length, "path/straightness": reach / np.maximum(length, 1e-9)}
    if place_NTD.shape[-1] == 2:
        before, after = step[:, :-1], step[:, 1:]
        cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
        path["path/turns"] = np.arctan2(cross, np.sum(before * after, -1)).sum(1) / (2 * np.pi)
    return path


def _filled(x_NTD: np.ndarray, found_NT: np.ndarray) -> np.ndarray:
    """Missing values from straight lines between found neighbours; zeros where nothing was found."""
    filled, time = np.where(found_NT[..., None], x_NTD, 0.0), np.arange(x_NTD.shape[1])
    for n in np.flatnonzero(found_NT.any(1) & ~found_NT.all(1)):
        there = found_NT[n]
        for d in range(x_NTD.shape[2]):
            filled[n, :, d] = np.interp(time, time[there], x_NTD[n, there, d])
    return filled
