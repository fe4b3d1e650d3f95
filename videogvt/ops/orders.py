"""Orders of positions and frames: fixed ones, made once on the host."""

import functools
from collections.abc import Sequence

import numpy as np


@functools.cache
def halton_order(grid: tuple[int, int, int]) -> np.ndarray:
    """The positions (N,) of a grid of codes, t-major, in the order in which the Halton sequence first meets them.

    However many come first, they are spread evenly over rows, columns and frames. Rows and columns have the bases 2 and
    3, as in valeoai/Halton-MaskGIT, whose order it is on a grid of one frame; frames have 5. The sequence begins with
    its second point, (1/2, 1/3, 1/5).

    Args:
      grid: (t, h, w).

    Raises:
      ValueError: the grid is not three positive integers.
    """
    if len(grid) != 3 or min(grid) < 1:
        raise ValueError(f"Found grid={grid}; expected three positive integers: frames, rows, columns.")
    frames, rows, columns = grid
    size = frames * rows * columns
    from scipy.stats import qmc  # for who asks for this order alone

    sequence = qmc.Halton(2 if frames == 1 else 3, scramble=False)
    sequence.fast_forward(1)
    order = np.zeros(0, np.int64)
    while len(order) < size:
        points = sequence.random(8 * size)
        row, column = (np.floor(points[:, axis] * cells).astype(int) for axis, cells in ((0, rows), (1, columns)))
        frame = np.floor(points[:, 2] * frames).astype(int) if frames > 1 else 0
        order = np.concatenate([order, (frame * rows + row) * columns + column])
        order = order[np.sort(np.unique(order, return_index=True)[1])]
    order.flags.writeable = False
    return order


def bisection(count: int) -> tuple[int, ...]:
    """0..count-1: the first, the last, then the middles of gaps, level by level: 0, 15, 8, 4, 12, 2, ..."""
    order, gaps = [0, count - 1][:count], [(0, count - 1)]
    for low, high in gaps:
        if high - low > 1:
            middle = (low + high + 1) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return tuple(order)


def rank_of(order: Sequence[int] | np.ndarray) -> np.ndarray:
    """The place (N,) of every position in an order of all positions."""
    return np.argsort(np.asarray(order))
