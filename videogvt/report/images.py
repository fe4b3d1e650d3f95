"""Pictures made of video pixels: strips of frames and animated clips, enlarged so that single pixels can be seen."""

import io
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from videogvt.ops.video import as_bytes

GREY = (205, 205, 205)  # of the edge around a frame
GAP = 2  # white pixels between frames, in pixels of the original clip


def spread(num_frames: int, count: int) -> np.ndarray:
    """At most ``count`` frame numbers spread evenly from the first frame to the last."""
    return np.unique(np.round(np.linspace(0, num_frames - 1, min(count, num_frames))).astype(int))


def difference(original: np.ndarray, reconstruction: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """The absolute difference of two clips, ``gain`` times, on white: uint8 (T, H, W, 3), white where equal."""
    error = np.abs(as_bytes(original).astype(np.float32) - as_bytes(reconstruction).astype(np.float32))
    return (255.0 - np.clip(gain * error, 0.0, 255.0)).astype(np.uint8)


def merged(video_THWC: np.ndarray) -> np.ndarray:
    """All frames laid over each other: of each pixel the value that is farthest from the clip's usual colour."""
    farthest_HW = np.abs(video_THWC - np.median(video_THWC, axis=(0, 1, 2))).sum(axis=-1).argmax(axis=0)
    return np.take_along_axis(video_THWC, farthest_HW[None, :, :, None], axis=0)[0]


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """An image (H, W, 3) or clip (T, H, W, 3) with every pixel repeated ``scale`` times each way."""
    return image.repeat(scale, axis=-3).repeat(scale, axis=-2)


def edged(video: np.ndarray, colour: tuple[int, int, int] = GREY) -> np.ndarray:
    """A clip or image with an edge one pixel wide, so that a white frame has a border on a white page."""
    video = as_bytes(video).copy()
    for side in (np.s_[..., 0, :, :], np.s_[..., -1, :, :], np.s_[..., 0, :], np.s_[..., -1, :]):
        video[side] = colour
    return video


def strip(videos: Sequence[np.ndarray], frames: Sequence[int], scale: int = 2, colours: Sequence = ()) -> np.ndarray:
    """Frames side by side, one row for each clip: uint8 (rows, columns, 3).

    Args:
      videos: clips (T, H, W, 3) of one shape, uint8 or floating point in [0, 1].
      frames: the frames to show, in order.
      scale: how many pixels wide a pixel of the clip becomes.
      colours: RGB of the edges, one for each clip; grey by default.
    """
    rows = []
    for video, colour in zip(videos, colours or [GREY] * len(videos), strict=True):
        cells = [edged(enlarge(as_bytes(video[frame]), scale), colour) for frame in frames]
        padded = [np.pad(cell, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255) for cell in cells]
        rows.append(np.concatenate(padded, axis=1))
    return np.concatenate(rows, axis=0)


def png(image: np.ndarray) -> bytes:
    """An image uint8 (H, W, 3) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def webp(image: np.ndarray, most: int | None = None) -> bytes:
    """An image uint8 (H, W, 3) as the bytes of a WebP file: lossless, or lossy where that would pass ``most`` bytes."""
    return _encode([Image.fromarray(image)], most)


def animation(
    videos: Sequence[np.ndarray], fps: float, scale: int = 4, slow: float = 2.0, most: int | None = None
) -> bytes:
    """Clips side by side as the bytes of one endless animated WebP.

    Args:
      videos: clips (T, H, W, 3) of one shape, uint8 or floating point in [0, 1].
      fps: frames a second at which the clips were made.
      scale: how many pixels wide a pixel of the clip becomes.
      slow: how many times slower than life the animation runs; 16 frames at 24 a second are over too soon to see.
      most: bytes beyond which it is not lossless.
    """
    large = [edged(enlarge(as_bytes(video), scale)) for video in videos]
    spaced = [np.pad(video, ((0, 0), (0, 0), (0, 2 * GAP), (0, 0)), constant_values=255) for video in large]
    joined = np.concatenate(spaced, axis=2)[:, :, : -2 * GAP]
    durations = [round(1000 * slow / fps)] * len(joined)
    durations[-1] += 600  # a rest before it starts again
    return _encode([Image.fromarray(frame) for frame in joined], most, duration=durations, loop=0)


def _encode(frames: Sequence[Image.Image], most: int | None, **options) -> bytes:
    if len(frames) > 1:
        options |= {"save_all": True, "append_images": frames[1:]}
    rough = len(frames) * len(zlib.compress(frames[0].tobytes(), 1))  # lossless WebP takes a fifth of it or more
    qualities = ({"lossless": True}, {"quality": 80, "method": 2}, {"quality": 40, "method": 2})
    for quality in qualities if most is None or rough <= 5 * most else qualities[1:]:
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", **quality, **options)
        if most is None or buffer.tell() <= most:
            break
    return buffer.getvalue()
