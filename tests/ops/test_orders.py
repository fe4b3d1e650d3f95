"""Orders are permutations; Halton's is spread out, and bisection goes from coarse to fine."""

import numpy as np
import pytest
from scipy.stats import qmc

from videogvt.ops.orders import bisection, halton_order, rank_of


def test_the_first_cells_of_a_frame_by_hand():
    """(1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9), (5/8, 7/9), (3/8, 2/9), (7/8, 5/9) of four rows and columns."""
    assert halton_order((1, 4, 4))[:7].tolist() == [9, 6, 12, 1, 11, 4, 14]
    assert halton_order((5, 1, 1))[:5].tolist() == [1, 2, 3, 4, 0]  # 1/5, 2/5, 3/5, 4/5, 1/25


@pytest.mark.parametrize("grid", [(4, 8, 8), (16, 4, 4), (8, 1, 2), (1, 1, 1), (3, 5, 7)])
def test_halton_order_is_a_permutation_and_fixed(grid):
    order = halton_order(grid)
    assert sorted(order) == list(range(np.prod(grid)))
    np.testing.assert_array_equal(order[rank_of(order)], rank_of(order)[order])
    assert not order.flags.writeable


@pytest.mark.parametrize("grid", [(1, 16, 16), (4, 8, 8), (16, 4, 4)])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_first_cells_are_spread_more_evenly_than_any_of_many_random_ones(grid, share):
    size, rng = int(np.prod(grid)), np.random.default_rng(0)

    def unevenness(cells):
        centres = (np.stack(np.unravel_index(cells, grid), axis=1) + 0.5) / grid
        return qmc.discrepancy(centres[:, np.array(grid) > 1])

    first = int(share * size)
    others = [unevenness(rng.permutation(size)[:first]) for _ in range(50)]
    assert unevenness(halton_order(grid)[:first]) < min(others)


def test_bisection():
    assert bisection(16) == (0, 15, 8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13)
    assert [bisection(count) for count in (1, 2, 3, 4)] == [(0,), (0, 1), (0, 2, 1), (0, 3, 2, 1)]
    for count in range(1, 40):
        assert sorted(bisection(count)) == list(range(count))


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="three positive integers"):
        halton_order((4, 0, 2))
