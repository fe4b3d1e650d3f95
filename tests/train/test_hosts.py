import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.train.toys import leaves, toy_run
from videogvt.train.checkpoint import finished_steps
from videogvt.train.journal import read_rows
from videogvt.train.loop import fit

ROOT = Path(__file__).parents[2]

HOST = """
import sys
from videogvt.train.parallel import start_distributed
start_distributed(timeout_s=60)
import jax
from tests.train.toys import ToyBatches, ToyData, toy_run
from videogvt.train.loop import fit

class HostBatches(ToyBatches):
    def __next__(self):
        rows = slice(4 * jax.process_index(), 4 * jax.process_index() + 4)
        return {name: array[rows] for name, array in super().__next__().items()}

class HostData(ToyData):
    def train(self):
        return HostBatches(self)

assert (jax.process_count(), jax.device_count()) == (2, 2)
data = HostData(stop_at=3 if jax.process_index() == 1 else -1)
fit(*toy_run(8, data=data, log_every=2), sys.argv[1])
"""


def test_two_hosts_leave_together_and_one_goes_on(tmp_path):
    """Process 1 alone is told to stop; both leave at the next step at which they ask each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, str(tmp_path / "two")], cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2",
                 "JAX_PROCESS_ID": str(index)},
        ) for index in range(2)
    ]
    try:
        messages = [host.communicate(timeout=120)[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [143, 143], "\n".join(messages)
    assert "Stopped at step 4 of 8" in messages[0] and "Stopped" not in messages[1]
    assert finished_steps(tmp_path / "two") == [4]
    assert [row["examples"] for row in read_rows(tmp_path / "two")] == [16, 32]

    one = leaves(fit(*toy_run(8, log_every=2), tmp_path / "one"))
    both = leaves(fit(*toy_run(8, log_every=2), tmp_path / "two"))
    assert one.keys() == both.keys()
    for path in one:
        np.testing.assert_allclose(one[path], both[path], rtol=2e-4, atol=2e-6, err_msg=path)
    assert [row["step"] for row in read_rows(tmp_path / "two")] == [2, 4, 6, 8]
