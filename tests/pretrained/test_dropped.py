"""What needs the dropped model of motion says in one line which version had it, however it is asked for."""

import json
import shutil

import pytest

from videogvt import VideoGenerator, VideoTokenizer, modes
from videogvt.jobs.provenance import read_config
from videogvt.jobs.schema import check_config
from videogvt.pretrained.bundle import shipped
from videogvt.pretrained.codec import load_tokenizer
from videogvt.pretrained.start import Start

CONFIGS = [
    ({"tokenizer": {"spectrum": {"grid": [8, 1, 2]}}}, "uses tokenizer.spectrum, a model of motion built by hand"),
    ({"tokenizer": {"quantizer": {"name": "fsq", "bound": "clip"}}},
     "uses tokenizer.quantizer.bound = 'clip' of a model of motion built by hand"),
    ({"tasks": {"rule": "clip"}}, "uses tasks.rule = 'clip' of a model of motion built by hand"),
    ({"tokenizer": {"keep_conditions": True}}, "uses tokenizer.keep_conditions"),
]


def merged(config, change):
    return config | {name: config.get(name, {}) | section for name, section in change.items()}


def changed(folder, copy, change):
    """A copy of a run, or of an exported folder, with another config."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(merged(config, change)))
    return copy


def refused(what, action, *arguments):
    """An action ends in one line, which says ``what`` needs it, and what takes its place."""
    with pytest.raises(ValueError) as error:
        action(*arguments)
    text = str(error.value)
    assert what in text and "which videogvt dropped after commit 6d2a26d; " in text and "\n" not in text
    assert text.endswith("ship as maskgvt64_8x4x4.") or "keep_conditions" in text


@pytest.mark.parametrize("name", ["motion64", "maskgvt64"])
def test_names_that_shipped(name, generator_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    what = f"{name} is of a model of motion built by hand"
    refused(what, VideoTokenizer.load, name)
    refused(what, VideoGenerator.load, name)
    refused(what, modes.generate, None, name, None)
    refused(what, load_tokenizer, name)
    refused(what, Start(name), None)
    with pytest.raises(ValueError, match=what):
        VideoGenerator.load(generator_run, tokenizer=name)


@pytest.mark.parametrize("change, what", CONFIGS)
def test_configs_and_runs(change, what, workdir, generator_run, tmp_path):
    config = json.loads((workdir / "config.json").read_text())
    refused(f"The config {what}", check_config, merged(config, change))
    for name, folder, load in (("tokenizer", workdir, VideoTokenizer.load),
                               ("generator", generator_run, VideoGenerator.load)):
        run = changed(folder, tmp_path / name, change)
        refused(f"{run} {what}", read_config, run)
        refused(f"{run} {what}", load, run)
        refused(f"{run} {what}", Start(run), None)


def test_exported_folders(tmp_path):
    for number, (change, what) in enumerate(CONFIGS[:2]):
        folder = changed(shipped()["local64_8x4x4"], tmp_path / f"tokenizer{number}", change)
        refused(f"{folder} {what}", VideoTokenizer.load, folder)
        refused(f"{folder} {what}", Start(folder), None)
    ours = shipped("generator")["maskgvt64_8x4x4"]
    folder = changed(ours, tmp_path / "generator", {"generator": {"tokenizer": "motion64"}})
    refused("motion64 is of a model", VideoGenerator.load, folder)
    run = json.loads((ours / "config.json").read_text())["run"]
    for number, (change, what) in enumerate(CONFIGS[2:]):
        folder = changed(ours, tmp_path / f"generator{number}", {"run": merged(run, change)})
        refused(f"{folder} {what}", VideoGenerator.load, folder)


def test_a_folder_of_such_a_name_is_taken(workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(workdir, "motion64")
    assert VideoTokenizer.load("motion64").hash == VideoTokenizer.load(workdir).hash
