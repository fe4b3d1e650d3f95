"""Trees of plain values."""

from collections.abc import Mapping
from typing import Any

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
