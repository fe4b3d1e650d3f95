"""Weights that others trained: PyTorch state dicts read from files and laid out as Flax parameters.

Modules that take such weights name their submodules as the PyTorch module does; only kernels are laid out differently.
"""

import pathlib
import zipfile
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
MAX_NAMES = 2**26
"""Bytes of names and shapes that a file may have: thousands of times those of any network's here."""

STATE_DICT = "Expected a state dict: torch.save(network.state_dict(), path)."
LIGHTNING = "Expected a checkpoint of PyTorch Lightning, as it was downloaded."


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


def read_state_dict(path: str, advice: str) -> dict[str, np.ndarray]:
    """The arrays of a .pth, .pt, .ckpt, .safetensors or .npz file under their names. No code in a file is ever run.

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
        raise ValueError(f"Expected weights in a {', '.join(READERS)} file, found {str(path)!r}.")
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
        if problem := unfit(state_dict[names[path]]):
            wrong.append(f"{names[path]}: {problem}")
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


def unfit(leaf: Any) -> str | None:
    """Why an array is no parameter; None where it is one."""
    leaf = np.asarray(leaf)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return f"{leaf.dtype}, expected floating-point numbers"
    if not np.isfinite(leaf.astype(np.float32)).all():
        return "holds numbers that are not finite"
    return None


def torch_name(path: tuple[str, ...]) -> str:
    """("layer", "bn1", "mean") to "layer.bn1.running_mean"."""
    *modules, leaf = path
    return ".".join((*modules, LEAVES[leaf]))


def _some(names: Sequence[str]) -> str:
    return f" ({'; '.join(names[:3])}{'; ...' if len(names) > 3 else ''})" if names else ""


def _read_torch(file: pathlib.Path) -> dict[str, np.ndarray]:
    return _arrays(file, _loaded(file, STATE_DICT), STATE_DICT)


def _read_lightning(file: pathlib.Path) -> dict[str, np.ndarray]:
    """The entry "state_dict" of a checkpoint of PyTorch Lightning; optimizers and all else stay on the disk."""
    checkpoint = _loaded(file, LIGHTNING)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise ValueError(f"{file} has no entry 'state_dict'. {LIGHTNING}")
    return _arrays(file, checkpoint["state_dict"], LIGHTNING)


def _loaded(file: pathlib.Path, remedy: str) -> Any:
    """What ``torch.save`` wrote, as far as it is tensors and plain values; a file that claims more than it has is
    refused first."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading {file} needs PyTorch: pip install torch, or convert the file to .safetensors.") from error
    try:
        archive = zipfile.is_zipfile(file)  # or a file of PyTorch before 1.6
        if archive:
            _check_archive(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=archive or None)
    except OSError:
        raise
    except Exception as error:  # of zipfile, pickle and torch; a file of the user's is the cause of all
        why = str(error).splitlines()[0] if isinstance(error, Damaged) else type(error).__name__
        raise ValueError(f"{file} is damaged, or holds more than tensors, which is not read for safety's sake ({why}). "
                         f"{remedy}") from error


def _check_archive(file: pathlib.Path) -> None:
    """Refuses an archive whose members are packed, or larger than the file or than names and shapes take."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise Damaged(f"{member.filename!r} in it is packed, as torch.save packs nothing")
        if member.filename.endswith(".pkl") and member.file_size > MAX_NAMES:
            raise Damaged(f"{member.filename!r} has {member.file_size:,} bytes, names and shapes at most "
                          f"{MAX_NAMES:,}")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise Damaged("its members claim more bytes than it has")


def _arrays(file: pathlib.Path, state_dict: Any, remedy: str) -> dict[str, np.ndarray]:
    """The tensors of a state dict as arrays, those of other precisions as float32."""
    import torch

    found = type(state_dict).__name__
    if isinstance(state_dict, Mapping):
        others = [str(name) for name, value in state_dict.items() if not isinstance(value, torch.Tensor)]
        found = f"a dict with the entries {', '.join(others[:3])}, not tensors" if others else None
    if found:
        raise ValueError(f"{file} holds {found}. {remedy}")
    for name, tensor in state_dict.items():
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{file} holds {name!r}, which is no plain tensor with all its numbers. {remedy}")
    return {str(name): (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
            for name, tensor in state_dict.items()}


def _read_safetensors(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Reading {file} needs safetensors: pip install 'videogvt[weights]'.") from error
    try:
        with file.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
        if header > MAX_NAMES:
            raise Damaged(f"its header claims {header:,} bytes, names and shapes are at most {MAX_NAMES:,}")
        return load_file(file)
    except OSError:
        raise
    except Exception as error:  # of safetensors and numpy; a file of the user's is the cause of all
        raise ValueError(f"{file} is damaged or no .safetensors file: {error}. Fetch or convert it again.") from error


def _read_npz(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(file)
    except Damaged as error:
        raise ValueError(f"{file} is damaged, or no .npz file of plain arrays ({error}). Fetch it again.") from error


READERS = {".pth": _read_torch, ".pt": _read_torch, ".ckpt": _read_lightning, ".safetensors": _read_safetensors,
           ".npz": _read_npz}
