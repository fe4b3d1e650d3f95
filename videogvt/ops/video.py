"""Pixels of videos: what a caller gives, checked; from bytes to floats and back; long clips in overlapping chunks.

Given are uint8, or floats in [0, 1]; anything else is refused with what makes it so. A hint is a Python expression in
``video`` that can be copied as it stands. Where values fit two ranges, both are named with what tells them apart, and
nothing is guessed.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = 0.1
"""How far values may leave their range, as a share of it, to be clipped with a warning. Resampling overshoots: bicubic
by 0.07 at straight edges, Lanczos by 0.12; at corners more, which is refused as it may as well be another range."""

OUTSIDE, TRIFLE = 0.05, 0.01
"""How large a share of the values may leave their range by more than a trifle to be clipped. Resampling overshoots at
edges alone; where more is outside, the range is another one, such as -1 to 1 of a bright video."""

DARKEST, DARK = 4, 16
"""A float video whose largest value is below the first is not taken for one of 0 to 255 before other ranges: it would
be all but black. Below the second it may be a dark one, and the other reading is told too."""

HIGHEST = 1.5 * 255
"""The largest value of floats that is rather 255 with overshoot than a dark video of 10 bits."""

_LEVELS = {255: "8 bits", 1023: "10 bits", 4095: "12 bits", 65535: "16 bits"}
"""White, by the number of bits."""

EXPECTED = "Expected a video of uint8, or of floats in [0, 1]"


def as_pixels(video: np.ndarray) -> np.ndarray:
    """A video of any shape, checked: uint8 as it is, floats as float32 in [0, 1].

    Values that leave [0, 1] by no more than ``TOLERANCE``, and few of them by more than a trifle (``OUTSIDE``), are
    clipped, with a warning that says how many and how far.

    Raises:
      ValueError: another type or range; the message has the expression that makes the video right. NaN and infinite
        values are counted, and the first one is named.
    """
    if video.dtype == np.uint8:
        return video
    if not jnp.issubdtype(video.dtype, jnp.floating):
        raise ValueError(f"{EXPECTED}, found {_kind_hint(video)}")
    video = video.astype(np.float32, copy=False)
    if not video.size:
        return video
    low, high = float(video.min()), float(video.max())
    if low >= 0 and high <= 1:
        return video
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError(f"{EXPECTED}, found {_no_numbers(video)}")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise ValueError(f"{EXPECTED}, found values from {low:g} to {high:g}. {_range_hint(low, high)}")
    outside = np.count_nonzero((video < -TRIFLE) | (video > 1 + TRIFLE))
    if outside > OUTSIDE * video.size:
        raise ValueError(f"{EXPECTED}, found values from {low:g} to {high:g}, of which {outside / video.size:.0%} "
                         f"leave that range; more than {OUTSIDE:.0%} is no overshoot. {_near_hint(low, high)}")
    _warn(video, low, high)
    return video.clip(0, 1)


def _warn(video: np.ndarray, low: float, high: float) -> None:
    outside = np.count_nonzero((video < 0) | (video > 1))
    warnings.warn(
        f"Values from {low:.9g} to {high:.9g} were clipped to [0, 1]: {outside:,} of {video.size:,}, by "
        f"{max(-low, high - 1):.2g} at most. That far, up to {TOLERANCE:g}, resampling overshoots; if the video has "
        "another range than 0 to 1, scale it first.", stacklevel=5)


def _no_numbers(video: np.ndarray) -> str:
    """How many values are NaN or infinite, and where the first one is."""
    wrong = ~np.isfinite(video)
    nans = np.count_nonzero(np.isnan(video))
    counts = [f"{count:,} {name}" for count, name in ((nans, "NaN"), (np.count_nonzero(wrong) - nans, "infinite"))
              if count]
    first = ", ".join(map(str, np.unravel_index(int(wrong.argmax()), wrong.shape)))
    others = video[~wrong]
    span = f" All others run from {others.min():g} to {others.max():g}." if others.size else ""
    return (f"{' and '.join(counts)} of {video.size:,} values; the first is video[{first}].{span} Mend what made them: "
            "no scaling does.")


def _kind_hint(video: np.ndarray) -> str:
    """What a video that is neither uint8 nor float holds, and what makes it right."""
    kind = video.dtype
    if np.issubdtype(kind, np.bool_):
        return 'bool. Where True is white, use video.astype("float32").'
    if not np.issubdtype(kind, np.integer):
        return f"{kind}. Pixels are numbers: make an array of them first."
    if not video.size:
        return f'{kind}. Use video.astype("uint8").'
    low, high = int(video.min()), int(video.max())
    found = f"{kind} from {low} to {high}. "
    if low >= 0 and high <= 1:
        return found + 'Where 1 is white, use video.astype("float32"); where 255 is, video.astype("uint8").'
    if low >= 0:
        return found + (_levels(high) if high > 255 else 'Levels of bytes: use video.astype("uint8").')
    for half, white in ((128, 255), (32768, 65535)):
        if -half <= low and high < half:
            return found + f"Where {-half} is black and {half - 1} white, use (video + {half}.0) / {white}."
    return found + _unknown(low, high)


def _levels(high: float) -> str:
    """The hint for values from 0 to more than 255."""
    white = next((white for white in _LEVELS if high <= white), None)
    if white is None:
        return _unknown(0, high)
    others = [f"of {bits} video / {other}" for other, bits in _LEVELS.items() if other > white]
    further = f"; {', '.join(others)}" if others else ""
    return f"Levels of {_LEVELS[white]}: use video / {white}{further}."


def _range_hint(low: float, high: float) -> str:
    """The expression that brings floats of another range into [0, 1]."""
    if _bytes(low, high):
        by_255 = f"Where white is 255, use {_clipped('video / 255', low < 0 or high > 255)}"
        if high < DARK:
            return f"{by_255}; where the largest value is white, {_clipped(f'video / {high:.9g}', low < 0)}."
        return by_255 + (f"; where it is 1023, {_clipped('video / 1023', low < 0)}." if high > 255 else ".")
    if low >= 0 and high > 255:
        return _levels(high)
    if -128 <= low < -DARKEST and high <= 127:
        return "Where -128 is black and 127 white, use (video + 128) / 255."
    if -1 - 2 * TOLERANCE <= low < -TOLERANCE and high <= 1 + 2 * TOLERANCE:
        return _signed(low, high)
    if low >= -0.6 and high <= 1.6:
        return "Where resampling overshot 0 and 1, use video.clip(0, 1); where white has another value, divide by it."
    return _unknown(low, high)


def _bytes(low: float, high: float) -> bool:
    """Whether floats are rather those of 0 to 255, maybe with overshoot, than anything else."""
    if high < DARK:
        return high >= DARKEST and low >= -TOLERANCE * high
    return high <= HIGHEST and low >= (-TOLERANCE if high <= 127 else -2.5 * TOLERANCE) * 255


def _near_hint(low: float, high: float) -> str:
    """The hint for values near [0, 1] of which many are outside."""
    if low < -TRIFLE:
        return _signed(low, high)
    divided = _clipped(f"video / {high:.9g}", low < 0)
    return f"Where white is {high:.9g}, use {divided}; where it is 1, video.clip(0, 1)."


def _signed(low: float, high: float) -> str:
    hint = f"Where black is -1 and white 1, use {_clipped('(video + 1) / 2', low < -1 or high > 1)}"
    if low < -0.6:
        return hint + "."
    if high <= 0.5:
        return f"{hint}; where black is -0.5 and white 0.5, {_clipped('video + 0.5', low < -0.5)}."
    return hint + "; where resampling overshot 0, video.clip(0, 1)."


def _clipped(expression: str, outside: bool) -> str:
    if not outside:
        return expression
    return f"({expression}).clip(0, 1)"


def _unknown(low: float, high: float) -> str:
    """No usual range: the remedy names what the caller must know."""
    if low < 0:
        return ("That is no usual range of pixels. Undo what scaled them: where a mean was taken away and a std "
                "divided by, use (video * std + mean).clip(0, 1).")
    other = "; where 255 is, video / 255" if high < DARK else ""
    return f"That is no usual range of pixels. Where the largest value is white, use video / {high:.9g}{other}."


def as_float(video):
    """A video in [0, 1] of uint8, NumPy or jax; one of floats as it is."""
    return video.astype(jnp.float32) / 255.0 if video.dtype == jnp.uint8 else video


def as_bytes(video):
    """A video as uint8, of values in [0, 1], of which those beyond are cut off; NumPy stays NumPy."""
    if video.dtype == jnp.uint8:
        return video
    if isinstance(video, jax.Array):
        return jnp.round(jnp.clip(video.astype(jnp.float32), 0.0, 1.0) * 255.0).astype(jnp.uint8)
    return np.round(np.clip(video, 0.0, 1.0) * 255.0).astype(np.uint8)


def chunk_starts(num_frames: int, window: int, overlap: int) -> tuple[int, ...]:
    """First frames of the chunks of ``window`` frames that cover a clip.

    Neighbours share ``overlap`` frames, but the last chunk ends with the clip and may share more.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"overlap={overlap} must be at least 0 and less than the window of {window} frames.")
    if num_frames < window:
        raise ValueError(f"A clip of {num_frames} frames is shorter than the window of {window} frames.")
    starts = list(range(0, num_frames - window + 1, window - overlap))
    if starts[-1] + window < num_frames:
        starts.append(num_frames - window)
    return tuple(starts)


def crossfade(chunks: Sequence, starts: Sequence[int]):
    """One clip of chunks (B, T, ...) that begin at ``starts``; of o shared frames the later ones weigh 0, 1/o, ..."""
    clip = chunks[0]
    for chunk, start in zip(chunks[1:], starts[1:]):
        shared = clip.shape[1] - start
        later_T = jnp.arange(shared) / max(shared, 1)
        later = later_T.reshape(-1, *(1,) * (chunk.ndim - 2)).astype(chunk.dtype)
        faded = (1 - later) * clip[:, start:] + later * chunk[:, :shared]
        clip = jnp.concatenate([clip[:, :start], faded, chunk[:, shared:]], axis=1)
    return clip


class Pace(NamedTuple):
    """How videos are sampled: ``fps`` times a second, None for each one's own rate; every ``stride``-th counts."""

    fps: float | None
    stride: int
