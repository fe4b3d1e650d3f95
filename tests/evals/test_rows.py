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
from videogvt.evals.rows import choose, code_figures, figures
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


def test_figures_by_hand():
    columns = {
        "index": np.arange(2), "psnr": np.array([20.0, 30.0]), "ssim": np.array([0.5, 1.0]), "l1": np.array([0.1, 0.3]),
        "found": np.array([[True, False], [True, True]]), "correct": np.array([True, False]),
        "track_error_px": np.array([[1.0, np.nan], [2.0, 6.0]]),
        "object_sse": np.array([1.0, 2.0]), "object_pixels": np.array([10, 20]),
    }
    numbers = figures(columns)
    assert numbers == pytest.approx({
        "clips": 2, "psnr": 25, "ssim": 0.75, "l1": 0.2, "object_found_share": 0.75, "track_error_px_median": 2.0,
        "track_error_px_p95": 5.6, "object_mse": 0.1, "oracle_accuracy": 0.5,
    })


def test_what_is_not_in_the_table_has_no_figure():
    assert set(figures({"index": np.arange(1), "psnr": np.ones(1)})) == {"clips", "psnr"}
    nothing_tracked = {"index": np.arange(1), "track_error_px": np.full((1, 3), np.nan)}
    assert set(figures(nothing_tracked)) == {"clips"}


def test_code_figures_by_hand():
    numbers = code_figures(np.array([2, 2, 0, 4]), pixels=64.0)
    assert numbers == pytest.approx({
        "codes_used": 3, "code_usage": 0.75, "code_perplexity": 2 * np.sqrt(2), "bits_per_pixel": 8 * 2 / 64,
    })


def test_one_code_used_has_perplexity_one():
    assert code_figures(np.array([0, 5]), 1.0)["code_perplexity"] == pytest.approx(1.0)


def test_clips_are_chosen_by_track_error_and_then_by_psnr():
    columns = {
        "index": np.arange(5), "psnr": np.array([10.0, 20, 30, 40, 50]),
        "track_error_px": np.array([[3.0, 5], [1, np.nan], [1, 1], [np.nan, np.nan], [9, 9]]),
    }
    chosen = choose(columns, 1)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {
        "first": [0], "best": [2], "median": [1], "worst": [4]}


def test_clips_without_truth_are_chosen_by_psnr():
    chosen = choose({"index": np.arange(5), "psnr": np.array([30.0, 10, 50, 20, 40])}, 2)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {
        "first": [0, 1], "best": [2, 4], "median": [0, 4], "worst": [1, 3]}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_three_clips_the_middle_one_is_the_first_median(count):
    chosen = choose({"index": np.arange(3), "psnr": np.array([30.0, 10, 20])}, count)
    assert (chosen["best"][0], chosen["median"][0], chosen["worst"][0]) == (0, 2, 1)


def test_no_more_clips_are_chosen_than_there_are():
    chosen = choose({"index": np.arange(2), "psnr": np.array([1.0, 2.0])}, 5)
    assert all(len(rows) == 2 for rows in chosen.values())
