"""Camera motion from the pictures alone: each frame is laid over the clip's middle frame, turned, zoomed and shifted.

Of a camera that turns, zooms or rolls without changing its place, every picture is a similarity of every other, as long
as the field of view is narrow; so a ball's places can be told as if the camera had stood still. Of a camera that
changes its place, near and far things move apart in the picture, no similarity lays one frame over another, and none is
believed: see ``estimate``.

Whole pixels come from phase correlation (Kuglin and Hines, 1975), the rest from least squares of the brightness (Lucas
and Kanade, IJCAI 1981) under a loss that forgives what moves by itself; the solver is ``scipy.optimize.least_squares``.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, optimize, signal

BLUR = 1.0  # px at 64 on the short side: of the frames that are compared, against noise and for even slopes
STRIDE = 2  # of the pixels that are compared, in x and y: a thousand of them fix four numbers
FORGIVEN = 6.0  # of 255: a difference in brightness from which on a pixel counts less
MIN_GAIN = 0.3  # the share by which a motion must lower the misfit of a camera that stands still
MIN_SHARE = 0.05  # of the picture that must lie better, so that it is the scene and not the object that is followed
MIN_MOVE = 0.1  # px: less than this in a corner, and the camera stands still
MIN_OVERLAP = 0.3  # of a frame that must lie on its neighbour


@dataclass(frozen=True)
class Motion:
    """Where the frames of a clip lie over its middle frame. With x + iy from the picture's centre, in px, a point z of
    frame t is the point ``turn_T[t] z + shift_T[t]`` of the middle frame.

    Attributes:
      turn_T: complex (T,); its length is the zoom, its angle the roll.
      shift_T: complex (T,), px.
      centre: of the picture, x + iy in px.
      moving: whether a motion was found; else every frame lies where the middle one does.
    """

    turn_T: np.ndarray
    shift_T: np.ndarray
    centre: complex
    moving: bool

    @classmethod
    def still(cls, num_frames: int, height: int, width: int) -> "Motion":
        """A camera that stands still."""
        return cls(np.ones(num_frames, complex), np.zeros(num_frames, complex), _centre(height, width), False)

    def to_middle(self, position_T2: np.ndarray) -> np.ndarray:
        """Positions (T, 2) in the frames, px, as positions in the middle frame."""
        return _as_pairs(self.turn_T * (_as_complex(position_T2) - self.centre) + self.shift_T + self.centre)

    def to_frames(self, position_T2: np.ndarray) -> np.ndarray:
        """Positions (T, 2) in the middle frame, px, as positions in the frames."""
        return _as_pairs((_as_complex(position_T2) - self.centre - self.shift_T) / self.turn_T + self.centre)


def estimate(video_THWC: np.ndarray) -> Motion:
    """The camera's motion in a clip, uint8 (T, H, W, C).

    Neighbours are laid over each other, from the middle frame outwards, and then every frame over the median of all.
    The camera counts as moving if that lowers the frames' misfit to their median by ``MIN_GAIN``, and by more than
    the object alone could, and some corner moves by ``MIN_MOVE`` px or more; otherwise it is taken to stand still. On
    plain scenery there is nothing to go by: it counts as still, too.
    """
    soft_THW = _softened(video_THWC)
    still = Motion.still(*soft_THW.shape)
    if not _sample_moves(soft_THW, still.centre):
        return still
    motion = _refined(soft_THW, _chained(soft_THW))
    corners_4 = np.array([x + 1j * y for x in (-1, 1) for y in (-1, 1)]) * abs(still.centre) / np.sqrt(2)
    moves_T4 = np.abs(motion.turn_T[:, None] * corners_4 + motion.shift_T[:, None] - corners_4)
    better = _better(misfit(video_THWC, still) ** 2, misfit(video_THWC, motion) ** 2, MIN_GAIN)
    return motion if better and moves_T4.max() >= MIN_MOVE else still


def misfit(video_THWC: np.ndarray, motion: Motion) -> float:
    """How far the blurred frames are from their median where they lie over each other: the root mean square of the
    absolute differences in brightness, each counted up to ``FORGIVEN``, in values of 255."""
    soft_THW1 = _softened(video_THWC)[..., None]
    apart_THW = np.abs(soft_THW1 - behind(soft_THW1, motion))[..., 0]
    return float(np.sqrt(np.nanmean(np.minimum(apart_THW, FORGIVEN) ** 2)))


def _better(still: float, moved: float, gain: float) -> bool:
    """Whether a mean square lies far enough below that of a still camera."""
    return moved < (1.0 - gain) ** 2 * still and still - moved > MIN_SHARE * FORGIVEN**2


def _softened(video_THWC: np.ndarray) -> np.ndarray:
    """Brightness (T, H, W), blurred."""
    blur = BLUR * min(video_THWC.shape[1:3]) / 64.0
    return ndimage.gaussian_filter(video_THWC.astype(np.float32).mean(axis=-1), (0, blur, blur))


def behind(video_THWC: np.ndarray, motion: Motion) -> np.ndarray:
    """What stands behind the moving object in every frame: the median over time of the frames laid over each other, as
    the camera sees it in each; float32 (1 or T, H, W, C), NaN where nothing is known."""
    if not motion.moving:
        return np.median(video_THWC.astype(np.float32), axis=0, keepdims=True)
    canvas_HWC, corner = mosaic(video_THWC, motion)
    plane_HW = _plane(*video_THWC.shape[1:3])
    return np.stack([_sampled(canvas_HWC, turn * plane_HW + shift - corner)
                     for turn, shift in zip(motion.turn_T, motion.shift_T)])


def mosaic(video_THWC: np.ndarray, motion: Motion) -> tuple[np.ndarray, complex]:
    """The median over time on a canvas that holds all frames, float32 (H', W', C), NaN where no frame lies, and the
    place of its top left pixel in the middle frame, x + iy from the centre of that."""
    height, width = video_THWC.shape[1:3]
    plane_HW = _plane(height, width)
    corners_T4 = motion.turn_T[:, None] * plane_HW[[0, 0, -1, -1], [0, -1, 0, -1]] + motion.shift_T[:, None]
    first = plane_HW[0, 0]  # the canvas has the middle frame's pixels, and one more on every side
    near = complex(corners_T4.real.min(), corners_T4.imag.min()) - first
    corner = first + complex(np.floor(near.real) - 1, np.floor(near.imag) - 1)
    far = complex(corners_T4.real.max(), corners_T4.imag.max()) - corner
    columns, rows = (int(min(np.ceil(side) + 2, 4 * full)) for side, full in ((far.real, width), (far.imag, height)))
    canvas_HW = np.arange(columns) + 1j * np.arange(rows)[:, None] + corner
    laid = [_sampled(frame_HWC.astype(np.float32), (canvas_HW - shift) / turn - first)
            for frame_HWC, turn, shift in zip(video_THWC, motion.turn_T, motion.shift_T)]
    return _nan_median(np.stack(laid)), corner


def _nan_median(values_T: np.ndarray) -> np.ndarray:
    """The median over the first axis of what is not NaN: ``np.nanmedian``, which is slow and warns of empty columns."""
    ordered_T, count = np.sort(values_T, axis=0), np.isfinite(values_T).sum(axis=0)  # NaN comes last
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    pick = (np.take_along_axis(ordered_T, np.minimum(at, len(values_T) - 1)[None], axis=0)[0] for at in (low, high))
    return sum(pick) / 2


def _sampled(picture_HWC: np.ndarray, place_hw: np.ndarray) -> np.ndarray:
    """The picture at places x + iy (h, w) from its top left pixel, between pixels linearly, NaN outside: (h, w, C)."""
    at = np.stack([place_hw.imag, place_hw.real])
    return np.stack([ndimage.map_coordinates(picture_HWC[..., c], at, order=1, cval=np.nan)
                     for c in range(picture_HWC.shape[-1])], axis=-1)


def _sample_moves(soft_THW: np.ndarray, centre: complex) -> bool:
    """Whether some frames lie better over the middle one when they are moved: six fits, where a still camera would
    cost two for each frame. The bar is half of ``MIN_GAIN``, which then judges all frames."""
    middle, last = len(soft_THW) // 2, len(soft_THW) - 1
    still, moved = [0.0], [0.0]
    sample = np.clip([0, middle - 4, middle - 2, middle + 2, middle + 4, last], 0, last)
    for t in set(sample.tolist()) - {middle}:
        start = (1 + 0j, _whole_pixels(soft_THW[middle], soft_THW[t]))
        turn, shift = _fitted(soft_THW[middle], -centre, soft_THW[t], start)
        place_HW = turn * _plane(*soft_THW.shape[1:]) + shift + centre
        laid_HW = _sampled(soft_THW[middle][..., None], place_HW)[..., 0]
        known_HW = np.isfinite(laid_HW)
        if known_HW.mean() < MIN_OVERLAP:
            continue
        for squares, over_HW in ((still, soft_THW[middle]), (moved, laid_HW)):
            squares.append(np.mean(np.minimum(np.abs(soft_THW[t] - over_HW)[known_HW], FORGIVEN) ** 2))
    return _better(np.mean(still), np.mean(moved), MIN_GAIN / 2)


def _chained(soft_THW: np.ndarray) -> Motion:
    """Each frame over its neighbour towards the middle, and so over the middle one."""
    num_frames, middle = len(soft_THW), len(soft_THW) // 2
    motion = Motion(*(np.array(part) for part in zip(*[(1 + 0j, 0j)] * num_frames)), _centre(*soft_THW.shape[1:]), True)
    for side in (-1, 1):
        for t in range(middle + side, num_frames if side > 0 else -1, side):
            nearer = t - side
            start = (1 + 0j, _whole_pixels(soft_THW[nearer], soft_THW[t]))
            turn, shift = _fitted(soft_THW[nearer], -motion.centre, soft_THW[t], start)
            motion.turn_T[t] = motion.turn_T[nearer] * turn
            motion.shift_T[t] = motion.turn_T[nearer] * shift + motion.shift_T[nearer]
    return motion


def _whole_pixels(template_HW: np.ndarray, picture_HW: np.ndarray) -> complex:
    """The shift in whole px, x + iy, that lays a picture over a template, up to a quarter of its sides."""
    height, width = template_HW.shape
    window_HW = np.outer(signal.windows.hann(height), signal.windows.hann(width))
    spectra = [fft.rfft2((each - each.mean()) * window_HW) for each in (template_HW, picture_HW)]
    product = spectra[0] * spectra[1].conj()
    product /= np.abs(product) + 1e-3 * np.abs(product).max() + 1e-12  # frequencies without power say nothing
    peaks_HW = fft.irfft2(product, s=(height, width))
    rows, columns = np.arange(height), np.arange(width)
    near = np.minimum(rows, height - rows)[:, None] <= height // 4
    near = near & (np.minimum(columns, width - columns) <= width // 4)
    y, x = np.unravel_index(np.where(near, peaks_HW, -np.inf).argmax(), peaks_HW.shape)
    return complex(x - width * (x > width // 2), y - height * (y > height // 2))


def _refined(soft_THW: np.ndarray, motion: Motion) -> Motion:
    """Every frame over the median of all, so that the chain's errors do not add up."""
    canvas_HW1, corner = mosaic(soft_THW[..., None], motion)
    steps = [_fitted(canvas_HW1[..., 0], corner, soft_THW[t], (motion.turn_T[t], motion.shift_T[t]))
             for t in range(len(soft_THW))]
    turn_T, shift_T = (np.array(part) for part in zip(*steps))
    middle = len(steps) // 2
    return Motion(turn_T / turn_T[middle], (shift_T - shift_T[middle]) / turn_T[middle], motion.centre, True)


def _fitted(template_HW: np.ndarray, corner: complex, picture_HW: np.ndarray, start: tuple[complex, complex]):
    """(turn, shift) that lay a picture over a template whose top left pixel lies at ``corner`` of the same plane."""
    plane = _plane(*picture_HW.shape)[::STRIDE, ::STRIDE].ravel()
    unit = np.abs(plane).max()
    known = np.isfinite(template_HW)
    filled_HW = np.where(known, template_HW, 0.0)
    slope_y_HW, slope_x_HW = np.gradient(filled_HW)
    layers = [filled_HW, slope_x_HW, slope_y_HW]
    known = ndimage.binary_erosion(known, np.ones((3, 3)), border_value=0).astype(np.float32)
    seen = picture_HW[::STRIDE, ::STRIDE].ravel()
    memory: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def looked_up(p_4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Differences and their slopes; the solver asks for both at the same place."""
        if p_4.tobytes() not in memory:
            place = plane + (p_4[0] + 1j * p_4[1]) * plane / unit + p_4[2] + 1j * p_4[3] - corner
            at = np.stack([place.imag, place.real])
            inside = ndimage.map_coordinates(known, at, order=1, cval=0.0) > 0.99
            bright, by_x, by_y = (np.where(inside, ndimage.map_coordinates(layer, at, order=1), 0.0)
                                  for layer in layers)
            share = max(inside.mean(), MIN_OVERLAP)
            x, y = plane.real / unit, plane.imag / unit
            slopes = np.stack([by_x * x + by_y * y, by_y * x - by_x * y, by_x, by_y], axis=-1)
            memory.clear()
            memory[p_4.tobytes()] = np.where(inside, bright - seen, 0.0) / np.sqrt(share), slopes / np.sqrt(share)
        return memory[p_4.tobytes()]

    turn, shift = start
    first = np.array([(turn.real - 1) * unit, turn.imag * unit, shift.real, shift.imag])
    found = optimize.least_squares(lambda p: looked_up(p)[0], first, jac=lambda p: looked_up(p)[1], loss="soft_l1",
                                   f_scale=FORGIVEN, max_nfev=6, xtol=1e-4, ftol=3e-3)
    return 1 + (found.x[0] + 1j * found.x[1]) / unit, found.x[2] + 1j * found.x[3]


def _centre(height: int, width: int) -> complex:
    return (width - 1) / 2 + 1j * (height - 1) / 2


def _plane(height: int, width: int) -> np.ndarray:
    """x + iy of every pixel (H, W) from the picture's centre."""
    return np.arange(width) + 1j * np.arange(height)[:, None] - _centre(height, width)


def _as_complex(position_T2: np.ndarray) -> np.ndarray:
    return position_T2[..., 0] + 1j * position_T2[..., 1]


def _as_pairs(position_T: np.ndarray) -> np.ndarray:
    return np.stack([position_T.real, position_T.imag], axis=-1)
