"""Who sees whom in a transformer whose codes see no frame after their own, and where every position stands.

A sequence is the prefix and the codes. Where it is learned from, the codes stand there twice: as they are, for the
frames after them to see, and as they are to be told from (complete teacher forcing, MAGI, arXiv 2501.12389). What is
given of a clip stands behind them once more, in its own places, for the frames before it to see: so that a code may
know of later frames what a task gives of them, and nothing else.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

_Grid = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Layout:
    """The positions of one call.

    Attributes:
      places_L: where each stands in the sequence of prefix and codes; traced where a step goes through a clip. None for
        layers alone, without embeddings.
      seen_LL: whether the position of the row sees that of the column; None for all.
      ignored_BL: what no position of a clip sees all the same; None for nothing.
      start, stop: the positions whose logits are asked for.
      write: with a cache, where in it keys and values of these positions go.
      cached_BL: with a cache, which keys all of these positions see, (B or 1, length of the cache).
    """

    places_L: np.ndarray | jax.Array | None = None
    seen_LL: np.ndarray | None = None
    ignored_BL: jax.Array | None = None
    start: int = 0
    stop: int | None = None
    write: int | jax.Array | None = None
    cached_BL: jax.Array | None = None


def frame_of(grid: _Grid) -> np.ndarray:
    """The frame (N,) of each code."""
    return np.repeat(np.arange(grid[0]), grid[1] * grid[2])


def frames_seen(grid: _Grid, prefix: int, taught: bool, ahead: bool = False) -> np.ndarray:
    """Whether a position (row) sees another (column) where no code sees a frame after its own: (L, L), bool.

    Args:
      grid: (t, h, w) of the codes.
      prefix: how many positions come before them; they see each other alone, and all others see them.
      taught: whether the codes stand there twice, first as they are and then as they are to be told from: these see of
        their own frame what is to be told, and of the frames before it the codes as they are.
      ahead: whether what is given follows them: it sees the prefix and itself, and codes see that of later frames.
    """
    frame_N = frame_of(grid)
    codes = len(frame_N)
    kind_L = np.repeat(("clean", "hidden", "ahead"), (prefix + codes, codes * taught, codes * ahead))
    frame_L = np.concatenate([np.full(prefix, -1), *[frame_N] * (1 + taught + ahead)])
    row, column = frame_L[:, None], frame_L
    by_kind = {
        ("clean", "clean"): row >= column, ("hidden", "clean"): row > column, ("hidden", "hidden"): row == column,
        ("clean", "ahead"): (row < column) & (row >= 0), ("hidden", "ahead"): row < column,
        ("ahead", "clean"): column < 0, ("ahead", "ahead"): True,
    }
    seen_LL = np.zeros((len(frame_L), len(frame_L)), bool)
    for (of, what), seen in by_kind.items():
        seen_LL |= (kind_L[:, None] == of) & (kind_L == what) & seen
    return seen_LL


def whole(
    grid: _Grid | None, length: int, *, causal: bool, taught: bool = False, ahead_BN=None, start: int = 0
) -> Layout:
    """All positions of a clip at once.

    Args:
      grid: of the codes; needed where ``causal`` is set.
      length: of prefix and codes.
      causal: whether no code sees a frame after its own.
      taught: see ``frames_seen``; logits are then those of the codes that are to be told.
      ahead_BN: what is given, -1 where nothing is; None for no such positions.
      start: the first position whose logits are asked for, where nothing is taught.
    """
    places_L = np.arange(length)
    if not causal:
        return Layout(places_L, start=start)
    prefix = length - int(np.prod(grid))
    given = ahead_BN is not None
    all_L = np.concatenate([places_L, *[places_L[prefix:]] * (taught + given)])
    stop = length + (length - prefix) * taught
    ignored_BL = None if not given else jnp.pad(ahead_BN < 0, ((0, 0), (stop, 0)))
    return Layout(all_L, frames_seen(grid, prefix, taught, given), ignored_BL, length if taught else start, stop)


def frame_by_frame(grid: _Grid, length: int, count: int, position, ahead_BN=None) -> Layout:
    """The prefix, or one frame of codes, after all that came before, whose keys and values are kept.

    Args:
      grid, length: see ``whole``.
      count: of the positions.
      position: of the first of them, an integer or a traced one.
      ahead_BN: what is given, whose keys and values were kept as well, -1 where nothing is; None for no such ones.
    """
    before_L = jnp.arange(length) < position + count
    if ahead_BN is None:
        return Layout(position + jnp.arange(count), write=position, cached_BL=before_L[None])
    prefix = length - int(np.prod(grid))
    frame = (position - prefix) // (grid[1] * grid[2])
    later_N = (jnp.asarray(frame_of(grid)) > frame) & (position >= prefix)
    before_BL = jnp.broadcast_to(before_L, (len(ahead_BN), length))
    cached_BL = jnp.concatenate([before_BL, later_N & (ahead_BN >= 0)], axis=1)
    return Layout(position + jnp.arange(count), write=position, cached_BL=cached_BL)


def given_ahead(grid: _Grid, length: int, ahead_BN) -> Layout:
    """What is given, after the prefix, whose keys and values are kept; its own go behind those of the codes."""
    codes = int(np.prod(grid))
    prefix_L = jnp.arange(length) < length - codes
    cached_BL = jnp.concatenate([jnp.broadcast_to(prefix_L, (len(ahead_BN), length)), ahead_BN >= 0], axis=1)
    return Layout(length - codes + jnp.arange(codes), write=length, cached_BL=cached_BL)
