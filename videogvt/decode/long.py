"""Videos longer than a clip, predicted clip after clip."""

from collections.abc import Callable

import jax.numpy as jnp

from videogvt.ops.video import crossfade


def extend(predict: Callable, video_BTHWC, num_frames: int, *, given: int, overlap: int = 0):
    """A video of ``num_frames`` frames, any number, that begins with the given ones: predicted clip by clip.

    The last ``given`` frames become the condition of a clip, its other frames are appended, and so on; what exceeds
    ``num_frames`` is dropped. A clip predicts its condition as well, as the tokenizer renders it, so a seam may show
    where it begins. ``overlap`` fades it out: of the last o given frames, prediction j weighs j / o, j = 0..o-1.

    Args:
      predict: function of (condition (B, given, H, W, C), number of the clip from 0) with a clip (B, T, H, W, C) of
        more than ``given`` frames; fold the number into its keys, else equal conditions continue equally.
      video_BTHWC: floats, at least ``given`` frames; kept as they are, but for the last ``overlap``.
      num_frames: of the result, at least those of the video.
      given: frames that condition a clip.
      overlap: frames to fade, 0..given.

    Raises:
      ValueError: numbers of frames, or shape and type of the video or of a clip, do not fit.
    """
    length = video_BTHWC.shape[1]
    if not (1 <= given <= length <= num_frames and 0 <= overlap <= given):
        raise ValueError(
            f"Found num_frames={num_frames}, given={given}, overlap={overlap} for a video of {length} frames; expected "
            "1 <= given <= frames of the video <= num_frames and 0 <= overlap <= given.")
    if not jnp.issubdtype(video_BTHWC.dtype, jnp.floating):
        raise ValueError(f"Found a video of {video_BTHWC.dtype}; expected floats, as predicted clips are.")
    parts, last = [video_BTHWC[:, :-given]], video_BTHWC[:, -given:]
    while length < num_frames:
        clip = predict(last, len(parts) - 1)
        if clip.shape[1] <= given or clip.shape[:1] + clip.shape[2:] != last.shape[:1] + last.shape[2:]:
            raise ValueError(
                f"predict made a clip of shape {clip.shape} of given frames {last.shape}; expected more frames, and "
                "the same batch and frame size.")
        joined = crossfade([last, clip[:, given - overlap:]], (0, given - overlap))
        parts.append(joined[:, :-given])
        last = joined[:, -given:]
        length += clip.shape[1] - given
    return jnp.concatenate([*parts, last], axis=1)[:, :num_frames]
