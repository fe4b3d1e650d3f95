"""Trees of plain values, and of arrays; apart from ``arrays.py``, as data sets are built and read without jax."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.core import FrozenDict


def frozen(tree: Any) -> Any:
    """Dicts as ``FrozenDict`` and lists as tuples, so that a module made of them can be hashed."""
    if isinstance(tree, Mapping):
        return FrozenDict({name: frozen(value) for name, value in tree.items()})
    return tuple(map(frozen, tree)) if isinstance(tree, list | tuple) else tree


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A nested dict by dotted keys; an empty one is a value."""
    if not isinstance(tree, dict) or (not tree and prefix):
        return {prefix: tree}
    return {
        key: value for name, branch in tree.items()
        for key, value in flat(branch, f"{prefix}.{name}" if prefix else name).items()
    }


def parameter_count(tree: Any) -> int:
    """Numbers in all leaves of a tree of arrays, abstract ones included."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def tree_hash(tree: Any) -> str:
    """SHA-256 over paths, dtypes, shapes and bytes of a tree of arrays, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
