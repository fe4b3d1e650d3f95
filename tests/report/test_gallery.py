"""The gallery of a small world: everything on the page, nothing loaded from elsewhere."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from videogvt.report import gallery, page
from videogvt.world.spec import SPECS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return gallery.write_gallery("tiny", tmp_path_factory.mktemp("gallery"), seed=1, clips=2)


def test_page_shows_every_family_with_caption_and_equation(written):
    html = written[0].read_text()
    for family, examples in gallery.choose_examples(SPECS["tiny"], "train", 2, seed=1).items():
        assert f"<h2>{family}</h2>" in html
        for item in examples:
            assert page.escape(item["caption"]) in html
            assert all(page.escape(part) in html for part in item["equation"].split("; "))


def test_page_is_self_contained_and_small(written):
    html = written[0].read_text()
    assert written[0].stat().st_size <= page.MAX_BYTES
    assert not re.search(r'(src|href)="(?!data:)|://|url\(|@import|<script|<link', html)
    assert html.count("data:image/webp") == 10  # an animated clip for each of two examples of five families


def test_picture_is_wide_enough_to_read(written):
    picture = Image.open(io.BytesIO(written[1].read_bytes()))
    assert picture.format == "PNG" and picture.size[0] == 1600 and picture.size[1] > 1000


def test_the_seed_chooses_the_examples():
    one, same, other = ([item["id"] for item in gallery.choose_examples(SPECS["tiny"], "train", 3, seed)["linear"]]
                        for seed in (0, 0, 1))
    assert one == same != other and len(set(one)) == 3


def test_a_split_without_a_clip_of_each_family_is_refused():
    few = dataclasses.replace(SPECS["tiny"], splits=(("train", 3),))
    with pytest.raises(ValueError, match="fewer clips than there are families"):
        gallery.choose_examples(few, "train", 1, seed=0)


@pytest.mark.parametrize("rig", [("stereo", 2), ("ring", 4), ("moving", 1)])
def test_every_rig_can_be_drawn(rig):
    spec = dataclasses.replace(SPECS["tiny"], families=("helical",), rig=rig[0], num_cameras=rig[1])
    shown = gallery.choose_examples(spec, "train", 1, seed=0)
    assert np.asarray(Image.open(io.BytesIO(gallery.poster(spec, shown["helical"])))).std() > 5
    assert spec.rig in ("stereo", "moving") or "4 cameras in a ring" in gallery.summary(spec)


def test_numbers_of_an_equation_are_shortened_for_the_picture():
    assert gallery.short("x = -0.803194 + 3.498595*t**2") == "x = -0.803 + 3.5*t**2"
