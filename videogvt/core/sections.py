"""Sections of a config as keywords of the objects they configure: an object's fields are the section's schema."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from videogvt.core.registry import unknown_name


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
