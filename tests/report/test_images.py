"""Pictures made of video pixels, by their shapes and pixels."""

import io

import numpy as np
from PIL import Image

from videogvt.report import images


def test_frames_are_spread_from_first_to_last():
    assert images.spread(16, 6).tolist() == [0, 3, 6, 9, 12, 15]
    assert images.spread(3, 8).tolist() == [0, 1, 2]


def test_difference_is_white_where_equal_and_amplified():
    original = np.zeros((1, 1, 2, 3), np.uint8)
    reconstruction = original.copy()
    reconstruction[0, 0, 1] = 10
    np.testing.assert_array_equal(images.difference(original, reconstruction, gain=4)[0, 0, :, 0], [255, 215])


def test_a_strip_has_a_row_for_each_clip():
    videos = [np.full((4, 8, 8, 3), level, np.uint8) for level in (10, 20)]
    strip = images.strip(videos, [0, 3], scale=2)
    assert strip.shape == (2 * (16 + 2 * images.GAP), 2 * (16 + 2 * images.GAP), 3)
    assert strip[10, 10, 0] == 10 and strip[30, 30, 0] == 20


def test_an_animation_holds_every_frame_of_the_clips_side_by_side():
    video = np.stack([np.full((8, 8, 3), 40 * frame, np.uint8) for frame in range(5)])
    clip = Image.open(io.BytesIO(images.animation([video, video], fps=10.0, scale=3)))
    assert clip.format == "WEBP" and clip.n_frames == 5 and clip.size == (2 * 24 + 2 * images.GAP, 24)
    clip.seek(2)
    assert clip.convert("RGB").getpixel((12, 12)) == (80, 80, 80)


def test_pictures_are_lossless_until_they_grow_too_large():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    exact, small = images.webp(noise), images.webp(noise, max_bytes=3000)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(exact)).convert("RGB")), noise)
    assert len(small) < len(exact) / 2
