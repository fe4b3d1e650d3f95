"""How large a batch may be, told from shapes alone: nothing is compiled and nothing computed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from videogvt.train.timing import inner_jaxprs

LARGEST = 2**31 - 1
"""Elements of one array; libraries of kernels count them in 32 bits."""


class Needs(NamedTuple):
    """What a program needs at once.

    Attributes:
      bytes: of arguments, results and all that is alive between them.
      elements: of its largest array.
    """

    bytes: int
    elements: int


def needs(function: Callable, *arguments: Any) -> Needs:
    """What ``function(*arguments)`` needs if every value is kept from the line that makes it to the last that reads it.

    A compiler fuses lines, so that most values are never stored; it needs less.

    Args:
      function: traceable.
      arguments: arrays, or ``jax.ShapeDtypeStruct`` in their place.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    given = sum(_bytes(variable) for variable in (*jaxpr.invars, *jaxpr.constvars))
    inside = _needs(jaxpr)
    return Needs(given + inside.bytes, inside.elements)


def batch_sizes(needed: Callable[[int], Needs], budget: float, max_rows: int) -> tuple[int, int]:
    """The largest power of two of rows whose program fits, at most ``most``, and a quarter of it, at least 1.

    Args:
      needed: of a batch size; asked at 1 and 2, since needs grow with the batch along a line.
      budget: bytes.
      max_rows: rows.

    Raises:
      MemoryError: not even one row fits.
    """
    one, two = needed(1), needed(2)

    def fits(rows: int) -> bool:
        size = one.bytes + (rows - 1) * (two.bytes - one.bytes)
        return size <= budget and one.elements + (rows - 1) * (two.elements - one.elements) <= LARGEST

    if not fits(1):
        raise MemoryError(f"One row needs {one.bytes / 2**30:,.1f} GiB by its shapes; there are {budget / 2**30:,.1f}.")
    rows = 1
    while 2 * rows <= max_rows and fits(2 * rows):
        rows *= 2
    return rows, max(1, rows // 4)


def _needs(jaxpr: Any) -> Needs:
    """Of what the lines make, arguments apart."""
    last = {variable: place for place, line in enumerate(jaxpr.eqns) for variable in _variables(line.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    alive, now, peak, elements = {}, 0, 0, 0
    for place, line in enumerate(jaxpr.eqns):
        inside = [_needs(inner) for inner in inner_jaxprs(line.params.values())]
        sizes = {variable: _bytes(variable) for variable in line.outvars}
        peak = max(peak, now + max([sum(sizes.values()), *(inner.bytes for inner in inside)]))
        elements = max([elements, *(inner.elements for inner in inside),
                        *(variable.aval.size for variable in line.outvars)])
        kept = {variable: size for variable, size in sizes.items() if variable in last}
        alive |= kept
        now += sum(kept.values())
        now -= sum(alive.pop(variable, 0) for variable in set(_variables(line.invars)) if last[variable] == place)
    return Needs(peak, elements)


def _variables(atoms: Any) -> list[Any]:
    """Those of a line's arguments or results that are no constants."""
    return [atom for atom in atoms if not hasattr(atom, "val")]


def _bytes(variable: Any) -> int:
    kind = variable.aval
    return kind.size * kind.dtype.itemsize
