"""Pinhole cameras in the OpenCV convention: written down once, here.

World frame: metres, z up, gravity along -z. Camera frame: x right, y down, z forward (into the picture)::

        world                      camera                     image
                                                            (0,0) ---> u
      z (up)                        z (forward)               +----------+
      |   y                        /                        | |          |
      |  /                        o-----> x (right)         v |    .     |
      | /                         |                           |   (u,v)  |
      o-----> x                   v y (down)                  +----------+

    X_camera = R X_world + t          R: world to camera, rotation;   eye = -R^T t
    u = fx x/z + cx,  v = fy y/z + cy      K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], in pixels

Pixel centres lie at integer coordinates: the top-left pixel's centre is (0, 0), its area is [-0.5, 0.5] x [-0.5, 0.5],
and a picture W wide is centred at (W - 1) / 2. Depth is the camera-frame z, not the length of the ray. No camera rolls:
the image of the world's vertical through the centre of the picture is vertical.

Rigs: the cameras of a scene, from the first camera's pose. Every rig's first camera is the mono camera at time 0.
"""

from dataclasses import dataclass

import numpy as np

from videogvt.core.registry import Registry
from videogvt.world.spec import WorldSpec


@dataclass(frozen=True)
class Cameras:
    """Calibrated cameras; the leading axes are free and broadcast (scene, camera, frame).

    Attributes:
      K: (..., 3, 3) intrinsics in pixels.
      R: (..., 3, 3) rotation, world to camera.
      t: (..., 3) translation in metres, world to camera.
    """

    K: np.ndarray
    R: np.ndarray
    t: np.ndarray

    def __getitem__(self, index) -> "Cameras":
        return Cameras(self.K[index], self.R[index], self.t[index])

    def over_frames(self, num_frames: int) -> "Cameras":
        """Cameras (S, 1) that stand still, repeated, or cameras (S, T) as they are: (S, T)."""
        repeats = num_frames // self.t.shape[1]
        return Cameras(*(np.repeat(array, repeats, axis=1) for array in (self.K, self.R, self.t)))

    def to_camera(self, points_3: np.ndarray) -> np.ndarray:
        """World points (..., 3) in metres to camera-frame points (..., 3)."""
        x, y, z = points_3[..., 0], points_3[..., 1], points_3[..., 2]
        R, t = self.R, self.t
        rows = [R[..., i, 0] * x + R[..., i, 1] * y + R[..., i, 2] * z + t[..., i] for i in range(3)]
        return np.stack(rows, axis=-1)

    def project(self, points_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) in metres to pixel positions (..., 2) and depths (...)."""
        camera_3 = self.to_camera(points_3)
        depth = camera_3[..., 2]
        u = self.K[..., 0, 0] * camera_3[..., 0] / depth + self.K[..., 0, 2]
        v = self.K[..., 1, 1] * camera_3[..., 1] / depth + self.K[..., 1, 2]
        return np.stack([u, v], axis=-1), depth


def look_at(eye_3: np.ndarray, target_3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (..., 3, 3) and translation (..., 3) of a camera without roll at ``eye`` that faces ``target``."""
    forward = target_3 - eye_3
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    flat = np.sqrt(forward[..., 0] ** 2 + forward[..., 1] ** 2)
    right = np.stack([forward[..., 1] / flat, -forward[..., 0] / flat, np.zeros_like(flat)], axis=-1)
    down = np.cross(forward, right)
    R = np.stack([right, down, forward], axis=-2)
    return R, -np.einsum("...ij,...j->...i", R, eye_3)


def intrinsics(focal: np.ndarray, centre_x: np.ndarray, centre_y: np.ndarray) -> np.ndarray:
    """K (..., 3, 3) of square pixels from the focal length and the principal point, all in pixels."""
    K = np.zeros(np.broadcast(focal, centre_x, centre_y).shape + (3, 3))
    K[..., 0, 0] = K[..., 1, 1] = focal
    K[..., 0, 2], K[..., 1, 2], K[..., 2, 2] = centre_x, centre_y, 1.0
    return K


def orbit_eye(target_3: np.ndarray, azimuth: np.ndarray, elevation: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Camera centres (..., 3) at angles in radians and a distance in metres from ``target`` (..., 3)."""
    offset = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return target_3 + distance[..., None] * np.stack(np.broadcast_arrays(*offset), axis=-1)


def triangulate(cameras: Cameras, pixels_S2: np.ndarray) -> np.ndarray:
    """World points (..., 3) from pixel positions (..., S, 2) in two or more calibrated cameras (..., S).

    Linear least squares on the collinearity equations (direct linear transform, inhomogeneous form); of rays that do
    not meet, because they are parallel, the point nearest to the origin that fits them best.
    """
    if pixels_S2.shape[-2] < 2:
        raise ValueError(f"Triangulation needs two or more cameras; the pixel positions are {pixels_S2.shape}.")
    u = (pixels_S2[..., 0] - cameras.K[..., 0, 2]) / cameras.K[..., 0, 0]
    v = (pixels_S2[..., 1] - cameras.K[..., 1, 2]) / cameras.K[..., 1, 1]
    R, t = cameras.R, cameras.t
    rows = np.concatenate([u[..., None] * R[..., 2, :] - R[..., 0, :], v[..., None] * R[..., 2, :] - R[..., 1, :]], -2)
    right = np.concatenate([t[..., 0] - u * t[..., 2], t[..., 1] - v * t[..., 2]], axis=-1)
    return (np.linalg.pinv(rows) @ right[..., None])[..., 0]


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
