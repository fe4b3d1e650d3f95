"""A scene: what is drawn before the class is known, and one path of every family that starts in it.

The nuisance (camera, start pixel, image heading and speed, ball) is drawn without the class. Then every family of the
spec proposes paths from that start, and the nuisance is kept only if every family has a path that stays in view and
shows its class. The label picks among the paths afterwards. So acceptance cannot depend on the label, and the
distribution of the nuisance is the same in every class.
"""

from dataclasses import dataclass

import numpy as np

from videogvt.world.cameras import Cameras, Pose, rig_cameras
from videogvt.world.families import FAMILIES, GRAVITY
from videogvt.world.motion import Family, Launch, Range
from videogvt.world.spec import WorldSpec, stream

DRAWS = {
    "elevation": Range(0.08, 0.50, "rad", "of the first camera above the horizontal"),
    "distance": Range(7.5, 10.0, "m", "first camera to the point it faces"),
    "scale": Range(15.0, 19.0, "px/m", "reference pixels per metre at that point"),
    "speed": Range(3.2, 4.4, "m/s", "start speed across the picture"),
    "heading": Range(-0.4, 1.15, "rad", "start heading in the picture above the horizontal, to the left or the right"),
    "radius": Range(0.105, 0.165, "m", "of the ball"),
    "depth": Range(-0.3, 0.3, "m", "start depth beyond the point the camera faces"),
}
HELD_OUT = {
    "elevation": Range(0.58, 0.70, "rad", "as above, split ood only"),
    "speed": Range(4.5, 5.0, "m/s", "as above, split ood only"),
    "radius": Range(0.175, 0.2, "m", "as above, split ood only"),
}
_BATCH, CANDIDATES, MAX_ROUNDS = 6, 6, 500
MARGIN = 1.0  # reference pixels between the ball's edge and the picture's
RELIEF = 0.2  # largest change of depth along a path, as a share of the start depth
RADIUS_PX = (1.5, 4.0)  # reference pixels, in every frame of the first camera


@dataclass(frozen=True)
class Scene:
    """One accepted scene: its cameras (S, T), the ball's radius in metres and one path per family, by name."""

    cameras: Cameras
    radius: float
    paths: dict[str, Family]


def draw_scene(spec: WorldSpec, split: str, index: int) -> Scene:
    """The scene of an example. Pure: a function of its arguments alone."""
    streams = {name: stream(spec.seed, split, index, name) for name in ("scene", *spec.families)}
    time_T = np.arange(spec.drawn_frames) / spec.fps
    for _ in range(MAX_ROUNDS):
        pose, launch, radius_B = _draw_nuisance(spec, split, streams["scene"])
        cameras = rig_cameras(spec, pose)
        families = [FAMILIES[name].draw(streams[name], launch, CANDIDATES) for name in spec.families]
        valid_FBM = _valid(spec, cameras, radius_B, families, time_T)
        scenes = np.flatnonzero(valid_FBM.any(axis=2).all(axis=0))
        if len(scenes):
            b = scenes[0]
            first_F = valid_FBM[:, b].argmax(axis=1)
            paths = {name: f.select((b, m)) for name, f, m in zip(spec.families, families, first_F)}
            return Scene(cameras[b].over_frames(spec.num_frames), float(radius_B[b]), paths)
    raise RuntimeError(
        f"No scene of {spec.name}/{split}/{index} lets all of {spec.families} be seen in {MAX_ROUNDS} rounds; the"
        f" clip lasts {spec.duration:.2f} s at {spec.height}x{spec.width}: try sides closer to equal."
    )


def _draw_nuisance(spec: WorldSpec, split: str, rng: np.random.Generator) -> tuple[Pose, Launch, np.ndarray]:
    ranges = {**DRAWS, **(HELD_OUT if split == "ood" else {})}
    drawn = {name: bounds.draw(rng, (_BATCH,)) for name, bounds in ranges.items()}
    azimuth, swing, to_left, at_x, at_y = (rng.random(_BATCH) for _ in range(5))
    length = spec.length_unit
    target_B3 = np.round(np.array([0.0, 0.0, 2.4 * length]) + length * (rng.random((_BATCH, 3)) - 0.5), 4)
    scale = drawn["scale"] / length
    pose = Pose(
        target_B3, np.round(2 * np.pi * azimuth, 6), np.round(drawn["elevation"], 6),
        np.round(drawn["distance"] * length, 4), np.round(scale * drawn["distance"] * length, 3) * spec.pixel_unit,
        np.round(2 * swing - 1, 6),
    )  # fmt: skip
    side = np.where(to_left < 0.5, -1.0, 1.0)
    pace = drawn["speed"] * length / spec.time_unit
    across_B2 = np.stack([side * np.cos(drawn["heading"]), -np.sin(drawn["heading"])], axis=1) * pace[:, None]
    start_B2 = _start_pixel(spec, scale, across_B2, pose.elevation_B, np.stack([at_x, at_y], axis=1))
    depth = pose.distance_B + drawn["depth"] * length
    first = rig_cameras(spec, pose)[:, 0, 0]
    offset_B2 = start_B2 * spec.pixel_unit / pose.focal_B[:, None]
    start_B3 = np.concatenate([offset_B2, np.ones((_BATCH, 1))], axis=1) * depth[:, None]
    eye_B3 = -np.einsum("bij,bi->bj", first.R, first.t)
    launch = Launch(start_B3, across_B2, first.R, eye_B3, spec.duration, length, spec.time_unit)
    return pose, launch, np.round(drawn["radius"] * length, 4)


def _start_pixel(spec, scale_B, across_B2, elevation_B, share_B2) -> np.ndarray:
    """Start positions (B, 2) in reference pixels from the picture's centre, uniform over the places from which both a
    straight flight and a fall at that heading stay in the picture."""
    time_T = np.linspace(0.0, spec.duration, 5)
    flight_BT2 = across_B2[:, None] * time_T[:, None]
    fall_BT = 0.5 * GRAVITY * np.cos(elevation_B)[:, None] * time_T**2
    both = np.concatenate([flight_BT2, flight_BT2 + np.stack([0 * fall_BT, fall_BT], axis=-1)], axis=1)
    both = both * scale_B[:, None, None]
    half = np.array([spec.width, spec.height]) / spec.pixel_unit / 2 - MARGIN - 3.0
    low, high = -half - both.min(axis=1), half - both.max(axis=1)
    return low + (high - low) * share_B2


def _valid(spec, cameras: Cameras, radius_B, families: list[Family], time_T) -> np.ndarray:
    """Which candidates (F, B, M) stay whole in every picture, near the start depth, and show their class."""
    path_FBMT3 = np.stack([family.position(time_T) for family in families])
    pixels, depth, radius_px = project_paths(spec, cameras[:, None], path_FBMT3[..., None, :, :], radius_B[:, None])
    first, near = depth[..., 0, :], radius_px[..., 0, :]
    relief = np.ptp(first, axis=-1) <= RELIEF * first[..., 0]
    sized = (near.min(axis=-1) >= RADIUS_PX[0]) & (near.max(axis=-1) <= RADIUS_PX[1])
    above_ground = path_FBMT3[..., 2].min(axis=-1) >= radius_B[:, None]
    seen = np.stack([family.visible(pixels[i, ..., 0, :, :]) for i, family in enumerate(families)])
    return in_view(spec, pixels, depth, radius_px) & relief & sized & above_ground & seen


def project_paths(spec, cameras: Cameras, path_ST3: np.ndarray, radius: np.ndarray):
    """Pixel positions (..., S, T, 2), depths in m and ball radii (..., S, T) of world paths that broadcast to
    (..., S, T, 3); pixels are reference ones (64 on the short side)."""
    pixels, depth = cameras.project(path_ST3)
    radius_px = cameras.K[..., 0, 0] * np.asarray(radius)[..., None, None] / depth
    return pixels / spec.pixel_unit, depth, radius_px / spec.pixel_unit


def in_view(spec, pixels, depth, radius_px) -> np.ndarray:
    """Whether the ball (...) is whole and a margin inside every frame of every camera, given its ``project_paths``."""
    edge = 0.5 / spec.pixel_unit
    size = np.array([spec.width, spec.height]) / spec.pixel_unit - edge
    inset = (MARGIN + radius_px)[..., None]
    inside = (pixels >= inset - edge) & (pixels <= size - inset)
    return inside.all(axis=(-1, -2, -3)) & (depth > 0).all(axis=(-1, -2))
