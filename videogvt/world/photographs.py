"""Clips of a world before photographs: the ball of an example, cut out exactly, over a picture that the camera pans.

The ball is cut out by rendering it before black and before white paper (Smith and Blinn, SIGGRAPH 1996), so an
example's truth stays exact: the ball's share of every pixel, its places and its family.

The photographs ship inside packages and nothing is downloaded: ``china`` and ``flower`` in scikit-learn, the others in
scikit-image (``pip install 'videogvt[photographs]'``).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from videogvt.core.registry import unknown_name
from videogvt.world.cameras import Cameras
from videogvt.world.render import draw_look, exposure_times, render
from videogvt.world.scene import draw_scene
from videogvt.world.spec import WorldSpec, stream

PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = {
    "validation": ("china", "astronaut", "coffee", "gravel"),
    "test": ("flower", "chelsea", "rocket", "grass"),
}
"""Names by split, so that what is chosen before some is reported before others."""

_SCALE = 2.5  # a photograph's short side over the clip's: room to pan
DRIFT_SHARE, SHAKE_SHARE = 0.8, 0.5  # of a pan's speed: what is steady, and the std of what is not
ROUNDS = 200  # directions that are tried for a pan that keeps the ball in the picture


@dataclass(frozen=True)
class PhotographedClip:
    """A ball before a photograph.

    Attributes:
      video_THWC: uint8 (T, H, W, 3).
      position_T2: the ball's centre in each frame's picture, px.
      still_T2: the same as if the camera had stood still as in the middle frame, px.
      visibility_T: share of the ball that nothing hides.
      contrast_T: how much the ball stands out, 0..1: the largest channel's mean difference over what is seen of it.
      family: of its path.
    """

    video_THWC: np.ndarray
    position_T2: np.ndarray
    still_T2: np.ndarray
    visibility_T: np.ndarray
    contrast_T: np.ndarray
    family: str


@functools.cache
def photograph(name: str, short_side: int) -> np.ndarray:
    """A photograph by name, scaled to a short side in px: float32 (H, W, 3) in 0..255."""
    known = [each for names in PHOTOGRAPHS.values() for each in names]
    if name not in known:
        raise ValueError(unknown_name("photograph", name, known))
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image

        picture = load_sample_image(f"{name}.jpg")
    else:
        try:
            from skimage import data
        except ModuleNotFoundError as error:
            raise ValueError(f"The photograph {name!r} is in scikit-image, which is not installed; run"
                             " `pip install 'videogvt[photographs]'`, or take china or flower.") from error
        picture = getattr(data, name)()
    image = Image.fromarray(picture).convert("RGB")
    share = short_side / min(image.size)
    size = tuple(round(share * side) for side in image.size)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32)


def photographed(
    spec: WorldSpec, split: str, index: int, *, name: str, pan: float = 0.0, zoom: float = 0.0, noise: float = 0.0
) -> PhotographedClip:
    """Example ``index`` of a still camera's ``spec`` before a photograph; pure, as examples are.

    Args:
      spec: its background and sensor noise do not count.
      name: of the photograph, one of ``PHOTOGRAPHS``.
      pan: speed of the camera, px per frame: 0.8 of it steady in some direction, and steps of a std of half of it
        to any side. A pan over which the ball would leave the picture is drawn again.
      zoom: largest change of scale from the middle frame to either end, as a share.
      noise: std of the sensor's noise, of full scale.
    """
    if spec.rig != "mono":
        raise ValueError(f"The rig of {spec.name} is {spec.rig!r}; expected mono: it is the photograph that is panned.")
    if pan < 0 or zoom < 0 or noise < 0:
        raise ValueError(f"Found pan={pan}, zoom={zoom} and noise={noise}; expected strengths from 0.")
    paper = replace(spec, background="plain", sensor_noise=0.0, distractors=0)
    scene = draw_scene(paper, split, index)
    path = scene.paths[spec.families[index % len(spec.families)]]
    rng = stream(spec.seed, split, index, f"photograph/{name}")  # the same place at every strength
    camera, positions_T3 = scene.cameras[0], path.position(np.arange(spec.num_frames) / spec.fps)
    still_T2, _ = camera.project(positions_T3)
    centre_2 = np.array([spec.width - 1, spec.height - 1]) / 2
    zoom_T, pan_T2 = _drawn_pan(spec, rng, pan, zoom, still_T2 - centre_2)
    panned = _panned(camera, zoom_T, pan_T2, centre_2)
    position_T2, depth_T = panned.project(positions_T3)
    look = draw_look(paper, split, index, camera[0])
    exposure_TN3 = path.position(exposure_times(paper).reshape(-1)).reshape(spec.num_frames, -1, 3)
    shots = [render(paper, replace(look, background=np.full(3, shade)), panned, exposure_TN3, scene.radius, rng)
             for shade in (0.0, 1.0)]
    (black_THW3, visibility_T), white_THW3 = shots[0], shots[1][0]
    through_THW1 = np.clip((white_THW3.astype(np.float32) - black_THW3).mean(axis=-1, keepdims=True) / 255, 0, 1)
    scenery_THW3 = _scenery(spec, rng, name, zoom_T, pan_T2)
    clean_THW3 = black_THW3 + through_THW1 * scenery_THW3
    noisy_THW3 = clean_THW3 + 255 * noise * rng.standard_normal(clean_THW3.shape, dtype=np.float32)
    middle = spec.num_frames // 2
    still_T2 = (still_T2 - centre_2) * zoom_T[middle] + pan_T2[middle] + centre_2
    radius_T = panned.K[:, 0, 0] * scene.radius / depth_T
    near_THW = np.linalg.norm(_pixels(spec) - position_T2[:, None, None], axis=-1) < radius_T[:, None, None]
    apart_T3 = np.einsum("thw,thwc->tc", near_THW, np.abs(clean_THW3 - scenery_THW3)) / near_THW.sum((1, 2))[:, None]
    return PhotographedClip(np.clip(np.rint(noisy_THW3), 0, 255).astype(np.uint8), position_T2, still_T2, visibility_T,
                            apart_T3.max(axis=-1) / 255, path.name)


def _pixels(spec: WorldSpec) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(spec.width), np.arange(spec.height)), axis=-1)


def _drawn_pan(spec, rng, pan: float, zoom: float, still_T2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zoom (T,) and pan (T, 2) in px of every frame; a place z from the centre is then seen at zoom z + pan."""
    time_T = np.arange(spec.num_frames) - spec.num_frames // 2
    half_2 = np.array([spec.width, spec.height]) / 2 - 4.0 * spec.pixel_unit
    for _ in range(ROUNDS):
        angle, rate = 2 * np.pi * rng.random(), zoom * (2 * rng.random() - 1) / max(abs(time_T))
        steps_T2 = DRIFT_SHARE * np.array([np.cos(angle), np.sin(angle)])
        steps_T2 = pan * (steps_T2 + SHAKE_SHARE * rng.standard_normal((spec.num_frames, 2)))
        zoom_T, pan_T2 = 1.0 + rate * time_T, np.cumsum(steps_T2, axis=0)
        seen_T2 = zoom_T[:, None] * still_T2 + pan_T2
        low_2, high_2 = -half_2 - seen_T2.min(axis=0), half_2 - seen_T2.max(axis=0)
        if (low_2 <= high_2).all():
            return zoom_T, pan_T2 + np.clip(0.0, low_2, high_2)
    raise ValueError(f"A pan of {pan} px per frame and a zoom of {zoom} take the ball out of the picture in {ROUNDS}"
                     f" directions of {spec.name}; expected less of either.")


def _panned(camera: Cameras, zoom_T: np.ndarray, pan_T2: np.ndarray, centre_2: np.ndarray) -> Cameras:
    """The camera whose picture is zoomed about its centre and then shifted: the lens moves, the camera does not."""
    K = camera.K.copy()
    K[:, 0, 0], K[:, 1, 1] = K[:, 0, 0] * zoom_T, K[:, 1, 1] * zoom_T
    K[:, :2, 2] = (K[:, :2, 2] - centre_2) * zoom_T[:, None] + centre_2 + pan_T2
    return Cameras(K, camera.R, camera.t)


def _scenery(spec, rng, name: str, zoom_T: np.ndarray, pan_T2: np.ndarray) -> np.ndarray:
    """What the frames show of the photograph, float32 (T, H, W, 3) in 0..255; beyond its edge it is mirrored."""
    picture_HW3 = photograph(name, round(_SCALE * min(spec.height, spec.width)))
    height, width = picture_HW3.shape[:2]
    room_2 = np.maximum(np.array([width - spec.width, height - spec.height]) / 2 - np.ptp(pan_T2, axis=0) / 2, 0)
    middle_2 = np.array([width - 1, height - 1]) / 2 + room_2 * (2 * rng.random(2) - 1)
    middle_2 += (pan_T2.max(axis=0) + pan_T2.min(axis=0)) / 2
    place_HW2 = _pixels(spec) - np.array([spec.width - 1, spec.height - 1]) / 2
    at_THW2 = (place_HW2 - pan_T2[:, None, None]) / zoom_T[:, None, None, None] + middle_2
    at = np.moveaxis(at_THW2[..., ::-1], -1, 0)
    return np.stack([ndimage.map_coordinates(picture_HW3[..., c], at, order=3, mode="mirror") for c in range(3)],
                    axis=-1).clip(0, 255)
