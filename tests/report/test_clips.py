"""The preview of clips about which nothing is known but their pixels and class."""

import json
import re

import numpy as np
from PIL import Image

from videogvt.inputs.sources import ArraySource
from videogvt.report import page
from videogvt.report.clips import fitted_text, write_clip_gallery, write_samples


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


def test_words_that_fit_stay_as_they_are():
    assert fitted_text("best\na.mp4#0", 7, 5, len) == "best\na.mp4#0"


def test_long_lines_are_broken_and_of_too_many_the_middle_is_left_out():
    assert fitted_text("best\nabcdefghij", 4, 4, len) == "best\nabcd\nefgh\nij"
    text = fitted_text("best\n" + "abcd" * 20 + "last", 4, 5, len)
    assert text == "best\nabcd\nabc…\nabcd\nlast"
    assert all(len(line) <= 4 for line in text.splitlines())


def test_a_letter_wider_than_the_line_stands_alone():
    assert fitted_text("ab", 1, 9, lambda text: 2 * len(text)) == "a\nb"


def test_files_of_the_call_before_are_taken_away_and_no_others(tmp_path):
    clips = np.random.default_rng(0).random((3, 2, 8, 8, 3), np.float32)
    first = write_samples(tmp_path, clips, ["a", "b", "c"], {"seed": 0}, steps=clips)
    assert {path.name for path in first} == {path.name for path in tmp_path.iterdir()}
    assert {"a.gif", "c.gif", "steps.webp", "steps.png", "contact_sheet.png", "about.json"} <= {p.name for p in first}
    (tmp_path / "mine.txt").write_text("")
    second = write_samples(tmp_path, clips[:1], ["b"], {"seed": 1})
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in second} | {"mine.txt"}
    assert json.loads((tmp_path / "about.json").read_text())["clips"] == ["b"]


def test_a_list_that_names_files_elsewhere_takes_none_away(tmp_path):
    (tmp_path / "outside.txt").write_text("")
    folder = tmp_path / "made"
    folder.mkdir()
    for text in (json.dumps({"files": ["../outside.txt", 3]}), "[]", "{"):
        (folder / "about.json").write_text(text)
        write_samples(folder, np.zeros((1, 2, 8, 8, 3)), ["a"], {})
    assert (tmp_path / "outside.txt").exists()
