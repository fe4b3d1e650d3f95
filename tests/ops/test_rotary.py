"""Rotary embeddings: products that know distances alone, the prefix, and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops.rotary import WAVES, angles, rotate

GRID, PREFIX, WIDTH = (2, 3, 4), 1, 8


def test_products_depend_on_the_distance_alone():
    query, key = np.random.default_rng(0).normal(size=(2, 1, 1, 1, WIDTH)).astype(np.float32)
    turned = angles(GRID, PREFIX, WIDTH)
    queries, keys = (rotate(jnp.tile(x, (1, 25, 1, 1)), turned)[0, :, 0] for x in (query, key))
    products = np.asarray(queries @ keys.T)[PREFIX:, PREFIX:].reshape(*GRID, *GRID)
    for t, row, column in [(0, 0, 0), (1, 1, 0), (1, 2, 3)]:
        for dt, dy, dx in [(0, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, -1, -2)]:
            if min(t + dt, row + dy, column + dx) >= 0:
                np.testing.assert_allclose(products[t, row, column, t + dt, row + dy, column + dx],
                                           products[-1, -1, -1, -1 + dt, -1 + dy, -1 + dx], atol=1e-5)
    assert np.ptp(products[0, 0, 0]) > 0.1  # and on nothing less


def test_the_prefix_is_not_turned_and_lengths_are_kept():
    x = np.random.default_rng(1).normal(size=(2, 25, 3, WIDTH)).astype(np.float32)
    turned = rotate(jnp.asarray(x), angles(GRID, PREFIX, WIDTH))
    np.testing.assert_array_equal(turned[:, :PREFIX], x[:, :PREFIX])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)


def test_a_pair_by_hand():
    turned = angles((1, 1, 1), 0, 6)  # one pair an axis, at the shortest wavelength: a quarter turn for place 1
    np.testing.assert_allclose(turned, np.full((1, 3), 2 * np.pi / WAVES[0]), rtol=1e-6)
    x = jnp.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    np.testing.assert_allclose(rotate(x, turned).ravel(), [-4, -5, -6, 1, 2, 3], atol=1e-5)


@pytest.mark.parametrize("width", [4, 7])
def test_widths_that_do_not_fit_are_refused(width):
    with pytest.raises(ValueError, match=f"heads of width {width}"):
        angles(GRID, PREFIX, width)
