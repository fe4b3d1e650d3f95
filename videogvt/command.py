"""The command line of a config: the file, its variant, and every legal key as a flag, ``--config.train.steps=100``.

A key that the file does not have is set too, where the schema knows it. What a text stands for follows from the key's
type, so that ``--config.evals.limit=None``, ``--config.tokenizer.encoder_blocks=2`` and ``=2,0,0`` are read as meant.
"""

import ast
import importlib.util
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from videogvt.core.keys import Key, Section, read_value, words
from videogvt.core.registry import refuse_earlier_key, unknown_name
from videogvt.jobs.schema import schema_of

ASSIGNMENT = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)


class Assignment(NamedTuple):
    """A key and the text that it is given on the command line."""

    path: str
    text: str


def split(arguments: Sequence[str]) -> tuple[list[Assignment], list[str]]:
    """The assignments among arguments, in order, and all other arguments.

    ``--config.KEY=VALUE`` and ``--config.KEY VALUE`` assign a value, ``--config.KEY`` and ``--noconfig.KEY`` say yes
    and no.
    """
    found, others, left = [], [], list(arguments)
    while left:
        one = left.pop(0)
        match = ASSIGNMENT.fullmatch(one)
        if match is None:
            others.append(one)
            continue
        no, path, text = match.groups()
        if text is None:
            text = "False" if no else left.pop(0) if left and not left[0].startswith("-") else "True"
        found.append(Assignment(path, text))
    return found, others


def load_config(argument: str) -> ConfigDict:
    """The config of a file, with a variant after a colon: ``configs/vqvae_traj.py:B``.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it makes no config; the message says where it fails.
    """
    name, colon, variant = argument.partition(":")
    path = pathlib.Path(name)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else pathlib.Path("configs")
        there = ", ".join(str(one) for one in sorted(folder.glob("*.py"))) or "none"
        raise FileNotFoundError(f"There is no config file {name!r}; in {folder} there are: {there}.")
    spec = importlib.util.spec_from_file_location("config_of_the_command_line", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{name} is no Python file; a config is one, with a function get_config.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(*([variant] if colon else []))
    except Exception as error:  # the file is the user's, and so is whatever it does
        raise ValueError(_where(error, path)) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config of {name} made {type(config).__name__}; expected an ml_collections.ConfigDict.")
    return config


def _where(error: Exception, path: pathlib.Path) -> str:
    """What an error in a config file says, with the file's line unless the file itself raised a sentence."""
    if isinstance(error, ValueError) and str(error).startswith(("configs/", "The variant ")):
        return str(error)
    trace, line = error.__traceback__, getattr(error, "lineno", None)
    while trace is not None:
        if os.path.abspath(trace.tb_frame.f_code.co_filename) == os.path.abspath(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}, line {line}: {type(error).__name__}: {error}"


def override(config: ConfigDict, assignments: Sequence[tuple[str, str]]) -> ConfigDict:
    """The config with further values, in order; it is changed.

    Raises:
      ValueError: a key is unknown, or a text is no value of its type.
    """
    for path, text in assignments:
        refuse_earlier_key(path)
        key, names = schema_of(config.to_dict()), path.split(".")
        for place, name in enumerate(names):
            above = ".".join(("config", *names[:place]))
            if not isinstance(key, Section):
                raise ValueError(f"--config.{path}: {above} is one value, {words(key.kind)}; it has no keys.")
            if name not in key.keys:
                raise ValueError(unknown_name(f"key of {above}", name, key.keys))
            key = key.keys[name]
        _set(config, names, _value(key, path, text))
    return config


def _value(key: Key | Section, path: str, text: str) -> Any:
    if isinstance(key, Key):
        try:
            return read_value(key.kind, text)
        except ValueError:
            raise ValueError(f"--config.{path} is {text!r}; expected {words(key.kind)}.") from None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(value, Mapping):
        return ConfigDict(value)
    if value is None and key.optional:
        return None
    raise ValueError(f"--config.{path} is {text!r}; it is a section with the keys {', '.join(key.keys)}. Give one of "
                     f"them, as --config.{path}.KEY=VALUE, or all as a dict.")


def _set(config: ConfigDict, names: Sequence[str], value: Any) -> None:
    *sections, last = names
    for name in sections:
        if name not in config or config[name] is None:
            _put(config, name, ConfigDict())
        config = config[name]
    _put(config, last, value)


def _put(config: ConfigDict, name: str, value: Any) -> None:
    with config.unlocked(), config.ignore_type():
        config[name] = value


def describe_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """A line for every legal key of a config, with its type, default, value and meaning.

    Args:
      config: plain values.
    """
    yield from _described(schema_of(config), config, "config")


def _described(section: Section, values: Any, path: str) -> Iterator[str]:
    for name, key in section.keys.items():
        there = isinstance(values, Mapping) and name in values
        if isinstance(key, Section):
            yield from _described(key, values[name] if there else {}, f"{path}.{name}")
            continue
        default = "required" if key.required else f"default {_shown(key.default)}"
        facts = [words(key.kind), *([str(key.limits)] if key.limits else []), default]
        yield f"--{path}.{name}={_shown(values[name]) if there else ''}"
        yield f"      {'; '.join(facts)}.{' ' + key.doc if key.doc else ''}"


def _shown(value: Any) -> str:
    """A value as the command line takes it."""
    return value.__name__ if isinstance(value, type) else str(value)
