"""Decoders that crash, hang or want all memory: the file is named, and the next one is read."""

import os
import signal
import struct

import pytest
from PIL import Image

from tests.inputs.test_videos import greys, write_video
from videogvt.inputs import probing
from videogvt.inputs.frames import Unusable


@pytest.fixture
def prober():
    made = probing.Prober()
    yield made
    made.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("good") / "a.avi", greys([0] * 5), "mjpeg", "yuvj420p")


def test_a_child_goes_on_after_a_bad_file(prober, good, tmp_path):
    assert len(prober.timeline(good)[0]) == 5
    child = prober._process.pid
    (tmp_path / "bad.mp4").write_bytes(bytes(100))
    with pytest.raises(Unusable, match="Invalid data"):
        prober.timeline(tmp_path / "bad.mp4")
    assert len(prober.timeline(good)[0]) == 5 and prober._process.pid == child


def test_a_decoder_that_crashes_is_the_files_fault(prober, good):
    prober.timeline(good)
    os.kill(prober._process.pid, signal.SIGSEGV)
    with pytest.raises(Unusable, match="its decoder crashed .signal 11"):
        prober.timeline(good)
    assert len(prober.timeline(good)[0]) == 5


def test_a_decoder_that_hangs_is_left(prober, good, monkeypatch):
    prober.timeline(good)
    monkeypatch.setattr(probing, "PATIENCE_S", 0.3)
    os.kill(prober._process.pid, signal.SIGSTOP)
    with pytest.raises(Unusable, match="no next frame in 0.3 s"):
        prober.timeline(good)
    monkeypatch.undo()
    assert len(prober.timeline(good)[0]) == 5


def test_a_header_that_claims_a_giant_takes_no_memory(prober, tmp_path, monkeypatch):
    frames = [Image.new("RGB", (20, 20), (50 * number, 0, 0)) for number in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    content = bytearray((tmp_path / "a.gif").read_bytes())
    content[6:10] = struct.pack("<HH", 15_000, 15_000)  # 900 MB of each frame
    (tmp_path / "a.gif").write_bytes(content)
    monkeypatch.setattr(probing, "MEMORY", 1 << 30)
    with pytest.raises(Unusable, match="decoding it takes more than 1,024 MiB"):
        prober.timeline(tmp_path / "a.gif")


def test_many_threads_share_some_children(good):
    with probing.probing(2) as timeline:
        assert [len(timeline(good)[0]) for _ in range(3)] == [5] * 3
