"""Real processes over loopback: they train as one, leave together, and end together when one is killed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.train.toys import leaves, toy_run
from videogvt.train.checkpoint import finished_steps, load_weights
from videogvt.train.journal import read_rows
from videogvt.train.loop import fit

pytestmark = pytest.mark.optimized

ROOT = Path(__file__).parents[2]

HOST = """
import sys
from videogvt.core.processes import together

with together(timeout_s=240):
    import jax
    import videogvt.train.parallel as parallel
    from tests.train.toys import ToyBatches, ToyData, toy_run
    from videogvt.train.loop import fit

    class HostBatches(ToyBatches):
        def __next__(self):
            rows = 8 // jax.process_count()
            rows = slice(rows * jax.process_index(), rows * (jax.process_index() + 1))
            return {name: array[rows] for name, array in super().__next__().items()}

    class HostData(ToyData):
        def train(self):
            return HostBatches(self)

    parallel.FSDP_LEAST = 1  # the toy is small
    workdir, stop_at, signal, fsdp = sys.argv[1:]
    last = jax.process_index() == jax.process_count() - 1
    data = HostData(stop_at=int(stop_at) if last else -1, signals=(signal,))
    fit(*toy_run(8, data=data, log_every=2, save_every=2, mesh=parallel.MeshShape(fsdp=fsdp == "fsdp")), workdir)
"""


def run_hosts(workdir, count: int = 2, stop_at: int = -1, signal: str = "SIGTERM", fsdp: str = "whole"):
    """Exit codes and what they wrote to standard error, by process; the last one is sent the signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address,
                   "JAX_NUM_PROCESSES": str(count)}
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, str(workdir), str(stop_at), signal, fsdp], cwd=ROOT, stderr=subprocess.PIPE,
            text=True, env={**environment, "JAX_PROCESS_ID": str(index)},
        ) for index in range(count)
    ]
    try:
        messages = [host.communicate(timeout=300)[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    return [host.returncode for host in hosts], messages


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return leaves(fit(*toy_run(8, log_every=2), tmp_path_factory.mktemp("one")))


def assert_close(one, other):
    assert one.keys() == other.keys()
    for path in one:
        np.testing.assert_allclose(one[path], other[path], rtol=2e-4, atol=2e-6, err_msg=path)


def test_two_hosts_leave_together_and_one_goes_on(tmp_path, one):
    """Process 1 alone is told to stop; both leave at the next step at which they ask each other."""
    codes, messages = run_hosts(tmp_path / "two", stop_at=3)
    assert codes == [143, 143], "\n".join(messages)
    assert "Stopped at step 4 of 8" in messages[0] and "Stopped" not in messages[1]
    assert finished_steps(tmp_path / "two") == [2, 4]
    assert [row["examples"] for row in read_rows(tmp_path / "two")] == [16, 32]
    assert_close(one, leaves(fit(*toy_run(8, log_every=2), tmp_path / "two")))
    assert [row["step"] for row in read_rows(tmp_path / "two")] == [2, 4, 6, 8]


def killed_and_taken_up_again(workdir, count, fsdp):
    """The weights of a run of which one process was killed in its seventh step."""
    codes, messages = run_hosts(workdir, count, stop_at=7, signal="SIGKILL", fsdp=fsdp)
    assert codes[-1] == -9 and all(code not in (0, 143) for code in codes[:-1]), "\n".join(messages)
    told = f"Process 0 of {count} ends because it lost another process, whose own output says why."
    assert told in messages[0] or "another task died" in messages[0], messages[0]
    assert finished_steps(workdir)[-1] in (4, 6)  # the save of step 6 may have been under way
    codes, messages = run_hosts(workdir, count, fsdp=fsdp)
    assert codes == [0] * count, "\n".join(messages)
    return load_weights(workdir, "last")


def assert_same_bits(weights, others):
    weights, others = leaves(weights), leaves(others)
    assert weights.keys() == others.keys()
    for path in weights:
        np.testing.assert_array_equal(weights[path], others[path], err_msg=path)


def test_when_one_host_is_killed_all_end_and_go_on_exactly(tmp_path):
    weights = killed_and_taken_up_again(tmp_path / "killed", 2, "whole")
    codes, messages = run_hosts(tmp_path / "whole")
    assert codes == [0, 0], "\n".join(messages)
    assert_same_bits(weights, load_weights(tmp_path / "whole", "last"))


@pytest.mark.slow
def test_four_hosts_that_share_the_parameters_do_as_one_and_survive_a_kill(tmp_path, one):
    weights = killed_and_taken_up_again(tmp_path / "killed", 4, "fsdp")
    codes, messages = run_hosts(tmp_path / "whole", 4, fsdp="fsdp")
    assert codes == [0] * 4, "\n".join(messages)
    assert_same_bits(weights, load_weights(tmp_path / "whole", "last"))
    assert_close(one, leaves(fit(*toy_run(8, log_every=2), tmp_path / "whole")))
