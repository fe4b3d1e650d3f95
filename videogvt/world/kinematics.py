"""What statistics know of a track: where it runs, how fast, how it speeds up and how it bends."""

import numpy as np

STATISTICS = {
    "mean": lambda x_NT: x_NT.mean(1), "std": lambda x_NT: x_NT.std(1), "min": lambda x_NT: x_NT.min(1),
    "max": lambda x_NT: x_NT.max(1), "first": lambda x_NT: x_NT[:, 0], "last": lambda x_NT: x_NT[:, -1],
}
LEAST_FRAMES = 4  # below which acceleration has no second value and a track tells nothing but its absence
AXES = "xyz"


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
    if track_NTD.ndim != 3 or track_NTD.shape[1] < LEAST_FRAMES or track_NTD.shape[2] not in (2, 3):
        raise ValueError(f"Tracks are (N, T, 2) or (N, T, 3) with T of {LEAST_FRAMES} at least; found "
                         f"{track_NTD.shape}.")
    if radius_NT is not None and np.shape(radius_NT) != track_NTD.shape[:2]:
        raise ValueError(f"Radii of tracks {track_NTD.shape} are {track_NTD.shape[:2]}; found {np.shape(radius_NT)}.")
    found_NT = np.isfinite(track_NTD).all(-1)
    told_N = found_NT.sum(1) >= LEAST_FRAMES
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
        series |= {f"{name}/{AXES[axis]}": vector[..., axis] for axis in range(vector.shape[-1])}
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
