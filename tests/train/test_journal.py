import json
import math
import re
import subprocess
import sys
import time
import types

import pytest

from videogvt.train import journal
from videogvt.train.contracts import Media
from videogvt.train.journal import (
    Journal,
    WorkdirError,
    claim_workdir,
    config_hash,
    environment,
    keep_media,
    read_eval,
    read_rows,
    write_eval,
)


def test_rows_past_the_step_taken_up_are_dropped(tmp_path):
    with Journal(tmp_path, start=0, total=9, show=("loss",)) as open_journal:
        for step in (3, 6, 9):
            open_journal.write(step, {"train/loss": step / 2}, 1.5, 8 * step)
    (tmp_path / "metrics.jsonl").open("a").write('{"step": 12, "tra')
    with Journal(tmp_path, start=6, total=9, show=("loss",)) as open_journal:
        open_journal.write(9, {"train/loss": math.nan}, 2.0, 72)
    assert read_rows(tmp_path) == [
        {"step": 3, "seconds": 1.5, "examples": 24, "train/loss": 1.5},
        {"step": 6, "seconds": 1.5, "examples": 48, "train/loss": 3.0},
        {"step": 9, "seconds": 2.0, "examples": 72, "train/loss": None},
    ]
    later = json.loads((tmp_path / "environment.json").read_text())
    assert later["from_step"] == 6 and [run["from_step"] for run in later["earlier"]] == [0]


def test_lines_show_the_rate_and_the_numbers_that_matter(tmp_path, capsys):
    with Journal(tmp_path, start=0, total=100, show=("loss", "absent")) as open_journal:
        open_journal.progress(50, {"train/loss": 0.25, "train/other": 1.0})
    line = capsys.readouterr().err
    assert line.startswith("step 50/100  loss 0.25  ") and "step/s  ETA" in line and "other" not in line


def test_the_first_rate_is_without_what_came_before_the_first_step(tmp_path, capsys, monkeypatch):
    """Compiling, a minute here, of four steps of a second."""
    clock = iter([60.0, 64.0, 64.0])
    monkeypatch.setattr(journal, "time", types.SimpleNamespace(
        monotonic=lambda: next(clock), strftime=time.strftime, gmtime=time.gmtime))
    with Journal(tmp_path, start=10, total=19, show=()) as open_journal:
        for step in range(11, 16):
            open_journal.advance(step)
        open_journal.progress(15, {})
    assert "step 15/19    1 step/s  ETA 00:04" in capsys.readouterr().err


def test_one_step_alone_has_no_rate(tmp_path, capsys):
    with Journal(tmp_path, start=0, total=9, show=()) as open_journal:
        open_journal.progress(1, {})
    assert "step 1/9    ? step/s  ETA ?" in capsys.readouterr().err


def test_the_commit_is_that_of_the_code_and_not_of_what_surrounds_it(tmp_path, monkeypatch):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    package = tmp_path / "venv" / "videogvt" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "another project")
    monkeypatch.setattr(journal.videogvt, "__file__", str(package))
    assert journal.commit.__wrapped__() is None
    git("add", "venv")
    git("commit", "-q", "-m", "with the code")
    assert re.fullmatch("[0-9a-f]{40}", journal.commit.__wrapped__())
    package.write_text("changed = True")
    assert re.fullmatch("[0-9a-f]{40}[+]changes", journal.commit.__wrapped__())


def test_a_directory_with_another_config_is_refused_with_both_values(tmp_path):
    config = {"model": {"filters": 16, "levels": (1, 2)}, "data": {}, "plan": {"log_every": 10}}
    claim_workdir(tmp_path / "run", config)
    claim_workdir(tmp_path / "run", config)
    claim_workdir(tmp_path / "run", {**config, "plan": {"log_every": 20}}, free=("plan.log_every",))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["plan"] == {"log_every": 20}
    claim_workdir(tmp_path / "run", {**config, "plan": {"log_every": 30}}, grows=("plan.log_every",))
    with pytest.raises(WorkdirError, match="plan.log_every: 30 there, 20 here"):
        claim_workdir(tmp_path / "run", {**config, "plan": {"log_every": 20}}, grows=("plan.log_every",))
    with pytest.raises(WorkdirError) as refused:
        claim_workdir(tmp_path / "run", {**config, "model": {"filters": 32, "levels": [1, 2], "depth": 3}}, ("plan",))
    assert [line.strip() for line in str(refused.value).splitlines()[1:-1]] == [
        "model.depth: 'absent' there, 3 here", "model.filters: 16 there, 32 here",
    ]


def test_a_directory_with_checkpoints_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(WorkdirError, match="holds checkpoints and no config.json"):
        claim_workdir(tmp_path, {})


def test_the_final_numbers_stand_under_their_full_names(tmp_path):
    assert read_eval(tmp_path) is None
    write_eval(tmp_path, {"eval/test/psnr": 31.5, "eval/test/lost": math.inf}, {"step": 7})
    assert read_eval(tmp_path) == {"about": {"step": 7}, "eval/test/psnr": 31.5, "eval/test/lost": None}
    keep_media(tmp_path, 7, {"eval/test/note": Media.text("seen")})
    assert (tmp_path / "media" / "00000007" / "eval" / "test" / "note.txt").read_text() == "seen"


def test_the_environment_is_plain_json():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"commit", "device", "host_cores", "packages", "xla_flags"} <= found.keys()
    assert found["processor"] or sys.platform != "linux"


def test_the_hash_of_a_config_does_not_depend_on_its_order():
    assert config_hash({"a": 1, "b": (2,)}) == config_hash({"b": [2], "a": 1}) != config_hash({"a": 1, "b": [3]})
