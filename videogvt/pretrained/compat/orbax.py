"""Trees of arrays from Orbax checkpoints that others wrote: one folder a step, as Flax has written them since 2023.

Orbax keeps arrays as Zarr, maybe all in one database (OCDBT), and the names in ``_METADATA``; in 2023 they stood in a
msgpack file ``checkpoint``. Nothing of it is code. What headers claim is held against the folder's size before anything
is allocated.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from videogvt.core.arrays import GONE, Damaged
from videogvt.pretrained.compat.msgpack import read_msgpack

_NAMES, AGGREGATE = "_METADATA", "checkpoint"
PACKED, _SLACK = 100, 2**20
"""Weights hardly compress. A folder's arrays are believed to be no larger than so many times its files, and some."""


def is_orbax(folder: pathlib.Path) -> bool:
    """Whether a folder holds one step."""
    return (folder / _NAMES).is_file() or (folder / AGGREGATE).is_file()


def read_orbax(folder: pathlib.Path, choose: Callable[[Mapping[str, Any]], Iterable[str]]) -> dict[str, Any]:
    """Parts of the tree of a folder, with NumPy arrays as leaves.

    Args:
      folder: of one step.
      choose: from the whole tree, whose leaves stand for arrays, to the names at its top that are wanted.

    Raises:
      Damaged: it is no such folder, it is damaged, or claims more than can be there.
    """
    try:
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:  # waits for no other process
            return _read(reader, folder, choose)
    except (Damaged, *GONE):
        raise
    except Exception as error:  # of Orbax, TensorStore, JSON; a file of the user's is the cause of all
        raise Damaged(" ".join(f"{type(error).__name__}: {error}".split())[:300]) from error


def _read(reader: ocp.PyTreeCheckpointHandler, folder: pathlib.Path, choose: Callable) -> dict[str, Any]:
    here = epath.Path(folder.absolute())
    if not (folder / _NAMES).is_file():
        whole = read_msgpack(folder / AGGREGATE)
        _check_size(folder, [_zarr_bytes(path) for path in folder.glob("*/.zarray")])
        tree = reader.restore(here, args=ocp.args.PyTreeRestore(restore_args=_as_numpy(whole)))
        return {name: tree[name] for name in choose(whole)}
    saved = reader.metadata(here).tree
    wanted = {name: saved[name] for name in choose(saved)}
    _check_size(folder, [math.prod(getattr(leaf, "shape", None) or ()) * np.dtype(leaf.dtype).itemsize
                         for leaf in jax.tree.leaves(wanted) if hasattr(leaf, "dtype")])
    how = ocp.args.PyTreeRestore(wanted, restore_args=_as_numpy(wanted), partial_restore=True)
    return reader.restore(here, args=how)


def _as_numpy(tree: Any) -> Any:
    return jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)


def _zarr_bytes(path: pathlib.Path) -> int:
    """Bytes that an array's header claims."""
    header = json.loads(path.read_text())
    return math.prod(header["shape"]) * np.dtype("V2" if header["dtype"] == "bfloat16" else header["dtype"]).itemsize


def _check_size(folder: pathlib.Path, claims: list[int]) -> None:
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if min(claims, default=0) < 0 or sum(claims) > PACKED * there + _SLACK:
        raise Damaged(f"its arrays claim {sum(claims):,} bytes, and all its files have {there:,}")
