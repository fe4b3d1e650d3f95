"""How often a part is called."""

import jax
import jax.numpy as jnp
import pytest

from videogvt.bench.parts import Part, timed
from videogvt.train.timing import MIN_REPEATS

pytestmark = pytest.mark.optimized


def test_calls_are_repeated_until_the_deadline_and_a_few_times_in_any_case():
    x = jnp.ones(8)
    part = Part("sine", 2, lambda: jax.jit(jnp.sin).lower(x), lambda compiled: compiled(x), 16.0, jnp.dtype("float32"))
    ceilings = {"float32": 1e9, "copy": 1e9}
    late, early = timed(part, 4, ceilings, repeats=9, deadline=0.0), timed(part, 4, ceilings, repeats=9)
    assert (late["repeats"], early["repeats"]) == (MIN_REPEATS, 9) and late["clips"] == 2
