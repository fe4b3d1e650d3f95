"""From a video file to a clip that a tokenizer or a generator takes, and from a clip to a file that players show."""

import fractions
import os
import pathlib
import warnings
from typing import Protocol

import numpy as np
from PIL import Image

from videogvt.inputs.clip_shape import Pace
from videogvt.inputs.decoding import pyav
from videogvt.inputs.given import sampled_clip
from videogvt.ops.layout import layout_of
from videogvt.ops.values import as_pixels
from videogvt.pretrained.fidelity import Reader, poor_reading

SUFFIXES = (".mp4", ".gif")
GIF_UNIT = 100  # GIFs count time in hundredths of a second
GIF_FASTEST = 50.0  # frames a second; players slow down what is faster


class Tokenizer(Reader, Protocol):
    """What is asked of a tokenizer."""

    trained_on: tuple[int, int, int] | None
    pace: Pace


class Generator(Protocol):
    """What is asked of a generator."""

    tokenizer: Tokenizer


def read_clip(
    path: str | os.PathLike, model: Tokenizer | Generator, *, start: float = 0.0, frames: int | None = None,
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
      ValueError: it cannot be read as a video, ends before the clip does, or the size is none that the model takes.
    """
    tokenizer = getattr(model, "tokenizer", model)
    trained = tokenizer.trained_on or (None, None, None)
    shape = (frames or trained[0] or tokenizer.window, *(size or trained[1:]))
    if None in shape:
        raise ValueError("The size of the clips that this tokenizer was trained on is not known; name size=(height, "
                         "width).")
    if problem := tokenizer.network.size_problem(shape):
        raise ValueError(f"frames={shape[0]}, size={shape[1:]}: {problem}")
    if start < 0 or (fps is not None and fps <= 0):
        raise ValueError(f"start={start}, fps={fps}: expected a start of 0 seconds or more, and a positive fps.")
    pace = tokenizer.pace if fps is None else Pace(fps, 1)
    if pace.fps is not None:
        pace = Pace(pace.fps / pace.stride, 1)
    clip_THWC, rate = sampled_clip(path, *shape, start=start, fps=pace.fps, stride=pace.stride)
    clip_THWC = _whole(clip_THWC, shape[0], rate, start, path, repeat, tokenizer.strides[0])
    what = "This tokenizer" if tokenizer is model else "The tokenizer of this generator"
    if problem := poor_reading(tokenizer, clip_THWC[None], what):
        warnings.warn(f"{path}: {problem}", stacklevel=2)
    return clip_THWC[None]


def _whole(
    clip_THWC: np.ndarray, frames: int, rate: float, start: float, path: str | os.PathLike, repeat: bool, stride: int
) -> np.ndarray:
    """The clip with all its frames; an error where there are too few and none shall be repeated."""
    found = len(clip_THWC)
    if found == frames:
        return clip_THWC
    if not found:
        raise ValueError(f"{path} ends before start={start:g} s; give an earlier start.")
    if not repeat:
        fewer = found // stride * stride
        shorter = f"frames={fewer} (if the model takes so few), " if fewer else ""
        raise ValueError(
            f"{path} has {found} frames from {start:g} s on, at {rate:.4g} a second; {frames} are asked for. Give "
            f"{shorter}a higher fps, an earlier start, or repeat=True, which repeats the last frame.")
    return np.concatenate([clip_THWC, np.repeat(clip_THWC[-1:], frames - found, axis=0)])


def write_clip(path: str | os.PathLike, video, fps: float, *, scale: int = 1) -> pathlib.Path:
    """Writes a clip as a file that players show: .mp4 (H.264, needs the extra ``video``) or .gif.

    Args:
      path: of the file; its suffix says which.
      video: (T, H, W, 3) or (1, T, H, W, 3), uint8 or floats in [0, 1], such as ``tokenizer.video(codes)``.
      fps: frames per second. A GIF shows at most 50, in steps of hundredths of a second that add up.
      scale: how many pixels wide each pixel becomes; clips of 64 pixels are small on a screen.

    Returns:
      The path.

    Raises:
      ValueError: another suffix, a batch of several clips, or what is no video.
    """
    path, fastest = pathlib.Path(path).expanduser(), GIF_FASTEST if str(path).lower().endswith(".gif") else 1000.0
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: expected a name that ends with {' or '.join(SUFFIXES)}.")
    if not 0 < fps <= fastest or scale < 1:
        raise ValueError(f"fps={fps:g}, scale={scale}: expected a rate above 0 and up to {fastest:g}, and a scale of 1 "
                         "or more.")
    video_THWC = _one_clip(np.asarray(video)).repeat(scale, axis=1).repeat(scale, axis=2)
    if path.suffix.lower() == ".gif":
        _write_gif(path, video_THWC, fps)
    else:
        write_mp4(path, video_THWC, fps)
    return path


def _one_clip(video: np.ndarray) -> np.ndarray:
    """A clip as uint8 (T, H, W, 3)."""
    layout = layout_of(video.shape)
    if layout is None or layout.name or layout.shape[0] != 1 or not video.size:
        use = f" Use {layout.expression}." if layout and layout.name and layout.shape[0] == 1 else ""
        several = " Write one clip of the batch: video[0]." if layout and layout.shape[0] > 1 else ""
        raise ValueError(f"Expected one clip, (T, H, W, 3) or (1, T, H, W, 3), found {video.shape}.{use}{several}")
    pixels = as_pixels(video.reshape(layout.shape))[0]
    return pixels if pixels.dtype == np.uint8 else np.round(255 * pixels).astype(np.uint8)


def _write_gif(path: pathlib.Path, video_THWC: np.ndarray, fps: float) -> None:
    moments = np.round(np.arange(len(video_THWC) + 1) * GIF_UNIT / fps)
    frames = [Image.fromarray(frame_HWC) for frame_HWC in video_THWC]
    frames[0].save(path, "gif", save_all=True, append_images=frames[1:], loop=0,
                   duration=(np.diff(moments) * 1000 / GIF_UNIT).astype(int).tolist())


def write_mp4(path: str | os.PathLike, video_THWC: np.ndarray, fps: float) -> pathlib.Path:
    """A uint8 clip as H.264, whose sides are even: of an odd one the last row or column is repeated. Needs PyAV."""
    av, (height, width) = pyav(), video_THWC.shape[1:3]
    video_THWC = np.pad(video_THWC, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fractions.Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = video_THWC.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "12"}
        for frame_HWC in video_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")))
        container.mux(stream.encode())
    return pathlib.Path(path)
