"""Trees of plain values."""

from collections.abc import Mapping
from typing import Any

from flax.core import FrozenDict


def frozen(tree: Any) -> Any:
    """Dicts as ``FrozenDict`` and lists as tuples, so that a module made of them can be hashed."""
    if isinstance(tree, Mapping):
        return FrozenDict({name: frozen(value) for name, value in tree.items()})
    return tuple(map(frozen, tree)) if isinstance(tree, list | tuple) else tree
