"""Parameters with fewer bits: halves, or eight-bit numbers with a scale for every output channel. Arithmetic stays
float32; what shrinks is the file, and what is lost is measured by ``benchmarks/portable.py``."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LEVELS = 127
_SMALL = 1024
"""Arrays of fewer numbers stay as they are in eight bits: biases and norms are a trifle of a file."""


class Eighth(NamedTuple):
    """An array as ``values * scale``.

    Attributes:
      values: int8, from -127 to 127.
      scale: float32, positive, one for every index of the last axis; of tables one for every row.
    """

    values: np.ndarray
    scale: np.ndarray


def _float16(path: str, leaf: np.ndarray) -> np.ndarray:
    del path
    return leaf.astype(np.float16)


def _int8(path: str, leaf: np.ndarray) -> np.ndarray | Eighth:
    """Kernels by output channel and token embeddings by row; a codebook stays, for it says what the codes are."""
    if leaf.ndim < 2 or leaf.size < _SMALL or not path.endswith(("kernel", "embedding", "embeddings")):
        return leaf
    axes = tuple(range(leaf.ndim - 1)) if path.endswith("kernel") else (leaf.ndim - 1,)
    highest = np.abs(leaf).max(axes, keepdims=True)
    scale = np.where(highest > 0, highest / _LEVELS, 1).astype(np.float32)
    return Eighth(np.rint(leaf / scale).astype(np.int8), scale)


ROUNDINGS: Mapping[str, Callable[[str, np.ndarray], Any]] = {
    "float32": lambda path, leaf: leaf, "float16": _float16, "int8": _int8}
"""By name: a function of an array's path and itself."""


def rounded(params: Any, name: str) -> Any:
    """The parameters, float32 on the host, with the bits that a name in ``ROUNDINGS`` says."""
    def of(path, leaf):
        return ROUNDINGS[name](jax.tree_util.keystr(path, simple=True, separator="/"), np.asarray(leaf, np.float32))

    return jax.tree_util.tree_map_with_path(of, params)


def unrounded(params: Any) -> Any:
    """Rounded parameters as float32 again; a part of what is traced, so that the weights of a file stay small."""
    def of(leaf):
        if isinstance(leaf, Eighth):
            return jnp.asarray(leaf.values).astype(jnp.float32) * leaf.scale
        return jnp.asarray(leaf).astype(jnp.float32)

    return jax.tree.map(of, params, is_leaf=lambda leaf: isinstance(leaf, Eighth))


def size(params: Any) -> int:
    """Bytes of all arrays."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(params))
