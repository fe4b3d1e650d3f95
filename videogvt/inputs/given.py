"""A single video from a file, for those who want to give it, or a part of it, to a tokenizer or a generator."""

import contextlib
import itertools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageSequence

from videogvt.core.arrays import Damaged, read_npy, read_npz
from videogvt.inputs.decoding import pyav, reason, shown
from videogvt.inputs.frames import Framing, Unusable, on_white
from videogvt.inputs.probing import decode_frames
from videogvt.inputs.videos import sample
from videogvt.ops.layout import layout_of
from videogvt.ops.video import as_bytes, as_pixels

PICTURES = (".gif", ".webp", ".png", ".apng")
_ARRAYS = (".npy", ".npz")
UNSAID = 0.1  # seconds that a frame of an animated picture is shown where it does not say, as browsers do

ROUNDED = 0.05  # of a rate; GIFs round times to hundredths of a second

Timed = Iterator[tuple[float, Callable[[], np.ndarray]]]
"""Frames in order: when each is shown, in seconds or NaN, and a function that makes its picture, uint8 (H, W, 3)."""


def read_given(path: os.PathLike, num_frames: int, height: int, width: int) -> np.ndarray:
    """The first frames of a video, one by one, uint8 (T, H, W, 3); fewer than ``num_frames`` where it has no more.

    Args:
      path: of an array (T, H, W, 3) or (1, T, H, W, 3), uint8 or float in [0, 1], in .npy or, as ``video``, in .npz;
        of an animated picture; or of anything that PyAV decodes.
      num_frames, height, width: frames are scaled to cover this size and cropped in the middle.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no video.
    """
    path, framing = _existing(path), Framing(height, width)
    return np.stack([framing(frame_HWC, (0.5, 0.5)) for frame_HWC in _frames(path, num_frames)])


def sampled_clip(
    path: os.PathLike, num_frames: int, height: int, width: int, *, start: float = 0.0, fps: float | None = None,
    stride: int = 1,
) -> tuple[np.ndarray, float]:
    """The frames that a video shows from a moment on, at a constant rate; see the rule of time in ``inputs.videos``.

    The file is read no further than the clip's end. Its own mean rate is that of the part which was read.

    Args:
      path: see ``read_given``. An array has no times: its frames count as ``fps`` a second, or without that as one.
      num_frames, height, width: see ``read_given``.
      start: of the clip, in seconds; the nearest frame at that rate is taken.
      fps: rate at which the video is sampled; None for its own.
      stride: samples from one frame of the clip to the next.

    Returns:
      The clip, uint8 (T, H, W, 3), of fewer frames where the video ends before, maybe of none; and its frames a second.

    Raises:
      FileNotFoundError, ValueError: see ``read_given``.
    """
    path, span, framing = _existing(path), (num_frames - 1) * stride + 1, Framing(height, width)
    with _refusing(path):
        video = _array(path) if path.suffix.lower() in _ARRAYS else None
        times_N = _times(_timed(path, fps, video), start, span, fps)
        numbers_M, rate = sample(times_N, fps, fps)
        first = round(start * rate)
        numbers_T = numbers_M[first : first + span : stride].tolist()
        last = max(numbers_T, default=-1)
        pictures = {number: framing(picture(), (0.5, 0.5))
                    for number, (_, picture) in enumerate(itertools.islice(_timed(path, fps, video), last + 1))
                    if number in set(numbers_T)}
    clip_THWC = np.array([pictures[number] for number in numbers_T], np.uint8).reshape(-1, height, width, 3)
    return clip_THWC, rate / stride


def paced_clip(
    path: os.PathLike, num_frames: int, height: int, width: int, fps: float | None
) -> tuple[np.ndarray, float | None]:
    """A video's beginning, no faster than ``fps``: sampled at it where the video has more, or else frame by frame.

    Args:
      path, num_frames, height, width: see ``read_given``.
      fps: the highest rate; None for any.

    Returns:
      The clip, uint8 (T, H, W, 3), maybe of fewer frames; and its frames a second, None where there is no telling.

    Raises:
      FileNotFoundError, ValueError: see ``read_given``.
    """
    clip_THWC = read_given(path, num_frames, height, width)
    if fps is None or len(clip_THWC) < 2 or _existing(path).suffix.lower() in _ARRAYS:
        return clip_THWC, None
    _, rate = sampled_clip(path, num_frames, height, width)
    if rate > fps * (1 + ROUNDED):
        return sampled_clip(path, num_frames, height, width, fps=fps)
    return clip_THWC, rate


def _existing(path: os.PathLike) -> pathlib.Path:
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a video; name a file in it.")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is {_special(path)}, not a file; videos are read more than once: copy it into one.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    return path


def _special(path: pathlib.Path) -> str:
    kinds = {"a pipe": path.is_fifo(), "a socket": path.is_socket(),
             "a device": path.is_block_device() or path.is_char_device()}
    return next((kind for kind, holds in kinds.items() if holds), "no regular file")


def _times(frames: Timed, start: float, span: int, fps: float | None) -> np.ndarray:
    """The times of the frames up to the first that is shown after the clip, and of one more."""
    times, after = [], 0  # frames that are shown from the clip's beginning on
    for time, _ in frames:
        times.append(time)
        elapsed = time - times[0]
        after += elapsed >= start
        if (elapsed > start + (span + 1) / fps) if fps else after > span + 1:
            break
    if not times:
        raise Unusable("it holds no frame")
    return np.array(times)


def _timed(path: pathlib.Path, fps: float | None, video: np.ndarray | None = None) -> Timed:
    """The frames of a file with their times; of an array that was read already, those of ``video``."""
    if path.suffix.lower() in _ARRAYS:
        for number, frame_HWC in enumerate(_array(path) if video is None else video):
            yield number / (fps or 1.0), lambda frame_HWC=frame_HWC: frame_HWC
    elif path.suffix.lower() in PICTURES:
        yield from _animated(path, fps)
    else:
        for frame in shown(path):
            yield frame.time, frame.picture


def _animated(path: pathlib.Path, fps: float | None) -> Timed:
    """The frames of an animated picture. The last one comes again near its end where it is shown for longer than
    others: writers store equal frames as one."""
    time, shortest = 0.0, 1 / fps if fps else float("inf")
    with Image.open(path) as animation:
        for frame in ImageSequence.Iterator(animation):
            frame.load()  # or WebP has not said how long
            picture = lambda frame=frame: on_white(np.asarray(frame.convert("RGBA")))  # noqa: E731
            yield time, picture
            began, lasts = time, frame.info.get("duration", 0) / 1000 or UNSAID
            time, shortest = time + lasts, min(shortest, lasts)
        if time - shortest > began + shortest / 2:
            yield time - shortest, picture


@contextlib.contextmanager
def _refusing(path: pathlib.Path) -> Iterator[None]:
    """A context in which what a decoder says of a file becomes a sentence that names the file."""
    kind, errors = "video", (Unusable,)
    if path.suffix.lower() in PICTURES:
        kind, errors = "picture", (Exception,)  # Pillow does not say what its readers raise
    elif path.suffix.lower() not in _ARRAYS:
        errors = (Unusable, pyav().error.FFmpegError)
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            yield
    except PermissionError:
        raise
    except errors as error:
        raise ValueError(f"{path} cannot be read as a {kind}: {reason(error)}.") from error


def _frames(path: pathlib.Path, count: int) -> list[np.ndarray]:
    if path.suffix.lower() in _ARRAYS + PICTURES:
        with _refusing(path):
            return [picture() for _, picture in itertools.islice(_timed(path, None), count)]
    return decode_frames(path, count)


def _array(path: pathlib.Path) -> np.ndarray:
    try:
        video = read_npz(path, ("video",)).get("video") if path.suffix.lower() == ".npz" else read_npy(path)
    except Damaged as error:
        raise ValueError(f"{path} cannot be read as an array: {error}.") from error
    if video is None:
        raise ValueError(f"{path} holds no array 'video'; expected one, (T, H, W, 3).")
    video = video.reshape(_clip_shape(path, video.shape))
    if video.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds {video.dtype}; expected uint8, or floats in [0, 1].")
    try:
        video = as_pixels(video)
    except ValueError as error:
        raise ValueError(f"{path}: {error} Here video is {_loading(path)}.") from error
    return as_bytes(video)


def _clip_shape(path: pathlib.Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape (T, H, W, 3) of one clip or of a batch of one; an error of any other, with what makes it right."""
    layout = layout_of(shape)
    if layout and not layout.name and layout.shape[0] == 1 and 0 not in shape:
        return layout.shape[1:]
    found = f"{path} holds an array of shape {shape}; expected (T, H, W, 3)."
    if layout is None or 0 in shape:
        raise ValueError(found)
    looks = f"It looks like {layout.name}" if layout.name else f"These are {layout.shape[0]} clips"
    right = f"({layout.expression})[0]" if layout.expression != "video" else "video[0]"
    save = f"np.savez({str(path)!r}, video={right})" if path.suffix.lower() == ".npz" else \
        f"np.save({str(path)!r}, {right})"
    raise ValueError(f"{found} {looks}. Where video is {_loading(path)}, {save} makes "
                     f"{'it' if layout.shape[0] == 1 else 'the first of them'} right.")


def _loading(path: pathlib.Path) -> str:
    """The expression that reads an array's file."""
    return f"np.load({str(path)!r})" + ('["video"]' if path.suffix.lower() == ".npz" else "")
