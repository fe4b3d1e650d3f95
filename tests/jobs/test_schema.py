"""The schema of configs: it knows every shipped one, and refuses what it does not know, wherever it stands."""

import copy

import pytest

from tests.test_configs import CONFIGS, module, variants
from videogvt import jobs
from videogvt.core.keys import Key, Section
from videogvt.jobs import JOBS
from videogvt.jobs.schema import RECIPES, check_config, schema_of
from videogvt.study import protocol

ALL = [(path.stem, variant) for path in sorted(CONFIGS.glob("*.py")) for variant in variants(path.stem)]


def sections(schema, values, path=()):
    """The places of a config that are sections."""
    yield path
    for name, key in schema.keys.items():
        if isinstance(key, Section) and values.get(name):
            yield from sections(key, values[name], (*path, name))


@pytest.mark.parametrize("name, variant", ALL)
def test_every_shipped_config_is_legal_and_every_section_refuses_a_misspelt_key(name, variant):
    plain = module(name).get_config(variant).to_dict()
    schema = schema_of(plain)
    check_config(plain)
    for path in sections(schema, plain):
        if path == ("methods",):
            continue  # whose names are the user's
        edited = copy.deepcopy(plain)
        section = edited
        for step in path:
            section = section[step]
        section["sead"] = 1
        with pytest.raises(ValueError, match="Unknown key of " + r"\.".join(("config", *path)) + " 'sead'"):
            check_config(edited)


@pytest.mark.parametrize("name, variant", [("vqvae_videos", "tiny"), ("maskgvt_traj", "tiny"), ("lmgvt_traj", "tiny"),
                                           ("classifier_traj", "judge_tiny"), ("classifier_traj", "all")])
def test_every_key_has_words_and_every_number_that_counts_has_limits(name, variant):
    def walk(section, path):
        for key_name, key in section.keys.items():
            if isinstance(key, Key):
                yield f"{path}.{key_name}", key
            else:
                yield from walk(key, f"{path}.{key_name}")

    for path, key in walk(schema_of(module(name).get_config(variant).to_dict()), "config"):
        assert key.doc, path
        if key.kind is int:
            assert key.limits is not None, path


def test_a_misspelt_section_does_not_start_from_scratch(tmp_path):
    config = module("vqvae_traj").get_config("tiny")
    config.init_form = {"workdir": "runs/vqvae_traj", "inflation": "none"}
    with pytest.raises(ValueError, match="Unknown key of config 'init_form'. Did you mean 'init_from'"):
        jobs.build(config, tmp_path)


def test_studies_refuse_what_no_row_of_that_recipe_looks_at():
    config = module("classifier_traj").get_config("default")
    config.methods.tracks.optimizer = {"learning_rate": 0.1}
    with pytest.raises(ValueError, match="Unknown key of config.methods.tracks 'optimizer'"):
        protocol.study_runs(config)
    config = module("classifier_traj").get_config("default")
    config.methods.codes.examples.labels = 5
    with pytest.raises(ValueError, match="Unknown key of config.methods.codes.examples 'labels'"):
        protocol.study_runs(config)


def test_sections_that_nothing_would_look_at_are_refused():
    plain = module("classifier_traj").get_config("judge_tiny").to_dict()
    with pytest.raises(ValueError, match="Unknown key of config 'tokenizer'"):
        check_config(plain | {"tokenizer": {"run": "traj64", "step": "best"}})
    plain = module("classifier_traj").get_config("tiny").to_dict()
    plain["evals"]["transforms"] = {"random_flip": {}}
    with pytest.raises(ValueError, match="Unknown key of config.evals 'transforms'"):
        check_config(plain)


def test_names_that_select_keys_must_be_known():
    for change, expected in (
        ({"recipe": "tokeniser"}, "value of config.recipe 'tokeniser'. Did you mean 'tokenizer'"),
        ({"recipe": None}, "config.recipe is missing; expected one of"),
        ({"data": {"source": "video"}}, "value of config.data.source 'video'. Did you mean 'videos'"),
        ({"tokenizer": {"quantizer": {"name": "vqq"}}}, "config.tokenizer.quantizer.name 'vqq'. Did you mean 'vq'"),
        ({"perceptual": {"network": "jugde"}}, "config.perceptual.network 'jugde'. Did you mean 'judge'"),
        ({"data": 3}, "config.data.source is missing"),
    ):
        with pytest.raises(ValueError) as refused:
            check_config(module("vqvae_traj").get_config("tiny").to_dict() | change)
        assert expected in str(refused.value)


def test_every_recipe_is_a_job_and_every_job_a_recipe():
    assert (*JOBS, "study") == RECIPES
