"""Pictures of codes are what the decoder changes where a code stands, and their vectors say which look alike."""

import numpy as np
from scipy.stats import spearmanr

from videogvt.pretrained.code_pictures import code_pictures, look_vectors

SIDE = 8


class Dots:
    """A tokenizer by hand: code k > 0 is a dark dot at a place of its cell of 2 x 8 x 8, code 0 is nothing."""

    strides, num_codes = (2, SIDE, SIDE), 17

    def __init__(self):
        self.place_K2 = np.array([(0, 0)] + [(row, column) for row in (1, 3, 4, 6) for column in (1, 3, 4, 6)])

    def video(self, codes_Bthw):
        batch, t, h, w = codes_Bthw.shape
        video = np.ones((batch, 2 * t, SIDE * h, SIDE * w, 3), np.float32)
        for b, time, i, j in np.argwhere(codes_Bthw > 0):
            row, column = self.place_K2[codes_Bthw[b, time, i, j]] + (SIDE * i, SIDE * j)
            video[b, 2 * time : 2 * time + 2, row, column] = 0.0
        return video


def test_a_picture_is_the_change_where_the_code_stands():
    dots = Dots()
    pictures = code_pictures(dots, 0)
    assert pictures.shape == (17, 2, 12, 12, 3) and pictures.dtype == np.float32  # a margin of 2 on each side
    for code in range(17):
        expected = np.zeros((2, 12, 12, 3))
        if code:
            row, column = dots.place_K2[code] + 2
            expected[:, row, column] = -1.0
        np.testing.assert_array_equal(pictures[code], expected)


def test_a_blank_code_with_a_picture_is_what_others_take_away():
    dots = Dots()
    pictures = code_pictures(dots, 3)
    row, column = dots.place_K2[3] + 2
    assert not pictures[3].any() and (pictures[0, :, row, column] == 1).all() and abs(pictures[0]).sum() == 6


def test_codes_are_as_near_as_what_they_draw():
    dots = Dots()
    vectors_KD = look_vectors(dots, 0, components=6)
    assert vectors_KD.shape == (17, 6) and vectors_KD.dtype == np.float32
    np.testing.assert_allclose(vectors_KD.mean(0), 0, atol=1e-5)
    assert (np.diff(vectors_KD.std(0)) <= 1e-6).all()  # the largest component first
    first, second = np.triu_indices(16, 1)
    apart = np.linalg.norm(dots.place_K2[1:][first] - dots.place_K2[1:][second], axis=1)
    far = np.linalg.norm(vectors_KD[1:][first] - vectors_KD[1:][second], axis=1)
    assert spearmanr(apart, far)[0] > 0.9
    assert look_vectors(dots, 0).shape == (17, 17)  # no more than there are codes


def test_a_trained_tokenizers_pictures_lie_in_their_cells():
    """What local64_8x4x4 draws of a code lies in the code's cell and close around it."""
    from videogvt import VideoTokenizer

    tokenizer = VideoTokenizer.load("local64_8x4x4")
    clip = np.full((1, 16, 64, 64, 3), 255, np.uint8)
    pictures = code_pictures(tokenizer, np.bincount(tokenizer.codes(clip).ravel()).argmax())
    assert pictures.shape == (tokenizer.num_codes, 2, 24, 24, 3)
    change = np.abs(pictures).sum((1, 4))
    assert change[:, 2:-2, 2:-2].sum() / change.sum() > 0.95
    assert (change.max((1, 2)) > 0.3).mean() > 0.8  # most codes draw something
