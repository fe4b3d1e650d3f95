"""The same toy is compiled again and again here: its small programs go to the compilation cache too, if one is on."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def small_programs_in_the_cache():
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    environment = pytest.MonkeyPatch()
    environment.setenv(name.upper(), "0")
    jax.config.update(name, 0.0)
    yield
    jax.config.update(name, before)
    environment.undo()
