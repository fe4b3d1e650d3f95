"""Weights that others trained: PyTorch state dicts read from files and laid out as Flax parameters.

Modules that take such weights name their submodules as the PyTorch module does; only kernels are laid out differently.
"""

import pathlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from videogvt.core.arrays import Damaged, read_npz

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
COUNTERS = "num_batches_tracked"  # batch normalization's, of no use once it is trained


class FrozenBatchNorm(nn.Module):
    """Batch normalization in inference mode: a fixed map of every channel."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        shape = (x.shape[-1],)
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        scale, bias = self.param("scale", ones, shape), self.param("bias", zeros, shape)
        mean, var = self.param("mean", zeros, shape), self.param("var", ones, shape)
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return x * factor + (bias - mean * factor)


def read(path: str, advice: str) -> dict[str, np.ndarray]:
    """The arrays of a .pth, .pt, .safetensors or .npz file under their names. No code in a file is ever run.

    Args:
      advice: what to do if the file is missing, for the error.

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: the package that reads this kind of file is missing; says how to install it.
      ValueError: the file is of another kind, or holds something other than named tensors.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"The weights {str(path)!r} do not exist. {advice}")
    if file.suffix not in READERS:
        raise ValueError(f"Expected weights in a .pth, .pt, .safetensors or .npz file, found {str(path)!r}.")
    return READERS[file.suffix](file)


def convert(
    model: nn.Module, video_shape: Sequence[int], state_dict: Mapping[str, np.ndarray], network: str, *,
    name: Callable[[tuple[str, ...]], str] | None = None, spare: Sequence[str] = (),
) -> dict[str, Any]:
    """The float32 parameters of ``model``, for videos of a shape, from arrays in PyTorch's layout.

    Args:
      network: whose weights these should be, for the error.
      name: from the path of a parameter to its name in the file; ``torch_name`` if None.
      spare: names that the file may have and the model does not.

    Raises:
      ValueError: names are missing or left over, or shapes differ; the first of them are in the message.
    """
    video = jax.ShapeDtypeStruct(tuple(video_shape), jnp.float32)
    wanted = flatten_dict(jax.eval_shape(model.init, jax.random.key(0), video)["params"])
    names = {path: (name or torch_name)(path) for path in wanted}
    params, wrong = {}, []
    for path, leaf in wanted.items():
        shape = (*leaf.shape[:-3:-1], *leaf.shape[:-2]) if path[-1] == "kernel" else leaf.shape
        found = np.shape(state_dict[names[path]]) if names[path] in state_dict else "missing"
        if found != shape:
            wrong.append(f"{names[path]}: {found}, expected {shape}")
            continue
        if np.asarray(state_dict[names[path]]).dtype.kind not in "fiub":
            wrong.append(f"{names[path]}: {np.asarray(state_dict[names[path]]).dtype}, expected numbers")
            continue
        value = np.asarray(state_dict[names[path]], np.float32)
        if path[-1] == "kernel":  # from (out, in, ...) to (..., in, out)
            value = value.transpose(*range(2, value.ndim), 1, 0)
        params[path] = value
    known = {*names.values(), *spare}
    extra = [key for key in state_dict if key not in known and not key.endswith(COUNTERS)]
    if wrong or extra:
        tensors = f"{len(wrong)} of {len(wanted)} tensors do not fit{_some(wrong)}"
        raise ValueError(f"These are not the weights of {network}: {tensors}; {len(extra)} are unknown{_some(extra)}.")
    return unflatten_dict(params)


def torch_name(path: tuple[str, ...]) -> str:
    """("layer", "bn1", "mean") to "layer.bn1.running_mean"."""
    *modules, leaf = path
    return ".".join((*modules, LEAVES[leaf]))


def _some(names: Sequence[str]) -> str:
    return f" ({'; '.join(names[:3])}{'; ...' if len(names) > 3 else ''})" if names else ""


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {file} needs PyTorch: pip install torch, or convert the file to .safetensors.") from error
    remedy = "Expected a state dict: torch.save(network.state_dict(), path)."
    try:
        state_dict = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{file} is damaged, or holds more than tensors, which is not read for safety's sake. "
                         f"{remedy}") from error
    found = type(state_dict).__name__
    if isinstance(state_dict, Mapping):
        others = [str(name) for name, value in state_dict.items() if not isinstance(value, torch.Tensor)]
        found = f"a dict with the entries {', '.join(others[:3])}, not tensors" if others else None
    if found:
        raise ValueError(f"{file} holds {found}. {remedy}")
    return {name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
            for name, tensor in state_dict.items()}


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Reading {file} needs safetensors: pip install safetensors.") from error
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or no .safetensors file: {error}. Fetch or convert it again.") from error


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(file)
    except Damaged as error:
        raise ValueError(f"{file} is damaged, or no .npz file of plain arrays ({error}). Fetch it again.") from error


READERS = {".pth": _read_torch, ".pt": _read_torch, ".safetensors": _read_safetensors, ".npz": _read_npz}
