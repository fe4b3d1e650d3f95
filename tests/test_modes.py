"""Modes that other tests do not reach: the preview of a world and of a folder."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from videogvt import modes


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_preview_of_a_world_shows_its_families(tmp_path, capsys):
    config = ConfigDict({"name": "tiny", "data": {"source": "trajectories", "options": {"config": "tiny"}}})
    modes.MODES["preview"](config, str(tmp_path / "out"), str(tmp_path / "data"))
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert all(family in page for family in ("linear", "circular", "helical", "parabolic", "random"))
    assert str(tmp_path / "out" / "gallery.png") in capsys.readouterr().out


def test_preview_of_a_folder_shows_its_clips(tmp_path, pictures):
    options = {"folder": str(pictures), "height": 32, "width": 32}
    config = ConfigDict({"name": "mine", "data": {"source": "images", "options": options}})
    modes.MODES["preview"](config, str(tmp_path / "out"), str(tmp_path / "data"))
    assert (tmp_path / "out" / "gallery.png").stat().st_size > 1000
