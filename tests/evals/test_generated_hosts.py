"""Two real processes generate, predict and measure what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evals import bank
from tests.evals.test_generation import make_eval as make_generation
from tests.evals.test_prediction import make_eval as make_prediction
from tests.evals.test_published import published
from videogvt.train.contracts import Media

ROOT = Path(__file__).parents[2]

HOST = """
import json
from videogvt.core.processes import start_distributed
from videogvt.train.parallel import MeshShape
start_distributed(timeout_s=60)
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from tests.evals import bank
from tests.evals.test_generated_hosts import figures
from videogvt.train.state import TrainState

assert (jax.process_count(), jax.device_count()) == (2, 2)
whole = NamedSharding(MeshShape().build(), PartitionSpec())
place = lambda value: jax.make_array_from_callback(value.shape, whole, lambda index: value[index])
state = TrainState.create(params={"bank": place(bank.bank_of("validation", 20))}, opt={})
print(json.dumps(figures(state.replace(step=place(np.zeros((), np.int32))))))
"""


def figures(state) -> dict[str, float]:
    scores = published(fold_clips=3, folds=2)  # 6 clips: a batch of 4, and half of one
    generation = make_generation(per_class=2, batch_size=4, samples=1, judge=bank.judge(), published=scores)
    prediction = make_prediction(bank.real, ("FP:3", "IPC"), batch_size=4, limit=6, samples=1)
    return {f"{place}/{name}": value for place, evaluator in enumerate((generation, prediction))
            for name, value in evaluator.run(state) if not isinstance(value, Media)}


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
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(error for _, error in outputs)
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in outputs)
    one = figures(bank.make_state("validation", 20))
    assert first == second and first == pytest.approx(one, rel=1e-4, abs=1e-5)
