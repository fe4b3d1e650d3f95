"""The documentation is in step with the code."""

from pathlib import Path

import pytest

from videogvt.world.tables import TABLES, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "world.md"


def test_the_page_holds_the_tables_of_today():
    text = PAGE.read_text()
    assert text == with_tables(text), "Run python -m videogvt.world.tables docs/world.md."


@pytest.mark.parametrize("name", TABLES)
def test_a_page_without_a_place_is_an_error(name):
    text = "\n".join(f"<!-- {other} -->\n<!-- end -->" for other in TABLES if other != name)
    with pytest.raises(ValueError, match=f"no place for the table '{name}'"):
        with_tables(text)
