"""The renderer: paints all frames of one camera at once, from the back to the front, into a uint8 canvas.

Order: backdrop, distractors, trail, ball, posts, sensor noise. Only the pixels under an object are computed.
"""

from dataclasses import dataclass

import numpy as np

from videogvt.world.cameras import Cameras
from videogvt.world.look import Look, backdrop
from videogvt.world.spec import WorldSpec

RIM, LIGHT = 0.25, 0.08  # darkening of the ball towards its rim, and towards the side away from the lamp
TRAIL_STRENGTH = 0.45  # of the youngest shadow
EXPOSURES = 5  # instants that a blurred frame averages


def exposure_times(spec: WorldSpec) -> np.ndarray:
    """The instants (T, N) in seconds that each frame averages, centred on the frame's own; N is 1 without blur."""
    share = np.linspace(-0.5, 0.5, EXPOSURES) * spec.motion_blur if spec.motion_blur else np.zeros(1)
    return (np.arange(spec.num_frames)[:, None] + share) / spec.fps


def render(
    spec: WorldSpec, look: Look, camera: Cameras, exposure_TN3: np.ndarray, radius: float, rng: np.random.Generator
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

    def shade(self, look: Look) -> np.ndarray:
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


def _paint_posts(canvas_THW3: np.ndarray, look: Look, disc: Disc) -> np.ndarray:
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
