"""The sockets of a run: what the loop asks of a recipe, of data and of an evaluator, and what it is told to do."""

import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState


@flax.struct.dataclass
class Mean:
    """A mean as the weighted sum of the values and the sum of the weights, float32 scalars, so that parts add up."""

    total: jax.Array
    count: jax.Array

    @classmethod
    def of(cls, values, weights=None) -> "Mean":
        """The mean of an array; ``weights`` (a mask of examples, say) broadcast against its leading axes."""
        values = jnp.asarray(values, jnp.float32)
        if weights is None:
            return cls(total=values.sum(), count=jnp.asarray(values.size, jnp.float32))
        weights = jnp.asarray(weights, jnp.float32)
        weights = jnp.broadcast_to(weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim)), values.shape)
        return cls(total=jnp.where(weights > 0, values * weights, 0).sum(), count=weights.sum())

    def compute(self) -> float:
        """The number itself, fetched from the device; NaN when nothing was counted."""
        total, count = float(self.total), float(self.count)
        return total / count if count else float("nan")


class Recipe(Protocol):
    """A kind of training: how to make a state, take one step, and answer named questions about a state.

    Attributes:
      predict_fns: pure functions ``(state, batch or inputs, ...) -> arrays`` by name ("reconstruct", "codes",
        "generate", "classify", "features", "loss"); evaluators ask for them by name.
      sharding_rules: (regular expression, PartitionSpec) pairs searched in order in "network/path/of/parameter"; the
        first that matches decides, a parameter that none matches is an error. Axes are "data" and "model".
      frozen: parameters in use and never trained, by network name; arrays on the host. {} for none.
    """

    predict_fns: Mapping[str, Callable]
    sharding_rules: tuple[tuple[str, PartitionSpec], ...]
    frozen: Mapping[str, Any]

    def init(self, key: jax.Array, example_batch: Mapping[str, jax.Array]) -> TrainState:
        """The untrained state. Evaluated abstractly first, then compiled with shardings: it must be traceable and may
        use only shapes and dtypes of the batch, whose values are zeros."""

    def warm_start(self, state: TrainState) -> TrainState:
        """Called once, on the host, when a run starts from scratch: fills in weights of another run (``init_from``,
        inflation). Returns the state unchanged when there are none."""

    def step(self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        """One update, pure: the new state and the step's numbers as ``dict[str, Mean]``, global over all devices.

        A number that is not finite stops the run. The batch holds the numeric entries of the data's batch; the key
        is different in every step. The loop adds one to ``state.step``.
        """

    def flops(self, state: TrainState, batch: Mapping[str, Any]) -> float:
        """Twice the multiplications of one step's products and convolutions, as is usual: three times a forward pass.
        Of the state, ``frozen`` included, and of the global batch shapes count alone."""


class BatchIterator(Protocol):
    """An endless iterator over batches that can be stopped and taken up again."""

    def __iter__(self) -> "BatchIterator": ...

    def __next__(self) -> dict[str, np.ndarray]:
        """The next batch: this host's contiguous rows of the global batch. Entries that are not numbers (ids) stay on
        the host."""

    def get_state(self) -> dict[str, Any]:
        """The position after the batches handed out so far, as a dict that JSON can hold."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Back to a position; the next batch is then the one that followed it."""


class Data(Protocol):
    """Training data. ``batch_size`` is the global one; ``num_examples`` the size of the training split; ``split_hash``
    changes with its examples, and is "" where nothing is known of them."""

    batch_size: int
    num_examples: int
    split_hash: str

    def train(self) -> BatchIterator:
        """A new iterator at the beginning."""


@dataclasses.dataclass(frozen=True)
class When:
    """When an evaluator runs: every so many steps, at the end, or both.

    An evaluator with ``every`` judges what was just saved, the final checkpoint included, and its numbers may choose
    the best one. One with ``end`` alone (test, ood) runs once, after the final save, on the chosen one.
    """

    every: int | None = None
    end: bool = False

    def __post_init__(self):
        if self.every is not None and self.every < 1:
            raise ValueError(f"When(every={self.every}): expected a number of steps of at least 1, or None.")
        if self.every is None and not self.end:
            raise ValueError("When() never comes: give every=N, end=True or both.")

    def due(self, step: int, total: int) -> bool:
        """Whether ``step`` updates of ``total`` are the moment. The untrained state at step 0 is never due."""
        periodic = self.every is not None and step > 0 and step % self.every == 0
        return periodic or (self.end and step == total)


@dataclasses.dataclass(frozen=True)
class Media:
    """A file that an evaluator leaves beside its numbers. Pictures need Pillow, which training does not.

    Attributes:
      suffix: of the file's name, without the dot: "png", "gif", "txt", "json", "npz".
      data: the file's bytes.
    """

    suffix: str
    data: bytes

    @classmethod
    def picture(cls, image_HWC: np.ndarray) -> "Media":
        """A PNG of a uint8 RGB image."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(_uint8(image_HWC, 3)).save(buffer, "png", optimize=True)
        return cls("png", buffer.getvalue())

    @classmethod
    def animation(cls, video_THWC: np.ndarray, fps: float = 12.0) -> "Media":
        """A GIF of a uint8 RGB video that repeats for ever."""
        from PIL import Image

        frames = [Image.fromarray(frame) for frame in _uint8(video_THWC, 4)]
        buffer = io.BytesIO()
        frames[0].save(buffer, "gif", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
        return cls("gif", buffer.getvalue())

    @classmethod
    def text(cls, content: str) -> "Media":
        """A text file in UTF-8."""
        return cls("txt", content.encode())

    @classmethod
    def json(cls, value: Any) -> "Media":
        """A JSON file, for tables and curves that a report draws."""
        return cls("json", json.dumps(value).encode())

    @classmethod
    def arrays(cls, **arrays: np.ndarray) -> "Media":
        """An NPZ file of named arrays, compressed."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return cls("npz", buffer.getvalue())


def _uint8(array: np.ndarray, ndim: int) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] != 3:
        raise ValueError(f"Found {array.dtype} of shape {array.shape}; expected uint8, {ndim} axes, 3 colours last.")
    return array


@runtime_checkable
class Evaluator(Protocol):
    """Asks a recipe's predict functions about a data set of its own.

    The loop holds evaluators in a dict; the key is the name, and names of numbers become ``eval/<key>/<name>``.

    Attributes:
      when: its schedule.
      facts: what is needed to repeat it, ready for JSON: split, split hash, counts, seed, "ema" or "params".
    """

    when: When
    facts: Mapping[str, Any]

    def run(self, state: TrainState) -> Iterator[tuple[str, float | Media]]:
        """Yields (name, number) and (name, file); names may be paths ("background/psnr")."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do for how long.

    Attributes:
      total_steps: updates in all; at least 1.
      log_every: steps per row of numbers, each the mean over these steps.
      save_every: steps per checkpoint; the last step and what is evaluated are saved besides.
      keep: number of newest checkpoints to keep; the best is kept besides. At least 2, so that a broken newest one
        has one before it.
      best: full name of the number that chooses the best checkpoint ("eval/validation/track_error_px"), or None:
        the last is then the best.
      best_mode: whether a high or a low number is good.
      show: the step's numbers that the progress bar shows.
      seed: of parameters and of every step's key.
      mesh: how the devices are laid out.
      config: the resolved configuration as plain values; it is written beside the run, and a directory that holds
        another one is refused.
      free: dotted keys of ``config``, or beginnings of them, that may change when a run is taken up again, because
        the training does not depend on them.
      grows: dotted keys of ``config`` that may grow when a run is taken up again: how long it trains.
      learning_rate: (step, total steps) -> the rate, to say what growing does to it; None where there is none.
    """

    total_steps: int
    log_every: int = 50
    save_every: int = 1000
    keep: int = 2
    best: str | None = None
    best_mode: Literal["max", "min"] = "min"
    show: tuple[str, ...] = ("loss",)
    seed: int = 0
    mesh: MeshShape = MeshShape()
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    free: tuple[str, ...] = ()
    grows: tuple[str, ...] = ()
    learning_rate: Callable[[int, int], float] | None = None

    def __post_init__(self):
        for name, least in (("total_steps", 1), ("log_every", 1), ("save_every", 1), ("keep", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"Plan.{name} is {getattr(self, name)}; expected at least {least}.")
        if self.best_mode not in ("max", "min"):
            raise ValueError(f"Plan.best_mode is {self.best_mode!r}; expected 'max' or 'min'.")
        if self.best is not None and not self.best.startswith("eval/"):
            raise ValueError(
                f"Plan.best is {self.best!r}; expected the full name of an evaluator's number, "
                "'eval/<evaluator>/<name>'."
            )
