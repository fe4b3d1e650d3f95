"""The renderer: paints all frames of one camera at once, from the back to the front, into a uint8 canvas.

Order: backdrop, distractors, trail, ball, posts, sensor noise. Only the pixels under an object are computed.

How a scene looks: colours, light, backgrounds and the objects that are not the ball. All drawn without the class.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

from videogvt.world.cameras import Cameras
from videogvt.world.spec import WorldSpec, stream

COLOUR_NAMES = (
    "red", "orange", "yellow", "lime", "green", "teal", "cyan", "azure", "blue", "violet", "magenta", "rose",
)  # fmt: skip
GROUND, _LINE = 0.93, 0.75  # brightness of the ground and of its lines, over the background's
GRID_PITCH, GRID_WIDTH = 1.0, 0.04  # m at the reference length
TEXTURE_CELLS, TEXTURE_DEPTH = 9, 0.25


@dataclass(frozen=True)
class Appearance:
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


def draw_look(spec: WorldSpec, split: str, index: int, camera: Cameras) -> Appearance:
    """The look of an example whose first camera, at time 0, is ``camera``."""
    rng = stream(spec.seed, split, index, "look")
    hue, lamp = rng.random(2)
    colour = _saturated(hue, rng)
    shade = rng.random(3)
    background = np.array(colorsys.hsv_to_rgb(shade[0], 0.15 * shade[1], 0.88 + 0.12 * shade[2]))
    things = stream(spec.seed, split, index, "things")
    n, m = spec.distractors, spec.occluders
    return Appearance(
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


def backdrop(spec: WorldSpec, look: Appearance, camera: Cameras) -> np.ndarray:
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
        bright = np.where(falls, bright * (1.0 - (1.0 - _LINE) * line), bright)
    return bright


RIM, LIGHT = 0.25, 0.08  # darkening of the ball towards its rim, and towards the side away from the lamp
TRAIL_STRENGTH = 0.45  # of the youngest shadow
EXPOSURES = 5  # instants that a blurred frame averages


def exposure_times(spec: WorldSpec) -> np.ndarray:
    """The instants (T, N) in seconds that each frame averages, centred on the frame's own; N is 1 without blur."""
    share = np.linspace(-0.5, 0.5, EXPOSURES) * spec.motion_blur if spec.motion_blur else np.zeros(1)
    return (np.arange(spec.num_frames)[:, None] + share) / spec.fps


def render(
    spec: WorldSpec, look: Appearance, camera: Cameras, exposure_TN3: np.ndarray, radius: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The video uint8 (T, H, W, 3) that one camera (T,) takes of a ball, and the share of the ball (T,) in sight.

    Args:
      exposure_TN3: world positions of the ball at ``exposure_times``, m.
      radius: of the ball, m.
      rng: of the sensor noise.
    """
    canvas_THW3 = np.empty((spec.num_frames, spec.height, spec.width, 3), np.uint8)
    canvas_THW3[:] = np.round(backdrop(spec, look, camera) * 255.0).astype(np.uint8)
    for centre, size, colour in zip(look.distractor_N3, look.distractor_size_N, look.distractor_colour_N3):
        _paint_square(canvas_THW3, camera, centre, size, colour)
    instant_T3 = exposure_TN3[:, exposure_TN3.shape[1] // 2]
    for age in range(min(spec.trail, spec.num_frames - 1), 0, -1):
        disc = _disc(camera[age:], instant_T3[:-age, None], radius)
        strength = TRAIL_STRENGTH * (1.0 - (age - 1) / spec.trail)
        _blend(canvas_THW3[age:], disc.patch, strength * disc.cover[..., None], look.colour)
    disc = _disc(camera, exposure_TN3, radius)
    _blend(canvas_THW3, disc.patch, disc.cover[..., None], disc.shade(look))
    visible_T = _paint_posts(canvas_THW3, look, disc)
    if spec.sensor_noise:
        noise = rng.standard_normal(canvas_THW3.shape, dtype=np.float32) * np.float32(255.0 * spec.sensor_noise)
        canvas_THW3 = np.clip(np.rint(canvas_THW3 + noise), 0, 255).astype(np.uint8)
    return canvas_THW3, visible_T


@dataclass(frozen=True)
class Patch:
    """A square of h x w pixels per frame: row and column numbers, which may lie outside the picture."""

    rows_Th: np.ndarray
    columns_Tw: np.ndarray


@dataclass(frozen=True)
class Disc:
    """The ball's picture: covered share (T, h, w) of a patch's pixels, and the ball's surface there.

    ``lean_Thw2`` is the pixel's offset from the centre over the radius; its length is 1 at the rim.
    """

    patch: Patch
    cover: np.ndarray
    lean_Thw2: np.ndarray

    def shade(self, look: Appearance) -> np.ndarray:
        """Colours (T, h, w, 3): brightest where the surface faces the camera, a little brighter towards the lamp."""
        facing = np.sqrt(np.maximum(1.0 - np.sum(self.lean_Thw2**2, axis=-1), 0.0))
        brightness = 1.0 - RIM + RIM * facing + LIGHT * np.clip(self.lean_Thw2 @ look.light_2, -1.0, 1.0)
        return brightness[..., None] * look.colour


def _patch(centre_T2: np.ndarray, reach: int) -> Patch:
    span, corner_T2 = np.arange(-reach, reach + 1), np.rint(centre_T2).astype(np.int64)
    return Patch(corner_T2[:, 1, None] + span, corner_T2[:, 0, None] + span)


def _disc(camera: Cameras, exposure_TN3: np.ndarray, radius: float) -> Disc:
    """The ball averaged over N instants. A pixel's cover is exact for a straight edge at the pixel's distance; for
    radii of 1.5 px upwards the curved edge changes the area by less than 2 %."""
    pixel_TN2, depth_TN = camera[:, None].project(exposure_TN3)
    radius_TN = camera.K[:, None, 0, 0] * radius / depth_TN
    spread = np.abs(pixel_TN2 - pixel_TN2.mean(axis=1, keepdims=True)).max()
    patch = _patch(pixel_TN2.mean(axis=1), int(np.ceil(radius_TN.max() + spread + 1.0)))
    dx = patch.columns_Tw[:, None, None, :] - pixel_TN2[:, :, 0, None, None]
    dy = patch.rows_Th[:, None, :, None] - pixel_TN2[:, :, 1, None, None]
    radius_TN = radius_TN[:, :, None, None]
    cover_TNhw = np.clip(radius_TN + 0.5 - np.sqrt(dx * dx + dy * dy), 0.0, 1.0)
    lean_Thw2 = np.stack(np.broadcast_arrays((dx / radius_TN).mean(axis=1), (dy / radius_TN).mean(axis=1)), axis=-1)
    return Disc(patch, cover_TNhw.mean(axis=1), lean_Thw2)


def _blend(canvas_THW3: np.ndarray, patch: Patch, strength: np.ndarray, colour: np.ndarray) -> None:
    """Mixes ``colour`` into the canvas by ``strength`` (T, h, w, 1), in place, rounding to whole values."""
    _, height, width, _ = canvas_THW3.shape
    inside = ((patch.rows_Th >= 0) & (patch.rows_Th < height))[:, :, None]
    inside = inside & ((patch.columns_Tw >= 0) & (patch.columns_Tw < width))[:, None, :]
    frame, y, x = np.nonzero(inside & (strength[..., 0] > 0))
    at = (frame, patch.rows_Th[frame, y], patch.columns_Tw[frame, x])
    under = canvas_THW3[at].astype(np.float64)
    over = 255.0 * np.broadcast_to(colour, (*strength.shape[:-1], 3))[frame, y, x]
    canvas_THW3[at] = np.clip(np.rint(under + strength[frame, y, x] * (over - under)), 0, 255).astype(np.uint8)


def _paint_square(canvas_THW3: np.ndarray, camera: Cameras, centre_3: np.ndarray, half: float, colour) -> None:
    """A square that faces the camera, its sides along the picture's; nothing where it lies behind the camera."""
    pixel_T2, depth_T = camera.project(centre_3)
    if depth_T.min() <= 0 or np.abs(pixel_T2).max() > 4 * max(canvas_THW3.shape[1:3]):
        return
    half_T = camera.K[:, 0, 0] * half / depth_T
    patch = _patch(pixel_T2, int(np.ceil(half_T.max() + 1.0)))
    across, along = (
        np.clip(half_T[:, None] + 0.5 - np.abs(numbers - pixel_T2[:, i, None]), 0.0, 1.0)
        for i, numbers in enumerate((patch.columns_Tw, patch.rows_Th))
    )
    _blend(canvas_THW3, patch, (along[:, :, None] * across[:, None, :])[..., None], colour)


def _paint_posts(canvas_THW3: np.ndarray, look: Appearance, disc: Disc) -> np.ndarray:
    """Vertical posts that stand before the scene, at the same place in every picture; returns the ball's share (T,)
    that stays in sight."""
    num_frames, height, width, _ = canvas_THW3.shape
    clear_Tw = np.ones(disc.patch.columns_Tw.shape)
    rows_Th, columns_Tw = (np.repeat(np.arange(n)[None], num_frames, axis=0) for n in (height, width))
    for centre, half, colour in zip(look.post_N, look.post_width_N, look.post_colour_N3):
        middle, reach = centre * width - 0.5, half * width + 0.5
        cover_Tw = np.clip(reach - np.abs(columns_Tw - middle), 0.0, 1.0)
        strength = np.broadcast_to(cover_Tw[:, None, :, None], (num_frames, height, width, 1))
        _blend(canvas_THW3, Patch(rows_Th, columns_Tw), strength, colour)
        clear_Tw = clear_Tw * (1.0 - np.clip(reach - np.abs(disc.patch.columns_Tw - middle), 0.0, 1.0))
    seen_T = np.sum(disc.cover * clear_Tw[:, None, :], axis=(1, 2))
    return (seen_T / disc.cover.sum(axis=(1, 2))).astype(np.float32)
