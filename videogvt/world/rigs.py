"""Rigs: the cameras of a scene, from the first camera's pose. Every rig's first camera is the mono camera at time 0."""

from dataclasses import dataclass

import numpy as np

from videogvt.core.registry import Registry
from videogvt.world.cameras import Cameras, intrinsics, look_at, orbit_eye
from videogvt.world.spec import WorldSpec

RIGS = Registry("rig")
BASELINE = 0.4  # m, stereo, at the reference length
RING_ZOOM = 0.85  # focal length of the ring's other cameras over the first one's: they were not aimed at the start
ORBIT = 0.6  # rad, the moving camera's arc at most


@dataclass(frozen=True)
class Pose:
    """Where the first camera stands at time 0; B scenes.

    Attributes:
      target_B3: world point it faces, m.  azimuth_B, elevation_B: rad.  distance_B: eye to target, m.
      focal_B: pixels.  swing_B: -1 to 1, how far a moving camera orbits.
    """

    target_B3: np.ndarray
    azimuth_B: np.ndarray
    elevation_B: np.ndarray
    distance_B: np.ndarray
    focal_B: np.ndarray
    swing_B: np.ndarray

    def eye(self, azimuth: np.ndarray) -> np.ndarray:
        """Camera centres (B, n, 3) on the orbit at azimuths (B, n) in radians."""
        elevation, distance = np.broadcast_arrays(self.elevation_B[:, None], self.distance_B[:, None])
        return orbit_eye(self.target_B3[:, None], azimuth, elevation, distance)


def rig_cameras(spec: WorldSpec, pose: Pose) -> Cameras:
    """Cameras with leading axes (B, S, T), T being 1 where the rig stands still."""
    return RIGS[spec.rig](spec, pose)


def _centre(spec: WorldSpec) -> tuple[float, float]:
    return (spec.width - 1) / 2, (spec.height - 1) / 2



@RIGS.register("mono")
def mono(spec: WorldSpec, pose: Pose) -> Cameras:
    """One still camera."""
    R, t = look_at(pose.eye(pose.azimuth_B[:, None]), pose.target_B3[:, None])
    K = intrinsics(pose.focal_B[:, None], *_centre(spec))
    return Cameras(K[:, :, None], R[:, :, None], t[:, :, None])


@RIGS.register("stereo")
def stereo(spec: WorldSpec, pose: Pose) -> Cameras:
    """A rectified pair: the second camera stands a baseline to the right, parallel, with its principal point shifted
    so that the target lies at the centre of both pictures."""
    first = mono(spec, pose)
    baseline = BASELINE * spec.length_unit
    t = np.concatenate([first.t, first.t - np.array([baseline, 0.0, 0.0])], axis=1)
    K = np.repeat(first.K, 2, axis=1)
    K[:, 1, :, 0, 2] += (pose.focal_B * baseline / pose.distance_B)[:, None]
    return Cameras(K, np.repeat(first.R, 2, axis=1), t)


@RIGS.register("ring")
def ring(spec: WorldSpec, pose: Pose) -> Cameras:
    """Cameras evenly around the target, all at the first one's height and distance."""
    turn_S = 2 * np.pi * np.arange(spec.num_cameras) / spec.num_cameras
    R, t = look_at(pose.eye(pose.azimuth_B[:, None] + turn_S), pose.target_B3[:, None])
    zoom_S = np.where(np.arange(spec.num_cameras) == 0, 1.0, RING_ZOOM)
    K = intrinsics(pose.focal_B[:, None] * zoom_S, *_centre(spec))
    return Cameras(K[:, :, None], R[:, :, None], t[:, :, None])


@RIGS.register("moving")
def moving(spec: WorldSpec, pose: Pose) -> Cameras:
    """One camera that orbits the target, at rest at both ends so that the first frame's image motion is the ball's."""
    share_T = np.linspace(0.0, 1.0, spec.num_frames)
    ease_T = share_T**2 * (3.0 - 2.0 * share_T)
    R, t = look_at(pose.eye(pose.azimuth_B[:, None] + ORBIT * pose.swing_B[:, None] * ease_T), pose.target_B3[:, None])
    K = np.broadcast_to(intrinsics(pose.focal_B[:, None], *_centre(spec)), R.shape)
    return Cameras(K[:, None], R[:, None], t[:, None])


