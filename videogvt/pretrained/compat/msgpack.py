"""Trees of arrays from msgpack files as Flax writes them (``flax.serialization``), when nobody vouches for the file.

Flax stores a nested dict with text keys. An array is an extension of type 1 whose bytes are msgpack again: shape, name
of the dtype, raw bytes. A NumPy scalar is the same as type 3, and an array beyond 2^30 bytes a dict of pieces. Flax's
own reader believes all that a file says; this one runs nothing, allocates no more than a multiple of the file's size,
and takes names and numbers alone.
"""

import math
import mmap
import os
import pathlib
from typing import Any

import jax.numpy as jnp
import msgpack
import numpy as np

from videogvt.core.arrays import Damaged

ARRAY, SCALAR = 1, 3
ENTRIES = 100_000
"""The most names in a file; MAGVIT's largest training state has about 4,000."""

DEPTH = 64
_AXES = 8
HEADER = 4096
"""Bytes of an array beside its numbers."""

_DTYPES = {name: np.dtype(name) for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")}
_DTYPES |= {name: np.dtype(jnp.bfloat16) for name in ("bfloat16", "V2")}
CHUNKED = "__msgpack_chunked_array__"


def read_msgpack(path: os.PathLike) -> dict[str, Any]:
    """The tree of a file: dicts by text, with arrays, numbers and None as leaves.

    Raises:
      Damaged: it is no such file, it is cut off, or it holds something else.
    """
    path = pathlib.Path(path)
    if not path.stat().st_size:
        raise Damaged("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader()
        try:
            tree = msgpack.unpackb(
                data, ext_hook=reader.extension, object_pairs_hook=reader.mapping, raw=False, strict_map_key=True,
                max_array_len=_AXES, max_map_len=ENTRIES, max_str_len=HEADER, max_bin_len=HEADER)
        except Damaged:
            raise
        except Exception as error:  # of msgpack, NumPy, UTF-8; a file of the user's is the cause of all
            raise Damaged(_reason(error)) from error
    if not isinstance(tree, dict):
        raise Damaged(f"it holds {type(tree).__name__}, and not a tree of named arrays")
    return _whole(tree)


class _Reader:
    """The hooks of one file, which count what they have met."""

    def __init__(self):
        self.entries = 0

    def mapping(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self.entries += len(pairs)
        if self.entries > ENTRIES:
            raise Damaged(f"it holds more than {ENTRIES:,} names")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Damaged("it holds a name twice")
        for name, value in pairs:
            if not isinstance(name, str) or "/" in name or not name.isprintable():
                raise Damaged(f"it holds the name {name!r}; names are printable texts without '/'")
            if not isinstance(value, dict | np.ndarray | int | float | str | None):
                raise Damaged(f"{name!r} in it is a {type(value).__name__}; expected an array")
        return found

    def extension(self, code: int, data: bytes) -> np.ndarray:
        if code not in (ARRAY, SCALAR):
            raise Damaged(f"it holds an extension of type {code}; arrays are {ARRAY} and {SCALAR}")
        found = msgpack.unpackb(data, raw=False, max_array_len=_AXES, max_map_len=0, max_ext_len=0, max_str_len=HEADER)
        if not isinstance(found, list) or len(found) != 3:
            raise Damaged("it holds an array that is not described by its shape, dtype and bytes")
        shape, name, raw = found
        if not isinstance(name, str) or name not in _DTYPES:
            raise Damaged(f"it holds an array of {name!r}; numbers are {', '.join(_DTYPES)}")
        if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
            raise Damaged(f"it holds an array of shape {shape!r}")
        claimed = math.prod(shape) * _DTYPES[name].itemsize
        if not isinstance(raw, bytes) or claimed != len(raw):
            there = len(raw) if isinstance(raw, bytes) else 0
            raise Damaged(f"an array in it claims the shape {tuple(shape)} of {name}, {claimed:,} bytes; {there:,} are "
                          "there")
        return np.frombuffer(raw, _DTYPES[name]).reshape(shape)


def _whole(tree: Any, depth: int = 0) -> Any:
    """The tree with the arrays that were stored in pieces as one."""
    if not isinstance(tree, dict):
        return tree
    if depth > DEPTH:
        raise Damaged(f"its names are nested more than {DEPTH} deep")
    if CHUNKED in tree:
        return _joined(tree)
    return {name: _whole(value, depth + 1) for name, value in tree.items()}


def _joined(tree: dict[str, Any]) -> np.ndarray:
    shape, chunks = (tree.get(name) for name in ("shape", "chunks"))
    if not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise Damaged("it holds an array in pieces without its shape")
    sides, parts = ([piece[str(place)] for place in range(len(piece)) if str(place) in piece]
                    for piece in (shape, chunks))
    numbers = len(sides) <= _AXES and all(type(side) is int and side >= 0 for side in sides)
    if not parts or not numbers or not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts):
        raise Damaged("it holds an array in pieces that are no arrays")
    if len({part.dtype for part in parts}) > 1 or sum(len(part) for part in parts) != math.prod(sides):
        raise Damaged(f"an array in pieces claims the shape {tuple(sides)}; {sum(map(len, parts)):,} numbers are there")
    return np.concatenate(parts).reshape(sides)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
