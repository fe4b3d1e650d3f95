"""Axes in another order: the hint, followed to the letter, gives the video."""

import re

import numpy as np
import pytest

from videogvt.ops.layout import check_shape, fitted_expression, layout_of, shape_problem

RGB = np.random.default_rng(0).random((2, 5, 8, 12, 3), np.float32)
GREY = RGB.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
OPAQUE = np.concatenate([RGB, np.ones_like(RGB[..., :1])], axis=-1)


@pytest.mark.parametrize(
    "given, right",
    [
        (RGB[0], RGB[:1]), (RGB.transpose(0, 1, 4, 2, 3), RGB), (RGB.transpose(0, 4, 1, 2, 3), RGB),
        (RGB[0].transpose(0, 3, 1, 2), RGB[:1]), (RGB[0].transpose(3, 0, 1, 2), RGB[:1]),
        (RGB[0, 0], RGB[:1, :1]), (RGB[0, 0].transpose(2, 0, 1), RGB[:1, :1]),
        (GREY[..., :1], GREY), (GREY[..., 0], GREY), (GREY[0, ..., 0], GREY[:1]), (GREY[0, ..., :1], GREY[:1]),
        (GREY[..., :1].transpose(0, 1, 4, 2, 3), GREY), (GREY[..., :1].transpose(0, 4, 1, 2, 3), GREY),
        (GREY[0, ..., :1].transpose(0, 3, 1, 2), GREY[:1]), (GREY[:1, ..., 0], GREY[:1]),
        (GREY[0, 0, ..., 0], GREY[:1, :1]), (GREY[0, 0, ..., :1], GREY[:1, :1]),
        (OPAQUE, RGB), (OPAQUE[0], RGB[:1]), (OPAQUE.transpose(0, 1, 4, 2, 3), RGB),
        (OPAQUE.transpose(0, 4, 1, 2, 3), RGB), (OPAQUE[0, 0], RGB[:1, :1]),
    ],
)
def test_a_hint_followed_to_the_letter_gives_the_video(given, right):
    with pytest.raises(ValueError, match=r"Expected a video of shape \(B, T, H, W, 3\), found \(") as refused:
        check_shape(given.shape)
    hint = re.search(r"(?:use|axis:) (.*)\.$", str(refused.value))[1]
    made = eval(hint, {"np": np}, {"video": given})
    np.testing.assert_allclose(made, right, atol=1e-6)
    assert layout_of(given.shape).shape == right.shape


def test_what_is_like_no_video_is_said_to_be_none():
    for shape in ((), (3,), (2, 5, 8, 12, 7), (1, 2, 5, 8, 12, 3)):
        assert "channels last" in shape_problem(shape)
    assert shape_problem(RGB.shape) is None


@pytest.mark.parametrize("target", [(4, 8, 12), (8, 8, 8), (4, 16, 8), (5, 8, 12)])
def test_fitting_crops_and_pads_at_once(target):
    expression = fitted_expression("video", RGB.shape[1:4], target)
    assert eval(expression, {"np": np}, {"video": RGB}).shape == (2, *target, 3)
    assert (expression == "video") == (target == RGB.shape[1:4])
