"""Batches for training and for evaluation: one grain pipeline over batch numbers.

The element of the pipeline is a whole batch, so that a batch is read with one call of the source and grain's threads
each work on a different batch. Batch k depends on (seed, k) alone: the examples are shuffled globally, epoch by epoch,
and only then divided among hosts. A run may therefore stop after any batch and go on with another number of hosts.

Besides, sources whose clips are transformed as they are read, and the training split as the loop wants it.
"""

import dataclasses
import functools
import sys
from collections.abc import Iterable, Sequence

import grain
import jax
import numpy as np

from videogvt.inputs.contracts import ClipSource, Derived, Transform
from videogvt.inputs.transforms import transformed

ENDLESS = 2**62  # batches


def train_batches(
    source: ClipSource,
    *,
    batch_size: int,
    seed: int,
    transforms: Sequence[Transform] = (),
    host_index: int = 0,
    host_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 4,
) -> grain.DatasetIterator:
    """An endless iterator over shuffled batches that can be stopped and taken up again.

    Every epoch is a new permutation of the whole split; a batch may hold the end of one epoch and the beginning of the
    next, so that no example is lost. The rows of all hosts, put together in order of ``host_index``, are the same batch
    whatever ``host_count`` is. Random transforms draw from a stream of (seed, position of the example in the run).

    The iterator's ``get_state()`` is ``{"next_index": k}``, k being the number of batches handed out (not those
    prefetched), whatever the number of hosts; after ``set_state`` the next batch is batch k, bit for bit.

    Args:
      source: the clips; not empty.
      batch_size: rows of the global batch; divisible by ``host_count``. It may exceed the size of the split.
      num_threads: batches that are read at the same time; 0 reads in the thread of the caller.
      prefetch: batches kept ready.

    Yields:
      dicts of stacked rows: this host's contiguous part of the global batch, as ``source.read`` gives them.
    """
    rows = _host_rows(source, batch_size, host_index, host_count)
    if not 0 <= seed < 2**64:
        raise ValueError(f"The seed of the batches is {seed}; expected a number of 0 to 2**64 - 1.")

    def read(batch: int) -> dict[str, np.ndarray]:
        positions = batch * batch_size + rows
        loaded = source.read(shuffled(positions, len(source), seed))
        return transformed(loaded, transforms, [[seed, position] for position in positions.tolist()])

    return iter(grain.MapDataset.range(ENDLESS).map(read).to_iter_dataset(_options(num_threads, prefetch)))


def eval_batches(
    source: ClipSource,
    *,
    batch_size: int,
    host_index: int = 0,
    host_count: int = 1,
    limit: int | None = None,
    num_threads: int = 2,
    prefetch: int = 2,
) -> Iterable[dict[str, np.ndarray]]:
    """The split in order, once: over all hosts every example appears exactly once with mask 1.

    Every host gets the same number of equally shaped batches. The last batch is padded with copies of the last example.

    Args:
      limit: stop after so many examples (the first ones); None reads all.
      (others as in ``train_batches``)

    Returns:
      an iterable that starts again with every ``iter()``; its dicts carry also ``mask``, float32 (B,), 0 on padding.
    """
    rows = _host_rows(source, batch_size, host_index, host_count)
    if limit is not None and limit < 1:
        raise ValueError(f"eval_batches got limit={limit}; it must be at least 1, or None for the whole split.")
    count = min(len(source), limit or sys.maxsize)

    def read(batch: int) -> dict[str, np.ndarray]:
        positions = batch * batch_size + rows
        loaded = source.read(np.minimum(positions, count - 1))
        return loaded | {"mask": (positions < count).astype(np.float32)}

    batches = -(-count // batch_size)
    return grain.MapDataset.range(batches).map(read).to_iter_dataset(_options(num_threads, prefetch))


def shuffled(positions: np.ndarray, examples: int, seed: int) -> np.ndarray:
    """The examples at the given positions of an endless run over a split of so many examples.

    Epoch e is a uniform permutation drawn from (seed, e).
    """
    epochs, places = np.divmod(positions, examples)
    order = {epoch: _permutation(examples, seed, int(epoch)) for epoch in np.unique(epochs)}
    return np.array([order[epoch][place] for epoch, place in zip(epochs, places)], np.int64)


@functools.lru_cache(maxsize=4)  # batches near the end of an epoch need two
def _permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    # The counter's last word keeps these draws apart from those of the transforms, which have the same kind of key.
    stream = np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, 1])
    return np.random.Generator(stream).permutation(examples)


def _host_rows(source: ClipSource, batch_size: int, host_index: int, host_count: int) -> np.ndarray:
    """The rows of the global batch that belong to a host, contiguous."""
    if len(source) == 0:
        raise ValueError(f"{source} is empty; choose another split, or build the data set again with more examples.")
    if batch_size < 1 or batch_size % host_count:
        raise ValueError(
            f"A batch of {batch_size} cannot be divided among {host_count} hosts; "
            f"choose a positive multiple of {host_count}, such as {host_count * max(1, batch_size // host_count)}."
        )
    if not 0 <= host_index < host_count:
        raise ValueError(f"Host {host_index} of {host_count} hosts: expected an index of 0 to {host_count - 1}.")
    share = batch_size // host_count
    return np.arange(host_index * share, (host_index + 1) * share)


def _options(num_threads: int, prefetch: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch if num_threads else 0)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """A source's clips in batches for this host; see ``train.contracts.Data``.

    Attributes:
      source: the split.
      batch_size: of all hosts together.
      seed: of the order and of random transforms.
      transforms: applied in turn.
    """

    source: ClipSource
    batch_size: int
    seed: int
    transforms: tuple[Transform, ...] = ()

    @property
    def num_examples(self) -> int:
        """Clips in the split."""
        return len(self.source)

    @property
    def split_hash(self) -> str:
        """Of the split's clips before the transforms."""
        return self.source.split_hash

    def train(self) -> grain.DatasetIterator:
        """A new iterator at the beginning: batch k is a function of the seed and k."""
        return train_batches(
            self.source, batch_size=self.batch_size, seed=self.seed, transforms=self.transforms,
            host_index=jax.process_index(), host_count=jax.process_count(),
        )

    @functools.cached_property
    def first_batch(self) -> dict[str, np.ndarray]:
        """This host's rows of batch 0, for shapes and dtypes."""
        return next(self.train())


EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class TransformedSource(Derived):
    """A ``ClipSource`` whose clips went through transforms, each with the random stream of its index.

    Attributes:
      source: the source, whose ``split_hash`` stays.
      transforms: applied in order.
    """

    transforms: tuple[Transform, ...]

    @classmethod
    def of(cls, source: ClipSource, transforms: tuple[Transform, ...]) -> ClipSource:
        """The source itself where there are no transforms."""
        return cls(source, transforms) if transforms else source

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        keys = [[EVALUATION_SEED, int(index)] for index in indices]
        return transformed(self.source.read(indices), self.transforms, keys)
