"""From a video file to a clip that a tokenizer or a generator takes, and from a clip to a file that players show."""

import contextlib
import fractions
import io
import math
import numbers
import os
import pathlib
import secrets
import struct
import warnings
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Protocol

import numpy as np
from PIL import Image

from videogvt.inputs.decoding import pyav, reason
from videogvt.inputs.given import sampled_clip
from videogvt.ops.layout import layout_of
from videogvt.ops.video import Pace, as_bytes, as_pixels
from videogvt.pretrained.fidelity import Reader, poor_reading

GIF_UNIT = 100  # GIFs count time in hundredths of a second
GIF_LONGEST = 655  # seconds that a picture can be shown
SLOWEST, FASTEST = 0.01, {".mp4": 1000.0, ".gif": 50.0}  # frames a second; players slow down GIFs that are faster
_LARGEST = {".mp4": 16_384, ".gif": 65_535}  # pixels of a side


class _Tokenizer(Reader, Protocol):
    """What is asked of a tokenizer."""

    trained_on: tuple[int, int, int] | None
    pace: Pace


class Generator(Protocol):
    """What is asked of a generator."""

    tokenizer: _Tokenizer


def read_clip(
    path: str | os.PathLike, model: _Tokenizer | Generator, *, start: float = 0.0, frames: int | None = None,
    size: tuple[int, int] | None = None, fps: float | None = None, repeat: bool = False,
) -> np.ndarray:
    """A part of a video file as a clip that fits a tokenizer or a generator: ``model.codes(read_clip(path, model))``.

    Frames are scaled to cover the size and cropped in the middle, turned as the file asks, and transparent pixels laid
    over white. The file is read no further than the clip's end. gif, webp, npy and npz are read as they are; mp4, avi,
    mov, webm, mkv and all else that PyAV decodes need the extra ``video``.

    Args:
      path: of the file.
      model: a ``VideoTokenizer``, or a ``VideoGenerator``, whose tokenizer counts.
      start: of the clip, in seconds.
      frames: of the clip; None for as many as the model was trained on. A multiple of the time stride.
      size: (height, width) in pixels, multiples of the strides; None for those the model was trained on.
      fps: frames of the clip per second; None for the rate that the model was trained on, or the video's own where it
        was trained on videos at theirs.
      repeat: whether the last frame is repeated where the video ends before the clip does.

    Returns:
      The clip, a batch of one: uint8 (1, T, H, W, 3).

    Warns:
      UserWarning: the model was trained on trajectories alone, and shows this clip no better than its mean frame does.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it cannot be read as a video, ends before the clip does, an argument is none that the model takes
        (the message has the nearest that is), or the model is none.
    """
    tokenizer = _tokenizer_of(model)
    if problems := _wrong_times(start, fps):
        raise ValueError(" ".join(problems))
    shape = _shape(tokenizer, frames, size)
    pace = tokenizer.pace if fps is None else Pace(fps, 1)
    if pace.fps is not None:
        pace = Pace(pace.fps / pace.stride, 1)
    clip_THWC, rate = sampled_clip(path, *shape, start=start, fps=pace.fps, stride=pace.stride)
    clip_THWC = _whole(clip_THWC, shape[0], rate, start, path, repeat, tokenizer)
    what = "This tokenizer" if tokenizer is model else "The tokenizer of this generator"
    if problem := poor_reading(tokenizer, clip_THWC[None], what):
        warnings.warn(f"{path}: {problem}", stacklevel=2)
    return clip_THWC[None]


def _tokenizer_of(model: _Tokenizer | Generator) -> _Tokenizer:
    tokenizer = getattr(model, "tokenizer", model)
    if all(hasattr(tokenizer, name) for name in ("network", "trained_on", "pace", "window", "strides")):
        return tokenizer
    named = isinstance(model, str | os.PathLike)
    found = repr(os.fspath(model)) if named else f"a {type(model).__name__}"
    raise ValueError(f"model is {found}; expected a VideoTokenizer or a VideoGenerator, such as "
                     f"VideoTokenizer.load({os.fspath(model) if named else 'local64_8x4x4'!r}).")


def _wrong_times(start: float, fps: float | None) -> list[str]:
    problems = []
    if not _is_number(start) or start < 0:
        problems.append(f"start={_shown(start)}: expected seconds from the video's beginning, such as start=0.")
    if fps is not None and (not _is_number(fps) or fps <= 0):
        problems.append(f"fps={_shown(fps)}: expected frames a second, such as fps=24, or None for the model's rate.")
    return problems


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _shape(tokenizer: _Tokenizer, frames: int | None, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """(T, H, W) of the clip; an error that names each argument that is wrong, and the nearest that is right."""
    trained = tokenizer.trained_on or (None, None, None)

    def nearest(axis: int, side) -> int:
        stride, lead = tokenizer.strides[axis], tokenizer.network.lead if axis == 0 else 0
        known = side if _is_number(side) else trained[axis] or 8 * stride + lead
        return max(1 - lead, math.ceil((known - lead) / stride - 0.5)) * stride + lead

    def right(axis: int, side) -> bool:
        return isinstance(side, numbers.Integral) and nearest(axis, side) == side

    problems, strides = [], tokenizer.strides
    if frames is not None and not right(0, frames):
        kind = "1 and " * tokenizer.network.lead + f"a multiple of {strides[0]}"
        problems.append(f"frames={_shown(frames)}: expected {kind}, such as frames={nearest(0, frames)}.")
    if size is not None:
        pair = tuple(size) if np.shape(size) == (2,) else (size, size)
        fit = tuple(nearest(axis, side) for axis, side in zip((1, 2), pair))
        if np.shape(size) != (2,) or not all(right(axis, side) for axis, side in zip((1, 2), pair)):
            problems.append(f"size={size}: expected (height, width), multiples of {strides[1]} and {strides[2]}, "
                            f"such as size={fit}.")
    if problems:
        raise ValueError(" ".join(problems))
    shape = (frames or trained[0] or tokenizer.window, *(size if size is not None else trained[1:]))
    if None in shape:
        raise ValueError("The size of the clips that this tokenizer was trained on is not known; name size=(height, "
                         "width).")
    if problem := tokenizer.network.size_problem(shape):
        raise ValueError(f"frames={shape[0]}, size={shape[1:]}: {problem}")
    return tuple(map(int, shape))


def _whole(
    clip_THWC: np.ndarray, frames: int, rate: float, start: float, path: str | os.PathLike, repeat: bool,
    tokenizer: _Tokenizer,
) -> np.ndarray:
    """The clip with all its frames; an error where there are too few and none shall be repeated."""
    found = len(clip_THWC)
    if found == frames:
        return clip_THWC
    if not found:
        raise ValueError(f"{path} ends before start={start:g} s; give an earlier start.")
    if not repeat:
        stride, lead = tokenizer.strides[0], tokenizer.network.lead
        fewer = (found - lead) // stride * stride + lead
        shorter = f"frames={fewer} (if the model takes so few), " if fewer else ""
        raise ValueError(
            f"{path} has {found} frame{'s' * (found > 1)} from {start:g} s on, at {rate:.4g} a second; {frames} are "
            f"asked for. Give {shorter}a higher fps, an earlier start, or repeat=True, which repeats the last frame.")
    return np.concatenate([clip_THWC, np.repeat(clip_THWC[-1:], frames - found, axis=0)])


def write_clip(path: str | os.PathLike, video, fps: float, *, scale: int = 1) -> pathlib.Path:
    """Writes a clip as a file that players show: .mp4 (H.264, needs the extra ``video``) or .gif.

    Args:
      path: of the file; its suffix says which.
      video: (T, H, W, 3) or (1, T, H, W, 3), uint8 or floats in [0, 1], such as ``tokenizer.video(codes)``.
      fps: frames per second, 0.01 to 1000; a GIF shows at most 50, in steps of hundredths of a second that add up.
      scale: how many pixels wide each pixel becomes, a whole number; clips of 64 pixels are small on a screen. Sides
        of an mp4 have up to 16,384 pixels, of a GIF 65,535.

    Returns:
      The path.

    Raises:
      ValueError: another suffix, a batch of several clips, what is no video, or a rate or size that the format has not.
      OSError: the file cannot be written; nothing of it stays then, and what was there before is still there.
    """
    path = pathlib.Path(path).expanduser()
    _check_place(path)
    fps, suffix = _checked_rate(fps, path.suffix.lower()), path.suffix.lower()
    video_THWC = _one_clip(np.asarray(video))
    scale = _checked_scale(scale, video_THWC.shape[1:3], suffix)
    enlarged = (frame_HWC.repeat(scale, axis=0).repeat(scale, axis=1) for frame_HWC in video_THWC)
    _write(path, _gif(enlarged, len(video_THWC), fps) if suffix == ".gif" else _mp4(enlarged, fps))
    return path


def _check_place(path: pathlib.Path) -> None:
    """An error unless a file of that name can be there."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it, such as {path / 'clip.mp4'}.")
    if path.suffix.lower() not in FASTEST:
        raise ValueError(f"{path}: expected a name that ends with {' or '.join(FASTEST)}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")


def _checked_rate(fps: float, suffix: str) -> float:
    try:
        rate = float(fps)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not SLOWEST <= rate <= FASTEST[suffix]:
        raise ValueError(f"fps={_shown(fps)}: {suffix} takes {SLOWEST:g} to {FASTEST[suffix]:g} frames a second.")
    return rate


def _checked_scale(scale: int, size: tuple[int, int], suffix: str) -> int:
    most = _LARGEST[suffix] // max(size)
    if most < 1:
        raise ValueError(f"Found frames of {size[0]} x {size[1]} pixels; {suffix} takes sides of up to "
                         f"{_LARGEST[suffix]:,}.")
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or scale != scale // 1 or not 1 <= scale <= most:
        raise ValueError(f"scale={_shown(scale)}: expected a whole number from 1 to {most}, since {suffix} takes sides "
                         f"of up to {_LARGEST[suffix]:,} pixels and the frames are {size[0]} x {size[1]}.")
    return int(scale)


def _shown(value) -> str:
    return f"{value:g}" if isinstance(value, numbers.Real) else repr(value)


def _one_clip(video: np.ndarray) -> np.ndarray:
    """A clip as uint8 (T, H, W, 3)."""
    layout = layout_of(video.shape)
    if layout is None or layout.name or layout.shape[0] != 1 or not video.size:
        use = f" Use {layout.expression}." if layout and layout.name and layout.shape[0] == 1 else ""
        several = " Write one clip of the batch: video[0]." if layout and layout.shape[0] > 1 else ""
        raise ValueError(f"Expected one clip, (T, H, W, 3) or (1, T, H, W, 3), found {video.shape}.{use}{several}")
    return as_bytes(as_pixels(video.reshape(layout.shape))[0])


def _gif(frames: Iterable[np.ndarray], count: int, fps: float) -> bytes:
    moments, file = np.round(np.arange(count + 1) * GIF_UNIT / fps), io.BytesIO()
    first, *others = (Image.fromarray(frame_HWC) for frame_HWC in frames)
    try:
        first.save(file, "gif", save_all=True, append_images=others, loop=0,
                   duration=(np.diff(moments) * 1000 / GIF_UNIT).astype(int).tolist())
    except struct.error as error:  # equal frames are stored as one that is shown for longer
        least = math.ceil(1000 * count / GIF_LONGEST) / 1000
        raise ValueError(f"fps={fps:g}: a GIF shows no picture for more than {GIF_LONGEST} s, and frames that are "
                         f"equal are one picture. Give an fps of {least:g} or more.") from error
    return file.getvalue()


def write_mp4(path: str | os.PathLike, video_THWC: np.ndarray, fps: float) -> pathlib.Path:
    """A uint8 clip as H.264, whose sides are even: of an odd one the last row or column is repeated. Needs PyAV."""
    path = pathlib.Path(path)
    _write(path, _mp4(video_THWC, float(fps)))
    return path


def _mp4(frames: Iterable[np.ndarray], fps: float) -> bytes:
    av, file, stream = pyav(), io.BytesIO(), None
    with _encoding(av), av.open(file, "w", format="mp4") as container:
        for frame_HWC in frames:
            height, width = frame_HWC.shape[:2]
            frame_HWC = np.pad(frame_HWC, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=fractions.Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = frame_HWC.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": "12"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@contextlib.contextmanager
def _encoding(av: ModuleType) -> Iterator[None]:
    """A context in which a refusal of the encoder says what can be done."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise ValueError(f"H.264 cannot be made of these frames ({reason(error)}); give a smaller scale.") from error


def _write(path: pathlib.Path, data: bytes) -> None:
    """Writes a file whole or not at all; errors name it."""
    place = pathlib.Path(os.path.realpath(path))  # a link stays one
    part = place.with_name(f".{secrets.token_hex(6)}.part")
    try:
        part.write_bytes(data)
        part.replace(place)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
