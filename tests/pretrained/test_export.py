"""Bundles: what is exported is loaded, is the same tokenizer, and is refused when it was changed."""

import fnmatch
import json
import pathlib
import re

import numpy as np
import pytest

from videogvt.pretrained import VideoTokenizer, bundle, shipped
from videogvt.pretrained.export import main

pytestmark = pytest.mark.optimized

LIMIT = 5_000_000  # bytes of a tokenizer that ships
ABOUT = {"step": 2, "total_steps": 2, "seconds": 90.0, "trained_by_commit": "abc123"}
FIGURES = {"eval/test/psnr": 31.25, "eval/test/background/psnr": 26.0, "eval/test/untrained/psnr": 7.0,
           "eval/validation/psnr": 30.0, "eval/ood/psnr": 29.5, "eval/test/nearest_clip/psnr": 25.0}


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
    (workdir / "eval.json").write_text(json.dumps({"about": ABOUT, **FIGURES}))
    machine = {"devices": 1, "device": "cpu", "host_cores": 2}
    (workdir / "environment.json").write_text(json.dumps(machine))
    root = tmp_path_factory.mktemp("exported")
    assert main([str(workdir), str(root / "small8"), "--data_dir", str(root / "data")]) == 0
    return root / "small8"


def check_golden(folder):
    """The golden clips still have their codes and these their video; other machines may round a little otherwise."""
    tokenizer, golden = VideoTokenizer.load(folder), bundle.read_golden(folder)
    assert tokenizer.hash == json.loads((folder / bundle.CONFIG).read_text())["hash"]
    assert np.mean(tokenizer.codes(golden["video"]) == golden["codes"]) >= 0.99
    decoded = tokenizer.video(golden["codes"])
    assert np.abs(decoded - golden["decoded"] / 255).max() <= 0.01


def test_exported_tokenizer_is_the_same(exported, workdir, video):
    ours, theirs = VideoTokenizer.load(workdir), VideoTokenizer.load(exported)
    assert ours.hash == theirs.hash and ours.config == theirs.config
    np.testing.assert_array_equal(ours.codes(video), theirs.codes(video))
    check_golden(exported)
    assert sorted(path.name for path in exported.iterdir()) == ["card.md", "config.json", "golden.npz", "weights.npz"]


def test_card_says_where_it_comes_from(exported):
    card = (exported / "card.md").read_text()
    sums = json.loads((exported / "config.json").read_text())["sha256"]
    for text in ('VideoTokenizer.load("small8")', "abc123", "| Seed | 3 |", "1.5 of training", "1 x cpu, 2 cores",
                 "step 2 of 2", "4 x 8 x 8", "| psnr | 31.25 | 26 | 7 |", "Figures on `ood`", *sums.values()):
        assert text in card, text
    assert "validation`" not in card and card.index("`test`, from") < card.index("`ood`, from")


def test_a_shipped_one_is_found_by_name(exported, monkeypatch):
    monkeypatch.setattr(bundle, "HOME", exported.parent)
    assert set(shipped()) == {"small8"}
    assert VideoTokenizer.load("small8").num_codes == 64
    with pytest.raises(FileNotFoundError, match=r"no tokenizer 'small9'.*\(small8\)"):
        VideoTokenizer.load("small9")
    with pytest.raises(ValueError, match="one set of weights"):
        VideoTokenizer.load("small8", step="last")


def test_changed_weights_are_refused(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / "weights.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "weights.npz").write_bytes(data)
    with pytest.raises(ValueError, match="weights.npz is damaged: its SHA-256 is"):
        VideoTokenizer.load(tmp_path)


def test_only_finished_runs_are_exported_and_only_to_new_folders(exported, workdir, tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "new")]) == 1
    assert "eval.json is missing" in capsys.readouterr().err
    assert main([str(workdir), str(exported)]) == 1
    assert "exists; remove it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*shipped(), None])
def test_shipped_tokenizers_are_small_whole_and_still_right(name):
    patterns = re.search(r"package_data=(.*)", (pathlib.Path(__file__).parents[2] / "setup.py").read_text()).group(1)
    for file in (bundle.WEIGHTS, bundle.GOLDEN, bundle.CONFIG, bundle.CARD):  # reach the wheel
        assert any(fnmatch.fnmatch(f"x/{file}", pattern) for pattern in re.findall(r'"(\*\*[^"]*)"', patterns)), file
    if name is not None:
        folder = shipped()[name]
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
        check_golden(folder)
