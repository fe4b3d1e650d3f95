"""A page is one file that loads nothing, escapes what it is given and stays small enough to mail."""

import numpy as np
import pytest

from videogvt.report import page
from videogvt.report.images import png


def test_text_is_escaped():
    table = page.html_table(["<i>"], [["</td>"]])
    html = page.document("<b>", page.paragraph("1 < 2 & 3"), table, page.code("<script>"))
    assert "<script>" not in html and "<b>" not in html and "<i>" not in html
    assert "1 &lt; 2 &amp; 3" in html and "&lt;/td&gt;" in html


def test_pictures_are_embedded():
    html = page.html_picture(png(np.zeros((2, 2, 3), np.uint8)), "black", "a caption")
    assert html.startswith('<figure><img src="data:image/png;base64,') and "<figcaption>a caption" in html


def test_unknown_pictures_are_refused():
    with pytest.raises(ValueError, match="PNG, WebP and GIF can be shown"):
        page.html_picture(b"BM..", "a bitmap")


def test_a_column_that_matters_stands_out():
    html = page.html_table(["a", "b"], [["x", 1], ["y", 2]], strong=1)
    assert html.count('<td class="strong">') == 2 and '<td class="strong">2</td>' in html and "<td>x</td>" in html


def test_a_page_too_large_is_refused_and_not_written(tmp_path):
    with pytest.raises(ValueError, match="more than 10 MB. Show fewer clips"):
        page.write_page(tmp_path / "page.html", "x" * (page.MAX_BYTES + 1))
    assert not list(tmp_path.iterdir())


def test_folders_are_made(tmp_path):
    assert page.write_page(tmp_path / "a" / "page.html", "ü").read_text(encoding="utf-8") == "ü"
