import os
import platform
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
    assert settings == f"{tmp_path / '.cache/videogvt/xla'} --xla_cpu_enable_fast_math=false"
    assert "jax imported already" in refusal


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
