"""Keys of a config: what is legal, of which type, in which limits, what it means, and what a command line says.

A section's schema is read off the object that the section configures: its fields or arguments, their annotations,
defaults and documentation.
"""

import ast
import dataclasses
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union

from videogvt.core.registry import unknown_name

REQUIRED = inspect.Parameter.empty
"""The default of a key that has none."""

_DTYPES = Literal["float32", "bfloat16", "float16"]
"""Values of the keys ``dtype`` and ``param_dtype``."""

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Which numbers are legal: from ``minimum`` to ``maximum``, None for no limit, without an end that is ``open``."""

    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    below: bool = False

    def hold(self, number: float) -> bool:
        """Whether a number is legal."""
        low = self.minimum is None or (number > self.minimum if self.above else number >= self.minimum)
        return low and (self.maximum is None or (number < self.maximum if self.below else number <= self.maximum))

    def __str__(self) -> str:
        words = []
        if self.minimum is not None:
            words.append(f"{'more than' if self.above else 'at least'} {self.minimum:,}")
        if self.maximum is not None:
            words.append(f"{'less than' if self.below else 'at most'} {self.maximum:,}")
        return " and ".join(words)


@dataclasses.dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
      kind: annotation of its values.
      default: ``REQUIRED`` for none.
      doc: what it means.
      limits: of its numbers; None for none.
    """

    kind: Any
    default: Any = REQUIRED
    doc: str = ""
    limits: Limits | None = None

    @property
    def required(self) -> bool:
        """Whether a config must have it."""
        return self.default is REQUIRED


@dataclasses.dataclass(frozen=True)
class Section:
    """Keys that stand together.

    Attributes:
      keys: by name, sections among them.
      required: whether it must be there.
      optional: whether it may be empty, or None, which turns off what it describes.
    """

    keys: Mapping[str, "Key | Section"]
    required: bool = True
    optional: bool = False


def keys_of(kind: Callable, *without: str, only: Sequence[str] = ()) -> dict[str, Key]:
    """The keys that a class or function takes, by name.

    Args:
      kind: what a section configures.
      without: names that no config says.
      only: the names that are wanted, if not all.
    """
    docs, found = documentation(kind), {}
    whole = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in ("self", "parent", "name", *without) or (only and name not in only):
            continue
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            hint = _DTYPES if name in ("dtype", "param_dtype") else parameter.annotation
            found[name] = Key(hint, parameter.default, " ".join(docs.get(name, whole).split()))
    return found


def documentation(kind: Callable) -> dict[str, str]:
    """What the docstrings of a class, its bases or a function say of each attribute or argument."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(kind)) if inspect.isclass(kind) else (kind,):
        text = inspect.cleandoc(one.__dict__.get("__doc__", "") or "") if inspect.isclass(one) else inspect.getdoc(one)
        block = re.search(r"^(?:Attributes|Args):\n((?:(?:[ ]+.*)?\n?)*)", text or "", re.MULTILINE)
        for entry in re.split(r"\n(?=  \S)", "\n" + block.group(1)) if block else ():
            names, colon, said = entry.strip().partition(":")
            if colon:
                found |= dict.fromkeys(re.split(r",\s*", names), " ".join(said.split()))
    return found


def check(section: Section, values: Values, path: str = "config") -> None:
    """Looks at every key, at every depth.

    Raises:
      ValueError: a key is unknown or missing, or its value is of another type or out of its limits; the message names
        the key, what was found and what was expected.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} is {values!r}; expected a section with the keys {', '.join(section.keys)}.")
    for name in values:
        if name not in section.keys:
            raise ValueError(unknown_name(f"key of {path}", name, section.keys))
    for name, key in section.keys.items():
        if name not in values:
            if key.required:
                wanted = [other for other, one in section.keys.items() if one.required]
                what = "section" if isinstance(key, Section) else "key"
                raise ValueError(f"{_place(path)} has no {what} {name!r}; it needs {', '.join(wanted)}.")
        elif isinstance(key, Key):
            _check_value(key, values[name], f"{path}.{name}")
        elif not (key.optional and not values[name] and isinstance(values[name], Mapping | None)):
            check(key, values[name], f"{path}.{name}")


def _place(path: str) -> str:
    return "The config" if path == "config" else path


def _check_value(key: Key, value: Any, path: str) -> None:
    if not fits(key.kind, value):
        names = _names(key.kind)
        if names and isinstance(value, str):
            raise ValueError(unknown_name(f"value of {path}", value, names))
        raise ValueError(f"{path} is {value!r}; expected {words(key.kind)}.")
    for number in _numbers(value):
        if not math.isfinite(number):
            raise ValueError(f"{path} is {value!r}; expected finite numbers.")
        if key.limits is not None and not key.limits.hold(number):
            raise ValueError(f"{path} is {value!r}; expected {key.limits}.")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else, itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)


def _names(kind: Any) -> list[str]:
    """The names that are legal where nothing but names is."""
    parts = [part for part in _parts(kind) if part is not type(None)]
    literal = parts and all(typing.get_origin(part) is Literal for part in parts)
    return [str(name) for part in parts for name in typing.get_args(part)] if literal else []


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of an annotation's type; whole numbers are floats too, and lists are tuples."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(part, value) for part in inner)
    if origin is Literal:
        return any(value == name and type(value) is type(name) for name in inner)
    if kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is os.PathLike:
        return isinstance(value, str | os.PathLike)
    if _is_sequence(kind):
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and inner and inner[-1] is not ...:
            return len(value) == len(inner) and all(map(fits, inner, value))
        return all(fits(inner[0], one) for one in value) if inner else True
    if _is_mapping(kind):
        return isinstance(value, Mapping) and (not inner or all(fits(inner[1], one) for one in value.values()))
    return isinstance(value, kind)


def _is_sequence(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return inspect.isclass(origin) and origin is not str and issubclass(origin, Sequence)


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return inspect.isclass(origin) and issubclass(origin, Mapping)


PLAIN = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None",
         os.PathLike: "a path", Any: "anything"}


def words(kind: Any) -> str:
    """An annotation in words."""
    parts, inner = _parts(kind), typing.get_args(kind)
    if len(parts) > 1:
        return " or ".join(dict.fromkeys(words(part) for part in parts))
    if typing.get_origin(kind) is Literal:
        return " or ".join(repr(name) for name in inner)
    if _is_sequence(kind):
        if typing.get_origin(kind) is tuple and inner and inner[-1] is not ...:
            return f"({', '.join(words(one) for one in inner)})"
        return f"a list, each {words(inner[0])}" if inner else "a list"
    return "a section of keys" if _is_mapping(kind) else PLAIN.get(kind, getattr(kind, "__name__", str(kind)))


def read_value(kind: Any, text: str) -> Any:
    """The value that a text on the command line stands for.

    Raises:
      ValueError: it stands for none of that type.
    """
    for part in sorted(_parts(kind), key=lambda part: part is str or part is os.PathLike):  # what every text is, last
        try:
            value = _read_one(part, text)
        except (ValueError, SyntaxError):
            continue
        if fits(part, value):
            return value
    raise ValueError(f"{text!r} is not {words(kind)}")


def _read_one(kind: Any, text: str) -> Any:
    if kind is float:
        return float(text)
    if kind in (str, os.PathLike):
        return text
    if typing.get_origin(kind) is Literal:
        return next((name for name in typing.get_args(kind) if str(name) == text), text)
    if kind is bool or kind is type(None):
        text = text.capitalize()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if kind is Any:
            return text
        if not _is_sequence(kind):
            raise
        value = tuple(part.strip() for part in text.strip("()[]").split(","))
    if not _is_sequence(kind):
        return value
    value = tuple(value) if isinstance(value, list | tuple) else (value,)
    inner = typing.get_args(kind)
    return tuple(map(float, value)) if inner and inner[0] is float and fits(kind, value) else value
