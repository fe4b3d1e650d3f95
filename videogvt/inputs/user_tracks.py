"""A user's own trajectories as a builder config: rendered through the cameras of ``videogvt.world``.

Where the ball is put: 3-D positions are in the world frame (z up; any unit), seen from the side and a little above.
2-D positions lie in the upright plane that faces the first camera, x to the right and y up (or down: ``y_down``). One
similarity transform per file moves the middle of all positions to the point that the cameras face, and makes the whole
as large as it can be with the ball in view in every frame of every camera; so clips still differ in place and size.
With ``fit='clip'`` every clip has a transform of its own. The field ``parameters`` of an example holds it:
position = target + scale (source_position - centre), where 2-D source positions stand for (x, 0, y).
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from types import MappingProxyType

import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs.shards import Splits
from videogvt.inputs.tracks import Tracks, read_tracks, split_tracks
from videogvt.inputs.worlds import plain_value, world_features
from videogvt.world.cameras import Cameras, Pose, rig_cameras
from videogvt.world.example import FIELDS, Field, field_shapes, film, typed
from videogvt.world.scene import MARGIN
from videogvt.world.spec import SPECS, VERSION, WorldSpec

DISTANCE, _SCALE, RADIUS, HEIGHT = 8.75, 17.0, 0.135, 2.4  # m, reference px/m, m, m: the middle of what worlds draw
ELEVATION = 0.3  # rad, for 3-D positions
AZIMUTH = -np.pi / 2  # the first camera looks along y, so that x points to the right
NEAREST, FARTHEST = 0.6, 1.5  # depth of the ball over that of the target
FITS = ("file", "clip")
OWN_FIELDS = MappingProxyType(
    {
        "source_position": Field(("T", "D"), "float32", "the file's", (None, None), "row of 'trajectories'"),
        "source_index": Field((), "int64", "1", (0, None), "row number in the file"),
    }
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A file and how to show it; enough to make any example in any process."""

    path: str
    sha256: str
    spec: WorldSpec
    fit: str
    y_down: bool

    def settings(self) -> dict[str, object]:
        """What determines the examples, ready for JSON."""
        return plain_value({**vars(self), "path": None, "spec": self.spec.settings(), "version": VERSION})


@dataclasses.dataclass(frozen=True)
class _Scene:
    """Tracks in front of cameras: ``cameras`` (S, T); ``axes_D3`` the world directions of the file's coordinates."""

    tracks: Tracks
    rows: dict[str, np.ndarray]
    cameras: Cameras
    spec: WorldSpec
    target_3: np.ndarray
    axes_D3: np.ndarray
    radius: float
    scale: float | None

    def framing(self, row: int) -> tuple[float, np.ndarray]:
        """Metres per unit of the file, and the file's point that is put at the target."""
        if self.scale is not None:
            return self.scale, _middle(self.tracks.position_NTD)
        position_1TD = self.tracks.position_NTD[row : row + 1]
        centre_D = _middle(position_1TD)
        return _largest_scale((position_1TD - centre_D) @ self.axes_D3, self), centre_D


def _middle(position_NTD: np.ndarray) -> np.ndarray:
    return (position_NTD.min(axis=(0, 1)) + position_NTD.max(axis=(0, 1))) / 2


@functools.lru_cache(maxsize=2)
def _scene(source: Source) -> _Scene:
    """Reads the file once a process."""
    tracks, spec, length = read_tracks(source.path), source.spec, source.spec.length_unit
    if tracks.sha256 != source.sha256:
        raise ValueError(f"{source.path} changed while its dataset was built; start again.")
    dims = tracks.position_NTD.shape[2]
    target_3 = np.array([0.0, 0.0, HEIGHT * length])
    numbers = (AZIMUTH, ELEVATION if dims == 3 else 0.0, DISTANCE * length, _SCALE * DISTANCE * spec.pixel_unit, 1.0)
    pose = Pose(target_3[None], *(np.array([number]) for number in numbers))
    cameras = rig_cameras(spec, pose)[0].over_frames(spec.num_frames)
    flat_23 = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0 if source.y_down else 1.0]])
    axes_D3 = np.eye(3) if dims == 3 else flat_23
    scene = _Scene(tracks, split_tracks(tracks), cameras, spec, target_3, axes_D3, RADIUS * length, None)
    if source.fit == "clip":
        return scene
    offset_NT3 = (tracks.position_NTD - _middle(tracks.position_NTD)) @ axes_D3
    return dataclasses.replace(scene, scale=_largest_scale(offset_NT3, scene))


def _largest_scale(offset_NT3: np.ndarray, scene: _Scene) -> float:
    """The largest factor for offsets from the target with which the ball stays in every picture; 1 if nothing moves.

    In a camera the ball's centre is c0 + s c1. Each edge of the picture (less the ball's radius and a margin) and each
    bound of the depth is a plane, and asks g0 + s g1 <= 0 of s, where g0 < 0 because the target is in view.
    """
    margin, size = MARGIN * scene.spec.pixel_unit, (scene.spec.width, scene.spec.height)
    inverse = 0.0
    for K, R, t in zip(scene.cameras.K, scene.cameras.R, scene.cameras.t):
        c0_T3 = np.einsum("tij,j->ti", R, scene.target_3) + t
        c1_NT3 = np.einsum("tij,ntj->nti", R, offset_NT3)
        z0, z1 = c0_T3[:, 2], c1_NT3[..., 2]
        planes = [((NEAREST - 1) * z0, -z1), ((1 - FARTHEST) * z0, z1)]
        for axis in (0, 1):
            focal, low, high = K[:, axis, axis], margin - 0.5, size[axis] - 0.5 - margin
            a0, a1 = (focal * c[..., axis] + K[:, axis, 2] * c[..., 2] for c in (c0_T3, c1_NT3))
            ball = focal * scene.radius
            planes += [(low * z0 + ball - a0, low * z1 - a1), (a0 + ball - high * z0, a1 - high * z1)]
        inverse = max(inverse, *(float(np.max(g1 / -g0)) for g0, g1 in planes))
    return 1.0 / inverse if inverse > 0 else 1.0


@dataclasses.dataclass(frozen=True)
class SampledPath:
    """A motion known at frame times only: straight between them, at rest before the first and after the last."""

    position_T3: np.ndarray
    fps: float

    def position(self, time_K: np.ndarray) -> np.ndarray:
        """World positions (K, 3) in m at times in seconds."""
        return self._interpolate(time_K, self.position_T3)

    def velocity(self, time_K: np.ndarray) -> np.ndarray:
        """World velocities (K, 3) in m/s, by central differences."""
        return self._interpolate(time_K, np.gradient(self.position_T3, 1.0 / self.fps, axis=0))

    def _interpolate(self, time_K: np.ndarray, value_T3: np.ndarray) -> np.ndarray:
        frame_time_T = np.arange(len(value_T3)) / self.fps
        return np.stack([np.interp(time_K, frame_time_T, value_T3[:, axis]) for axis in range(3)], axis=-1)


def track_shapes(spec: WorldSpec, dims: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """(shape, dtype) of an example's fields: a world's, less what only families have, and where it came from."""
    left_out = ("equation", "measured_position")
    shapes = {name: shape for name, shape in field_shapes(spec).items() if name not in left_out}
    return shapes | {"source_position": ((spec.num_frames, dims), "float32"), "source_index": ((), "int64")}


def track_example(source: Source, split: str, index: int) -> dict[str, np.ndarray | np.generic | str]:
    """Example ``index`` of ``split``: a dict with the fields of ``track_shapes``. Pure, given the file."""
    scene, spec = _scene(source), source.spec
    row = int(scene.rows[split][index])
    scale, centre_D = scene.framing(row)
    source_TD, label = scene.tracks.position_NTD[row], int(scene.tracks.label_N[row])
    path = SampledPath(scene.target_3 + scale * (source_TD - centre_D) @ scene.axes_D3, spec.fps)
    look, fields = film(spec, split, index, scene.cameras, scene.radius, path)
    target, name = scene.target_3.tolist(), spec.families[label]
    framing = {"ball_radius": scene.radius, "scale": scale, "centre": centre_D.tolist(), "target": target}
    fields |= {
        "source_position": source_TD,
        "source_index": row,
        "label": label,
        "family": name,
        "parameters": json.dumps(framing),
        "caption": f"The {look.colour_name} ball follows a path of class {name}.",
    }
    return typed(fields, track_shapes(spec, source_TD.shape[1]))


@dataclasses.dataclass(eq=False, kw_only=True)
class UserTracksConfig(tfds.core.BuilderConfig):
    """A user's ``.npz`` file (see ``videogvt.inputs.tracks``) through the cameras of a world.

    ``prepared(UserTracksConfig(path="tracks.npz"))`` builds it. The folder's name carries the SHA-256 of the file and
    of the other settings, so that different files or settings never share a dataset. A file that cannot be used is a
    ``ValueError`` here, before anything is written.

    Attributes:
      path: of the file.
      spec: the world that lends rig, picture size, frame rate, background and noise. Families, splits and number of
        frames come from the file.
      fit: ``file`` or ``clip``; see the module.
      y_down: whether y of 2-D positions points down, as in pixels.
    """

    path: os.PathLike
    spec: WorldSpec = SPECS["mono64"]
    fit: str = "file"
    y_down: bool = False
    name: str = dataclasses.field(init=False)
    about = (
        "Trajectories of your own, shown as videos of a moving ball by calibrated pinhole cameras, with exact ground"
        " truth. Splits follow a hash of the trajectory; copies of a trajectory share a split."
    )

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit is {self.fit!r}; it must be one of {', '.join(map(repr, FITS))}.")
        self.path = pathlib.Path(self.path).expanduser().absolute()
        tracks = read_tracks(self.path)
        spec = dataclasses.replace(
            self.spec, name=f"tracks-{tracks.sha256[:16]}", families=tracks.class_names,
            num_frames=tracks.position_NTD.shape[1],
            splits=tuple((split, len(rows)) for split, rows in split_tracks(tracks).items()),
        )  # fmt: skip
        self.source = Source(os.fspath(self.path), tracks.sha256, spec, self.fit, self.y_down)
        self.dims = tracks.position_NTD.shape[2]
        settings = hashlib.sha256(json.dumps(self.source.settings(), sort_keys=True).encode()).hexdigest()
        self.name = f"{spec.name}-{settings[:8]}"
        self.description = self.description or f"{len(tracks.label_N)} trajectories of {self.path.name}."

    def features(self) -> tfds.features.FeaturesDict:
        """What an example holds."""
        spec = self.source.spec
        return world_features(track_shapes(spec, self.dims), spec.families, {**FIELDS, **OWN_FIELDS})

    def splits(self) -> Splits:
        """Split name to (size, example function)."""
        sizes = self.source.spec.splits
        return {name: (size, functools.partial(track_example, self.source, name)) for name, size in sizes}

    def metadata(self) -> dict[str, object]:
        """What determines the examples, ready for JSON."""
        return {"source": self.source.settings()}
