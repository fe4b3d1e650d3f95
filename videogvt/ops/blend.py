"""Long clips in overlapping chunks, cross-faded where they overlap (MAGVIT's released long-video tools)."""

from collections.abc import Sequence

import jax.numpy as jnp


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
