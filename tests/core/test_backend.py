import subprocess
import sys

from videogvt.core import backend

SCRIPT = """
import os, sys
from videogvt.core.backend import prepare_backend
prepare_backend()
assert "jax" not in sys.modules and "numpy" not in sys.modules
import jax
before = dict(os.environ)
prepare_backend()
assert dict(os.environ) == before
assert jax.jit(lambda x: x + 1)(1) == 2
print(jax.config.jax_compilation_cache_dir, os.environ["XLA_FLAGS"])
del os.environ["JAX_COMPILATION_CACHE_DIR"]
try:
    prepare_backend("elsewhere")
except RuntimeError as error:
    print(error)
"""


def test_settings_are_made_before_jax_and_only_then(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu",
                   "XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    settings, refusal = done.stdout.splitlines()
    assert settings.startswith(str(tmp_path / ".cache/videogvt/xla") + " --xla_cpu_enable_fast_math=false")
    assert "jax imported already" in refusal


def test_the_flag_goes_only_to_compilers_that_know_it(monkeypatch):
    installed = {"jaxlib": "0.10.2", "plugins": ()}
    monkeypatch.setattr(backend.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(backend.importlib.metadata, "version", installed.get)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name in installed["plugins"] or None)
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert backend._settings("off") == {"XLA_FLAGS": backend.CONVOLUTION_FLAG}
    installed["plugins"] = ("jax_plugins",)
    assert backend._settings("off") == {}
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert backend._settings("off") == {"XLA_FLAGS": backend.CONVOLUTION_FLAG}
    monkeypatch.setenv("XLA_FLAGS", backend.CONVOLUTION_FLAG)
    assert backend._settings("off") == {}
    monkeypatch.setenv("XLA_FLAGS", "")
    installed["jaxlib"] = "0.10.3"
    assert backend._settings("off") == {}
