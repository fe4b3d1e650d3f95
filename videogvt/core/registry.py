"""Names and keys: registries for the open sets (families, sources, quantizers, tasks), messages for unknown names.

Besides, sections of a config as keywords of the objects they configure, and what was dropped or has another name now.

An object's fields are its section's schema. What a run or an exported folder stored under an earlier name of a key or a
figure is read under the present one; who gives an earlier name is told the present one. Who asks for what the package
had and dropped is told the last version with it, and what takes its place: codes of whole motions were a model of
motion built by hand, not a learned one; docs/record.md has what they came to.
"""

import difflib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

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


RENAMED_KEYS = {
    "rows": "methods",
    "study.stress": "study.corrupted_clips",
    "methods.*.track_model.least_samples": "methods.*.track_model.min_samples",
    "init_from.words": "init_from.token_embeddings",
    "methods.*.init_from.words": "methods.*.init_from.token_embeddings",
}
"""Earlier and present names of keys of configs, one after the other; "*" is any name."""


def present_key(key: str) -> str | None:
    """The present name of a key, dotted, that had this one; None where it was not renamed."""
    names = key.split(".")
    for earlier, present in RENAMED_KEYS.items():
        old, new = earlier.split("."), present.split(".")
        if len(old) <= len(names) and all(one in ("*", name) for one, name in zip(old, names)):
            names[: len(old)] = [name if one == "*" else one for one, name in zip(new, names)]
    return None if ".".join(names) == key else ".".join(names)


def refuse_earlier_key(key: str) -> None:
    """An error for the earlier name of a key."""
    if present := present_key(key):
        raise ValueError(f"config.{key} has another name now: config.{present}. Use that one.")


def with_present_keys(config: Any) -> Any:
    """A stored config under the present names of its keys; another object, unless nothing was renamed."""
    for earlier, present in RENAMED_KEYS.items():
        config = _moved(config, earlier.split("."), present.split("."))
    return config


def _moved(config: Any, old: list[str], new: list[str]) -> Any:
    if not isinstance(config, Mapping):
        return config
    if old[0] == "*":
        return {name: _moved(value, old[1:], new[1:]) for name, value in config.items()}
    if old[0] not in config:
        return config
    inner = _moved(config[old[0]], old[1:], new[1:]) if len(old) > 1 else config[old[0]]
    return {name: value for name, value in config.items() if name != old[0]} | {new[0]: inner}


class Readable(Protocol):
    """A path, of ``pathlib`` or ``etils.epath``."""

    def read_text(self) -> str: ...


def stored_config(path: Readable) -> Any:
    """The ``config.json`` of a run, under the present names of its keys."""
    return with_present_keys(json.loads(path.read_text()))


RENAMED_FIGURES = {
    "tasks_beating_trivial": "tasks_beating_baselines", "error_vs_trivial": "error_vs_baseline",
    "rivals_beaten": "baselines_beaten", "oracle_agreement_least": "oracle_agreement_min",
    "spread_vs_real_least": "spread_vs_real_min", "named_right": "correct", "judged_right": "judged_correct",
}
"""Earlier and present names of figures, with which ranges (``..._low``, ``..._high``) go, and of columns of tables."""


def present_figure(name: str) -> str:
    """The present name of a figure, full or not; the same where it was not renamed."""
    row, slash, figure = name.rpartition("/")
    ending = next((ending for ending in ("_low", "_high") if figure.endswith(ending)), "")
    figure = figure.removesuffix(ending)
    return f"{row}{slash}{RENAMED_FIGURES.get(figure, figure)}{ending}"


def present_figures(values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored figures, or columns of a stored table, under their present names."""
    return {present_figure(name): value for name, value in values.items()}


LAST_WITH = "which videogvt dropped after commit 6d2a26d"
BY_HAND = (f"a model of motion built by hand, {LAST_WITH}; train configs/vqvae_traj.py and configs/maskgvt_traj.py "
           "instead, whose codes are local64_8x4x4's and which ship as maskgvt64_8x4x4")
DROPPED = ("motion64", "maskgvt64")
"""Of a tokenizer and a generator that shipped."""


def refuse_dropped(source: Any) -> None:
    """An error for the name of what ships no more; to be asked where there is no directory of that name."""
    if str(source) in DROPPED:
        raise ValueError(f"{source} is of {BY_HAND}.")


def refuse_dropped_config(config: Any, holder: Any) -> None:
    """An error where a config needs what was dropped; what else is wrong with it is not looked at.

    Args:
      config: of a run or an exported folder, plain values, or sections of one.
      holder: what it is the config of, for the message.
    """
    tokenizer = _part(config, "tokenizer")
    refuse_dropped(_part(config, "generator").get("tokenizer"))  # that an exported generator goes with
    if tokenizer.get("spectrum"):
        raise ValueError(f"{holder} uses tokenizer.spectrum, {BY_HAND}.")
    for key, value in (("tokenizer.quantizer.bound", _part(tokenizer, "quantizer").get("bound")),
                       ("tasks.rule", _part(config, "tasks").get("rule"))):
        if value == "clip":
            raise ValueError(f"{holder} uses {key} = 'clip' of {BY_HAND}.")
    if tokenizer.get("keep_conditions"):
        raise ValueError(f"{holder} uses tokenizer.keep_conditions, {LAST_WITH}; remove the key: codes of conditions "
                         "are now made while training.")


def _part(config: Any, name: str) -> Mapping[str, Any]:
    """A section; {} where there is none."""
    found = config.get(name) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}
