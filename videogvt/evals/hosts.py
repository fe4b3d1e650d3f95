"""Tables measured by many hosts, each on its own rows, put together so that every host holds the whole."""

from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from videogvt.inputs.pipeline import eval_batches
from videogvt.inputs.sources import ClipSource

Columns = dict[str, np.ndarray]


def eval_rows(source: ClipSource, batch_size: int, limit: int | None) -> Iterator[tuple[np.ndarray, Columns]]:
    """This host's rows of every batch of a split, after their places in it; see ``inputs.pipeline.eval_batches``."""
    hosts, host = jax.process_count(), jax.process_index()
    rows = batch_size // hosts
    batches = eval_batches(source, batch_size=batch_size, host_index=host, host_count=hosts, limit=limit)
    for number, batch in enumerate(batches):
        yield number * batch_size + host * rows + np.arange(rows), batch


def local_rows(array: jax.Array) -> np.ndarray:
    """This host's rows, in order, of an array that is split over the devices along its leading axis only."""
    if array.is_fully_addressable:
        return np.asarray(array)
    parts = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


def stack(batches: list[Columns]) -> Columns:
    """Tables of batches, one below the other."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def gather(columns: Columns) -> Columns:
    """The tables of all hosts, one below the other; they have the same columns and the same number of rows.

    Columns travel as bytes, since jax has no texts and would make 32 bits of 64. Texts are as wide as the longest on
    any host.
    """
    if jax.process_count() == 1:
        return columns
    columns = _of_one_width(columns)
    whole = multihost_utils.process_allgather({name: _as_bytes(column) for name, column in columns.items()}, tiled=True)
    return {name: np.ascontiguousarray(whole[name]).view(column.dtype).reshape(-1, *column.shape[1:])
            for name, column in columns.items()}


def _of_one_width(columns: Columns) -> Columns:
    """The tables with every column of texts (dtype ``U``) in the widest type that a host has for it."""
    widths = {name: np.array([max(column.dtype.itemsize // 4, 1)]) for name, column in columns.items()
              if column.dtype.kind == "U"}
    if not widths:
        return columns
    widths = multihost_utils.process_allgather(widths, tiled=True)
    return columns | {name: columns[name].astype(f"U{int(np.max(width_N))}") for name, width_N in widths.items()}


def _as_bytes(column: np.ndarray) -> np.ndarray:
    """A column (N, ...) as (N, bytes of a row)."""
    width = column.dtype.itemsize * int(np.prod(column.shape[1:]))
    return np.ascontiguousarray(column).reshape(-1).view(np.uint8).reshape(len(column), width)
