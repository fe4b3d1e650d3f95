"""Registries for the open sets (families, sources, quantizers, tasks), and messages for unknown names; sections of a
config as keywords of the objects they configure: an object's fields are the section's schema.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

Entry = TypeVar("Entry")


def unknown_name(kind: str, name: Any, legal: Iterable[str]) -> str:
    """A message for a name that is not among the legal ones, with the nearest legal one first."""
    legal = sorted(legal)
    near = difflib.get_close_matches(str(name), legal, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Unknown {kind} {name!r}.{hint} Legal {kind} names: {', '.join(legal)}."


class Registry(Mapping[str, Any]):
    """An append-only mapping from names to entries; an unknown name is a ``KeyError`` that lists the legal ones.

    Args:
      kind: what an entry is, in the singular, for messages ("family").
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that enters a class or function under ``name``; a second entry of that name is an error."""

        def enter(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(f"The {self.kind} {name!r} is registered twice; give one of them another name.")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise KeyError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def check_keys(section: str, fields: Iterable[str], legal: Iterable[str]) -> None:
    """Raises a ``ValueError`` that names the nearest legal key if one of the fields is not among the legal ones."""
    for name in fields:
        if name not in legal:
            raise ValueError(unknown_name(f"key of config.{section}", name, legal))


def configure(kind: Callable, section: str, fields: Mapping[str, Any], **given: Any) -> Any:
    """``kind(**fields, **given)``.

    Args:
      kind: a class, of Flax modules as well, or a function.
      section: dotted name of the fields' section, for messages.
      fields: what the config says.
      given: what it must not say, because something else decides it.

    Raises:
      ValueError: a field is unknown, given elsewhere or missing.
    """
    parameters = {name: parameter for name, parameter in inspect.signature(kind).parameters.items()
                  if name not in ("self", "parent", "name", *given)}
    check_keys(section, fields, parameters)
    missing = [name for name, parameter in parameters.items()
               if parameter.default is parameter.empty and name not in fields]
    if missing:
        raise ValueError(f"config.{section} has no {missing[0]!r}; it needs {', '.join(missing)}.")
    return kind(**fields, **given)
