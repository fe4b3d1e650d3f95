"""``run.py`` itself, as two real processes over loopback: they train and evaluate as one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from videogvt.train.journal import read_rows

ROOT = Path(__file__).parents[1]
STEPS = 20
FLAGS = ("--config=configs/vqvae_traj.py:tiny", f"--config.train.steps={STEPS}", f"--config.train.save_every={STEPS}",
         f"--config.evals.every={STEPS}")


def start(workdir, *flags):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen([sys.executable, "run.py", *FLAGS, f"--workdir={workdir}", *flags], cwd=ROOT,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{free.getsockname()[1]}"
    processes = [start(tmp_path / "two", address, "--num_processes=2", f"--process_id={index}") for index in range(2)]
    processes.append(start(tmp_path / "one"))
    try:
        outputs = [process.communicate(timeout=1500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(errors for _, errors in outputs)
    reports = ["report.html" in output for output, _ in outputs[:2]]
    assert reports == [True, False]  # the second process shares what it found, and reports nothing

    one, two = ([row["train/loss"] for row in read_rows(tmp_path / name) if "train/loss" in row]
                for name in ("one", "two"))
    gaps = np.abs(np.subtract(two, one))
    assert len(one) == STEPS and np.median(gaps) < 1e-5 and gaps.max() < 1e-3, gaps  # a code may hang on rounding
    one, two = (json.loads((tmp_path / name / "eval.json").read_text()) for name in ("one", "two"))
    assert one.pop("about")["step"] == two.pop("about")["step"]
    assert two == pytest.approx(one, rel=1e-3, abs=1e-4)
