"""Videos as players show them: edit lists, display matrices, pixels that are not square, names that are addresses."""

import fractions
import pathlib

import av
import numpy as np
import pytest
from PIL import Image

from tests.inputs.test_videos import greys, write_video
from videogvt.inputs.decoding import shown, timeline, upright, with_square_pixels
from videogvt.inputs.frames import Unusable
from videogvt.inputs.probing import decode_frames

ONE = 1 << 16
BOX = (24, 36)


def remuxed(source, target, start=0.0, length=1e9, **options):
    """Copies packets as ``ffmpeg -ss START -i SOURCE -t LENGTH -c copy TARGET`` does: from the key frame before the
    start on, with timestamps that begin at the start; the muxer writes what lies before it into an edit list."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        given.seek(int(start * av.time_base), backward=True)
        shift = round(start / stream.time_base)
        for packet in given.demux(stream):
            if packet.dts is not None and packet.dts * stream.time_base < start + length:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                made.mux(packet)
    return target


CODECS = [("libx264", {}), ("libx264", {"g": "12"}), ("mpeg4", {}),
          ("libx265", {"x265-params": "keyint=12:log-level=none"})]


@pytest.mark.parametrize(("codec", "options"), CODECS)
def test_a_cut_without_encoding_shows_what_players_show(tmp_path, codec, options):
    whole = write_video(tmp_path / "whole.mp4", greys(range(75), 64, 64), codec, **options)
    cut = remuxed(whole, tmp_path / "cut.mp4", 1.3, 1.0)
    with av.open(str(cut)) as container:
        stored = container.streams.video[0].frames
    times_N, rate = timeline(cut)
    assert times_N[0] == 0 and 25 <= len(times_N) <= 27 and rate == 25
    assert len(times_N) < 0.95 * stored
    grey_N = [frame.picture().mean() for frame in shown(cut)]
    np.testing.assert_allclose(grey_N[:20], np.arange(33, 53), atol=4)  # frame 33 is the first after 1.3 s


@pytest.mark.parametrize("start", [0.0, 1.3])
@pytest.mark.parametrize("movflags", ["faststart", "frag_keyframe+empty_moov"])
@pytest.mark.parametrize("share", [0.55, 0.8])
def test_what_was_cut_off_is_still_told(tmp_path, start, movflags, share):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(75)]
    whole = remuxed(write_video(tmp_path / "a.mp4", noise, "libx264", g="12"), tmp_path / "b.mp4", start,
                    movflags=movflags)
    timeline(whole)
    content = whole.read_bytes()
    whole.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Unusable, match="promises|Invalid data|cut off"):
        timeline(whole)


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(20)]


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.95, 0.99, 1])
def test_a_gif_is_whole_or_refused(tmp_path, noise, share):
    first, *others = map(Image.fromarray, noise)
    path = tmp_path / "a.gif"
    first.save(path, save_all=True, append_images=others, duration=40)
    content = path.read_bytes()
    for after in (b"", b"\0", b"junk;" * 99):
        path.write_bytes(content + after)
        assert len(timeline(path)[0]) == 20
    path.write_bytes(content[: int(share * len(content)) - 1] + b";" * (share < 1))
    with pytest.raises(Unusable, match="GIF that ends before its trailer|Invalid data|promises"):
        timeline(path)


@pytest.mark.parametrize("missing", [100, 1000, 3000, 5000])
def test_an_avi_that_ends_within_a_frame_is_refused(tmp_path, noise, missing):
    path = write_video(tmp_path / "a.avi", 3 * noise, "mjpeg", "yuvj420p")
    content = path.read_bytes()
    assert len(timeline(path)[0]) == 60
    path.write_bytes(content[: content.rindex(b"idx1") - missing])
    with pytest.raises(Unusable, match="is corrupt or cut off"):
        timeline(path)


def with_sound(path, pictures, seconds, start=0, video="libx264", audio="aac", **options):
    """Pictures at 25 a second from frame ``start`` on, beside silence from the time 0 on."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(video, rate=25, options={"g": "12"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        sound, packets = container.add_stream(audio, rate=48000), []
        for number, picture in enumerate(pictures, start):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, fractions.Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode()
        for number in range(50 * seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), "fltp", "stereo")
            frame.rate, frame.pts, frame.time_base = 48000, 960 * number, fractions.Fraction(1, 48000)
            packets += sound.encode(frame)
        for packet in sorted(packets + sound.encode(), key=lambda packet: (packet.dts or 0) * packet.time_base):
            container.mux(packet)
    return path


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
SOUND = [("a.mkv", {}), ("a.webm", {"video": "libvpx-vp9", "audio": "libopus"}), ("a.mp4", FRAGMENTS), ("a.mov", {})]


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(("seconds", "start"), [(4, 0), (4, 25), (1, 0)])
@pytest.mark.parametrize(("name", "options"), SOUND)
def test_sound_may_outlast_the_picture(tmp_path, name, options, seconds, start, tagged):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(60)]
    path = with_sound(tmp_path / name, noise, seconds, start, **options)
    content = path.read_bytes()
    if not tagged:
        content = content.replace(b"DURATION", b"DERATION")
    path.write_bytes(content)
    assert len(timeline(path)[0]) == 60
    path.write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(Unusable, match="promises|Invalid data|cut off"):
        timeline(path)


@pytest.mark.parametrize(("suffix", "options"), [(".mkv", {}), (".mp4", FRAGMENTS), (".mov", {})])
def test_frames_before_the_first_key_frame_are_no_broken_promise(tmp_path, suffix, options):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(90)]
    whole = write_video(tmp_path / "whole.mp4", noise, "libx264", g="20")
    cut = tmp_path / f"cut{suffix}"
    with av.open(str(whole)) as given, av.open(str(cut), "w", options=options) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for number, packet in enumerate(given.demux(stream)):
            if packet.dts is not None and number >= 9:
                packet.stream = copy
                made.mux(packet)
    assert 70 <= len(timeline(cut)[0]) <= 72


def test_frames_before_the_time_zero_of_fragments_are_not_shown(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", greys(range(75), 64, 64), "libx264", g="12", bf="0")
    cut = remuxed(whole, tmp_path / "cut.mp4", 1.3, 1.0, movflags="frag_keyframe+empty_moov+delay_moov")
    with av.open(str(cut)) as container:
        pts = [frame.pts for frame in container.decode(video=0)]
    assert pts[:3] == [-768, -256, 256] and len(pts) == 27  # each lasts 512
    assert [frame.decoded.pts for frame in shown(cut)] == pts[1:] and len(timeline(cut)[0]) == 26


def corner():
    """White in the upper left, grey in the lower left."""
    picture = np.zeros((*BOX, 3), np.uint8)
    picture[: BOX[0] // 2, : BOX[1] // 2], picture[BOX[0] // 2 :, : BOX[1] // 2] = 255, 128
    return picture


MATRICES = {  # by EXIF's numbers, which are in the order of NumPy's ways to come to them
    1: ((1, 0, 0, 1), lambda picture: picture),
    2: ((-1, 0, 0, 1), np.fliplr),
    3: ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    4: ((1, 0, 0, -1), np.flipud),
    5: ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    6: ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    7: ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).transpose(1, 0, 2)),
    8: ((0, -1, 1, 0), np.rot90),
}


def write_turned(path, matrix, aspect=None, codec="libx264"):
    """A video of ``corner`` with a display matrix (a, b, c, d) and an aspect of its pixels."""
    a, b, c, d = (int(value * ONE) for value in matrix)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        (stream.height, stream.width), stream.pix_fmt = BOX, "yuv420p"
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if aspect:
            stream.sample_aspect_ratio = aspect
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner())))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("number", MATRICES)
def test_every_display_matrix_of_cameras_is_followed(tmp_path, suffix, number):
    matrix, expected = MATRICES[number]
    path = write_turned(tmp_path / f"a.{suffix}", matrix)
    found = decode_frames(path, 1)[0]
    wanted = expected(corner())
    assert found.shape == wanted.shape
    inside = (slice(4, -4), slice(4, -4))
    difference = np.abs(found.astype(int) - wanted)[inside]
    assert np.median(difference) <= 3 and (difference > 40).mean() < 0.05  # but for the edges of squares


def test_another_display_matrix_is_named_in_one_line(tmp_path):
    path = write_turned(tmp_path / "a.mp4", (0.7071, 0.7071, -0.7071, 0.7071))
    with pytest.raises(Unusable, match=r"display matrix \(0.70\d+ 0.70\d+ 0; -0.70\d+ 0.70\d+ 0\) asks for more"):
        timeline(path)
    zero = np.zeros((3, 3), np.int32)
    with pytest.raises(Unusable, match="asks for more"):
        upright(corner(), zero, fractions.Fraction(1))


@pytest.mark.parametrize(
    ("aspect", "matrix", "size"),
    [((4, 3), (1, 0, 0, 1), (24, 48)), ((2, 3), (1, 0, 0, 1), (36, 36)), ((4, 3), (0, 1, -1, 0), (48, 24))],
)
def test_pixels_become_square(tmp_path, aspect, matrix, size):
    path = write_turned(tmp_path / "a.mp4", matrix, fractions.Fraction(*aspect))
    assert decode_frames(path, 1)[0].shape == (*size, 3)


def test_absurd_pixels_are_named(tmp_path):
    with pytest.raises(Unusable, match="pixels are 4000 times as wide as high; at most 10 times"):
        with_square_pixels(corner(), fractions.Fraction(4000))


@pytest.mark.parametrize("name", ["http:a.mp4", "concat:a|b.mp4", "pipe:0.mp4", "%03d.mp4", "it's \"it\".mp4"])
def test_names_are_no_addresses(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", greys([0] * 4), "libx264").rename(tmp_path / name)
    assert len(decode_frames(pathlib.Path(name), 9)) == 4


def test_tags_in_any_encoding_are_no_hindrance(tmp_path):
    path = write_video(tmp_path / "a.avi", greys([0] * 4))
    with av.open(str(path)) as given, av.open(str(tmp_path / "b.mkv"), "w") as made:
        copy = made.add_stream_from_template(given.streams.video[0])
        made.metadata["title"] = "caf@e"
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
    content = (tmp_path / "b.mkv").read_bytes()
    (tmp_path / "b.mkv").write_bytes(content.replace(b"caf@e", b"caf\xe9e"))
    assert len(timeline(tmp_path / "b.mkv")[0]) == 4
