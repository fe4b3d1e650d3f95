"""The training split as the loop wants it."""

import dataclasses
import functools

import grain
import jax
import numpy as np

from videogvt.inputs.contracts import ClipSource, Transform
from videogvt.inputs.pipeline import train_batches


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
