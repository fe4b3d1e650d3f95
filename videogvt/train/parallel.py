"""Devices: the mesh, one table of sharding rules, and the placing of states and batches.

A mesh has two axes. ``data`` splits the batch; ``model`` splits parameters where the rules say so. With ``fsdp`` the
parameters, their moments and averages are split along ``data`` besides, and put together where they are used. Axis
types are Auto: the compiler propagates shardings and inserts the communication, so a step is written as for one device
and every mean over the batch is a mean over all of it.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from videogvt.train.state import TrainState

_AXES = ("data", "model")
Rules = Sequence[tuple[str, PartitionSpec]]

RULES: Rules = (
    (r"/(query|key|value)/kernel$", PartitionSpec(None, "model", None)),  # width, heads, width of a head
    (r"/(query|key|value)/bias$", PartitionSpec("model", None)),
    (r"/(self_)?attention/out/kernel$", PartitionSpec("model", None, None)),
    (r"/(intermediate_output|mlp_in)/kernel$", PartitionSpec(None, "model")),
    (r"/(intermediate_output|mlp_in)/bias$", PartitionSpec("model")),
    (r"/(layer_output|mlp_out)/kernel$", PartitionSpec("model", None)),
    (r".*", PartitionSpec()),
)
"""Of every recipe. The transformers' heads and the width inside their MLPs are split along ``model``, so that a layer
needs two sums over that axis; all else, convolutions included, is whole on every device."""

FSDP_MIN_SIZE = 1024
"""Numbers that a parameter has at least if ``fsdp`` splits it: gathering smaller ones costs more than it saves."""


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """How many devices lie along each axis; -1 for one of them means all that are left.

    Attributes:
      data: devices that the batch is split over.
      model: devices that the rules split parameters over; those of one host at most.
      fsdp: whether parameters, moments and averages are split along ``data`` as well.
    """

    data: int = -1
    model: int = 1
    fsdp: bool = False

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh over these devices, by default all of all hosts."""
        devices = jax.devices() if devices is None else list(devices)
        data, model = self.data, self.model
        if min(data, model) < -1 or 0 in (data, model) or data == model == -1:
            raise ValueError(f"{self}: expected positive sizes, with -1 for at most one axis.")
        data = len(devices) // model if data == -1 else data
        model = len(devices) // data if model == -1 else model
        if data * model != len(devices):
            raise ValueError(
                f"{self} takes {data} x {model} devices and there are {len(devices)}; choose sizes whose product is "
                f"{len(devices)}, or -1 for one axis."
            )
        mesh = jax.make_mesh((data, model), _AXES, axis_types=(AxisType.Auto,) * 2, devices=devices)
        if any(len({device.process_index for device in row}) > 1 for row in mesh.devices):
            raise ValueError(
                f"{self} lays {model} devices of different hosts along the model axis, and a host has "
                f"{jax.local_device_count()}; every host reads its own rows, so choose a divisor of that for model."
            )
        return mesh


def path_name(path: Sequence[Any]) -> str:
    """A key path of ``jax.tree_util`` as "generator/encoder/Conv_0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def find_spec(rules: Rules, name: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The spec of the parameter ``name`` by the first rule whose expression is found in it.

    Raises:
      ValueError: no rule matches, the spec uses an axis twice or an unknown one, it is longer than the shape, or an
        axis does not divide its dimension.
    """
    pattern, spec = next((row for row in rules if re.search(row[0], name)), (None, None))
    if pattern is None:
        raise ValueError(
            f"No sharding rule matches the parameter {name!r} of shape {shape}; add a rule, or end the table with "
            f"('.*', PartitionSpec()). Patterns: {', '.join(repr(row[0]) for row in rules) or 'none'}."
        )
    rule = f"The sharding rule ({pattern!r}, {spec}) for {name!r} of shape {shape}"
    if len(spec) > len(shape):
        raise ValueError(f"{rule} names {len(spec)} dimensions; give at most {len(shape)}.")
    used = [axis for part in spec for axis in _axes(part)]
    for axis in used:
        if axis not in mesh.shape:
            raise ValueError(f"{rule} uses the axis {axis!r}; the mesh has {', '.join(mesh.shape)}.")
        if used.count(axis) > 1:
            raise ValueError(f"{rule} uses the axis {axis!r} twice; an axis can split one dimension only.")
    for size, part in zip(shape, spec):
        ways = int(np.prod([mesh.shape[axis] for axis in _axes(part)]))
        if size % ways:
            raise ValueError(f"{rule} splits {size} in {ways} parts; choose a mesh or a rule that divides it.")
    return spec


def _axes(part: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if part is None else (part,) if isinstance(part, str) else tuple(part)


def split_along_data(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The spec with the largest dimension that is whole, and that the data axis divides, split along it."""
    parts, ways = [*spec, *[None] * (len(shape) - len(spec))], mesh.shape["data"]
    free = [place for place, part in enumerate(parts) if part is None and shape[place] % ways == 0]
    if not free or np.prod(shape) < FSDP_MIN_SIZE:
        return spec
    parts[max(free, key=lambda place: shape[place])] = "data"
    return PartitionSpec(*parts)


def state_shardings(state: TrainState, rules: Rules, mesh: Mesh, fsdp: bool = False) -> TrainState:
    """The sharding of every leaf of a state, which may be abstract.

    Parameters and frozen parameters follow the rules; with ``fsdp`` the former are also split along ``data``. A leaf of
    ``ema`` or ``opt`` whose path ends in the path of a parameter of its network, and which has its shape, is sharded
    like it (averages, Adam's moments). All else (counts, factored moments, batch statistics, extras) is whole on every
    device.

    Raises:
      ValueError: a rule cannot hold, or the mesh has a model axis along which nothing is split.
    """
    specs = {}

    def by_rule(path, leaf):
        name = path_name(path)
        spec = find_spec(rules, name, leaf.shape, mesh)
        specs[name] = (leaf.shape, split_along_data(spec, leaf.shape, mesh) if fsdp else spec)
        return NamedSharding(mesh, specs[name][1])

    def frozen_by_rule(path, leaf):
        return NamedSharding(mesh, find_spec(rules, path_name(path), leaf.shape, mesh))

    def inherited(path, leaf):
        network, *parts = path_name(path).split("/")
        for start in range(len(parts)):
            shape, spec = specs.get("/".join((network, *parts[start:])), (None, None))
            if shape == leaf.shape:
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, PartitionSpec())

    def whole(tree):
        return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), tree)

    by_path = jax.tree_util.tree_map_with_path
    params = by_path(by_rule, state.params)
    if mesh.shape["model"] > 1 and not any("model" in _axes(part) for _, spec in specs.values() for part in spec):
        raise ValueError(
            f"The mesh has {mesh.shape['model']} devices along model and no parameter of {', '.join(state.params)} is "
            "split there, so that they would all compute the same. Set config.mesh.model to 1; to hold large networks, "
            "config.mesh.fsdp to True."
        )
    return TrainState(
        step=whole(state.step), params=params, opt=by_path(inherited, state.opt),
        ema=by_path(inherited, state.ema), model_state=whole(state.model_state), extra=whole(state.extra),
        frozen=by_path(frozen_by_rule, state.frozen),
    )


def abstract_state(
    init: Callable[[jax.Array, Any], TrainState], key: jax.Array, batch: Mapping[str, Any], rules: Rules, mesh: Mesh,
    fsdp: bool = False,
) -> TrainState:
    """Shapes, dtypes and shardings of the state that ``init`` would make, without making it."""
    shapes = jax.eval_shape(init, key, batch)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes, state_shardings(shapes, rules, mesh, fsdp),
    )


def make_state(
    init: Callable[[jax.Array, Any], TrainState], key: jax.Array, batch: Mapping[str, Any], abstract: TrainState
) -> TrainState:
    """The state itself, each leaf born with the sharding that ``abstract`` gives it.

    The batch, of which only shapes and dtypes count, is a constant of zeros to ``init``: its forward pass is dead code.
    """

    def with_zeros(key):
        return init(key, {name: jnp.zeros(entry.shape, entry.dtype) for name, entry in batch.items()})

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(with_zeros, out_shardings=shardings)(key)


def place(tree: Any, abstract: Any) -> Any:
    """Copies of arrays, of the host or of devices, with the dtypes and shardings of ``abstract``."""

    def copy(path, leaf, target):
        if leaf.shape != target.shape:
            raise ValueError(f"{path_name(path)} has shape {leaf.shape}; expected {target.shape}.")
        if isinstance(leaf, jax.Array) and (leaf.sharding, leaf.dtype) == (target.sharding, target.dtype):
            return jnp.copy(leaf)
        host = np.array(leaf, target.dtype)
        return jax.make_array_from_callback(target.shape, target.sharding, lambda index: host[index])

    return jax.tree_util.tree_map_with_path(copy, tree, abstract)


def numeric(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The entries that a device can hold; ids and captions stay behind."""
    return {name: array for name, array in batch.items() if np.asarray(array).dtype.kind in "biufV"}


def global_shapes(batch: Mapping[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the global batch of which every host holds one such part."""
    return {
        name: jax.ShapeDtypeStruct((len(array) * jax.process_count(), *array.shape[1:]), jnp.asarray(array[:0]).dtype)
        for name, array in numeric(batch).items()
    }


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The numeric entries as global arrays split along ``data``; every host gives its own rows.

    Raises:
      ValueError: the global batch does not divide by the data axis.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    arrays = {}
    for name, array in numeric(batch).items():
        rows = len(array) * jax.process_count()
        if rows % mesh.shape["data"]:
            raise ValueError(
                f"A global batch of {rows} rows ({name}) does not divide by the {mesh.shape['data']} devices along the "
                "data axis; choose a multiple."
            )
        arrays[name] = jax.make_array_from_process_local_data(sharding, array)
    return arrays


def mesh_of(state: TrainState) -> Mesh:
    """The mesh that a placed state lives on, for evaluators that place batches beside it."""
    return state.step.sharding.mesh
