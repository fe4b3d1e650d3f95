"""The preview of clips about which nothing is known but their pixels and class."""

import re

import numpy as np
from PIL import Image

from videogvt.inputs.sources import ArraySource
from videogvt.report import page
from videogvt.report.clips import write_clip_gallery


def source(**fields) -> ArraySource:
    video = np.random.default_rng(0).integers(0, 256, (5, 8, 48, 64, 3), np.uint8)
    return ArraySource({"video": video, **fields}, ("walk", "run") if "label" in fields else ())


def test_clips_with_classes(tmp_path):
    data = source(label=np.array([0, 1, 0, 1, 1]), id=np.array([f"clip/{number}" for number in range(5)]))
    path, picture = write_clip_gallery(data, "mine", tmp_path / "out", clips=3)
    html = path.read_text()
    assert "5 clips of 8 frames of 48 x 64 pixels in 2 classes." in html
    assert len(re.findall(r"<h3>clip/\d, (walk|run)</h3>", html)) == 3 and html.count("data:image/webp") == 6
    assert not re.search(r'(src|href)="(?!data:)|://', html) and path.stat().st_size <= page.MAX_BYTES
    assert Image.open(picture).size[0] > 1000


def test_clips_without_classes_or_names(tmp_path):
    path, _ = write_clip_gallery(source(), "mine", tmp_path, clips=20)
    html = path.read_text()
    assert "without classes" in html and html.count("<h3>clip ") == 5
