"""A single video from a file, for those who want to give a part of it to a generator."""

import itertools
import os
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageSequence

from videogvt.core.arrays import Damaged, read_npy, read_npz
from videogvt.inputs.decoding import reason
from videogvt.inputs.frames import Framing, on_white
from videogvt.inputs.probing import decode_frames

PICTURES = (".gif", ".webp", ".png", ".apng")
ARRAYS = (".npy", ".npz")


def read_clip(path: os.PathLike, num_frames: int, height: int, width: int) -> np.ndarray:
    """The first frames of a video, uint8 (T, H, W, 3); fewer than ``num_frames`` where it has no more.

    Args:
      path: of an array (T, H, W, 3), uint8 or float in [0, 1], in .npy or, as ``video``, in .npz; of an animated
        picture; or of anything that PyAV decodes.
      num_frames, height, width: frames are scaled to cover this size and cropped in the middle.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no video.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    framing = Framing(height, width)
    return np.stack([framing(frame_HWC, (0.5, 0.5)) for frame_HWC in _frames(path, num_frames)])


def _frames(path: pathlib.Path, count: int) -> list[np.ndarray]:
    if path.suffix.lower() in ARRAYS:
        return list(_array(path)[:count])
    if path.suffix.lower() in PICTURES:
        return _pictures(path, count)
    return decode_frames(path, count)


def _pictures(path: pathlib.Path, count: int) -> list[np.ndarray]:
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            with Image.open(path) as picture:
                frames = itertools.islice(ImageSequence.Iterator(picture), count)
                return [on_white(np.asarray(frame.convert("RGBA"))) for frame in frames]
    except PermissionError:
        raise
    except Exception as error:  # Pillow does not say what its readers raise
        raise ValueError(f"{path} cannot be read as a picture: {reason(error)}.") from error


def _array(path: pathlib.Path) -> np.ndarray:
    try:
        video = read_npz(path, ("video",)).get("video") if path.suffix.lower() == ".npz" else read_npy(path)
    except Damaged as error:
        raise ValueError(f"{path} cannot be read as an array: {error}.") from error
    if video is None:
        raise ValueError(f"{path} holds no array 'video'; expected one, (T, H, W, 3).")
    if video.ndim != 4 or video.shape[-1] != 3 or not video.size:
        raise ValueError(f"{path} holds an array of shape {video.shape}; expected (T, H, W, 3).")
    if video.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds {video.dtype}; expected uint8, or floats in [0, 1].")
    if video.dtype == np.uint8:
        return video
    low, high = float(video.min()), float(video.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{path} holds {video.dtype} from {low:g} to {high:g}; expected uint8, or floats in [0, 1].")
    return np.round(255 * video).astype(np.uint8)
