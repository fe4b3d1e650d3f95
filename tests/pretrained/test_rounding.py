"""Weights with fewer bits: by hand, and never further off than half a level."""

import numpy as np
import pytest

from videogvt.pretrained.rounding import Eighth, rounded, size, unrounded

RNG = np.random.default_rng(0)
PARAMS = {
    "Dense": {"kernel": (RNG.normal(size=(64, 32)) * np.arange(32)).astype(np.float32), "bias": np.full(2048, 0.1)},
    "words": {"embedding": RNG.normal(size=(64, 32)).astype(np.float32)},
    "quantizer": {"codebook": RNG.normal(size=(64, 32)).astype(np.float32)},
    "small": {"kernel": np.array([[0.1, 0.2]], np.float32)},
}


def test_eight_bits_by_hand():
    kernel = np.tile(np.array([[127, 0, 0], [-63.4, 254, 0], [0.4, 3, 0], [1.6, -5.2, 0]], np.float32), (128, 1))
    found = rounded({"kernel": kernel}, "int8")["kernel"]
    np.testing.assert_array_equal(found.scale, [[1, 2, 1]])
    np.testing.assert_array_equal(found.values[:4], [[127, 0, 0], [-63, 127, 0], [0, 2, 0], [2, -3, 0]])
    np.testing.assert_array_equal(unrounded({"kernel": found})["kernel"][:4], found.values[:4] * [1, 2, 1])


def test_eight_bits_are_off_by_half_a_level_of_their_channel_at_most():
    found = rounded(PARAMS, "int8")
    kernel, words = found["Dense"]["kernel"], found["words"]["embedding"]
    assert kernel.scale.shape == (1, 32) and words.scale.shape == (64, 1) and kernel.values.dtype == np.int8
    again = unrounded(found)
    for (one, two), scale in (((PARAMS["Dense"]["kernel"], again["Dense"]["kernel"]), kernel.scale),
                              ((PARAMS["words"]["embedding"], again["words"]["embedding"]), words.scale)):
        assert (np.abs(one - two) <= scale / 2 * 1.0001).all() and np.abs(one - two).max() > 0


def test_what_is_small_or_says_what_codes_are_stays_in_eight_bits():
    found = rounded(PARAMS, "int8")
    for section, name in (("Dense", "bias"), ("quantizer", "codebook"), ("small", "kernel")):
        assert not isinstance(found[section][name], Eighth) and found[section][name].dtype == np.float32
        np.testing.assert_array_equal(found[section][name], np.float32(PARAMS[section][name]))


@pytest.mark.parametrize("name, least, most", [("float32", 4, 4), ("float16", 2, 2), ("int8", 1, 2.7)])
def test_bytes_a_number(name, least, most):
    numbers = sum(array.size for part in PARAMS.values() for array in part.values())
    assert least <= size(rounded(PARAMS, name)) / numbers <= most


def test_halves_are_halves_and_float32_is_itself():
    kernel = PARAMS["Dense"]["kernel"]
    half = unrounded(rounded(PARAMS, "float16"))["Dense"]["kernel"]
    np.testing.assert_array_equal(half, kernel.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(unrounded(rounded(PARAMS, "float32"))["Dense"]["kernel"], kernel)
