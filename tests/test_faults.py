"""Runs that are killed go on as if nothing had happened: real processes, four of the kills of benchmarks/faults.py."""

import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_killed_while_building_saving_evaluating_and_tokenizing_it_ends_with_the_same_bits(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import faults

    rows = faults.main(["--kills=4", "--phases=building,saving,evaluating,tokenizing", "--no-others",
                        f"--folder={tmp_path}"])
    assert len(rows) == 4 and not [row for row in rows if row["wrong"]]
