"""A clip from a file that was damaged, or is something else: one message, whatever reads it."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from tests.inputs.test_videos import greys, write_video
from videogvt.core.mistakes import is_mistake, message
from videogvt.inputs import probing
from videogvt.inputs.frames import Framing, on_white
from videogvt.inputs.given import read_given


def gif(path):
    frames = [Image.new("RGB", (20, 20), (50 * number, 0, 0)) for number in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    return path.read_bytes()


def refusal(path):
    with pytest.raises(Exception) as caught:
        read_given(path, 4, 16, 16)
    assert is_mistake(caught.value), caught.value
    return message(caught.value)


def test_damaged_pictures_are_named(tmp_path):
    content = gif(tmp_path / "a.gif")
    assert read_given(tmp_path / "a.gif", 3, 16, 16).shape == (3, 16, 16, 3)
    parts = {"none.gif": b"", "cut.gif": content[:40], "text.png": b"hello"}
    for name, part in parts.items():
        (tmp_path / name).write_bytes(part)
        assert f"{name} cannot be read as a picture: " in refusal(tmp_path / name)


def test_a_picture_that_claims_a_giant_is_named(tmp_path):
    content = bytearray(gif(tmp_path / "a.gif"))
    content[6:10] = b"\xff\xff\xff\xff"  # 65,535 x 65,535 pixels
    (tmp_path / "a.gif").write_bytes(content)
    assert "cannot be read as a picture" in refusal(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"clip": np.zeros((4, 8, 8, 3), np.uint8)}, "holds no array 'video'"),
        ({"video": np.zeros((4, 0, 8, 3), np.uint8)}, r"shape (4, 0, 8, 3)"),
        ({"video": np.full((4, 8, 8, 3), "x")}, "holds <U1"),
        ({"video": np.zeros((4, 8, 8, 3), object)}, "holds Python objects"),
        ({"video": np.full((4, 8, 8, 3), np.nan)}, "found 768 NaN of 768 values"),
    ],
)
def test_other_arrays_are_named(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    assert said in refusal(tmp_path / "a.npz")
    if "video" in arrays:
        np.save(tmp_path / "a.npy", arrays["video"])
        assert said in refusal(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "shape", [(3, 5, 16, 18), (5, 16, 18), (2, 5, 16, 18, 3), (1, 3, 5, 16, 18), (5, 16, 18, 1), (16, 18, 3)]
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_of_other_axes_are_refused_with_what_makes_them_right(tmp_path, shape, name):
    path, video = tmp_path / name, np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(path, video) if name == "a.npy" else np.savez(path, video=video)
    said = refusal(path)
    found = re.search(r"expected \(T, H, W, 3\)\. .* video is (.*?), (np\.save.*) makes (it|the first .*) right", said)
    assert found, said
    exec(found[2], {"np": np, "video": eval(found[1], {"np": np})})
    assert read_given(path, 5, 16, 18).shape == (1 if shape == (16, 18, 3) else 5, 16, 18, 3)


def test_a_batch_of_one_is_taken_and_a_range_is_told_with_what_video_is(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 4, 16, 16, 3), 7, np.uint8))
    assert (read_given(tmp_path / "a.npy", 4, 16, 16) == np.full((4, 16, 16, 3), 7)).all()
    np.savez(tmp_path / "b.npz", video=np.full((4, 16, 16, 3), 200.0))
    said = refusal(tmp_path / "b.npz")
    assert re.search(r"use video / 255\. Here video is np.load\('.*b.npz'\)\[\"video\"\]\.$", said)


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe.mp4 is a pipe, not a file" in refusal(tmp_path / "pipe.mp4")
    assert refusal(tmp_path).endswith("is a folder, not a video; name a file in it.")
    assert "is a device" in refusal("/dev/null")


def test_only_the_frames_asked_for_must_be_sound(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(30)]
    path = write_video(tmp_path / "a.mkv", noise, "libx264", g="1", bf="0")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_given(path, 5, 16, 16).shape == (5, 16, 16, 3)


def test_one_child_is_kept_for_the_next_file(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", greys([0] * 5), "mjpeg", "yuvj420p")
    read_given(path, 2, 16, 16)
    child = probing._KEPT[0]._process.pid
    read_given(path, 2, 16, 16)
    with probing.probing(3) as timeline:
        timeline(path)
    monkeypatch.chdir(tmp_path)
    assert read_given("a.avi", 2, 16, 16).shape == (2, 16, 16, 3)
    assert len(probing._KEPT) == 1 and probing._KEPT[0]._process.pid == child


def test_strips_are_not_scaled_to_giants():
    strip = np.tile(np.arange(60_000, dtype=np.uint8)[None, :, None], (2, 1, 3))
    framed = Framing(64, 64)(strip, (0.5, 0.5))
    assert framed.shape == (64, 64, 3)  # scaled whole it would have 123 million pixels
    assert framed[0, 0, 0] == pytest.approx(29_999 % 256, abs=1)


def test_many_rows_are_laid_over_white_as_few_are():
    frame = np.random.default_rng(0).integers(0, 256, (150, 7, 4), np.uint8)
    rows = [on_white(row[None]) for row in frame]
    np.testing.assert_array_equal(on_white(frame), np.concatenate(rows))
