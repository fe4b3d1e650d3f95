import os
import socket
import subprocess
import sys

import pytest

from videogvt.core.processes import PORT, Processes, find_processes, start_distributed

JAX = {"JAX_COORDINATOR_ADDRESS": "host-0:1234", "JAX_NUM_PROCESSES": "4"}


@pytest.mark.parametrize("environment, expected", [
    ({}, None),
    ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),  # in the batch script, outside of srun
    ({"SLURM_STEP_NUM_TASKS": "1", "OMPI_COMM_WORLD_SIZE": "1", "TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ({"SKYPILOT_NODE_IPS": "10.0.0.1", "SKYPILOT_NODE_RANK": "0"}, None),
    ({**JAX, "JAX_PROCESS_ID": "3", "JOB_COMPLETION_INDEX": "1"}, ("host-0:1234", 4, 3)),
    ({**JAX, "JOB_COMPLETION_INDEX": "1"}, ("host-0:1234", 4, 1)),
    ({"JAX_COORDINATOR_ADDRESS": "auto"}, (None, None, None)),
    ({"TPU_WORKER_HOSTNAMES": "t0,t1", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"}, (None, None, None)),
    ({"MEGASCALE_NUM_SLICES": "2", "TPU_WORKER_HOSTNAMES": "t0"}, (None, None, None)),
    ({"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NODE_RANK": "1"}, (f"10.0.0.1:{PORT}", 2, 1)),
    ({"SLURM_STEP_NUM_TASKS": "2"}, (None, None, None)),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, (None, None, None)),
])
def test_the_environment_tells_who_takes_part(environment, expected):
    found = find_processes(environment=environment)
    assert (found and found[:3]) == expected


def test_flags_come_before_the_environment():
    found = find_processes("localhost:1", 2, 0, environment={**JAX, "JAX_PROCESS_ID": "3"})
    assert found == Processes("localhost:1", 2, 0, "--coordinator, --num_processes and --process_id")


@pytest.mark.parametrize("arguments, environment, message", [
    (("localhost:1", 2, None), {}, "this one None; give all three by --coordinator"),
    ((None, 2, 0), {}, "coordinator None, 2 processes"),
    (("localhost:1", 2, 2), {}, "count from 0 to one less"),
    (("localhost", 2, 0), {}, f"expected host:port, such as localhost:{PORT}"),
    ((), {**JAX, "JAX_PROCESS_ID": "first"}, "JAX_PROCESS_ID is 'first'; expected a whole number"),
    ((), JAX, "give all three by [$]JAX_COORDINATOR_ADDRESS"),
    ((), {"SKYPILOT_NODE_IPS": "a b"}, "SKYPILOT_NODE_RANK"),
])
def test_what_is_missing_is_named(arguments, environment, message):
    with pytest.raises(ValueError, match=message):
        find_processes(*arguments, environment=environment)


def test_a_coordinator_that_does_not_answer_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(TimeoutError, match=f"no coordinator at {address} in 0 s .*Start process 0 there"):
        start_distributed(address, 2, 1, timeout_s=0)


ALONE = """
import pathlib, sys, time
from videogvt.core.processes import first_alone, together
with together(timeout_s=60):
    import jax
    for turn in range(2):  # a place may be passed again
        made = pathlib.Path(sys.argv[1]) / str(turn)
        with first_alone():
            if jax.process_index() == 0:
                time.sleep(0.5)
                assert not made.exists()
                made.touch()
            assert made.exists()
"""


def test_the_first_process_makes_what_the_others_find(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen([sys.executable, "-c", ALONE, str(tmp_path)], stderr=subprocess.PIPE, text=True,
                         env={**environment, "JAX_PROCESS_ID": str(index)}) for index in range(2)
    ]
    try:
        messages = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(messages)
    assert len(list(tmp_path.iterdir())) == 2
