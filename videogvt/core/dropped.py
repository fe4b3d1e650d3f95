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


def check_config(config: Mapping[str, Any], holder: Any) -> None:
    """An error where a config needs what was dropped.

    Args:
      config: plain values, or sections of it, as in the ``config.json`` of a run or of an exported folder.
      holder: what it is the config of, for the message.
    """
    tokenizer, tasks = (config.get(name) or {} for name in ("tokenizer", "tasks"))
    if tokenizer.get("spectrum"):
        raise ValueError(f"{holder} uses tokenizer.spectrum, {BY_HAND}.")
    for key, value in (("tokenizer.quantizer.bound", (tokenizer.get("quantizer") or {}).get("bound")),
                       ("tasks.rule", tasks.get("rule"))):
        if value == "clip":
            raise ValueError(f"{holder} uses {key} = 'clip' of {BY_HAND}.")
    if tokenizer.get("keep_conditions"):
        raise ValueError(f"{holder} uses tokenizer.keep_conditions, {LAST}; remove the key: codes of conditions are "
                         "now made while training.")
