"""Bundles: a trained network as a folder of a few files that needs neither a checkpoint library nor a data set.

    weights.npz   the parameters, by path ("encoder/Conv_0/kernel"), float32, or float16 of a generator
    golden.npz    of a tokenizer two clips, their codes and what they decode to, to check an installation by; of a
                  generator a clip of every class and its codes
    config.json   what it is (see below), the config of the run, and the SHA-256 of both files above
    card.md       what it is, how it was trained, how well it does

A tokenizer's config has its fields under "tokenizer" and its "hash"; a generator's has "generator": the name of the
shipped tokenizer it goes with and the hash of that one's parameters, and size and classes of its clips.
"""

import hashlib
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from videogvt.core.arrays import Damaged, read_npz
from videogvt.core.registry import refuse_dropped_config, with_present_keys

HOME = pathlib.Path(__file__).parent
WEIGHTS, GOLDEN, CONFIG, CARD = "weights.npz", "golden.npz", "config.json", "card.md"
_REMEDY = "Install the package anew, or export the network again."
GENERATOR = "maskgvt64_8x4x4"
"""The generator that ships and is asked where nobody is named."""


class Bundle(NamedTuple):
    """A bundle that was read: ``config`` as in its file, and the parameters as a tree of NumPy arrays."""

    config: dict[str, Any]
    params: dict[str, Any]


def shipped(kind: str = "tokenizer") -> dict[str, pathlib.Path]:
    """The folders of the tokenizers, or generators ("generator"), that come with the package, by name."""
    folders = [path.parent for path in sorted(HOME.glob(f"*/{WEIGHTS}"))]
    return {folder.name: folder for folder in folders if kind in json.loads((folder / CONFIG).read_text())}


def is_bundle(folder: pathlib.Path) -> bool:
    """Whether a folder holds a bundle."""
    return (folder / WEIGHTS).exists() and (folder / CONFIG).exists()


def write_bundle(
    folder: pathlib.Path, config: Mapping[str, Any], params: Mapping[str, Any], golden: Mapping[str, np.ndarray],
    card: str,
) -> None:
    """Writes the files of a bundle into an existing folder, parameters as they are given; SHA-256 sums are added to the
    config."""
    leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}
    files = {WEIGHTS: _npz(leaves), GOLDEN: _npz(golden)}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / CONFIG).write_text(json.dumps({**config, "sha256": sums}, indent=2) + "\n")
    (folder / CARD).write_text(card + "".join(f"* `{name}`: SHA-256 `{digest}`\n" for name, digest in sums.items()))


def read_bundle(folder: pathlib.Path) -> Bundle:
    """Reads a bundle.

    Raises:
      ValueError: a file is not the one that was written, or the network is of a kind that was dropped.
    """
    config = _config(folder)
    for part in (config, config.get("run")):
        refuse_dropped_config(part, folder)
    leaves = _read(folder, WEIGHTS, config)
    inner = {path[: end] for path in leaves for end, letter in enumerate(path) if letter == "/"}
    if both := sorted(inner & leaves.keys()):
        raise ValueError(f"{folder / WEIGHTS} is damaged: {both[0]!r} is an array and holds arrays. {_REMEDY}")
    return Bundle(config, unflatten_dict(leaves, sep="/"))


def read_golden(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The golden clips of a bundle: ``video`` uint8 (B,T,H,W,3), ``codes`` int32, and ``decoded`` uint8 from them."""
    return _read(folder, GOLDEN, _config(folder))


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _config(folder: pathlib.Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text())
        if {WEIGHTS, GOLDEN} <= config["sha256"].keys():
            return config | ({"run": with_present_keys(config["run"])} if "run" in config else {})
        why = "it has no SHA-256 sums of both files"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise ValueError(f"{folder / CONFIG} is damaged ({why}). {_REMEDY}")


def _read(folder: pathlib.Path, name: str, config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    data, expected = (folder / name).read_bytes(), config["sha256"][name]
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ValueError(f"{folder / name} is damaged: its SHA-256 is {found}, {CONFIG} says {expected}. {_REMEDY}")
    try:
        return read_npz(io.BytesIO(data))
    except Damaged as error:
        raise ValueError(f"{folder / name} is damaged: {error}. {_REMEDY}") from error
