"""Tables of several hosts, put together; two real processes measure what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from tests.evals.test_modelability import of_squares
from tests.evals.test_reconstruction import make_eval, make_state, source
from videogvt.evals import rows
from videogvt.train.contracts import Media
from videogvt.train.parallel import MeshShape

ROOT = Path(__file__).parents[2]

HOST = """
import json, sys
from videogvt.core.processes import start_distributed
from videogvt.train.parallel import MeshShape
start_distributed(timeout_s=60)
import jax, jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from tests.evals.test_modelability import of_squares
from tests.evals.test_reconstruction import make_eval, source
from videogvt.train.contracts import Media
from videogvt.train.state import TrainState

assert (jax.process_count(), jax.device_count()) == (2, 2)
whole = NamedSharding(MeshShape().build(), PartitionSpec())
level = jax.make_array_from_callback((), whole, lambda index: np.float32(0.7))
step = jax.make_array_from_callback((), whole, lambda index: np.int32(0))
state = TrainState.create(params={"generator": {"level": level}}, opt={}).replace(step=step)
results = dict(make_eval(source()).run(state)) | dict(of_squares(7, batch_size=4).run(state))
print(json.dumps({name: value for name, value in results.items() if not isinstance(value, Media)}))
"""


def test_tables_of_hosts_are_put_together(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(rows.multihost_utils, "process_allgather", lambda tree, tiled: {
        name: np.concatenate([jnp.asarray(array)] * 2) for name, array in tree.items()})  # through jax, as it does
    columns = {
        "id": np.array(["été#0", "b" * 300]), "error": np.array([1 / 3, 2.0]), "seen": np.array([2**40 + 1, -1]),
        "track": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "found": np.array([[True], [False]]),
        "label": np.array([3, 4], np.int32),
    }
    whole = rows.gather(columns)
    for name, column in columns.items():
        assert whole[name].dtype == column.dtype, name
        np.testing.assert_array_equal(whole[name], np.concatenate([column, column]), err_msg=name)
    assert rows.gather({"track": np.zeros((0, 3, 2))})["track"].shape == (0, 3, 2)


def test_texts_are_as_wide_as_the_longest_of_any_host(monkeypatch):
    monkeypatch.setattr(rows.multihost_utils, "process_allgather", lambda tree, tiled: {
        name: np.concatenate([array, [300]]) for name, array in tree.items()})  # the other host's longest
    columns = {"id": np.array(["été", ""]), "index": np.arange(2)}
    found = rows._of_one_width(columns)
    assert found["id"].dtype == "U300" and found["id"].tolist() == ["été", ""]
    assert rows._of_one_width({"id": np.array([""])})["id"].dtype.itemsize > 0


def test_local_rows_of_a_split_array():
    devices = jax.devices()
    mesh = MeshShape().build(devices)
    numbers = np.arange(2 * len(devices) * 3.0).reshape(-1, 3)
    array = jax.device_put(numbers, NamedSharding(mesh, PartitionSpec("data")))
    np.testing.assert_array_equal(rows.local_rows(array), numbers)


def test_two_hosts_measure_what_one_does():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOST], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**environment, "JAX_PROCESS_ID": str(index)},
        ) for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(error for _, error in outputs)
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in outputs)
    one = [*make_eval(source()).run(make_state(0.7)), *of_squares(7, batch_size=4).run(make_state(0.7))]
    one = {name: value for name, value in one if not isinstance(value, Media)}
    assert first == second and first == pytest.approx(one, rel=1e-5)
