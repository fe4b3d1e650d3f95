"""Schemas of sections: read off the objects that they configure, checked at every depth, and read from texts."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from videogvt.core.keys import REQUIRED, Key, Limits, Section, check, documentation, fits, keys_of, read_value, words


@dataclasses.dataclass
class Base:
    """A base.

    Attributes:
      width, height: in
        pixels.
    """

    width: int = 4
    height: int = 4


@dataclasses.dataclass
class Thing(Base):
    """A thing.

    Attributes:
      rate: how fast.
      kind: "a" or "b": of what kind.

    Raises:
      ValueError: never.
    """

    rate: float = 1.0
    kind: Literal["a", "b"] = "a"
    hidden: int = 0


def test_keys_are_the_fields_with_types_defaults_and_words():
    found = keys_of(Thing, "hidden")
    assert list(found) == ["width", "height", "rate", "kind"]
    assert found["rate"] == Key(float, 1.0, "how fast.")
    assert found["height"].doc == found["width"].doc == "in pixels."
    assert found["kind"].doc == '"a" or "b": of what kind.' and "ValueError" not in documentation(Thing)

    def function(needed, dtype: Any = None, **others):
        """One line."""

    keys = keys_of(function)
    assert list(keys) == ["needed", "dtype"] and keys["needed"].required and keys["needed"].default is REQUIRED
    assert fits(keys["dtype"].kind, "bfloat16") and not fits(keys["dtype"].kind, "float31")


@pytest.mark.parametrize("kind, legal, illegal", [
    (int, [1, -3], [True, 1.0, "1", None]), (float, [1, 0.5], [True, "0.5", None]), (bool, [True], [1, "True"]),
    (str, ["a"], [1, None]), (int | None, [None, 2], [2.5, "None"]), (Literal["a", 1], ["a", 1], ["b", True]),
    (Sequence[int], [(1, 2), [3], ()], [1, (1.5,), "12"]), (tuple[int, int], [(1, 2)], [(1,), (1, 2, 3)]),
    (tuple[str, ...], [("a",), ()], [(1,)]), (Mapping[str, float], [{"a": 1}], [{"a": "b"}, 3]),
    (int | Sequence[int], [2, (2, 0)], [("a",)]), (os.PathLike, ["a", os.curdir], [3]), (Any, [None, 1], []),
])
def test_what_fits_a_type(kind, legal, illegal):
    assert all(fits(kind, value) for value in legal) and not any(fits(kind, value) for value in illegal)
    assert words(kind)


@pytest.mark.parametrize("kind, text, value", [
    (int, "8", 8), (float, "8", 8.0), (float, "1e-3", 1e-3), (bool, "true", True), (bool, "False", False),
    (str, "8", "8"), (str | None, "None", None), (str | None, "none.txt", "none.txt"), (int | None, "none", None),
    (int | str, "best", "best"), (int | str, "300", 300), (Literal["a", 1], "1", 1),
    (Sequence[float], "0.3,1,3", (0.3, 1.0, 3.0)), (Sequence[int], "(8,5,5)", (8, 5, 5)), (Sequence[int], "8", (8,)),
    (tuple[str, ...], "CG,FP:8", ("CG", "FP:8")), (tuple[str, ...], "('CG',)", ("CG",)), (Sequence[str], "()", ()),
    (int | Sequence[int], "2", 2), (int | Sequence[int], "2,0,0", (2, 0, 0)),
    (Mapping[str, float] | None, "{'a': 0.5}", {"a": 0.5}), (Any, "x y", "x y"), (os.PathLike, "a/b", "a/b"),
])
def test_what_a_text_stands_for(kind, text, value):
    found = read_value(kind, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("kind, text", [
    (int, "8.5"), (int, "eight"), (float, "fast"), (bool, "1"), (Literal["a"], "b"), (Sequence[int], "a,b"),
    (tuple[int, int], "1,2,3"), (int | None, "best"),
])
def test_texts_that_stand_for_nothing(kind, text):
    with pytest.raises(ValueError, match="is not"):
        read_value(kind, text)


SCHEMA = Section({
    "name": Key(str), "part": Section({"rate": Key(float, 1.0, limits=Limits(0, 1, above=True)),
                                       "kind": Key(Literal["fast", "slow"], "fast")}, required=False),
    "off": Section({"needed": Key(int)}, optional=True),
})


def test_every_key_is_known_or_refused():
    check(SCHEMA, {"name": "a", "off": {}})
    check(SCHEMA, {"name": "a", "off": None, "part": {"rate": 1}})
    for values, expected in (
        ({"name": "a", "off": {}, "parts": {}}, "Unknown key of config 'parts'. Did you mean 'part'"),
        ({"name": "a", "off": {}, "part": {"rat": 1}}, "Unknown key of config.part 'rat'. Did you mean 'rate'"),
        ({"off": {}}, "The config has no key 'name'; it needs name, off"),
        ({"name": "a"}, "The config has no section 'off'"),
        ({"name": "a", "off": {"neded": 1}}, "Unknown key of config.off 'neded'"),
        ({"name": "a", "off": 3}, "config.off is 3; expected a section with the keys needed"),
        ({"name": "a", "off": {}, "part": {"rate": "1"}}, "config.part.rate is '1'; expected a number"),
        ({"name": "a", "off": {}, "part": {"rate": 0}}, "config.part.rate is 0; expected more than 0 and at most 1"),
        ({"name": "a", "off": {}, "part": {"rate": float("nan")}}, "rate is nan; expected finite"),
        ({"name": "a", "off": {}, "part": {"kind": "fas"}}, "value of config.part.kind 'fas'. Did you mean 'fast'"),
    ):
        with pytest.raises(ValueError) as refused:
            check(SCHEMA, values)
        assert expected in str(refused.value)
