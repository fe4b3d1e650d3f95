"""Keys that have another name now: stored configs are read under it, and nobody else may use the earlier one."""

import json

import pytest

from tests.test_configs import module
from videogvt.command import override
from videogvt.core import registry
from videogvt.core.registry import present_figure, present_figures, present_key, stored_config, with_present_keys
from videogvt.jobs.schema import check_config
from videogvt.pretrained import bundle


def test_stored_configs_are_read_under_present_names(tmp_path):
    old = {"init_from": {"words": "codebook", "step": "best"}, "rows": {"codes": {"init_from": {"words": "decoded"}}}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    new = stored_config(tmp_path / "config.json")
    assert new["init_from"] == {"token_embeddings": "codebook", "step": "best"}
    assert new["methods"] == {"codes": {"init_from": {"token_embeddings": "decoded"}}} and "rows" not in new
    assert "words" not in json.dumps(new) and with_present_keys(new) == new
    assert "words" in old["init_from"], "what was given is not changed"


def test_configs_without_sections_are_left_as_they_are():
    for config in ({}, {"init_from": None}, {"methods": {}}, None):
        assert with_present_keys(config) == config


def test_no_present_name_is_an_earlier_one():
    assert not any(present_key(new) for new in registry.RENAMED_KEYS.values())


def test_an_earlier_name_is_refused_with_the_present_one():
    config = module("maskgvt_traj").get_config("tiny")
    with pytest.raises(ValueError, match="config.init_from.words has another name now: config.init_from.token_embed"):
        override(config, [("init_from.words", "codebook")])
    with config.unlocked():
        config.init_from.words = "random"
    with pytest.raises(ValueError, match="config.init_from.words has another name now: config.init_from.token_embed"):
        check_config(config.to_dict())


@pytest.mark.parametrize("folder", [*bundle.shipped().values(), *bundle.shipped("generator").values()])
def test_what_ships_is_read_under_present_names(folder):
    run = bundle.read_bundle(folder).config.get("run", {})
    assert with_present_keys(run) == run


@pytest.mark.parametrize("earlier, present", [
    ("eval/prediction/FP:8/error_vs_trivial", "eval/prediction/FP:8/error_vs_baseline"),
    ("oracle_agreement_least_low", "oracle_agreement_min_low"), ("named_right", "correct"), ("psnr", "psnr"),
    ("train/loss/CG", "train/loss/CG")])
def test_figures_and_columns_are_read_under_present_names(earlier, present):
    assert present_figure(earlier) == present and present_figures({earlier: 1}) == {present: 1}
