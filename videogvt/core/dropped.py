"""What the package had and dropped: who asks for it is told the last version with it, and what takes its place.

Codes of whole motions were a model of motion built by hand, not a learned one; docs/record.md has what they came to.
"""

from collections.abc import Mapping
from typing import Any

LAST = "which videogvt dropped after commit 6d2a26d"
BY_HAND = (f"a model of motion built by hand, {LAST}; train configs/vqvae_traj.py and configs/maskgvt_traj.py instead, "
           "whose codes are local64_8x4x4's and which ship as maskgvt64_8x4x4")
NAMES = ("motion64", "maskgvt64")
"""Of a tokenizer and a generator that shipped."""


def check_name(source: Any) -> None:
    """An error for the name of what ships no more; to be asked where there is no directory of that name."""
    if str(source) in NAMES:
        raise ValueError(f"{source} is of {BY_HAND}.")


def check_config(config: Any, holder: Any) -> None:
    """An error where a config needs what was dropped; what else is wrong with it is not looked at.

    Args:
      config: of a run or an exported folder, plain values, or sections of one.
      holder: what it is the config of, for the message.
    """
    tokenizer = _part(config, "tokenizer")
    check_name(_part(config, "generator").get("tokenizer"))  # that an exported generator goes with
    if tokenizer.get("spectrum"):
        raise ValueError(f"{holder} uses tokenizer.spectrum, {BY_HAND}.")
    for key, value in (("tokenizer.quantizer.bound", _part(tokenizer, "quantizer").get("bound")),
                       ("tasks.rule", _part(config, "tasks").get("rule"))):
        if value == "clip":
            raise ValueError(f"{holder} uses {key} = 'clip' of {BY_HAND}.")
    if tokenizer.get("keep_conditions"):
        raise ValueError(f"{holder} uses tokenizer.keep_conditions, {LAST}; remove the key: codes of conditions are "
                         "now made while training.")


def _part(config: Any, name: str) -> Mapping[str, Any]:
    """A section; {} where there is none."""
    found = config.get(name) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}
