"""Where networks are read from: a run's directory, an exported folder, a shipped one, or a file that others made."""

import os
import pathlib
from typing import Any

from videogvt.core.registry import refuse_dropped, refuse_dropped_config, stored_config
from videogvt.core.trees import tree_hash
from videogvt.pretrained.bundle import is_bundle, read_bundle, shipped
from videogvt.pretrained.compat import LOADERS, StoredTokenizer, foreign

OTHER_WEIGHTS = f"or a file of others' weights, {' or '.join(f'{scheme}:FILE' for scheme in LOADERS)}"
"""The end of a list of what can be loaded, for messages."""


def stored_tokenizer(source: str | os.PathLike, weights: str, step: int | str) -> StoredTokenizer:
    """Reads a tokenizer; arguments and errors are those of ``VideoTokenizer.load``."""
    if theirs := foreign(source, step):
        return theirs.read("tokenizer", weights)
    folder = pathlib.Path(source).expanduser()
    if not folder.is_dir():
        folder = shipped().get(str(source), folder)
    if is_bundle(folder):
        if (weights, step) != ("ema", "best"):
            raise ValueError(f"{folder} is an exported tokenizer with one set of weights; leave out weights, step.")
        config, params = read_bundle(folder)
        if "tokenizer" not in config:
            raise ValueError(f"{folder} holds a generator; load it with VideoGenerator.load.")
        return StoredTokenizer(config["tokenizer"], params, data=config["run"]["data"])
    if not (folder / "config.json").exists():
        refuse_dropped(source)
        names = ", ".join(shipped()) or "none"
        raise FileNotFoundError(
            f"There is no tokenizer {str(source)!r}: expected the directory of a run (with config.json), an exported "
            f"folder, the name of a shipped tokenizer ({names}), {OTHER_WEIGHTS}. Where a config names the run, the "
            "top of its file says how to train it."
        )
    config = stored_config(folder / "config.json")
    refuse_dropped_config(config, folder)
    from videogvt.pretrained.runs import tokenizer_of_run  # its checkpoints, of which a bundle knows nothing

    return tokenizer_of_run(folder, config, weights, step)


def check_tokenizer(folder: pathlib.Path, expected: str, tokenizer: Any) -> None:
    """An error unless the parameters of a generator's tokenizer have the hash that is expected."""
    found = tree_hash(tokenizer.params)
    if found != expected:
        raise ValueError(
            f"{folder} was trained on a tokenizer whose parameters have the hash {expected}; {tokenizer} has {found}. "
            "Name the one it was trained with: VideoGenerator.load(..., tokenizer=...)."
        )
