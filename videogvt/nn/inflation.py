"""Starting a network from the weights of another: the same one, or the per-frame network it is inflated from."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from videogvt.core.registry import unknown_name

INFLATIONS = ("central", "average")
_Mode = Literal["central", "average"]


def inflate(target: Mapping[str, Any], source: Mapping[str, Any], *, mode: _Mode = "central") -> dict[str, Any]:
    """The parameters ``target`` with what ``source`` has to give, leaf by leaf (arXiv 2212.05199, section 3.1).

    A leaf of the same path and shape is copied. A kernel that only lacks the time axis is inflated: "central" puts it
    at the central tap of time and zeros elsewhere, so that the video network begins as the per-frame one; "average"
    gives every tap its share. The temporal kernels of (2+1)-D networks (``Conv_0_t``), which a per-frame network
    lacks, begin in the same way as the identity. A "split" network begins as the "split2d" one it is inflated from;
    from a "2d" one its temporal kernels can only take over what that one's do to maps that are constant in space, the
    sum of their taps. Every other leaf keeps the value it has in ``target``.

    Args:
      target: parameters of the network to be trained, with their initial values.
      source: parameters of a trained one; both trees of arrays.

    Returns:
      A tree like ``target``, of NumPy arrays. A warning lists the leaves that were kept and those that are sums.

    Raises:
      ValueError: nothing in ``source`` fits.
    """
    if mode not in INFLATIONS:
        raise ValueError(unknown_name("inflation mode", mode, INFLATIONS))
    given = flatten_dict(source, sep="/")
    result, kept, summed = {}, [], []
    identities = 0
    for path, value in flatten_dict(target, sep="/").items():
        value = result[path] = np.asarray(value)
        if path not in given and path.endswith("_t/kernel") and value.shape[3] == value.shape[4]:
            identity = np.eye(value.shape[3], dtype=value.dtype)[None, None]
            result[path], identities = _over_time(identity, value.shape[0], mode), identities + 1
        elif path not in given:
            kept.append(f"{path} {value.shape} (not in the source)")
        elif given[path].shape == value.shape:
            result[path] = np.asarray(given[path], value.dtype)
        elif given[path].shape == value.shape[1:]:
            result[path] = _over_time(np.asarray(given[path], value.dtype), value.shape[0], mode)
        elif _is_temporal(value) and given[path].ndim == 4 and given[path].shape[2:] == value.shape[3:]:
            total = np.asarray(given[path], value.dtype).sum((0, 1), keepdims=True)
            result[path] = _over_time(total, value.shape[0], mode)
            summed.append(f"{path} {value.shape} (source {given[path].shape})")
        else:
            kept.append(f"{path} {value.shape} (source {given[path].shape})")
    if len(kept) + identities == len(result):
        raise ValueError(
            f"No parameter of the source fits the network: it has {', '.join(sorted(given)[:3])}, ..., wanted are "
            f"{', '.join(sorted(result)[:3])}, .... Give a run of the same network, or of its per-frame version.")
    if kept:
        logging.warning("%d of %d parameters keep their initial values: %s", len(kept), len(result), "; ".join(kept))
    if summed:
        logging.warning("%d of %d parameters, temporal kernels, are sums over space; inflate from conv='split2d' for a "
                        "network that begins as the per-frame one: %s", len(summed), len(result), "; ".join(summed))
    return unflatten_dict(result, sep="/")


def _is_temporal(kernel) -> bool:
    return kernel.ndim == 5 and kernel.shape[0] > 1 and kernel.shape[1:3] == (1, 1)


def _over_time(kernel, taps: int, mode: _Mode):
    """A kernel with a new leading axis of ``taps`` cells."""
    if mode == "average":
        return np.repeat(kernel[None] / taps, taps, axis=0).astype(kernel.dtype)
    inflated = np.zeros((taps, *kernel.shape), kernel.dtype)
    inflated[taps // 2] = kernel
    return inflated
