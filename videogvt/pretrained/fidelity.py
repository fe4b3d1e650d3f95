"""Whether a tokenizer of trajectories can show a clip at all: its reconstruction beside the clip's mean frame.

It has seen balls on white, and says nothing of anything else; but its codes of any video look like codes. The mean
frame is the plainest answer that knows the clip: who is no better has told nothing of its motion.
"""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from videogvt.ops.video import as_float

SMALLEST = 1e-10
"""Of mean squared errors: 100 dB, as in ``ops.quality``."""


UNSEEN = 1e-4
"""A mean squared error (40 dB) of which nothing is seen. A still clip is its own mean frame, which none can better."""


class Reader(Protocol):
    """What is asked of a tokenizer."""

    data: Mapping[str, Any] | None
    strides: tuple[int, int, int]
    window: int

    def codes(self, video_BTHWC) -> np.ndarray: ...

    def video(self, codes_Bthw) -> np.ndarray: ...


def knows_trajectories_alone(tokenizer: Reader) -> bool:
    """Whether all that a tokenizer was trained on are trajectories."""
    return tokenizer.data is not None and tokenizer.data["source"] == "trajectories"


def poor(video_BTHWC: np.ndarray, made_BTHWC: np.ndarray, what: str) -> str | None:
    """A sentence with both errors where clips are shown no better than by their mean frames; None where better.

    Args:
      video_BTHWC: uint8, or floats in [0, 1].
      made_BTHWC: their reconstructions, floats in [0, 1].
      what: made them, the beginning of the sentence.

    Returns:
      None too for clips of one frame, which are their own mean frame, where the error is less than can be seen, and
      where fewer than half of the clips are poor.
    """
    if video_BTHWC.shape[1] < 2:
        return None
    real_BTHWC = as_float(video_BTHWC).astype(np.float32)
    axes = (1, 2, 3, 4)
    own_B = np.square(made_BTHWC - real_BTHWC).mean(axes)
    mean_B = np.square(real_BTHWC.mean(1, keepdims=True) - real_BTHWC).mean(axes)
    poor_B = (own_B >= mean_B) & (own_B > UNSEEN)
    if 2 * np.count_nonzero(poor_B) < len(poor_B):
        return None
    clips = f"{np.count_nonzero(poor_B)} of {len(poor_B)} clips" if len(poor_B) > 1 else "this clip"
    return (f"{what} was trained on trajectories alone, and shows {clips} no better than the mean frame does: mean "
            f"squared error {_with_decibels(own_B[poor_B].mean())}, of the mean frame "
            f"{_with_decibels(mean_B[poor_B].mean())}. Train one on such videos: configs/vqvae_videos.py.")


def _with_decibels(error: float) -> str:
    return f"{error:.2g} ({-10 * np.log10(max(error, SMALLEST)):.1f} dB)"


def poor_reading(tokenizer: Reader, video_BTHWC: np.ndarray, what: str | os.PathLike = "This tokenizer") -> str | None:
    """``poor`` of what a tokenizer makes of the first window of clips; None for one that knows more than trajectories.

    Args:
      tokenizer: reads the clips.
      video_BTHWC: of a height and width that it takes and any number of frames; missing ones repeat the last.
      what: the tokenizer, in words.
    """
    if not knows_trajectories_alone(tokenizer) or video_BTHWC.shape[1] < 2:
        return None
    shown_BTHWC = video_BTHWC[:, : tokenizer.window]
    frames, stride, network = shown_BTHWC.shape[1], tokenizer.strides[0], getattr(tokenizer, "network", None)
    lead = network.lead if network else 0
    missing = -(-(frames - lead) // stride) * stride + lead - frames
    whole_BTHWC = np.pad(shown_BTHWC, [(0, 0), (0, missing), (0, 0), (0, 0), (0, 0)], mode="edge")
    made_BTHWC = tokenizer.video(tokenizer.codes(whole_BTHWC))[:, :frames]
    return poor(shown_BTHWC, made_BTHWC, str(what))
