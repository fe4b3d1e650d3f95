"""Which candidates are the object, and where it was while hidden, on paths made by hand."""

import numpy as np

from videogvt.world.bridging import MIN_SEEN, Candidates, bridged, chosen

TIME = np.arange(16.0)
LINE = np.stack([8 + 3 * TIME, 50 - 2 * TIME], axis=-1)
RING = 32 + 9 * np.stack([np.cos(0.8 * TIME), np.sin(0.8 * TIME)], axis=-1)
EXACT = np.full(16, 0.1)


def candidates(rows) -> Candidates:
    """From (frame, x, y, area, strength, colour)."""
    rows = np.array(rows, float).reshape(-1, 6)
    return Candidates(rows[:, 0].astype(int), rows[:, 1:3], np.full(len(rows), 0.1), rows[:, 3], rows[:, 4],
                      np.repeat(rows[:, 5:], 3, axis=1))


def hidden(path_T2, *frames) -> np.ndarray:
    seen = path_T2.copy()
    seen[list(frames)] = np.nan
    return seen


def test_the_path_goes_by_place_size_strength_and_colour():
    ball = [(t, *LINE[t], 20, 0.6, 0.9) for t in range(16) if t not in (6, 7)]
    faint = [(t, 30, 30, 20, 0.05, 0.5) for t in range(16)]  # a line of the scenery: nearer, smoother, and weak
    far = [(6, 60, 60, 20, 0.6, 0.9), (7, 2, 2, 20, 0.6, 0.9)]  # as strong where the ball is hidden, and far away
    other = [(3, *(LINE[3] + 3), 20, 0.6, 0.1)]  # of another colour
    pick_T = chosen(candidates([*ball, *faint, *far, *other]), 16)
    expected = [*range(6), -1, -1, *range(6, 14)]
    np.testing.assert_array_equal(pick_T, expected)


def test_no_candidates_no_path():
    np.testing.assert_array_equal(chosen(candidates([]), 5), [-1] * 5)
    assert (chosen(candidates([(2, 5, 5, 20, 0.6, 0.9)]), 5) == [-1, -1, 0, -1, -1]).all()


def test_a_straight_path_is_bridged():
    place_T2, spread_T, believed_T = bridged(hidden(LINE, 6, 7, 8, 9), EXACT)
    assert np.linalg.norm(place_T2 - LINE, axis=-1).max() < 0.1
    assert spread_T[7] > spread_T[3] and spread_T[7] < 0.5
    np.testing.assert_array_equal(np.flatnonzero(~believed_T), [6, 7, 8, 9])


def test_a_winding_path_is_bridged_with_doubt():
    place_T2, spread_T, _ = bridged(hidden(RING, 7, 8, 9), EXACT)
    straight = bridged(hidden(LINE, 7, 8, 9), EXACT)[1]
    error_T = np.linalg.norm(place_T2 - RING, axis=-1)
    assert spread_T[8] > 5 * straight[8] and error_T[7:10].max() < 4 * spread_T[8]


def test_a_place_off_the_path_is_not_believed():
    wrong = LINE.copy()
    wrong[5] += [9, 0]
    place_T2, _, believed_T = bridged(wrong, EXACT)
    np.testing.assert_array_equal(np.flatnonzero(~believed_T), [5])
    assert np.linalg.norm(place_T2[5] - LINE[5]) < 0.2


def test_noise_of_the_stated_strength_is_believed_and_smoothed():
    rng, left, known = np.random.default_rng(0), [], []
    for _ in range(6):
        place_T2, spread_T, believed_T = bridged(LINE + 0.5 * rng.standard_normal(LINE.shape), np.full(16, 0.5))
        left.append((place_T2 - LINE) / spread_T[:, None])
        known.append(believed_T.mean())
    assert np.mean(known) > 0.98  # and each std is about as large as the filter says
    assert 0.6 < np.sqrt(np.mean(np.square(left))) < 1.5


def test_too_little_is_no_path():
    place_T2, spread_T, believed_T = bridged(hidden(LINE, *range(MIN_SEEN - 1, 16)), EXACT)
    assert np.isnan(place_T2).all() and np.isinf(spread_T).all() and not believed_T.any()


def test_twice_the_picture_twice_the_path():
    seen = hidden(RING, 7, 8)
    small, large = bridged(seen, EXACT), bridged(2 * seen, 2 * EXACT, unit=2.0)
    np.testing.assert_allclose(large[0], 2 * small[0], atol=1e-6)
    np.testing.assert_allclose(large[1], 2 * small[1], atol=1e-6)
