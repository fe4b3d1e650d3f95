"""Damaged videos and arrays end in success or in one clear message; ``benchmarks/fuzz.py`` has more of them."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
VIDEOS, ARRAYS = 100, 40


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", BENCHMARKS / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz"]


@pytest.fixture(scope="module")
def workshop(fuzz, tmp_path_factory):
    made = fuzz.Workshop(tmp_path_factory.mktemp("fuzz"))
    made.make_sound_files()
    return made


@pytest.mark.parametrize(("group", "count"), [("video", VIDEOS), ("npz", ARRAYS)])
def test_cases_follow_from_seed_and_number_and_are_of_every_kind(fuzz, group, count):
    drawn = [fuzz.draw(group, number) for number in range(count)]
    assert list(map(str, drawn)) == [str(fuzz.draw(group, number)) for number in range(count)]
    assert {case.kind for case in drawn} == set(fuzz.VIDEO_KINDS if group == "video" else fuzz.ARRAY_KINDS)
    assert {case.base for case in drawn} == {fuzz.draw(group, number).base for number in range(300)}
    other = [fuzz.draw(group, number, seed=1) for number in range(count)]
    assert [case.rng.random() for case in drawn] != [case.rng.random() for case in other]


def test_damage_is_the_same_every_time(fuzz, workshop):
    for number in range(30):
        made = [fuzz.mutated((workshop.sound / case.base).read_bytes(), case.kind, case.rng) for case in
                (fuzz.draw("video", number), fuzz.draw("video", number))]
        assert made[0] == made[1]


def test_damaged_files_end_in_success_or_one_message():
    command = [sys.executable, BENCHMARKS / "fuzz.py", f"--videos={VIDEOS}", f"--npz={ARRAYS}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{VIDEOS + ARRAYS} files in" in done.stdout and "0 failed" in done.stdout


def test_a_failure_is_seen(fuzz, workshop, monkeypatch):
    case = fuzz.draw("npz", 1)

    def ends_with(attempt):
        monkeypatch.setattr(workshop, "_attempts", lambda case, content: [attempt])
        return workshop.try_case(case)

    monkeypatch.setattr(fuzz, "RESIDENT", 1 << 50)  # of this process, which has run other tests
    assert ends_with(lambda: None) == ("success", "")
    ended, said = ends_with(lambda: 1 / 0)
    assert ended == "failed" and "ZeroDivisionError" in said
    ended, said = ends_with(lambda: (workshop.place / "out/videos/incomplete.1").mkdir(parents=True))
    assert ended == "failed" and "left behind" in said
    ended, said = ends_with(lambda: (workshop.place / "out/videos/a/1.0.0").mkdir(parents=True))
    assert ended == "failed" and "half-written" in said
    ended, said = ends_with(lambda: workshop.canary.touch())
    assert ended == "failed" and "code of a pickle" in said
    workshop.canary.unlink()
    monkeypatch.setattr(fuzz, "RESIDENT", 1 << 20)
    ended, said = ends_with(lambda: None)
    assert ended == "failed" and "MiB were in memory" in said
