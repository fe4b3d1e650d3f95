"""Every hint about values, followed to the letter, gives the right video; near misses are clipped and told."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from videogvt.ops.video import TOLERANCE, as_bytes, as_float, as_pixels, chunk_starts, crossfade

RIGHT = np.random.default_rng(0).random((1, 2, 8, 8, 3), np.float32)
RIGHT[0, 0, 0, 0], RIGHT[0, 0, 0, 1] = 0, 1


def hint_of(video):
    """The first expression that the refusal of a video names."""
    with pytest.raises(ValueError) as refused:
        as_pixels(np.asarray(video))
    message = str(refused.value)
    found = re.search(r"[uU]se (.*?)(?:[;.]$|[;.] |; )", message)
    assert found, message
    return found[1], message


def levels(white, dtype, shift=0):
    return np.round(RIGHT * white + shift).astype(dtype)


@pytest.mark.parametrize(
    "name, video",
    [
        ("floats of 0 to 255", RIGHT * 255), ("half floats", (RIGHT * 255).astype(np.float16)),
        ("doubles of 0 to 255 that overshoot", np.float64(RIGHT) * 270 - 8),
        ("-1 to 1", RIGHT * 2 - 1), ("-1 to 1 that overshoots", RIGHT * 2.1 - 1.05),
        ("pale -1 to 1", RIGHT * 1.4 - 0.4), ("-128 to 127", RIGHT * 255 - 128),
        ("bool", RIGHT > 0.5), ("int64", levels(255, np.int64)), ("int16", levels(255, np.int16)),
        ("int8", levels(255, np.int8, -128)), ("int64 of -128 to 127", levels(255, np.int64, -128)),
        ("uint16 of 8 bits", levels(255, np.uint16)), ("uint16 of 10 bits", levels(1023, np.uint16)),
        ("uint16 of 12 bits", levels(4095, np.uint16)), ("uint16 of 16 bits", levels(65535, np.uint16)),
        ("int32 of 10 bits", levels(1023, np.int32)), ("int16 of 16 bits", levels(65535, np.int16, -32768)),
        ("floats of 10 bits", RIGHT * 1023), ("floats of 16 bits", RIGHT * 65535),
        ("bfloat16", jnp.asarray(RIGHT * 255, jnp.bfloat16)), ("masks of 0 and 1", (RIGHT > 0.5).astype(np.int64)),
        ("overshoot beyond the tolerance", RIGHT * 1.5 - 0.25), ("no usual range", RIGHT * 3),
        ("far too large", levels(1e6, np.int64)),
    ],
)
def test_a_hint_followed_to_the_letter_gives_the_right_video(name, video):
    hint, message = hint_of(video)
    right = {"bool": RIGHT > 0.5, "masks of 0 and 1": RIGHT > 0.5, "pale -1 to 1": RIGHT * 0.7 + 0.3}.get(name, RIGHT)
    if "overshoot" in name:
        low, high = {"-1": (-0.025, 1.025), "do": (-8 / 255, 262 / 255), "ov": (-0.25, 1.25)}[name[:2]]
        right = (RIGHT * (high - low) + low).clip(0, 1)
    made = eval(hint, {"np": np}, {"video": video})
    found = np.asarray(as_pixels(np.asarray(made)))
    found = found / 255 if found.dtype == np.uint8 else found
    np.testing.assert_allclose(found, right, atol=0.01, err_msg=f"{name}: {message}")


def test_what_fits_two_ranges_is_told_with_both():
    video = RIGHT * 0.9 - 0.45
    hint, message = hint_of(video)
    assert hint == "(video + 1) / 2" and "black is -0.5 and white 0.5, video + 0.5" in message
    np.testing.assert_allclose(as_pixels(video + 0.5), RIGHT * 0.9 + 0.05, atol=1e-6)
    assert "of 12 bits video / 4095, of 16 bits video / 65535" in hint_of(levels(1023, np.uint16))[1]
    assert "undo what scaled them" in hint_of((RIGHT - 0.45) / 0.22)[1].lower()


@pytest.mark.parametrize("change, far", [(lambda v: v * 1.002, "0.002"), (lambda v: v - 0.003, "0.003"),
                                         (lambda v: v + (v >= 0.97) * 0.095, "0.095")])
def test_near_misses_are_clipped_and_told(change, far):
    video = change(RIGHT.astype(np.float64))
    with pytest.warns(UserWarning, match=rf"clipped to \[0, 1\]: \d+ of 384, by {far} at most") as told:
        found = as_pixels(video)
    assert len(told) == 1 and f"up to {TOLERANCE:g}" in str(told[0].message)
    np.testing.assert_allclose(found, video.clip(0, 1), atol=1e-6)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1


def test_bright_videos_of_another_range_are_no_overshoot():
    bright = RIGHT.clip(0.47) * 2 - 1
    hint, message = hint_of(bright)
    assert hint == "(video + 1) / 2" and "video.clip(0, 1)" in message
    assert re.search(r"from -0.06 to 1, of which \d\d% leave that range; more than 5% is no overshoot", message)
    np.testing.assert_allclose(as_pixels(eval(hint, {}, {"video": bright})), RIGHT.clip(0.47), atol=1e-6)
    hint, message = hint_of(RIGHT * 1.0625)
    assert hint == "video / 1.0625" and "where it is 1, video.clip(0, 1)" in message
    with pytest.warns(UserWarning, match="were clipped"):
        as_pixels(np.where(RIGHT > 0.5, np.float32(1.004), RIGHT))  # many, by a trifle


def test_the_likelier_reading_comes_first():
    dark = np.round(RIGHT * 12)
    hint, message = hint_of(dark)
    assert hint == "video / 255" and "where the largest value is white, video / 12." in message
    assert "where 255 is, video / 255" in hint_of(RIGHT * 3)[1]
    for video in (RIGHT * 282, RIGHT * 300 - 18, RIGHT * 262):
        hint, message = hint_of(video)
        assert hint == "(video / 255).clip(0, 1)" and "where it is 1023, " in message
        as_pixels(eval(hint, {}, {"video": video}))
    assert hint_of(RIGHT * 600)[0] == "video / 1023"
    assert hint_of((RIGHT - 0.05) * 10)[1].endswith("where the largest value is white, (video / 9.5).clip(0, 1).")


def test_overshoot_of_bicubic_resampling_is_near():
    edge = Image.fromarray(np.repeat(np.float32([[0, 1]]), 24, axis=1).repeat(48, axis=0))
    frame = np.asarray(edge.resize((128, 128), Image.Resampling.BICUBIC))
    assert frame.max() > 1.05
    with pytest.warns(UserWarning, match="resampling overshoots"):
        as_pixels(np.repeat(frame[None, None, ..., None], 3, axis=-1))


@pytest.mark.filterwarnings("error")
def test_right_videos_pass_as_they_are():
    np.testing.assert_array_equal(as_pixels(RIGHT), RIGHT)
    np.testing.assert_array_equal(as_pixels(RIGHT.astype(np.float64)), RIGHT)
    eight = levels(255, np.uint8)
    assert as_pixels(eight) is eight
    assert as_pixels(np.zeros((0, 2, 8, 8, 3))).shape == (0, 2, 8, 8, 3)


def test_what_is_no_number_is_counted_and_found():
    video = RIGHT.copy()
    video[0, 1, 2, 3, 1], video[0, 1, 7, 7, 2], video[0, 1, 4, 4, 0] = np.nan, np.inf, np.nan
    expected = r"2 NaN and 1 infinite of 384 values; the first is video\[0, 1, 2, 3, 1\]. All others run from 0 to 1"
    with pytest.raises(ValueError, match=expected) as refused:
        as_pixels(video)
    assert "255" not in str(refused.value)
    with pytest.raises(ValueError, match=r"384 NaN of 384 values; the first is video\[0, 0, 0, 0, 0\]. Mend"):
        as_pixels(np.full_like(RIGHT, np.nan))


@pytest.mark.parametrize("video", [RIGHT.astype(complex), RIGHT.astype(object), RIGHT.astype(str)])
def test_what_holds_no_pixels_is_named(video):
    with pytest.raises(ValueError, match="Pixels are numbers"):
        as_pixels(video)


def test_starts_cover_the_clip_and_the_last_chunk_ends_with_it():
    assert chunk_starts(16, 16, 4) == (0,)
    assert chunk_starts(40, 16, 4) == (0, 12, 24)
    assert chunk_starts(36, 16, 4) == (0, 12, 20)
    assert chunk_starts(32, 16, 0) == (0, 16)


def test_starts_refuse_impossible_windows():
    with pytest.raises(ValueError, match="shorter than the window"):
        chunk_starts(12, 16, 0)
    with pytest.raises(ValueError, match="overlap=16"):
        chunk_starts(32, 16, 16)


def test_crossfade_weighs_the_later_chunk_linearly():
    first, second = jnp.zeros((1, 6, 1)), jnp.ones((1, 6, 1))
    clip = crossfade([first, second], (0, 2))
    np.testing.assert_allclose(clip.ravel(), [0, 0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_chunks_of_one_clip_give_it_back():
    clip = jnp.arange(2 * 36 * 3.0).reshape(2, 36, 3)
    starts = chunk_starts(36, 16, 4)
    np.testing.assert_allclose(crossfade([clip[:, s:s + 16] for s in starts], starts), clip, rtol=1e-6)
    starts = chunk_starts(36, 18, 0)
    np.testing.assert_array_equal(crossfade([clip[:, s:s + 18] for s in starts], starts), clip)


def test_floats_are_clipped_and_rounded():
    values = np.array([-1.0, 0.5, 2.0])
    np.testing.assert_array_equal(as_bytes(values), [0, 128, 255])
    np.testing.assert_array_equal(as_bytes(jnp.asarray(values)), [0, 128, 255])


def test_bytes_and_floats_that_are_right_stay_as_they_are():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(as_bytes(as_float(levels)), levels)
    np.testing.assert_array_equal(as_float(levels), levels.astype(np.float32) / np.float32(255))
    assert as_bytes(levels) is levels and as_float(as_float(levels)).dtype == np.float32
