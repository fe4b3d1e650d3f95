"""How a scene looks: colours, light, backgrounds and the objects that are not the ball. All drawn without the class."""

import colorsys
from dataclasses import dataclass

import numpy as np

from videogvt.world.cameras import Cameras
from videogvt.world.spec import WorldSpec
from videogvt.world.streams import stream

COLOUR_NAMES = (
    "red", "orange", "yellow", "lime", "green", "teal", "cyan", "azure", "blue", "violet", "magenta", "rose",
)  # fmt: skip
GROUND, LINE = 0.93, 0.75  # brightness of the ground and of its lines, over the background's
GRID_PITCH, GRID_WIDTH = 1.0, 0.04  # m at the reference length
TEXTURE_CELLS, TEXTURE_DEPTH = 9, 0.25


@dataclass(frozen=True)
class Look:
    """The looks of one scene. Colours are (3,) in 0..1.

    Attributes:
      colour, colour_name: of the ball.
      background: colour of the sky, the wall or the paper.
      light_2: unit vector in the picture towards the lamp.
      distractor_N3, distractor_size_N, distractor_colour_N3: world centres in m, half sides in m, colours.
      post_N, post_width_N, post_colour_N3: centres and half widths of the posts as shares of the picture, colours.
      texture_HW: brightness of the wall, 0..1, or None.
    """

    colour: np.ndarray
    colour_name: str
    background: np.ndarray
    light_2: np.ndarray
    distractor_N3: np.ndarray
    distractor_size_N: np.ndarray
    distractor_colour_N3: np.ndarray
    post_N: np.ndarray
    post_width_N: np.ndarray
    post_colour_N3: np.ndarray
    texture_HW: np.ndarray | None


def draw_look(spec: WorldSpec, split: str, index: int, camera: Cameras) -> Look:
    """The look of an example whose first camera, at time 0, is ``camera``."""
    rng = stream(spec.seed, split, index, "look")
    hue, lamp = rng.random(2)
    colour = _saturated(hue, rng)
    shade = rng.random(3)
    background = np.array(colorsys.hsv_to_rgb(shade[0], 0.15 * shade[1], 0.88 + 0.12 * shade[2]))
    things = stream(spec.seed, split, index, "things")
    n, m = spec.distractors, spec.occluders
    return Look(
        colour=colour,
        colour_name=COLOUR_NAMES[int(hue * len(COLOUR_NAMES) + 0.5) % len(COLOUR_NAMES)],
        background=np.ones(3) if spec.background == "white" else np.round(background, 4),
        light_2=np.round([np.cos(2 * np.pi * lamp), np.sin(2 * np.pi * lamp)], 4),
        distractor_N3=_behind(spec, camera, things.random((n, 3))),
        distractor_size_N=np.round(spec.length_unit * (0.1 + 0.1 * things.random(n)), 4),
        distractor_colour_N3=np.array([_saturated(things.random(), things) for _ in range(n)]).reshape(n, 3),
        post_N=np.round(0.15 + 0.7 * things.random(m), 4),
        post_width_N=np.round(0.02 + 0.02 * things.random(m), 4),
        post_colour_N3=np.repeat(0.3 + 0.3 * things.random((m, 1)), 3, axis=1),
        texture_HW=_texture(spec, stream(spec.seed, split, index, "texture")) if spec.background == "texture" else None,
    )


def _saturated(hue: float, rng: np.random.Generator) -> np.ndarray:
    """A colour whose weakest channel stays below 0.2, so that it stands out from every light background."""
    saturation, value = rng.random(2)
    return np.round(colorsys.hsv_to_rgb(hue, 0.8 + 0.2 * saturation, 0.55 + 0.4 * value), 4)


def _behind(spec: WorldSpec, camera: Cameras, share_N3: np.ndarray) -> np.ndarray:
    """World points anywhere in the camera's picture, deeper than paths reach."""
    place = np.concatenate([share_N3[:, :2] * [spec.width, spec.height], np.ones((len(share_N3), 1))], axis=1)
    depth = spec.length_unit * (10.0 + 2.0 * share_N3[:, 2:])
    return np.round((depth * (place @ np.linalg.inv(camera.K).T) - camera.t) @ camera.R, 4)


def _texture(spec: WorldSpec, rng: np.random.Generator) -> np.ndarray:
    """Smooth value noise (H, W) in 0..1, the same picture at every resolution."""
    cells = rng.random((TEXTURE_CELLS, TEXTURE_CELLS))
    for axis, size in enumerate((spec.height, spec.width)):
        place = (np.arange(size) + 0.5) / size * (TEXTURE_CELLS - 1)
        low = place.astype(int)
        share = place - low
        ease = np.expand_dims(share * share * (3 - 2 * share), 1 - axis)
        cells = np.take(cells, low, axis) * (1 - ease) + np.take(cells, low + 1, axis) * ease
    return cells


def backdrop(spec: WorldSpec, look: Look, camera: Cameras) -> np.ndarray:
    """What stands behind everything: (1 or T, H, W, 3) in 0..1, T where the camera (T,) moves and sees a ground."""
    if spec.background == "grid":
        still = spec.rig != "moving"
        return _ground(spec, camera[:1] if still else camera)[..., None] * look.background
    if look.texture_HW is not None:
        return ((1.0 - TEXTURE_DEPTH * look.texture_HW)[..., None] * look.background)[None]
    return np.broadcast_to(look.background, (1, spec.height, spec.width, 3))


def _ground(spec: WorldSpec, camera: Cameras) -> np.ndarray:
    """Brightness (T, H, W) of the plane z = 0 with a metre grid under an even sky, antialiased by distance."""
    u, v = np.meshgrid(np.arange(spec.width), np.arange(spec.height))
    K, R = camera.K, camera.R
    right = (u - K[:, 0, 2, None, None]) / K[:, 0, 0, None, None]
    down = (v - K[:, 1, 2, None, None]) / K[:, 1, 1, None, None]
    ray = [
        right * R[:, 0, i, None, None] + down * R[:, 1, i, None, None] + R[:, 2, i, None, None] for i in range(3)
    ]  # fmt: skip
    eye = -np.einsum("tij,ti->tj", R, camera.t)[:, :, None, None]
    falls = ray[2] < -0.02
    reach = np.where(falls, eye[:, 2] / np.where(falls, -ray[2], 1.0), 0.0)
    pitch, bright = GRID_PITCH * spec.length_unit, np.where(falls, GROUND, 1.0)
    for i in range(2):
        place = (eye[:, i] + reach * ray[i]) / pitch
        footprint = np.hypot(np.gradient(place, axis=1), np.gradient(place, axis=2)) + 1e-6
        apart = np.abs(place - np.round(place))
        line = np.clip((GRID_WIDTH - apart) / footprint + 0.5, 0.0, 1.0)
        line *= np.clip(1.0 - 3.0 * footprint, 0.0, 1.0)
        bright = np.where(falls, bright * (1.0 - (1.0 - LINE) * line), bright)
    return bright
