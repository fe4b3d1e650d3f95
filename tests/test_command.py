"""The command line: every legal key is a flag, and mistakes end with one message and exit code 2."""

import os
import pathlib
import subprocess
import sys

import pytest
from absl.testing import flagsaver

import run
from tests.test_configs import CONFIGS, module
from videogvt import modes
from videogvt.command import describe_keys, load_config, override, split
from videogvt.core.keys import Section
from videogvt.jobs.schema import check_config, schema_of

ROOT = pathlib.Path(__file__).parents[1]


def test_arguments_are_split_into_assignments_and_flags():
    found, others = split(["run.py", "--config=a.py", "--config.a.b=1=2", "-config.c", "4", "--config.d", "--mode=x",
                           "--noconfig.e", "--configs.f=1"])
    assert found == [("a.b", "1=2"), ("c", "4"), ("d", "True"), ("e", "False")]
    assert others == ["run.py", "--config=a.py", "--mode=x", "--configs.f=1"]


@pytest.mark.parametrize("name, variant, path, text, value", [
    ("vqvae_videos", "default", "data.options.fps", "8", 8.0),
    ("vqvae_videos", "default", "data.options.stride", "2", 2),
    ("vqvae_videos", "default", "data.options.shares", "{'train': 0.5, 'test': 0.5}", {"train": 0.5, "test": 0.5}),
    ("vqvae_videos", "default", "data.options.short", "repeat", "repeat"),
    ("vqvae_videos", "default", "data.options.split_lists", "{'train': 'a.txt'}", {"train": "a.txt"}),
    ("vqvae_videos", "default", "data.options.max_unreadable", "0.5", 0.5),
    ("vqvae_traj", "default", "optimizer.b2", "0.95", 0.95),
    ("vqvae_traj", "default", "tokenizer.dtype", "bfloat16", "bfloat16"),
    ("vqvae_traj", "default", "init_from.workdir", "runs/other", "runs/other"),
    ("vqvae_traj", "default", "init_from.step", "300", 300),
    ("vqvae_traj", "default", "evals.splits", "test", ("test",)),
    ("vqvae_traj", "default", "evals.limit", "None", None),
    ("vqvae_traj", "default", "tokenizer.encoder_blocks", "2", 2),
    ("vqvae_traj", "default", "data.transforms.random_flip.probability", "0.3", 0.3),
    ("maskgvt_traj", "default", "tasks.weights", "2,1", (2.0, 1.0)),
    ("classifier_traj", "default", "study.rates", "0.3,1,3", (0.3, 1.0, 3.0)),
    ("classifier_traj", "default", "methods.codes.optimizer.clip_norm", "1", 1.0),
])
def test_a_legal_key_can_be_given_whether_or_not_the_file_has_it(name, variant, path, text, value):
    config = override(module(name).get_config(variant), [(path, text)])
    check_config(config.to_dict())
    for step in path.split("."):
        config = config[step]
    found = config.to_dict() if hasattr(config, "to_dict") else config
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("path, text, expected", [
    ("optimizer.b3", "1", "Unknown key of config.optimizer 'b3'. Did you mean 'b"),
    ("optimiser.b1", "1", "Unknown key of config 'optimiser'. Did you mean 'optimizer'"),
    ("seed.more", "1", "--config.seed.more: config.seed is one value, a whole number; it has no keys"),
    ("train.steps", "many", "--config.train.steps is 'many'; expected a whole number"),
    ("train", "3", "--config.train is '3'; it is a section with the keys log_every"),
])
def test_assignments_that_are_refused(path, text, expected):
    with pytest.raises(ValueError) as refused:
        override(module("vqvae_traj").get_config(), [(path, text)])
    assert expected in str(refused.value)


def test_sections_are_given_whole_as_dicts_and_later_assignments_win():
    config = override(module("vqvae_traj").get_config(), [
        ("perceptual", "{'network': 'judge'}"), ("perceptual.workdir", "runs/judge"), ("seed", "1"), ("seed", "2"),
        ("tokenizer.quantizer", "{'name': 'fsq'}"), ("tokenizer.quantizer.levels", "8,8"),
    ])
    check_config(config.to_dict())
    assert config.perceptual.to_dict() == {"network": "judge", "workdir": "runs/judge"} and config.seed == 2
    assert config.tokenizer.quantizer.to_dict() == {"name": "fsq", "levels": (8, 8)}


def test_one_command_shows_all_legal_keys(capsys):
    plain = module("vqvae_videos").get_config("tiny").to_dict()
    modes.keys(module("vqvae_videos").get_config("tiny"), None, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines == list(describe_keys(plain))
    told = dict(zip(lines[::2], lines[1::2], strict=True))
    assert told["--config.data.options.fps="].startswith("      a number or None; more than 0; default None. rate at")
    assert told["--config.train.steps=2"].startswith("      a whole number; at least 1; default None. updates in all")

    def count(section):
        return sum(count(key) if isinstance(key, Section) else 1 for key in section.keys.values())

    assert len(told) == count(schema_of(plain))


def test_config_files_that_make_no_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config file 'configs/vqvae_tray.py'; in .* configs/vqvae_traj.py"):
        load_config("configs/vqvae_tray.py")
    with pytest.raises(ValueError, match="^configs/vqvae_traj.py has no variant 'C'; it has default, quality"):
        load_config(f"{CONFIGS}/vqvae_traj.py:C")
    mine = tmp_path / "mine.py"
    mine.write_text("def get_config():\n    return missing\n")
    with pytest.raises(ValueError, match="mine.py, line 2: NameError: name 'missing'"):
        load_config(str(mine))
    mine.write_text("def get_config(:\n")
    with pytest.raises(ValueError, match="mine.py, line 1: SyntaxError"):
        load_config(str(mine))
    mine.write_text("def get_config():\n    return {}\n")
    with pytest.raises(ValueError, match="made dict; expected an ml_collections.ConfigDict"):
        load_config(str(mine))


@pytest.mark.parametrize("arguments, expected", [
    (["--config=configs/vqvae_traj.py:tiny", "--config.init_form.workdir=x"], "Did you mean 'init_from'"),
    (["--config=configs/vqvae_traj.py:tiny", "--mode=trane"], "should be one of <train|plan"),
    (["--config=configs/vqvae_traj.py:tiny", "--wrkdir=x"], "Did you mean: workdir"),
    (["--config=configs/vqvae_traj.py:tiny", "more"], "Found 'more'; every argument is a flag"),
    (["--config.seed=1"], "--config.seed is a key of a config; name the config too"),
    ([], "Give a config"),
    (["--config=configs/vqvae_traj.py:tiny", "--mode=report", "--workdir=nowhere"], "nowhere holds no run"),
    (["--mode=generate", "--workdir=nowhere"], "nowhere"),
    (["--config=configs/vqvae_traj.py:tiny", "--workdir=maskgit:file"], "--mode=train is about a run's directory"),
])
def test_mistakes_end_with_one_message_and_exit_code_2(arguments, expected, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as left:
        run.main(["run.py", *arguments])
    told = capsys.readouterr().err
    assert left.value.code == 2 and told.startswith("Error: ") and expected in told and told.count("\n") == 1


def test_a_real_process_ends_without_a_traceback_unless_it_is_asked_for():
    def told(*more):
        done = subprocess.run(
            [sys.executable, "run.py", "--config=configs/vqvae_videos.py", "--config.data.options.fsp=8", *more],
            cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert told() == told().splitlines()[0] + "\n" and "Did you mean 'fps'" in told()
    assert "Traceback" in told("--verbosity=0")
