"""The i-th example of a world: the one entry point through which everything else sees it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from videogvt.world.cameras import Cameras
from videogvt.world.motion import Family, equation_text
from videogvt.world.render import Appearance, draw_look, exposure_times, render
from videogvt.world.scene import Scene, draw_scene, in_view, project_paths
from videogvt.world.spec import VERSION, WorldSpec, stream


def caption(path: Family, colour: str, rng: np.random.Generator) -> str:
    """A wording of the path's family, chosen by ``rng``, with the ball's colour and the path's own figures."""
    wording = path.captions[int(rng.integers(len(path.captions)))]
    a_colour = f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
    speed = float(np.linalg.norm(path.velocity(np.zeros(1))[0]))
    radius = float(np.linalg.norm(path.radial)) if hasattr(path, "radial") else 0.0
    A_colour = a_colour.capitalize()
    return wording.format(colour=colour, a_colour=a_colour, A_colour=A_colour, speed=speed, radius=radius)


@dataclass(frozen=True)
class Field:
    """One field of an example.

    Attributes:
      shape: sizes, or letters resolved by a spec: T frames, H and W pixels, S cameras, V = S - 1 further cameras.
      dtype: numpy name, or ``str``.
      unit, doc: in words.
      range: lowest and highest value, None where unbounded or not a number.
    """

    shape: tuple[int | str, ...]
    dtype: str
    unit: str
    range: tuple[float | None, float | None]
    doc: str


_ANY = (None, None)
FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "video": Field(("T", "H", "W", 3), "uint8", "RGB", (0, 255), "what the first camera sees"),
        "views": Field(("V", "T", "H", "W", 3), "uint8", "RGB", (0, 255), "what the others see; only where S > 1"),
        "position": Field(("T", 3), "float32", "m", _ANY, "ball centre in the world, z up"),
        "measured_position": Field(("T", 3), "float32", "m", _ANY, "position with the spec's measurement noise"),
        "velocity": Field(("T", 3), "float32", "m/s", _ANY, "of the ball in the world"),
        "pixel_position": Field(
            ("S", "T", 2), "float32", "px", (0, None), "projected centre; x right, y down; (0, 0) is the centre of the"
            " top-left pixel"
        ),
        "radius_px": Field(("S", "T"), "float32", "px", (0, None), "of the ball in the picture"),
        "visibility": Field(("S", "T"), "float32", "share", (0, 1), "of the ball that nothing hides"),
        "camera_K": Field(("S", "T", 3, 3), "float32", "px", _ANY, "intrinsics"),
        "camera_R": Field(("S", "T", 3, 3), "float32", "1", (-1, 1), "rotation, world to camera"),
        "camera_t": Field(("S", "T", 3), "float32", "m", _ANY, "translation, world to camera"),
        "label": Field((), "int64", "1", (0, None), "index of the family in the spec"),
        "family": Field((), "str", "text", _ANY, "name of the family"),
        "parameters": Field((), "str", "JSON", _ANY, "parameters of the path and the ball's radius, m and s"),
        "equation": Field((), "str", "text", _ANY, "x, y and z in metres of t in seconds; evaluates to position"),
        "caption": Field((), "str", "text", _ANY, "one sentence of plain English"),
        "fps": Field((), "float32", "1/s", (0, None), "frames per second"),
        "seed": Field((), "int64", "1", _ANY, "seed of the spec"),
        "id": Field((), "str", "text", _ANY, "spec/split/index"),
        "version": Field((), "str", "text", _ANY, "of the generator"),
    }
)  # fmt: skip


class Path(Protocol):
    """A motion: world positions (T, 3) in m and velocities (T, 3) in m/s at times (T,) in seconds."""

    def position(self, time_T: np.ndarray) -> np.ndarray: ...

    def velocity(self, time_T: np.ndarray) -> np.ndarray: ...


def field_shapes(spec: WorldSpec) -> dict[str, tuple[tuple[int, ...], str]]:
    """(shape, dtype) of every field that the examples of ``spec`` have."""
    sizes = {
        "T": spec.num_frames, "H": spec.height, "W": spec.width, "S": spec.num_cameras, "V": spec.num_cameras - 1,
    }  # fmt: skip
    present = {name: field for name, field in FIELDS.items() if name != "views" or spec.num_cameras > 1}
    return {name: (tuple(sizes.get(n, n) for n in field.shape), field.dtype) for name, field in present.items()}


def example(spec: WorldSpec, split: str, index: int) -> dict[str, np.ndarray | np.generic | str]:
    """Example ``index`` of ``split``: a dict with the fields of ``field_shapes(spec)``.

    Pure: the same bytes on any host, in any order, under any numpy global seed. An unknown split is a ``KeyError``, an
    index outside the split an ``IndexError``.
    """
    size = spec.split_size(split)
    if not 0 <= index < size:
        raise IndexError(f"Index {index} lies outside split {split!r} of {spec.name}, which holds {size} examples.")
    label = index % len(spec.families)
    return compose(spec, split, index, spec.families[label])


def compose(spec: WorldSpec, split: str, index: int, family: str) -> dict[str, np.ndarray | np.generic | str]:
    """The scene of example ``index`` with the path of ``family``, which ``example`` sets to the example's own."""
    scene = draw_scene(spec, split, index)
    return _film(spec, split, index, scene, scene.paths[family])


def augment(
    spec: WorldSpec, split: str, index: int, *, mirror: bool = False, reverse: bool = False, turn: float = 0.0
) -> dict[str, np.ndarray | np.generic | str]:
    """An example whose path's parameters are changed before it is rendered; class, equation and truth stay exact.

    Mirroring keeps the start's distribution equal in all classes; reversing and turning do not, so data augmented by
    them may give the class away by more than motion.

    Args:
      mirror: reflect the path in the vertical plane of the first camera's axis (left and right change places).
      reverse: run the path backwards.
      turn: radians by which the path turns about the vertical through its middle. Where a turned path leaves a
        picture, it is a ``ValueError`` that says so.
    """
    scene = draw_scene(spec, split, index)
    path = scene.paths[spec.families[index % len(spec.families)]]
    time_T, first = np.arange(spec.drawn_frames) / spec.fps, scene.cameras[0, 0]
    if mirror:
        right, eye = first.R[0], -first.R.T @ first.t
        path = path.placed(np.eye(3) - 2.0 * np.outer(right, right), 2.0 * (right @ eye) * right)
    if reverse:
        path = path.reversed(spec.duration)
    if turn:
        middle, (c, s) = path.position(time_T).mean(axis=0), (np.cos(turn), np.sin(turn))
        about = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        path = path.placed(about, middle - about @ middle)
    drawn = project_paths(spec, scene.cameras[:, : spec.drawn_frames], path.position(time_T), scene.radius)
    if not in_view(spec, *drawn):
        raise ValueError(f"{spec.name}/{split}/{index} leaves a picture (mirror={mirror}, turn={turn}): turn it less.")
    return _film(spec, split, index, scene, path)


def _film(spec: WorldSpec, split: str, index: int, scene: Scene, path: Family) -> dict:
    look, fields = film(spec, split, index, scene.cameras, scene.radius, path)
    fields |= {
        "label": spec.families.index(path.name),
        "family": path.name,
        "parameters": json.dumps({"ball_radius": scene.radius, **path.parameters()}),
        "equation": equation_text(path),
        "caption": caption(path, look.colour_name, stream(spec.seed, split, index, "caption")),
    }
    return typed(fields, field_shapes(spec))


def film(
    spec: WorldSpec, split: str, index: int, cameras: Cameras, radius: float, path: Path
) -> tuple[Appearance, dict[str, object]]:
    """What cameras (S, T) record of a ball of that radius in metres on any path: its look, and those fields of an
    example that do not depend on families. ``split`` and ``index`` choose look and noise."""
    look = draw_look(spec, split, index, cameras[0, 0])
    exposure = path.position(exposure_times(spec).reshape(-1)).reshape(spec.num_frames, -1, 3)
    noises = (stream(spec.seed, split, index, f"noise/{s}") for s in range(spec.num_cameras))
    shots = [render(spec, look, cameras[s], exposure, radius, noise) for s, noise in enumerate(noises)]
    time_T = np.arange(spec.num_frames) / spec.fps
    position = path.position(time_T)
    pixels, depth = cameras.project(position)
    return look, {
        "video": shots[0][0],
        "views": np.stack([video for video, _ in shots])[1:],
        "position": position,
        "measured_position": _measured(spec, position, stream(spec.seed, split, index, "measurement")),
        "velocity": path.velocity(time_T),
        "pixel_position": pixels,
        "radius_px": cameras.K[..., 0, 0] * radius / depth,
        "visibility": np.stack([visibility for _, visibility in shots]),
        "camera_K": cameras.K,
        "camera_R": cameras.R,
        "camera_t": cameras.t,
        "fps": spec.fps,
        "seed": spec.seed,
        "id": f"{spec.name}/{split}/{index:06d}",
        "version": VERSION,
    }


def typed(
    fields: Mapping[str, object], shapes: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, np.ndarray | np.generic | str]:
    """The fields named in ``shapes`` (see ``field_shapes``) in their dtypes."""
    return {
        name: fields[name] if dtype == "str" else np.asarray(fields[name], dtype)[()]
        for name, (_, dtype) in shapes.items()
    }


def _measured(spec: WorldSpec, position_T3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions with normal noise whose std is ``measurement_noise`` of the path's largest extent."""
    extent = np.ptp(position_T3[: spec.drawn_frames], axis=0).max()
    return position_T3 + spec.measurement_noise * extent * rng.standard_normal(position_T3.shape)
