"""Files to clips and back: size, rate and start; what a tokenizer of trajectories cannot show is said, with figures."""

import errno
import os
import pathlib
import re
import warnings

import av
import numpy as np
import pytest
from PIL import Image

import videogvt
from tests.inputs.test_videos import greys, write_video
from videogvt import modes
from videogvt.core.mistakes import is_mistake
from videogvt.inputs import given
from videogvt.pretrained import VideoGenerator, VideoTokenizer, bundle
from videogvt.pretrained.fidelity import poor, poor_reading

ROOT = pathlib.Path(__file__).parents[2]
RAMP = [5 * i for i in range(50)]
POOR = pytest.mark.filterwarnings("ignore:.*trained on trajectories alone:UserWarning")


@pytest.fixture(scope="module")
def tokenizer(workdir):
    """Of clips of 8 frames of 32 x 32 pixels, 12 a second; its weights are random."""
    return VideoTokenizer.load(workdir)


def grey_T(clip_1THWC):
    return clip_1THWC[0].mean(axis=(1, 2, 3))


@POOR
@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mp4", "libx264", "yuv420p"), ("a.avi", "mpeg4", "yuv420p"), ("a.mov", "mjpeg", "yuvj420p"),
     ("a.webm", "libvpx-vp9", "yuv420p")],
)
def test_a_file_becomes_a_clip_of_the_models_size_rate_and_range(tokenizer, tmp_path, name, codec, pixels):
    path = write_video(tmp_path / name, greys(RAMP, 48, 64), codec, pixels, rate=24)
    clip = videogvt.read_clip(path, tokenizer)
    assert clip.shape == (1, 8, 32, 32, 3) and clip.dtype == np.uint8
    np.testing.assert_allclose(grey_T(clip), RAMP[:16:2], atol=4)  # 12 of 24 a second
    later = videogvt.read_clip(path, tokenizer, start=0.5, fps=24, frames=4, size=(16, 24))
    assert later.shape == (1, 4, 16, 24, 3)
    np.testing.assert_allclose(grey_T(later), RAMP[12:16], atol=4)
    assert tokenizer.codes(clip).shape == (1, 2, 4, 4)


@POOR
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_pictures_are_sampled_by_their_times(tokenizer, tmp_path, suffix):
    frames = [Image.fromarray(grey) for grey in greys([0, 0, 100, 200, 200, 200, 50, 250])]
    durations = [100, 100, 100, 100, 50, 50, 200, 500]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=durations)
    clip = videogvt.read_clip(tmp_path / f"a{suffix}", tokenizer, fps=10)
    np.testing.assert_allclose(grey_T(clip), [0, 0, 100, 200, 200, 50, 50, 250], atol=4)


@POOR
def test_an_array_counts_as_of_the_right_rate(tokenizer, tmp_path):
    np.save(tmp_path / "a.npy", np.stack(greys(RAMP)) / 255)
    np.testing.assert_allclose(grey_T(videogvt.read_clip(tmp_path / "a.npy", tokenizer, start=1)), RAMP[12:20], atol=1)


@POOR
def test_a_file_is_read_no_further_than_the_clip(tokenizer, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", greys(RAMP), "libx264", rate=24)
    made, shown = [], given.shown
    monkeypatch.setattr(given, "shown", lambda path: (made.append(1) or frame for frame in shown(path)))
    videogvt.read_clip(path, tokenizer, fps=24)
    assert len(made) < 25


@POOR
def test_too_short_a_video_is_refused_or_repeats_its_end(tokenizer, tmp_path):
    path = write_video(tmp_path / "a.mp4", greys([10, 60, 110, 160, 210, 240]), "libx264", rate=12)
    with pytest.raises(ValueError, match=r"has 6 frames from 0 s on, at 12 a second; 8 are asked for. Give frames=4"):
        videogvt.read_clip(path, tokenizer)
    assert videogvt.read_clip(path, tokenizer, frames=4).shape == (1, 4, 32, 32, 3)
    repeated = videogvt.read_clip(path, tokenizer, repeat=True)
    np.testing.assert_allclose(grey_T(repeated), [10, 60, 110, 160, 210, 240, 240, 240], atol=4)
    with pytest.raises(ValueError, match="ends before start=9 s"):
        videogvt.read_clip(path, tokenizer, start=9)
    with pytest.raises(ValueError, match=r"frames=10: expected a multiple of 4, .* frames=8. size=\(16, 20\)"):
        videogvt.read_clip(path, tokenizer, frames=10, size=(16, 20))
    with pytest.raises(FileNotFoundError, match="There is no video"):
        videogvt.read_clip(tmp_path / "b.mp4", tokenizer)
    for name in ("broken.mp4", "broken.gif", "broken.npz"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=f"{name} cannot be read as a"):
            videogvt.read_clip(tmp_path / name, tokenizer)


@POOR
@pytest.mark.parametrize("name", ["back.mp4", "back.gif"])
def test_a_written_clip_is_read_back_at_its_rate(tokenizer, tmp_path, name):
    clip = np.stack(greys([*RAMP[:35:7], 90, 90, 90]))[None]  # its end is still
    for same in (clip, clip[0], clip / 255):
        path = videogvt.write_clip(tmp_path / name, same, fps=24, scale=2)
        back = videogvt.read_clip(path, tokenizer, fps=24)
        np.testing.assert_allclose(back, clip, atol=6)
    with Image.open(path) if name.endswith("gif") else av.open(str(path)) as found:
        size = found.size if name.endswith("gif") else (found.streams.video[0].width, found.streams.video[0].height)
    assert size == (64, 64)


def test_what_cannot_be_written_is_refused(tmp_path):
    clip = np.zeros((4, 7, 9, 3), np.uint8)
    assert videogvt.write_clip(tmp_path / "odd.mp4", clip, 29.97).stat().st_size
    with pytest.raises(ValueError, match="ends with .mp4 or .gif"):
        videogvt.write_clip(tmp_path / "a.webm", clip, 24)
    with pytest.raises(ValueError, match="0.01 to 50"):
        videogvt.write_clip(tmp_path / "a.gif", clip, 60)
    with pytest.raises(ValueError, match=r"Write one clip of the batch: video\[0\]"):
        videogvt.write_clip(tmp_path / "a.gif", np.stack([clip, clip]), 24)
    with pytest.raises(ValueError, match="use video / 255"):
        videogvt.write_clip(tmp_path / "a.gif", clip + np.float32(200), 24)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.mp4"]


@POOR
def test_each_wrong_argument_is_named_with_the_nearest_right_one(tokenizer, tmp_path):
    path = videogvt.write_clip(tmp_path / "a.gif", np.stack(greys(RAMP)), 12)
    cases = {
        "size=(15, 33): expected (height, width), multiples of 8 and 8, such as size=(16, 32).": {"size": (15, 33)},
        "such as size=(32, 32).": {"size": 32}, "such as size=(8, 32).": {"size": (0, 32)},
        "size=(16,): expected (height, width), ": {"size": (16,)}, "size=ab: expected": {"size": "ab"},
        "frames=7: expected a multiple of 4, such as frames=8.": {"frames": 7},
        "frames=0: expected a multiple of 4, such as frames=4.": {"frames": 0},
        "frames=-2: expected a multiple of 4, such as frames=4.": {"frames": -2},
        "frames=8.5: expected a multiple of 4, such as frames=8.": {"frames": 8.5},
        "start=nan: expected seconds": {"start": float("nan")}, "start=inf: ": {"start": float("inf")},
        "start=-1: ": {"start": -1}, "fps=nan: expected frames a second": {"fps": float("nan")}, "fps=0: ": {"fps": 0},
        "start='1': ": {"start": "1"},
    }
    for said, arguments in cases.items():
        with pytest.raises(ValueError, match=re.escape(said)) as refused:
            videogvt.read_clip(path, tokenizer, **arguments)
        assert "video[" not in str(refused.value)
        if found := re.search(r"such as ((size|frames)=.*)\.$", str(refused.value)):
            assert eval(f"read(path, model, {found[1]})", {"read": videogvt.read_clip, "path": path, "model": tokenizer}
                        ).dtype == np.uint8
    assert videogvt.read_clip(path, tokenizer, size=np.array([16, 24]), frames=np.int64(4)).shape == (1, 4, 16, 24, 3)
    for model, said in (("runs/mine", r"model is 'runs/mine'; .* VideoTokenizer.load\('runs/mine'\)"),
                        (None, r"a NoneType; .* VideoTokenizer.load\("), (VideoTokenizer, r"VideoTokenizer.load\(")):
        with pytest.raises(ValueError, match=said):
            videogvt.read_clip(path, model)


@POOR
def test_overshoot_of_an_array_is_told_once(tokenizer, tmp_path):
    video = np.stack(greys(RAMP)) / np.float32(255)
    video[0, 0, 0] = 1.05
    np.save(tmp_path / "a.npy", video)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        videogvt.read_clip(tmp_path / "a.npy", tokenizer)
    assert sum("were clipped" in str(one.message) for one in caught) == 1


def test_a_full_disk_leaves_no_part_and_what_was_there(tmp_path, monkeypatch):
    clip, path = np.zeros((4, 8, 8, 3), np.uint8), tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    for name in ("a.mp4", "b.gif"):
        with pytest.raises(OSError, match=f"No space left on device: '.*{name}'") as refused:
            videogvt.write_clip(tmp_path / name, clip, 24)
        assert is_mistake(refused.value)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"before"


def test_rates_and_scales_that_a_format_has_not_are_refused_with_those_it_has(tmp_path):
    clip = np.zeros((4, 64, 48, 3), np.uint8)
    for fps in (0.0001, 0, -1, np.nan, np.inf, 2000, "24 fps", None):
        with pytest.raises(ValueError, match=r"fps=.*: .mp4 takes 0.01 to 1000 frames a second"):
            videogvt.write_clip(tmp_path / "a.mp4", clip, fps)
    with pytest.raises(ValueError, match=r"fps=0.001: .gif takes 0.01 to 50"):
        videogvt.write_clip(tmp_path / "a.gif", clip, 0.001)
    with pytest.raises(ValueError, match=r"more than 655 s, .* Give an fps of 0.046 or more"):
        videogvt.write_clip(tmp_path / "a.gif", np.tile(clip[:1], (30, 1, 1, 1)), 0.02)
    for scale in (1.5, 300, 0, -2, "2", np.nan, True, None):
        with pytest.raises(ValueError, match=r"scale=.*: expected a whole number from 1 to 256, .* are 64 x 48"):
            videogvt.write_clip(tmp_path / "a.mp4", clip, 24, scale=scale)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [np.float32(24), np.int64(24), np.float32(29.97), 0.01, 1000])
def test_rates_of_any_type_are_those_of_the_file(tmp_path, fps):
    path = videogvt.write_clip(tmp_path / "a.mp4", np.stack(greys([0, 50, 100])), fps, scale=np.int64(2))
    with av.open(str(path)) as found:
        times = [frame.time for frame in found.decode(video=0)]
    np.testing.assert_allclose(np.diff(times), 1 / float(fps), rtol=0.01)


def test_places_where_no_file_can_be_are_named(tmp_path, monkeypatch):
    clip = np.zeros((4, 8, 8, 3), np.uint8)
    (tmp_path / "folder.mp4").mkdir()
    cases = {tmp_path / "folder.mp4": "folder.mp4 is a folder; name a file in it", tmp_path: "is a folder",
             tmp_path / "no" / "a.gif": "no/a.gif cannot be written: there is no folder .*no. Make it first",
             tmp_path / f"{'a' * 300}.gif": "too long: '.*aaa"}
    for path, said in cases.items():
        with pytest.raises(OSError, match=said) as refused:
            videogvt.write_clip(path, clip, 24)
        assert is_mistake(refused.value)
    monkeypatch.chdir(tmp_path)
    for name in ("http:a.mp4", "http:a.gif", f"{'b' * 250}.gif"):
        assert videogvt.write_clip(name, clip, 24).stat().st_size
    assert len(list(tmp_path.iterdir())) == 4
    pathlib.Path("link.gif").symlink_to("target.gif")
    videogvt.write_clip("link.gif", clip, 24)
    assert pathlib.Path("link.gif").is_symlink() and pathlib.Path("target.gif").stat().st_size


def moving(frames=16, size=64):
    """A coloured picture that goes left, uint8 (1, T, H, W, 3)."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (size // 8, size // 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([picture[:, 2 * t : 2 * t + size] for t in range(frames)])[None]


def test_a_tokenizer_of_trajectories_says_where_it_can_show_nothing(tmp_path):
    tokenizer = VideoTokenizer.load("local64_8x4x4")
    path = videogvt.write_clip(tmp_path / "real.mp4", moving(), fps=24)
    errors = r"mean squared error [\d.]+ \([\d.-]+ dB\), of the mean frame [\d.]+ \([\d.]+ dB\)"
    with pytest.warns(UserWarning, match=f"this clip no better than the mean frame does: {errors}") as told:
        clip = videogvt.read_clip(path, tokenizer)
    assert [one.filename for one in told] == [__file__]
    with pytest.warns(UserWarning, match="shows this clip no better"):
        tokenizer.reconstruct(clip)
    with pytest.warns(UserWarning, match="shows 2 of 2 clips no better"):
        tokenizer.reconstruct(clip.repeat(2, axis=0))
    own = bundle.read_golden(bundle.shipped()["local64_8x4x4"])["video"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer.reconstruct(own)
        tokenizer.codes(clip)  # makes no reconstruction
        tokenizer.reconstruct(moving(8)[:, :1].repeat(8, axis=1) * 0 + 255)  # white, which it knows
    assert poor_reading(tokenizer, own) is None
    tokenizer.data = {"source": "videos", "options": {}}
    assert poor_reading(tokenizer, clip) is None


def test_poor_is_no_better_than_the_mean_frame():
    video = moving(4, 16) / np.float32(255)
    assert poor(video, video + 0.001, "It") is None
    assert poor(video[:, :1], video[:, :1] + 0.5, "It") is None  # a picture is its own mean frame
    assert poor(np.concatenate([video] * 3), np.concatenate([video, video, 1 - video]), "It") is None
    said = poor(video, np.broadcast_to(video.mean(1, keepdims=True), video.shape), "It")
    error = np.square(video - video.mean(1, keepdims=True)).mean()
    assert said.count(f"{error:.2g} ({-10 * np.log10(error):.1f} dB)") == 2 and said.startswith("It was trained")


def test_a_generator_says_so_of_what_it_is_given(generator_run, tmp_path):
    generator = VideoGenerator.load(generator_run, batch_size=2)
    path = videogvt.write_clip(tmp_path / "real.gif", moving(8, 32), fps=12)
    with pytest.warns(UserWarning, match="The tokenizer of this generator was trained on trajectories alone"):
        clip = videogvt.read_clip(path, generator)
    with pytest.warns(UserWarning, match="The tokenizer of this generator was .* mean squared error") as told:
        made = generator.generate("FP:4", video=clip, number=2)
    assert len(told) == 1 and made.videos.shape == (2, 8, 32, 32, 3)
    with pytest.warns(UserWarning, match="shows this clip no better") as told:
        generator.extend(clip, 16, given=4)
    assert len(told) == 1


def test_the_mode_generate_says_so_in_one_line(generator_run, tmp_path, capsys):
    path = videogvt.write_clip(tmp_path / "real.gif", moving(8, 32), fps=12)
    request = modes.Request(task="FP:4", video=str(path), number=1, output=str(tmp_path / "out"))
    modes.generate(None, str(generator_run), None, request)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Warning: The tokenizer of this generator was trained on trajectories alone, and shows this")


@POOR
def test_the_mode_generate_takes_no_video_faster_than_the_generator_knows(generator_run, tmp_path, capsys):
    generator = VideoGenerator.load(generator_run)  # of 8 frames, 12 a second

    def given(path, task="FP:4"):
        return modes._given(generator, task, modes.Request(video=str(path)), None)

    fast = write_video(tmp_path / "fast.mp4", greys(RAMP, 32, 32), "libx264", rate=48)
    np.testing.assert_array_equal(given(fast), videogvt.read_clip(fast, generator)[0])
    np.testing.assert_allclose(grey_T(given(fast)[None]), RAMP[:32:4], atol=4)
    for name in ("same.gif", "same.mp4"):
        same = videogvt.write_clip(tmp_path / name, np.stack(greys(RAMP[:16], 32, 32)), 12)
        np.testing.assert_allclose(grey_T(given(same)[None]), RAMP[:8], atol=4)
    assert not capsys.readouterr().err
    slow = videogvt.write_clip(tmp_path / "slow.gif", np.stack(greys(RAMP[:16], 32, 32)), 6)
    np.testing.assert_allclose(grey_T(given(slow)[None]), RAMP[:8], atol=4)
    (line,) = capsys.readouterr().err.splitlines()
    assert "slow.gif has 6 frames a second, and the generator was trained on 12; they are taken one by one" in line


def test_the_mode_generate_names_the_file_that_does_not_do(generator_run, tmp_path):
    generator = VideoGenerator.load(generator_run)
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    few = write_video(tmp_path / "few.mp4", greys(RAMP[:9], 32, 32), "libx264", rate=48)
    one = "one.png is too short: it has 1 frame, and .* needs 4. Give"
    for path, task, said in ((tmp_path / "one.png", "FP:4", one),
                             (few, "FP:4", "few.mp4 is too short: it has 3 frames at 12 a second"),
                             (few, "CG", "--video=.*few.mp4: the task 'CG' is given no pixels. Leave the flag out")):
        with pytest.raises(ValueError, match=said) as refused:
            modes._given(generator, task, modes.Request(video=str(path)), None)
        assert is_mistake(refused.value) and "video[" not in str(refused.value)


@POOR
def test_the_readme_shows_the_way_from_a_file_and_back(tmp_path, monkeypatch):
    blocks = re.findall("```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    block = next(block for block in blocks if "read_clip" in block)
    write_video(tmp_path / "my.mp4", greys(RAMP[:50] * 3), "libx264", rate=30)
    monkeypatch.chdir(tmp_path)
    values = {"tokenizer": VideoTokenizer.load("local64_8x4x4")}
    exec(block, values)
    assert values["clip"].shape == (1, 16, 64, 64, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"my.mp4", "back.mp4", "back.gif"}
