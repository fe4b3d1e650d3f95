"""Tokens drawn from logits, with a key for every sample so that it does not matter which others share its batch.

And orders in which positions are filled in.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def check_sampling(temperature: float, top_k: int, nucleus: float) -> None:
    """Settings of ``draw`` that make sense.

    Raises:
      ValueError: one of them is out of range, or both filters are on.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature={temperature} must be 0 or more; 0 takes the most likely code.")
    if top_k < 0:
        raise ValueError(f"top_k={top_k} must be a number of codes, or 0 for all of them.")
    if not 0 <= nucleus <= 1:
        raise ValueError(f"nucleus={nucleus} must be a probability, or 0 for all codes.")
    if top_k and nucleus:
        raise ValueError(f"top_k={top_k} and nucleus={nucleus} exclude each other; set one of them to 0.")


def check_random_keys(keys_B, batch: int) -> None:
    """One key for each of the samples, of the kind that a batch does not change.

    Raises:
      ValueError: there are not as many keys as samples, or vmap would mix them.
    """
    if not jnp.issubdtype(keys_B.dtype, jax.dtypes.prng_key) or keys_B.shape != (batch,):
        raise ValueError(
            f"Found keys of shape {keys_B.shape} and type {keys_B.dtype}; expected {batch} typed keys, one for each "
            "sample, such as jax.random.split(jax.random.key(0), batch).")
    if str(jax.random.key_impl(keys_B)) != "threefry2x32":
        raise ValueError(
            f"Found keys of kind {jax.random.key_impl(keys_B)}, whose numbers depend on the other keys of the batch; "
            "expected threefry2x32, as from jax.random.key(0, impl='threefry2x32').")


def fold_in(keys_B, number):
    """A fresh key for each sample."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys_B, number)


def filter_top_k(logits, k: int):
    """Logits (..., K) of the ``k`` most likely codes, -inf for the others; of equal ones the earlier stay.

    Raises:
      ValueError: there are fewer than ``k`` codes.
    """
    if k > logits.shape[-1]:
        raise ValueError(f"top_k={k} exceeds the number of codes, {logits.shape[-1]}.")
    values, codes = jax.lax.top_k(logits, k)
    return jnp.put_along_axis(jnp.full_like(logits, -jnp.inf), codes, values, axis=-1, inplace=False)


def filter_nucleus(logits, mass: float):
    """Logits (..., K) of the fewest codes that together have a probability of at least ``mass``, -inf for the others.

    The most likely code always stays; of equal ones the earlier.
    """
    values, codes = jax.lax.top_k(logits, logits.shape[-1])
    probability = jax.nn.softmax(values, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    stays = (before < mass) | (mass >= 1)
    stays = stays.at[..., 0].set(True)
    return jnp.put_along_axis(logits, codes, jnp.where(stays, values, -jnp.inf), axis=-1, inplace=False)


def draw(keys_B, logits, *, temperature: float = 1.0, top_k: int = 0, nucleus: float = 0.0):
    """Codes (B, ...), int32, drawn from logits (B, ..., K).

    Args:
      keys_B: one for each sample, which alone decides it.
      logits: of which the filters see the untempered ones.
      temperature: divides the logits; 0 takes the most likely code, of equal ones the first.
      top_k: draw among this many codes; 0 for all.
      nucleus: draw among the most likely codes with this probability; 0 for all. One of the two filters at most.
    """
    check_sampling(temperature, top_k, nucleus)
    if top_k:
        logits = filter_top_k(logits, top_k)
    if nucleus:
        logits = filter_nucleus(logits, nucleus)
    if temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jax.vmap(jax.random.categorical)(keys_B, logits / temperature).astype(jnp.int32)


def log_probability(logits, codes):
    """The logarithm (...) of the probability that logits (..., K) give to codes (...)."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), codes[..., None], axis=-1)[..., 0]


def margin(logits):
    """How much likelier (...) than the second code the most likely one is, 0..1, by logits (..., K) of two codes or
    more."""
    first_second = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), 2)[0]
    return first_second[..., 0] - first_second[..., 1]


def log_probability_of_others(logits, code: int):
    """The logarithm (...) of the probability that logits (..., K) give to all codes but one; exact where it is tiny.

    Raises:
      ValueError: there is no such code.
    """
    if not 0 <= code < logits.shape[-1]:
        raise ValueError(f"There is no code {code} among {logits.shape[-1]}.")
    others = jax.nn.logsumexp(logits.at[..., code].set(-jnp.inf), axis=-1)
    return others - jax.nn.logsumexp(logits, axis=-1)


def sharpen_others(logits, code: int, temperature: float):
    """Logits (..., K) that give a code the probability that it had, and divide the others' by ``temperature``.

    Raises:
      ValueError: there is no such code.
    """
    rest = log_probability_of_others(logits, code)[..., None]
    others = jax.nn.log_softmax(logits.at[..., code].set(-jnp.inf) / temperature, axis=-1) + rest
    return others.at[..., code].set(jax.nn.log_softmax(logits, axis=-1)[..., code])


def gumbel(keys_B, count: int):
    """Standard Gumbel noise (B, count), each row from its own key."""
    return jax.vmap(lambda key: jax.random.gumbel(key, (count,)))(keys_B)


@functools.cache
def halton_order(grid: tuple[int, int, int]) -> np.ndarray:
    """The positions (N,) of a grid of codes, t-major, in the order in which the Halton sequence first meets them.

    However many come first, they are spread evenly over rows, columns and frames. Rows and columns have the bases 2 and
    3, as in valeoai/Halton-MaskGIT, whose order it is on a grid of one frame; frames have 5. The sequence begins with
    its second point, (1/2, 1/3, 1/5).

    Args:
      grid: (t, h, w).

    Raises:
      ValueError: the grid is not three positive integers.
    """
    if len(grid) != 3 or min(grid) < 1:
        raise ValueError(f"Found grid={grid}; expected three positive integers: frames, rows, columns.")
    frames, rows, columns = grid
    size = frames * rows * columns
    from scipy.stats import qmc  # for who asks for this order alone

    sequence = qmc.Halton(2 if frames == 1 else 3, scramble=False)
    sequence.fast_forward(1)
    order = np.zeros(0, np.int64)
    while len(order) < size:
        points = sequence.random(8 * size)
        row, column = (np.floor(points[:, axis] * cells).astype(int) for axis, cells in ((0, rows), (1, columns)))
        frame = np.floor(points[:, 2] * frames).astype(int) if frames > 1 else 0
        order = np.concatenate([order, (frame * rows + row) * columns + column])
        order = order[np.sort(np.unique(order, return_index=True)[1])]
    order.flags.writeable = False
    return order


def bisection(count: int) -> tuple[int, ...]:
    """0..count-1: the first, the last, then the middles of gaps, level by level: 0, 15, 8, 4, 12, 2, ..."""
    order, gaps = [0, count - 1][:count], [(0, count - 1)]
    for low, high in gaps:
        if high - low > 1:
            middle = (low + high + 1) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return tuple(order)


def rank_of(order: Sequence[int] | np.ndarray) -> np.ndarray:
    """The place (N,) of every position in an order of all positions."""
    return np.argsort(np.asarray(order))
