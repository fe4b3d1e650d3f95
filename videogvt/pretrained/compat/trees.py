"""Trees of parameters beside the network that they should be of: everything fits by name and shape, or is named."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from videogvt.nn.state_dicts import unfit
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer

Shapes = Mapping[str, tuple[int, ...]]


def flat_arrays(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a nested dict by path, "encoder/Conv_0/kernel"; empty dicts are none."""
    return flatten_dict(dict(tree), sep="/")


@functools.lru_cache(8)
def tokenizer_shapes(model: TokenizerNetwork) -> Shapes:
    """The shapes of a tokenizer's parameters by path; nothing is computed."""
    return _shapes(model, jax.ShapeDtypeStruct((1, *model.strides, 3), jnp.float32))


@functools.lru_cache(8)
def transformer_shapes(model: MaskedTransformer) -> Shapes:
    """The same of a masked transformer."""
    return _shapes(model, jax.ShapeDtypeStruct((1, model.sequence_length), jnp.int32))


def _shapes(model: nn.Module, inputs: jax.ShapeDtypeStruct) -> Shapes:
    params = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
    return {path: leaf.shape for path, leaf in flat_arrays(params).items()}


def misfits(given: Shapes, wanted: Shapes) -> list[str]:
    """What differs between two sets of shapes: a line for each path, with the given shape and the wanted one."""
    pairs = {path: (given.get(path), wanted.get(path)) for path in given.keys() | wanted.keys()}
    return [f"{path}: {_said(there)}, expected {_said(here)}"
            for path, (there, here) in sorted(pairs.items()) if there != here]


def fitted(
    given: Mapping[str, Any], wanted: Shapes, file: Any, network: str, name: Callable[[str], str] = str
) -> dict[str, Any]:
    """The tree of float32 arrays that a network wants, all that is given and nothing else.

    Args:
      given: arrays by path.
      wanted: the network's shapes by path.
      file: for messages.
      network: whose parameters these should be, for messages.
      name: from a path of the network's to one of the file.

    Raises:
      ValueError: paths are missing or left over, shapes differ, or leaves are no finite numbers; all are listed.
    """
    names = {name(path): path for path in wanted}
    shapes = {path: np.shape(leaf) for path, leaf in given.items()}
    wrong = misfits(shapes, {there: wanted[path] for there, path in names.items()})
    wrong = wrong or [f"{path}: {problem}" for path, leaf in sorted(given.items()) if (problem := unfit(leaf))]
    if wrong:
        raise ValueError(f"{file} does not hold the parameters of {network}. These do not fit:\n  "
                         + "\n  ".join(wrong))
    return unflatten_dict({names[path]: np.asarray(leaf, np.float32) for path, leaf in given.items()}, sep="/")


def _said(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(shape)
