"""The examples run as they stand, and stay as short as they promise."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.optimized

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_method_fits_on_one_page_and_learns(tmp_path, capsys):
    assert len((EXAMPLES / "minimal.py").read_text().splitlines()) <= 150
    minimal = load("minimal")
    first, second, videos = minimal.main(steps=30, output=str(tmp_path / "made.gif"))
    assert np.mean(first[-3:]) < 0.7 * first[0] and np.mean(second[-3:]) < 0.8 * second[0]
    assert second[0] == pytest.approx(np.log(minimal.TOKENIZER.num_codes), rel=0.1)  # it begins by guessing
    assert videos.shape == (5, 8, 32, 32, 3) and videos.min() >= 0 and videos.max() <= 1 and videos.std() > 0
    assert Image.open(tmp_path / "made.gif").size == (5 * 32 * 4, 32 * 4)
    assert re.search(r"\d+ of 64 codes are used", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore:.*trained on trajectories alone:UserWarning")
def test_own_videos_become_codes_a_video_and_a_picture(tmp_path, monkeypatch, capsys):
    pytest.importorskip("av")
    from videogvt import VideoTokenizer, read_clip
    from videogvt.pretrained.clips import write_mp4
    from videogvt.world.example import example
    from videogvt.world.spec import SPECS

    monkeypatch.chdir(tmp_path)
    video = example(SPECS["mono64"], "test", 3)["video"]
    write_mp4("my.mp4", video, fps=24)
    load("own_videos").main("my.mp4")
    tokenizer = VideoTokenizer.load("local64_8x4x4")
    codes = np.load("codes.npy")
    np.testing.assert_array_equal(codes, tokenizer.codes(read_clip("my.mp4", tokenizer)))
    assert capsys.readouterr().out == "my.mp4: 128 codes of 1024; codes.npy, back.mp4, both.png\n"
    both = np.asarray(Image.open("both.png"))
    assert both.shape == (2 * 64, 4 * 64, 3)
    shown, told = (row.min(axis=-1) < 128 for row in np.split(both, 2))  # the ball of the clip, and that of the codes
    assert (shown & told).sum() > 0.5 * shown.sum() > 20
    assert read_clip("back.mp4", tokenizer, size=(256, 256)).shape == (1, 16, 256, 256, 3)


def test_what_is_no_video_is_told_in_one_message(tmp_path):
    run = subprocess.run([sys.executable, EXAMPLES / "own_videos.py", "missing.mp4"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.returncode == 2 and "missing.mp4" in run.stderr and "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())
    usage = subprocess.run([sys.executable, EXAMPLES / "own_videos.py"], cwd=tmp_path, capture_output=True, text=True)
    assert usage.returncode == 1 and "python examples/own_videos.py my.mp4" in usage.stderr
