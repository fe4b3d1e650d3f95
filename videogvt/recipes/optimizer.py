"""The optimizer of all recipes: Adam, or Muon and Adam, with warm-up and a half cosine, from optax.

Muon (K. Jordan 2024) is as optax has it: the same state and, up to rounding, the same updates, for less on CPUs. optax
orthogonalises every matrix inside a ``vmap``, which XLA runs on one core, and multiplies the whole matrix in each of
the five steps. Here the steps run on the Gram matrix of the short side, and the whole matrix is multiplied once.

Gradients of large batches are made in parts, one after the other, so that only one part's activations are in memory.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

STEPS, BETA, EPSILON = 5, 0.95, 1e-8
"""Of the iteration, of the momentum and of the norm that is divided by: optax's defaults."""

Inputs = Callable[[tuple, jax.Array], int]


def scale_by_muon(inputs: Inputs) -> optax.GradientTransformation:
    """Nesterov momentum, orthogonalised and brought to a root mean square of about 1.

    Args:
      inputs: of a leaf's path and itself, how many of its first axes are the inputs of the linear map that it is; the
        others are the outputs.

    Returns:
      A transformation whose state is that of ``optax.contrib.scale_by_muon``.
    """

    def update(updates, state, params=None):
        del params
        count = state.count + 1
        mu = optax.tree.update_moment(updates, state.mu, BETA, 1)
        momentum = jax.tree.map(
            lambda m, g: BETA * m + (1 - BETA) * g,
            optax.tree.bias_correction(mu, BETA, count + 1), optax.tree.bias_correction(updates, BETA, count))

        def direction(path, leaf):
            axes = inputs(path, leaf)
            matrix_IO = leaf.reshape(math.prod(leaf.shape[:axes]), -1)
            return (max(matrix_IO.shape) ** 0.5 * orthogonalised(matrix_IO, state.ns_coeffs)).reshape(leaf.shape)

        return jax.tree_util.tree_map_with_path(direction, momentum), state._replace(count=count, mu=mu)

    return optax.GradientTransformation(optax.contrib.scale_by_muon().init, update)


def orthogonalised(matrix_IO: jax.Array, coefficients: jax.Array) -> jax.Array:
    """The matrix with its singular values brought near 1, by Newton and Schulz.

    A step is x <- p(x x^T) x with p(g) = a + b g + c g^2, the rows of x being the short side. All its factors are
    polynomials of the first g = x x^T, so g <- p g p, and the product of the p is all that has to be kept.

    Args:
      matrix_IO: any matrix.
      coefficients: a, b and c.
    """
    a, b, c = coefficients
    tall = matrix_IO.shape[0] > matrix_IO.shape[1]
    x = matrix_IO / (jnp.linalg.norm(matrix_IO) + EPSILON)
    gram = x.T @ x if tall else x @ x.T
    identity, product = jnp.eye(len(gram), dtype=gram.dtype), None
    for step in range(STEPS):
        factor = a * identity + b * gram + c * (gram @ gram)
        product = factor if product is None else factor @ product
        if step < STEPS - 1:
            gram = factor @ (factor @ gram)
    return x @ product if tall else product @ x


class Aux(NamedTuple):
    """What a loss gives besides its value; each field any tree of arrays.

    Attributes:
      rows: what every row has of its own, along the leading axis; put together again in the order of the rows.
      sums: what adds up over rows: counts, ``Mean``s.
      means: what is averaged over rows.
    """

    rows: Any = ()
    sums: Any = ()
    means: Any = ()


def gradients(
    loss: Callable[[Any, Any, jax.Array], tuple[jax.Array, Aux]], params: Any, rows: Any, key: jax.Array, parts: int
) -> tuple[Any, Aux]:
    """The gradient of ``loss(params, rows, key)``, and what the loss gives besides.

    A loss that is a mean over rows has the same gradient in any number of parts, up to rounding; one that looks at the
    whole batch (an entropy of its codes) then looks at each part. Part p has the rows p, p + parts, p + 2 parts, ...,
    so that the rows of every device are shared out alike, and the key folded with p.

    Args:
      rows: arrays with a common leading axis, a multiple of ``parts``.
      parts: 1 for all at once, with the key as it is.
    """
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        return gradient(params, rows, key)
    shared = jax.tree.map(lambda array: _shared_out(array, parts), rows)

    def add(total, part):
        index, own = part
        grads, found = gradient(params, own, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, (grads, found.sums, found.means)), found.rows

    grads, found = jax.eval_shape(gradient, params, jax.tree.map(lambda array: array[0], shared), key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (grads, found.sums, found.means))
    (grads, sums, means), own = jax.lax.scan(add, zeros, (jnp.arange(parts), shared))
    grads, means = jax.tree.map(lambda total: total / parts, (grads, means))
    return grads, Aux(jax.tree.map(_in_order, own), sums, means)


def _shared_out(array: jax.Array, parts: int) -> jax.Array:
    if len(array) % parts:
        raise ValueError(
            f"config.optimizer.accumulate is {parts}, which does not divide a batch of {len(array)} rows; choose a "
            "divisor of config.data.batch_size, such that every part still divides by the devices."
        )
    return jnp.swapaxes(array.reshape(-1, parts, *array.shape[1:]), 0, 1)


def _in_order(array: jax.Array) -> jax.Array:
    return jnp.swapaxes(array, 0, 1).reshape(-1, *array.shape[2:])


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam or AdamW under ``base * min(1, s / warmup) * 0.5 (1 + cos(pi (s - warmup) / (total - warmup)))``.

    The paper's tokenizer uses betas (0, 0.99), no weight decay, no clipping and one epoch of warm-up (supplement,
    implementation details). The rate is 0 at step 0, ``learning_rate`` at the end of the warm-up, 0 at the end.

    Attributes:
      learning_rate: the peak.
      total_steps: updates in all; the rate stays at 0 past them.
      warmup_steps: updates of linear warm-up; fewer than ``total_steps``.
      b1, b2, eps: of Adam.
      weight_decay: decoupled, on the parameters named "kernel" only.
      clip_norm: bound on the global norm of the gradient; None for none.
      muon: ours, False in the paper: parameters named "kernel" take orthogonalised momentum (Muon, K. Jordan 2024)
        in place of Adam's step, scaled to a root mean square of one like Adam's first step, so that one rate does
        for both.
      adam_learning_rate: with ``muon`` the peak for all other parameters (tables, norms, biases); None for the same.
      accumulate: parts of the batch whose gradients are taken one after the other and averaged; see ``accumulation``.
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int = 0
    b1: float = 0.0
    b2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    muon: bool = False
    adam_learning_rate: float | None = None
    accumulate: int = 1

    def __post_init__(self):
        if self.accumulate < 1:
            raise ValueError(f"optimizer.accumulate is {self.accumulate}; expected the number of parts, at least 1.")
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps} and the run has {self.total_steps} steps; "
                "expected at least 0 and fewer than all. Lower the warm-up or train longer."
            )
        for name in ("learning_rate", "adam_learning_rate"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"optimizer.{name} is {getattr(self, name)}; expected a positive number.")
        if self.adam_learning_rate is not None and not self.muon:
            raise ValueError(f"optimizer.adam_learning_rate is {self.adam_learning_rate} and optimizer.muon is False: "
                             "Adam has all parameters, at learning_rate. Set muon, or take adam_learning_rate away.")

    def schedule(self, peak: float | None = None) -> optax.Schedule:
        """The learning rate by step; with another peak than ``learning_rate`` where one is given."""
        return optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate if peak is None else peak, self.warmup_steps, decay_steps=self.total_steps,
            end_value=0.0
        )

    def rate(self, step: int, total_steps: int) -> float:
        """The learning rate at a step, had the run so many steps in all."""
        return float(dataclasses.replace(self, total_steps=total_steps).schedule()(step))

    def transformation(self) -> optax.GradientTransformation:
        """Clipping, Adam (or Muon), decay and the schedule, in this order."""
        parts = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm is not None else []
        if self.muon:
            return optax.chain(*parts, self._muon())
        parts.append(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        if self.weight_decay:
            parts.append(optax.add_decayed_weights(self.weight_decay, mask=_kernels))
        return optax.chain(*parts, optax.scale_by_learning_rate(self.schedule()))

    def _muon(self) -> optax.GradientTransformation:
        """The parts, and so the state, of ``optax.contrib.muon``."""
        kernels = optax.chain(
            scale_by_muon(_inputs), optax.identity(), optax.add_decayed_weights(self.weight_decay, mask=_kernels),
            optax.scale_by_learning_rate(self.schedule()))
        others = optax.adamw(self.schedule(self.adam_learning_rate), b1=self.b1, b2=self.b2, eps=self.eps,
                             weight_decay=0.0, nesterov=True)
        return optax.partition({"muon": kernels, "adam": others}, _labels)


def _labels(params):
    """"muon" for kernels of linear maps, "adam" for all else."""

    def label(path, leaf):
        return "muon" if path[-1].key == "kernel" and leaf.ndim >= 2 else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def _inputs(path, leaf) -> int:
    """How many of a kernel's first axes are inputs of the linear map that it is."""
    heads = len(path) > 1 and path[-2].key in ("query", "key", "value")  # (width, heads, width of a head)
    return 1 if heads else leaf.ndim - 1


def _kernels(params):
    """True for the leaves named "kernel"."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
