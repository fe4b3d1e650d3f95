"""Generated clips as files: what a call writes, and that nothing of the one before stays beside it."""

import json

import numpy as np

from videogvt.report.samples import write_samples


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
