"""Folders of videos and pictures: real files, the rules for time, size, alpha and splits, and what is left out."""

import fractions
import json
import pathlib
import shutil
import struct
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from videogvt.inputs import sources
from videogvt.inputs.datasets import read_manifest
from videogvt.inputs.folders import Unusable
from videogvt.inputs.frames import Framing
from videogvt.inputs.images import ImageFolderConfig, prepared_images
from videogvt.inputs.videos import VideoFolderConfig, prepared_videos, read_frames, sample

ALL_TRAIN = {"shares": (("train", 1.0),), "height": 8, "width": 8, "num_frames": 4}


def write_video(path, pictures, codec="mpeg4", pixels="yuv420p", rate=25, times=None, **options):
    """Encodes uint8 pictures (H,W,3 or 4); ``times`` in milliseconds make the rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"qscale": "1", **options})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgba" if picture.shape[2] == 4 else "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(values, height=32, width=32):
    """Pictures of one grey each."""
    return [np.full((height, width, 3), value, np.uint8) for value in values]


def train_clips(folder, data_dir, **options):
    config = VideoFolderConfig(folder=folder, **(ALL_TRAIN | options))
    builder = prepared_videos(config, data_dir, workers=1)
    source = sources.RecordSource(builder.data_dir, "train", ("video", "label", "id", "fps", "start"))
    return source.read(range(len(source))), builder


RAMP = [20 * i for i in range(12)]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"), ("a.avi", "mpeg4", "yuv420p"), ("a.mov", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"), ("a.mkv", "libx264", "yuv420p"), ("A.GIF", "gif", "rgb8"),
    ],
)  # fmt: skip
def test_every_container_gives_its_frames_in_order(tmp_path, name, codec, pixels):
    write_video(tmp_path / "in" / name, greys(RAMP), codec, pixels, rate=10)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out")
    assert clips["video"].shape == (3, 4, 8, 8, 3)  # twelve frames are three clips
    grey_BT = clips["video"].mean(axis=(2, 3, 4)).reshape(-1)
    np.testing.assert_allclose(grey_BT, RAMP, atol=16 if codec == "gif" else 4)  # rgb8 has few greys
    assert clips["id"].tolist() == [f"{name}#{i}" for i in range(3)]
    np.testing.assert_allclose(clips["fps"], 10, rtol=1e-3)
    np.testing.assert_allclose(clips["start"], [0, 0.4, 0.8], atol=2e-3)


def test_several_processes_cut_the_same_clips(tmp_path):
    for number in range(5):
        write_video(tmp_path / f"in/{number}.avi", greys([40 * number + i for i in range(12)]))
    config = VideoFolderConfig(folder=tmp_path / "in", **ALL_TRAIN)
    one, two = (read_manifest(prepared_videos(config, tmp_path / str(workers), workers).data_dir) for workers in (1, 2))
    assert one == two and one["splits"]["train"]["examples"] == 15
    assert len(one["splits"]["train"]["shards"]) == 2


def test_stride_and_what_is_left_at_the_end(tmp_path):
    write_video(tmp_path / "in/a.mkv", greys([10 * i for i in range(17)]), "libx264")
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out", stride=2)
    grey_BT = clips["video"].mean(axis=(2, 3, 4))  # 7 frames a clip: 0..6, 7..13, and three are left
    np.testing.assert_allclose(grey_BT, [[0, 20, 40, 60], [70, 90, 110, 130]], atol=4)
    np.testing.assert_allclose(clips["fps"], 12.5, rtol=1e-3)


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path):
    times = [0, 100, 200, 300, 700, 1100, 1500]  # ms: fast, then slow
    write_video(tmp_path / "in/a.mkv", greys([30 * i for i in range(7)]), "libx264", times=times)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out", fps=10)
    shown = [0, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6]
    np.testing.assert_allclose(clips["video"].mean(axis=(2, 3, 4)).reshape(-1), np.multiply(shown, 30), atol=4)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out")  # its own mean rate, 4 frames/s: moments 0, 250, ...
    np.testing.assert_allclose(clips["fps"], 4, rtol=1e-3)
    np.testing.assert_allclose(clips["video"].mean(axis=(2, 3, 4)), [[0, 90, 90, 120]], atol=4)


def test_sampling_forgives_rounded_timestamps_and_needs_some():
    times_N = np.round(np.arange(300) / 29.97, 2)  # a GIF counts in hundredths
    numbers, rate = sample(times_N, None, None)
    np.testing.assert_array_equal(numbers, np.arange(300))
    numbers, rate = sample(np.full(6, np.nan), 5.0, None)
    np.testing.assert_array_equal(numbers, np.arange(6))
    assert rate == 5
    assert sample(np.arange(10) / 10, None, 5)[0].tolist() == [0, 2, 4, 6, 8]
    assert sample(np.zeros(1), None, None) == (np.array([0]), 1.0)
    with pytest.raises(Unusable, match="no timestamps"):
        sample(np.full(6, np.nan), None, None)


@pytest.mark.parametrize(("times", "stated"), [([0, 0.04, 1e9], 25.0), ([0.0], 3e-6), ([0, 4e3], 25.0)])
def test_damaged_timestamps_make_no_giants(times, stated):
    with pytest.raises(Unusable, match=r"by its timestamps its \d frames last .* ask for a lower fps"):
        sample(np.array(times), stated, 25.0)
    sample(np.array([0.0, 60.0, 120.0]), None, 10.0)  # a picture a minute


@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("a.webm", "libvpx-vp9", "yuva420p"), ("a.mov", "qtrle", "argb")]
)
def test_transparent_pixels_are_laid_over_white(tmp_path, name, codec, pixels):
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:16], picture[16:] = (255, 0, 0, 255), (0, 0, 0, 64)
    write_video(tmp_path / "in" / name, [picture] * 4, codec, pixels)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out")
    np.testing.assert_allclose(clips["video"][0, 2, 1, 4], (255, 0, 0), atol=6)
    np.testing.assert_allclose(clips["video"][0, 2, 6, 4], (191, 191, 191), atol=6)


def test_a_transparent_gif_is_laid_over_white(tmp_path):
    (tmp_path / "in").mkdir()
    frames = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(4)]
    for number, frame in enumerate(frames):
        frame.paste((0, 0, 255, 255), (0, 0, 8 + number, 8))
    frames[0].save(tmp_path / "in/a.gif", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(clips["video"][0, 0, 1, 1], (0, 0, 255))
    np.testing.assert_array_equal(clips["video"][0, 0, 6, 6], (255, 255, 255))


def test_a_quarter_turn_of_the_container_is_done(tmp_path):
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24] = 255  # top left
    path = write_video(tmp_path / "in/a.mp4", [picture] * 4, "libx264")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # of the track header; a quarter turn clockwise
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(content)
    clips, _ = train_clips(tmp_path / "in", tmp_path / "out", height=12, width=8)
    np.testing.assert_allclose(clips["video"][0, 0, [2, 2, 9, 9], [1, 6, 1, 6], 0], (0, 255, 0, 0), atol=8)


def test_framing_covers_and_crops():
    wide_HWC = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (20, 40, 3)).copy()
    center = Framing(10, 10)
    np.testing.assert_allclose(center(wide_HWC, center.place("x"))[0, :, 0], np.arange(10.5, 30, 2), atol=1)
    random = Framing(10, 10, crop="random")
    places = [random.place(f"clip{i}")[1] for i in range(200)]
    assert min(places) < 0.1 and max(places) > 0.9 and random.place("clip0")[1] == places[0]
    assert Framing(10, 10, crop="random", seed=1).place("clip0")[1] != places[0]
    assert random(wide_HWC, (0.0, 1.0))[0, -1, 0] >= 38 and random(wide_HWC, (0.0, 0.0))[0, 0, 0] <= 1
    assert center(np.zeros((3, 5, 3), np.uint8), (0.5, 0.5)).shape == (10, 10, 3)
    with pytest.raises(ValueError, match="crop is 'middle'"):
        Framing(1, 1, crop="middle")


def test_clips_are_read_in_any_order(tmp_path):
    path = str(write_video(tmp_path / "a.mkv", greys(RAMP), "libx264"))
    framing = Framing(2, 2)
    for numbers in ([3, 4], [0, 0, 1], [10, 11], [2, 2]):
        read = read_frames(path, np.array(numbers), "a", framing).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(read, np.multiply(numbers, 20), atol=4)


@pytest.fixture(scope="module")
def ucf(tmp_path_factory):
    """Two classes of twelve recordings, each cut into two files, in the layout of UCF-101; and bad files."""
    folder = tmp_path_factory.mktemp("ucf") / "in"
    for label, name in enumerate(("Archery", "Biking")):
        for group in range(12):
            for cut in (1, 2):
                shade = 100 * label + 8 * group + cut
                path = folder / name / f"v_{name}_g{group:02d}_c{cut:02d}.avi"
                write_video(path, greys([shade] * 8, 16, 24), "mjpeg", "yuvj420p")
    whole = (folder / "Archery/v_Archery_g00_c01.avi").read_bytes()
    longer = write_video(folder / "Biking/truncated.mkv", greys(range(100), 64, 64), "libx264").read_bytes()
    (folder / "Biking/truncated.mkv").write_bytes(longer[: len(longer) // 2])
    (folder / "Biking/truncated.avi").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "Archery/truncated.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    (folder / "Archery/empty.mp4").write_bytes(b"")
    (folder / "Archery/text.webm").write_text("not a video")
    write_video(folder / "Biking/short.avi", greys([0, 0, 0], 16, 24), "mjpeg", "yuvj420p")
    (folder / "Archery/notes.txt").write_text("ignored")
    (folder / ".cache").mkdir()
    shutil.copy(folder / "Archery/empty.mp4", folder / ".cache/hidden.mp4")
    return folder


BAD = {
    "Archery/empty.mp4", "Archery/text.webm", "Archery/truncated.mp4", "Biking/truncated.avi", "Biking/truncated.mkv",
}  # fmt: skip
OPTIONS = {"num_frames": 4, "height": 8, "width": 8, "max_unreadable": 0.2, "shares": (("train", 0.6), ("test", 0.4))}


def test_no_recording_is_in_two_splits_and_bad_files_are_named(ucf, tmp_path, capsys):
    builder = prepared_videos(VideoFolderConfig(folder=ucf, **OPTIONS), tmp_path, workers=1)
    read = {}
    for split in ("train", "test"):
        source = sources.RecordSource(builder.data_dir, split, ("video", "label", "id"))
        assert source.class_names == ("Archery", "Biking")
        read[split] = rows = source.read(range(len(source)))
        assert all(name.startswith(("Archery", "Biking")[label]) for name, label in zip(rows["id"], rows["label"]))
        shade = [100 * label + 8 * int(name.split("_g")[1][:2]) + int(name.split("_c")[1][:2])
                 for name, label in zip(rows["id"], rows["label"])]  # fmt: skip
        np.testing.assert_allclose(rows["video"].mean(axis=(1, 2, 3, 4)), shade, atol=4)
        assert set(rows["label"][: len(rows["label"]) // 2]) == {0, 1}  # the order mixes the classes
    assert sum(len(rows["id"]) for rows in read.values()) == 2 * 12 * 2 * 2  # two clips a file
    recordings = [{name.split("_c")[0] for name in rows["id"]} for rows in read.values()]
    assert not recordings[0] & recordings[1] and len(recordings[1]) > 3
    left_out = builder.info.metadata["left_out"]
    assert set(left_out["unreadable"]) == BAD and left_out["too_short"] == ["Biking/short.avi"]
    said = capsys.readouterr().err
    assert all(path in said for path in BAD) and "5 unreadable of 54" in said
    assert "1 of 54 videos, shorter than a clip of 4 frames: Biking/short.avi. " in said
    assert "--config.data.options.short=repeat repeats the last frame" in said
    again = prepared_videos(VideoFolderConfig(folder=ucf, **OPTIONS), tmp_path)
    assert again.data_dir == builder.data_dir and "Examining" not in capsys.readouterr().err
    other = VideoFolderConfig(folder=ucf, **(OPTIONS | {"stride": 2}))
    assert other.name != builder.builder_config.name


def test_too_many_unreadable_files_stop_the_build(ucf, tmp_path):
    config = VideoFolderConfig(folder=ucf, **(OPTIONS | {"max_unreadable": 0.05}))
    said = r"5 of 54 videos .* max_unreadable = 0.05(.|\n)*Archery/empty.mp4(.|\n)*max_unreadable=0.1$"
    with pytest.raises(ValueError, match=said):
        prepared_videos(config, tmp_path, workers=1)
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_short_videos_may_repeat_their_last_frame(ucf, tmp_path):
    folder = tmp_path / "in"
    write_video(folder / "a.mkv", greys([0, 50, 100]), "libx264")
    clips, _ = train_clips(folder, tmp_path / "out", short="repeat")
    np.testing.assert_allclose(clips["video"].mean(axis=(2, 3, 4)), [[0, 50, 100, 100]], atol=4)
    with pytest.raises(ValueError, match="Nothing is left for train"):
        train_clips(folder, tmp_path / "out")


def test_split_lists_decide(ucf, tmp_path):
    train, test = tmp_path / "trainlist01.txt", tmp_path / "testlist01.txt"
    train.write_text("Archery/v_Archery_g00_c01.avi 1\nBiking/v_Biking_g00_c01.avi 2\n")
    test.write_text("Biking/v_Biking_g01_c01.avi\n")
    lists = {"split_lists": {"train": train, "test": test}}
    builder = prepared_videos(VideoFolderConfig(folder=ucf, **OPTIONS, **lists), tmp_path, workers=1)
    source = sources.RecordSource(builder.data_dir, "train", ("label",))
    assert source.read(range(len(source)))["label"].tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    test.write_text("Biking/v_Biking_g00_c01.avi\n")
    with pytest.raises(ValueError, match="files twice, such as 'Biking/v_Biking_g00_c01.avi'"):
        VideoFolderConfig(folder=ucf, **OPTIONS, **lists).splits()
    test.write_text("Biking/none.avi 2\n")
    with pytest.raises(ValueError, match="not in .* such as 'Biking/none.avi'"):
        VideoFolderConfig(folder=ucf, **OPTIONS, **lists).splits()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folder": "nowhere"}, FileNotFoundError, "There is no folder"),
        ({"shares": (("train", 0.5),)}, ValueError, "must sum to 1"),
        ({"short": "loop"}, ValueError, "short is 'loop'"),
        ({"stride": 0}, ValueError, "stride=0"),
        ({"height": 0}, ValueError, "0x8 pixels"),
    ],
)
def test_unusable_settings_are_named(ucf, options, error, message):
    with pytest.raises(error, match=message):
        VideoFolderConfig(**({"folder": ucf} | ALL_TRAIN | options))


def test_unusable_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no videos"):
        VideoFolderConfig(folder=tmp_path)
    for name in ("a.mp4", "b/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="1 beside them"):
        VideoFolderConfig(folder=tmp_path)


def test_pictures_are_clips_of_one_frame(tmp_path):
    folder = tmp_path / "in"
    for number, suffix in enumerate(("png", "jpg", "webp", "bmp", "JPEG") * 4):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), (number, 0, 0)).save(folder / "ab"[number % 2] / f"{number}.{suffix}")
    Image.new("RGBA", (20, 30), (0, 0, 0, 0)).save(folder / "a/clear.png")
    turned = Image.new("RGB", (30, 20))
    turned.paste((255, 255, 255), (0, 0, 15, 20))  # its left half; turned clockwise, the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "a/turned.jpg", exif=exif, quality=95)
    (folder / "b/broken.png").write_bytes((folder / "a/0.png").read_bytes()[:50])
    config = ImageFolderConfig(folder=folder, height=6, width=4, shares=(("train", 1.0),), max_unreadable=0.1)
    builder = prepared_images(config, tmp_path / "out", workers=1)
    assert list(builder.info.metadata["left_out"]["unreadable"]) == ["b/broken.png"]
    source = sources.RecordSource(builder.data_dir, "train", ("video", "id", "label"))
    rows = source.read(range(len(source)))
    assert rows["video"].shape == (22, 1, 6, 4, 3)
    by_name = dict(zip((name.partition("#")[0] for name in rows["id"]), rows["video"][:, 0], strict=True))
    assert by_name["b/1.jpg"][2, 2].tolist() == pytest.approx([1, 0, 0], abs=2)
    assert (by_name["a/clear.png"] == 255).all()
    assert by_name["a/turned.jpg"][1].min() > 240 and by_name["a/turned.jpg"][4].max() < 15


def test_without_pyav_the_extra_is_named(monkeypatch, ucf):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'videogvt\[video\]'"):
        VideoFolderConfig(folder=ucf, **OPTIONS).splits()


def test_the_tfds_command_line_builds_a_folder(ucf, tmp_path):
    config = json.dumps({"folder": str(ucf), "num_frames": 4, "max_unreadable": 0.2, "shares": [["train", 1.0]]})
    entry_point = pathlib.Path(__file__).parents[2] / "data" / "videos"
    tfds_build = [sys.executable, "-m", "tensorflow_datasets.scripts.cli.main", "build", str(entry_point)]
    subprocess.run([*tfds_build, "--config", config, "--data_dir", str(tmp_path)], check=True)
    assert len(list(tmp_path.glob("videos/in-4x64x64-*/1.1.0/dataset_info.json"))) == 1
