"""Counting the floating-point operations of a function, loops included.

XLA's own count takes the body of a loop once, whatever its length; decoding is such a loop. Here the products of the
traced function are counted, and those inside a loop as often as it runs.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_flops(function: Callable, *arguments: Any) -> float:
    """Twice the multiplications of all matrix products and convolutions of ``function(*arguments)``.

    What is done element by element is left out. Of branches the costlier one counts.

    Args:
      function: traceable.
      arguments: arrays, or ``jax.ShapeDtypeStruct`` in their place; nothing is computed.

    Raises:
      ValueError: a product stands in a loop whose length is not known beforehand.
    """
    return float(_of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr))


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        channels = kernel[parameters["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // channels
    inner = [_of_jaxpr(jaxpr) for jaxpr in inner_jaxprs(parameters.values())]
    if name == "scan":
        return parameters["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError("A while_loop holds matrix products, and how often it runs is not known before; write it as a "
                         "scan, or a fori_loop with constant bounds.")
    return max(inner, default=0) if name == "cond" else sum(inner)


def inner_jaxprs(values: Any) -> Iterator[Any]:
    """The traced functions among an equation's parameters."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from inner_jaxprs(value)
        elif hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr
