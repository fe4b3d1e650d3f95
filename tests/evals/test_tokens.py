"""Decoders compared: quality and cost in one table."""

import jax.numpy as jnp
import pytest

from tests.evals import bank
from tests.evals.test_generation import make_eval
from videogvt.evals.tokens import ClipDecoder, compare, cost


def costly(state, task_B, label_B, video_BTHWC, keys_B):
    """Real clips, for two products of 16 x 16 matrices a clip."""
    made = bank.real(state, task_B, label_B, video_BTHWC, keys_B)
    matrix_BDD = jnp.ones((len(label_B), 16, 16)) * label_B[:, None, None]
    return made | {"video": made["video"] + 1e-9 * (matrix_BDD @ matrix_BDD @ matrix_BDD).mean()}


def test_quality_and_cost_stand_in_one_row():
    state, evaluator = bank.make_state(), make_eval(per_class=3, judge=bank.judge())
    decoders = [ClipDecoder("12 steps", 12, costly, state), ClipDecoder("autoregressive", 32, bank.white, state)]
    rows = list(compare(decoders, evaluator, batches=(1, 4), repeats=1))
    assert [row["name"] for row in rows] == ["12 steps", "autoregressive"] and rows[1]["passes"] == 32
    assert rows[0]["one_object_share"] == rows[0]["judge_agreement"] == 1.0
    assert rows[1]["one_object_share"] == rows[1]["oracle_agreement"] == rows[1]["spread_vs_real"] == 0.0
    assert rows[0]["gflop/1"] == pytest.approx(2 * 2 * 16**3 / 1e9)
    assert rows[0]["gflop/4"] == pytest.approx(4 * rows[0]["gflop/1"]) and rows[1]["gflop/4"] == 0.0
    assert all(row["seconds/1"] > 0 and row["seconds/4"] > 0 and row["clips"] == 15 for row in rows)


def test_real_clips_are_measured_once():
    state, evaluator = bank.make_state(), make_eval(per_class=2)
    first = evaluator.asking(bank.real)
    numbers = dict(first.run(state))
    second = first.asking(bank.white)
    assert second._beside is first._beside and not second._compiled
    again = dict(second.run(state))
    assert again["real/spread_px"] == numbers["real/spread_px"] and again["spread_px"] == 0.0


def test_cost_of_a_product():
    found = cost(jnp.matmul, jnp.ones((8, 8)), jnp.ones((8, 8)), repeats=2)
    assert found["gflop"] == 2 * 8**3 / 1e9 and found["seconds"] > 0
