"""The renderer: an antialiased shaded ball on a light background, one camera at a time, all frames at once."""

import colorsys
from dataclasses import dataclass

import numpy as np

from videogvt.world.spec import WorldSpec

WINDOW = 3  # pixels beyond the ball's radius that a patch covers
RIM, LIGHT = 0.25, 0.08  # darkening of the ball towards its rim, and towards the side away from the light


@dataclass(frozen=True)
class Look:
    """How a scene looks, drawn without the class: colours are (3,) in 0..1, ``light`` (2,) points to the lamp in the
    picture."""

    colour: np.ndarray
    colour_name: str
    background: np.ndarray
    light: np.ndarray


COLOUR_NAMES = (
    "red", "orange", "yellow", "lime", "green", "teal", "cyan", "azure", "blue", "violet", "magenta", "crimson",
)  # fmt: skip


def draw_look(rng: np.random.Generator, spec: WorldSpec) -> Look:
    """A saturated ball colour, its name, a light background and a lamp direction."""
    hue, saturation, value, back_hue, back_saturation, back_value, lamp = rng.random(7)
    colour = np.array(colorsys.hsv_to_rgb(hue, 0.75 + 0.25 * saturation, 0.4 + 0.45 * value))
    name = COLOUR_NAMES[int(hue * len(COLOUR_NAMES) + 0.5) % len(COLOUR_NAMES)]
    background = np.array(colorsys.hsv_to_rgb(back_hue, 0.2 * back_saturation, 0.85 + 0.15 * back_value))
    if spec.background == "white":
        background = np.ones(3)
    lamp = 2 * np.pi * lamp
    return Look(np.round(colour, 4), name, np.round(background, 4), np.round([np.cos(lamp), np.sin(lamp)], 4))


def disc_coverage(offset_x: np.ndarray, offset_y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Covered share, 0..1, of unit pixels at these offsets from a disc's centre.

    Exact for a straight edge at the pixel's distance; the error for a curved one is below 0.02 for radii of 1.5 px up.
    """
    distance = np.sqrt(offset_x * offset_x + offset_y * offset_y)
    return np.clip(radius - distance + 0.5, 0.0, 1.0)


def draw_ball(video_THW3: np.ndarray, pixel_T2: np.ndarray, radius_T: np.ndarray, look: Look) -> None:
    """Paints the ball of each frame into a float video, in place."""
    num_frames, height, width, _ = video_THW3.shape
    reach = int(np.ceil(radius_T.max())) + WINDOW
    span = np.arange(-reach, reach + 1)
    corner_T2 = np.round(pixel_T2).astype(np.int64)
    columns, rows = corner_T2[:, 0, None] + span, corner_T2[:, 1, None] + span
    dx, dy = (columns - pixel_T2[:, 0, None])[:, None, :], (rows - pixel_T2[:, 1, None])[:, :, None]
    radius = radius_T[:, None, None]
    cover = disc_coverage(dx, dy, radius)
    facing = np.sqrt(np.clip(1.0 - (dx * dx + dy * dy) / (radius * radius), 0.0, 1.0))
    lit = LIGHT * (dx * look.light[0] + dy * look.light[1]) / (radius + 0.5)
    shade = (1.0 - RIM + RIM * facing + lit)[..., None] * look.colour
    frames = np.arange(num_frames)[:, None, None]
    inside = ((columns >= 0) & (columns < width))[:, None, :] & ((rows >= 0) & (rows < height))[:, :, None]
    at = (frames, np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :])
    under = video_THW3[at]
    painted = under + np.where(inside, cover, 0.0)[..., None] * (shade - under)
    keep = inside & (cover > 0)
    full_at = tuple(np.broadcast_to(axis, keep.shape)[keep] for axis in at)
    video_THW3[full_at] = painted[keep]


def render(spec: WorldSpec, look: Look, pixel_T2: np.ndarray, radius_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The video uint8 (T, H, W, 3) of one camera and the visible share of the ball (T,)."""
    video = np.empty((spec.num_frames, spec.height, spec.width, 3))
    video[:] = look.background
    draw_ball(video, pixel_T2, radius_T, look)
    return np.round(np.clip(video, 0.0, 1.0) * 255.0).astype(np.uint8), np.ones(spec.num_frames, np.float32)
