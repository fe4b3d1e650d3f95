import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from videogvt.core import backend

ROOT = Path(__file__).parents[2]

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
    assert settings == f"{tmp_path / '.cache/videogvt/xla'} --xla_cpu_enable_fast_math=false"
    assert "jax in use already" in refusal


LATE = """
import sys
import jax
from videogvt.core.backend import prepare_backend
prepare_backend(sys.argv[1])
print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs, len(jax.devices()))
"""


def test_settings_count_where_jax_was_imported_and_not_yet_used(tmp_path):
    """As by a plug-in of the tests."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", LATE, str(tmp_path / "cache")], env=environment, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.split() == [str(tmp_path / "cache"), "1.0", "1"], done.stderr


def test_the_suite_runs_where_a_plugin_has_imported_jax(tmp_path):
    (tmp_path / "early.py").write_text("import jax\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-p", "early", "-p", "no:cacheprovider", "tests/ops/test_layout.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("error, reason", [
    (AssertionError(), "its plug-in is not installed, or found no device"),
    (RuntimeError("Backend 'cuda' is not in the list\nof known ones"), "Backend 'cuda' is not in the list"),
])
def test_devices_that_are_not_there_are_an_error_with_a_remedy(monkeypatch, error, reason):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(RuntimeError, match=f"JAX_PLATFORMS='cuda': {reason}. Unset it .*tpu"):
        backend.check_devices()


def test_run_names_the_platform_that_is_not_there():
    """A suite that found a device of the kind would be on such a machine, and this test is for the others."""
    if importlib.util.find_spec("jax_plugins"):
        pytest.skip("jax has plug-ins here")
    done = subprocess.run([sys.executable, "run.py", "--config=configs/vqvae_traj.py:tiny", "--mode=plan"], cwd=ROOT,
                          env={**os.environ, "JAX_PLATFORMS": "cuda"}, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "jax has no devices with JAX_PLATFORMS='cuda'" in done.stderr


CONSTANT_TABLE = """
import os, sys
from videogvt.core.backend import prepare_backend
prepare_backend()
import videogvt.nn.transformer
assert "XLA_FLAGS" not in os.environ, os.environ["XLA_FLAGS"]
import jax, jax.numpy as jnp, numpy as np
table = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)  # inside the network
ids = jnp.arange(32).reshape(2, 16)

def loss(params):
    x = (table @ params["in"])[ids]
    x += jax.nn.softmax(x @ x.swapaxes(1, 2)) @ x
    logits = x @ params["out"] @ table.T
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), ids[..., None], 2).mean()

@jax.jit
def step(params):
    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), value

params, losses = {"in": np.eye(8, 16, dtype=np.float32), "out": np.eye(16, 8, dtype=np.float32)}, []
for _ in range(3):
    params, value = step(params)
    losses.append(float(value))
assert losses[2] < losses[1] < losses[0], losses
"""


def test_no_flag_of_the_compiler_is_set_and_a_network_around_a_constant_table_trains():
    """An experimental flag of XLA that made convolutions faster ended processes with such networks on some CPUs."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", CONSTANT_TABLE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_program_starts_anew_in_huge_pages_once_and_where_there_are_such(monkeypatch, tmp_path):
    kernel, started = tmp_path / "enabled", []
    monkeypatch.setattr(backend, "KERNEL", kernel)
    monkeypatch.setattr(backend.os, "execv", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(backend.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(backend.sys, "orig_argv", ["python", "-u", "run.py", "--config=a b"])
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=1")
    backend.use_huge_pages()  # the kernel knows none
    kernel.write_text("always [never] madvise")
    backend.use_huge_pages()
    assert not started
    kernel.write_text("always [madvise] never")
    backend.use_huge_pages()
    assert started == [(sys.executable, [sys.executable, "-u", "run.py", "--config=a b"])]
    assert backend.os.environ["GLIBC_TUNABLES"] == "glibc.malloc.perturb=1:glibc.malloc.hugetlb=1"
    backend.use_huge_pages()
    assert len(started) == 1
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")  # somebody knows better
    backend.use_huge_pages()
    assert len(started) == 1


def test_a_program_that_cannot_start_anew_goes_on(monkeypatch, tmp_path, capfd):
    kernel = tmp_path / "enabled"
    kernel.write_text("always [madvise] never")
    monkeypatch.setattr(backend, "KERNEL", kernel)
    monkeypatch.setattr(backend.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(backend.sys, "executable", str(tmp_path / "no_such_python"))
    for before in (None, "glibc.malloc.perturb=1"):
        if before is None:
            monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
        else:
            monkeypatch.setenv("GLIBC_TUNABLES", before)
        backend.use_huge_pages()
        assert backend.os.environ.get("GLIBC_TUNABLES") == before
        assert "no_such_python' cannot be started anew" in capfd.readouterr().err


def test_a_program_keeps_its_process_and_its_arguments_when_it_starts_anew(tmp_path):
    script, kernel = tmp_path / "script.py", tmp_path / "enabled"
    kernel.write_text("[madvise]")
    script.write_text(f"""
import os, pathlib, sys
from videogvt.core import backend
backend.KERNEL = pathlib.Path({str(kernel)!r})
print(os.getpid(), sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), flush=True)
backend.use_huge_pages()
""")
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, script, "--a=b c"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if platform.libc_ver()[0] == "glibc":
        assert len(lines) == 2 and lines[1].endswith("glibc.malloc.hugetlb=1")
    assert len({line.split()[0] for line in lines}) == 1 and all("['--a=b c']" in line for line in lines)
