"""A directory has one run at a time: in this process, in others, and as far as can be known on other hosts."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.toys import toy_run
from videogvt.train import lock
from videogvt.train.journal import WorkdirError
from videogvt.train.lock import LOCK, sole_run
from videogvt.train.loop import fit

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from videogvt.train.lock import sole_run
with sole_run(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on ``tmp_path/run``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], cwd=ROOT, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path, holder):
    refusal = rf"in use by process {holder.pid} on host \S+, started \d{{4}}-\d\d-\d\dT\S+Z. Wait .* another --workdir"
    for steal in (False, True):  # the system says that it is alive
        with pytest.raises(WorkdirError, match=refusal), sole_run(tmp_path / "run", steal):
            pass
    with pytest.raises(WorkdirError, match=refusal):
        fit(*toy_run(2), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    fit(*toy_run(2), tmp_path / "run")
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.parametrize("folder, reason", [("/proc/no", "No such file or directory"), ("file/run", "Not a directory")])
def test_a_directory_that_cannot_be_made_is_named(tmp_path, folder, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match=f"{folder}: {reason}. Name another --workdir."), sole_run(tmp_path / folder):
        pass


def test_it_is_given_back_whatever_happens_and_leaves_nothing(tmp_path):
    with pytest.raises(ArithmeticError), sole_run(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
        with sole_run(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / LOCK).exists()
        raise ArithmeticError
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_another_host_left_is_taken_only_when_told_to(tmp_path, capfd):
    (tmp_path / LOCK).write_text(json.dumps({"host": "lost", "process": 7, "started": "2026-01-02T03:04:05Z"}))
    named = re.escape("process 7 on host lost, started 2026-01-02T03:04:05Z")
    with pytest.raises(WorkdirError, match=f"taken by {named}, and it was not given back. .*--steal_lock"):
        with sole_run(tmp_path):
            pass
    with sole_run(tmp_path, steal=True):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert re.search(f"Takes the lock on .* from {named}", capfd.readouterr().err)
    assert not (tmp_path / LOCK).exists()


def test_a_lock_that_is_still_held_for_a_lost_host_can_be_taken(tmp_path, holder, monkeypatch):
    """As on a shared disk whose server waits for the lost host."""
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "another")
    with pytest.raises(WorkdirError, match=f"taken by process {holder.pid} on host .*, and it is locked"):
        with sole_run(tmp_path / "run"):
            pass
    with sole_run(tmp_path / "run", steal=True):
        holder.communicate("")  # if it was alive after all, what it gives back is not ours
        assert json.loads((tmp_path / "run" / LOCK).read_text())["host"] == "another"
    assert not (tmp_path / "run" / LOCK).exists()
