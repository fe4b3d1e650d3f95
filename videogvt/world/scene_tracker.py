"""The tracker for scenes: one object before any scenery, by a camera that may turn, through what may hide it.

The camera's motion is estimated and undone, the median over time is the background, what differs from it by more than
its noise are candidates, the cheapest path through these is the object, and a Kalman smoother bridges what is missing.
``tracker.track`` knows one object on a plain or still background, where it is faster and as exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from videogvt.world import oracle
from videogvt.world.bridging import Candidates, bridged, chosen
from videogvt.world.camera_motion import Motion, behind, estimate
from videogvt.world.tracker import PLAUSIBLE_AREA

SEEN, BRIDGED, LOST = 0, 1, 2
_SOFT = 0.8  # px at 64 on the short side: blur of the differences, about half the smallest ball's radius
_MIN_CONTRAST = 0.04  # of full scale: no smaller difference is an object
OVER_NOISE = 4.0  # stds of a pixel's own noise that a difference must reach
MOST = 6  # candidates per frame, the largest ones
EXACT = 0.1  # px: how exact a whole object's centre is at best
TRUSTED = 1.5  # px at 64 on the short side: std up to which a bridged place is told


@dataclass(frozen=True)
class SceneTrack:
    """One object through B clips.

    Attributes:
      position_BT2: centres in each frame's picture, px, (0, 0) being the centre of the top left pixel; NaN where lost.
      still_BT2: the same as if the camera had stood still as in the middle frame.
      state_BT: ``SEEN``, ``BRIDGED`` (told by what was seen before and after) or ``LOST``, uint8.
      std_BT: standard deviation of a centre along an axis by the filter's own account, px; inf where nothing is
        known.
      area_BT: px, 0 where not seen.
      moving_B: whether a camera's motion was found and undone.
    """

    position_BT2: np.ndarray
    still_BT2: np.ndarray
    state_BT: np.ndarray
    std_BT: np.ndarray
    area_BT: np.ndarray
    moving_B: np.ndarray


def track_scenes(video_BTHWC: np.ndarray) -> SceneTrack:
    """Tracks the object of each clip, uint8 (B, T, H, W, 3). A clip without one is lost in every frame.

    Raises:
      ValueError: the clips are something else.
    """
    if video_BTHWC.ndim != 5 or video_BTHWC.dtype != np.uint8 or video_BTHWC.shape[-1] != 3:
        raise ValueError(f"Scenes to track are uint8 (B, T, H, W, 3); found {video_BTHWC.dtype} {video_BTHWC.shape}.")
    return SceneTrack(*(np.stack(part) for part in zip(*(_tracked(video) for video in video_BTHWC))))


def classify_scenes(track: SceneTrack, fps: float = 24.0, families: Sequence[str] = tuple(oracle.FAMILIES),
                    size: int = 64) -> np.ndarray:
    """The oracle's name (B,) for each track, by what was seen, as if the camera had stood still; "unknown" below 8
    seen frames. A bridged place would only tell what the filter expects."""
    seen_BT2 = np.where((track.state_BT == SEEN)[..., None], track.still_BT2, np.nan)
    return oracle.classify(seen_BT2, fps=fps, families=families, size=size)


def _tracked(video_THWC: np.ndarray) -> tuple[np.ndarray, ...]:
    num_frames, height, width = video_THWC.shape[:3]
    unit = min(height, width) / 64.0
    motion = estimate(video_THWC)
    candidates = stand_out(video_THWC, motion)
    pick_T = chosen(_in_middle(candidates, motion), num_frames, unit)
    seen_T = pick_T >= 0
    place_T2, std_T, area_T = np.full((num_frames, 2), np.nan), np.full(num_frames, np.inf), np.zeros(num_frames)
    place_T2[seen_T] = candidates.position_N2[pick_T[seen_T]]
    area_T[seen_T] = candidates.area_N[pick_T[seen_T]]
    std_T[seen_T] = candidates.std_N[pick_T[seen_T]]
    if seen_T.any():  # what is partly hidden has its centre elsewhere
        whole = np.median(area_T[seen_T])
        std_T[seen_T] += np.maximum(0.9 - area_T[seen_T] / whole, 0.0) * np.sqrt(whole / np.pi)
    still_T2, spread_T, believed_T = bridged(motion.to_middle(place_T2), std_T, unit)
    state_T = np.where(believed_T, SEEN, np.where(spread_T <= TRUSTED * unit, BRIDGED, LOST)).astype(np.uint8)
    own_T = believed_T & (std_T <= 2 * spread_T)  # else the path says more: a place half hidden, or in noise
    still_T2[own_T], spread_T[own_T] = motion.to_middle(place_T2)[own_T], std_T[own_T]
    still_T2[state_T == LOST] = np.nan
    return (motion.to_frames(still_T2), still_T2, state_T, spread_T, np.where(believed_T, area_T, 0.0),
            np.bool_(motion.moving))


def stand_out(video_THWC: np.ndarray, motion: Motion) -> Candidates:
    """What differs from the background in the frames of a clip (T, H, W, 3), uint8.

    A pixel differs if its blurred difference in some channel is ``_MIN_CONTRAST`` of full scale and ``OVER_NOISE``
    stds of that pixel's own noise over time: so the edges of a scene that is not quite aligned are not believed.
    8-connected pixels are a candidate. Its centre is that of the ball's share of every pixel, read off between the
    colours behind and of the candidate, so that neither a bright nor a dark scene behind it draws it aside.
    """
    num_frames, height, width = video_THWC.shape[:3]
    unit = min(height, width) / 64.0
    video_THWC = video_THWC.astype(np.float32) / 255.0
    behind_THWC = behind(video_THWC, motion)
    apart_THWC = np.nan_to_num(video_THWC - behind_THWC)
    soft_THW = np.abs(ndimage.gaussian_filter(apart_THWC, (0, _SOFT * unit, _SOFT * unit, 0))).max(axis=-1)
    noise_THW = 1.48 * np.nan_to_num(behind(soft_THW[..., None], motion)[..., 0], nan=1.0)  # 1.48: median to std
    noise_THW = ndimage.maximum_filter(noise_THW, (1, 3, 3))
    over_THW = soft_THW > np.maximum(_MIN_CONTRAST, OVER_NOISE * noise_THW)
    grown = np.zeros((3, 3, 3), bool)
    grown[1] = True  # no pixel touches another frame's
    labels_THW, count = ndimage.label(over_THW, grown)
    behind_THWC = np.broadcast_to(behind_THWC, video_THWC.shape)
    rows = []
    for label, (at, *window) in enumerate(ndimage.find_objects(labels_THW, count), 1):
        reach = int(np.ceil(2 * unit))
        window = (at.start, *(slice(max(side.start - reach, 0), side.stop + reach) for side in window))
        own_hw = labels_THW[window] == label
        near_hw = ndimage.binary_dilation(own_hw, np.ones((3, 3)), iterations=reach)
        row = _measured(video_THWC[window], behind_THWC[window], soft_THW[window], own_hw, near_hw,
                        float(np.median(noise_THW[min(at.start, len(noise_THW) - 1)])))
        if PLAUSIBLE_AREA[0] * unit**2 <= row[4] <= PLAUSIBLE_AREA[1] * unit**2:
            rows.append((at.start, row[0] + window[2].start, row[1] + window[1].start, *row[2:]))
    rows = _largest(np.array(rows, np.float64).reshape(-1, 9))
    return Candidates(rows[:, 0].astype(int), rows[:, 1:3], rows[:, 4], rows[:, 5], rows[:, 3], rows[:, 6:])


def _measured(seen_hwC, behind_hwC, soft_hw, own_hw, near_hw, noise: float) -> tuple[float, ...]:
    """x, y in the window, peak, std, area and colour of a candidate."""
    peak = soft_hw[own_hw].max()
    core_hw = own_hw & (soft_hw >= 0.7 * peak)
    colour_C = np.median(seen_hwC[core_hw], axis=0)
    across_hwC = colour_C - behind_hwC
    square_hw = np.sum(across_hwC**2, axis=-1)
    contrast = max(float(np.sqrt(np.median(square_hw[core_hw]))), _MIN_CONTRAST)
    floor = 0.1 * contrast**2  # where the scene has the candidate's colour, nothing is told
    share_hw = np.sum((seen_hwC - behind_hwC) * across_hwC, axis=-1) / np.maximum(square_hw, floor)
    share_hw = np.where(near_hw, np.clip(share_hw, -0.5, 1.0), 0.0)
    area = float(max(share_hw.sum(), 1e-3))
    y_hw, x_hw = np.mgrid[: share_hw.shape[0], : share_hw.shape[1]]
    x, y = (float((share_hw * place_hw).sum() / area) for place_hw in (x_hw, y_hw))
    spread_hw = (x_hw - x) ** 2 + (y_hw - y) ** 2
    doubt = noise / contrast * np.sqrt(spread_hw[near_hw].sum() / 2) / area
    return x, y, peak, float(np.hypot(EXACT, doubt)), area, *colour_C


def _largest(rows_N9: np.ndarray) -> np.ndarray:
    """At most ``MOST`` candidates of every frame, by area times strength."""
    keep = []
    for frame in np.unique(rows_N9[:, 0]):
        at = np.flatnonzero(rows_N9[:, 0] == frame)
        keep.extend(at[np.argsort(-rows_N9[at, 3] * rows_N9[at, 5])[:MOST]])
    return rows_N9[np.sort(np.array(keep, int))]


def _in_middle(candidates: Candidates, motion: Motion) -> Candidates:
    """The same with places as if the camera had stood still."""
    own = Motion(motion.turn_T[candidates.frame_N], motion.shift_T[candidates.frame_N], motion.centre, motion.moving)
    return Candidates(candidates.frame_N, own.to_middle(candidates.position_N2), candidates.std_N,
                      candidates.area_N, candidates.strength_N, candidates.colour_N3)
