"""Pretrained against random: the protocol on clips of 5 frames, with random weights of a small picture tokenizer."""

import json

import jax
import numpy as np
import pytest

from tests.test_configs import module
from videogvt import modes
from videogvt.core.trees import frozen
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.train.checkpoint import Checkpoints
from videogvt.train.state import TrainState

FIELDS = {
    "filters": 8, "channel_multipliers": [1], "temporal_downsample": [], "encoder_blocks": [1, 0],
    "decoder_blocks": [1, 0], "norm_groups": 4, "stem": [1, 8, 8], "conv": "2d", "padding": "zero",
    "quantizer": {"name": "vq", "num_codes": 64, "embedding_dim": 8},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A run of it, of pictures of 128 x 128."""
    folder = tmp_path_factory.mktemp("runs") / "pictures"
    network, video = TokenizerNetwork(**frozen(FIELDS)), np.zeros((1, 1, 32, 32, 3), np.float32)
    params = network.init(jax.random.key(9), video)["params"]
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, TrainState.create(params={"generator": params}, opt={}, ema={"generator": params}), {},
                         {"step": 1, "numbers": {}})
    data = {"source": "images", "options": {"height": 128, "width": 128}, "transforms": {}}
    (folder / "config.json").write_text(json.dumps({"recipe": "tokenizer", "tokenizer": FIELDS, "data": data}))
    return folder


def small(encoder):
    config = module("classifier_traj").get_config("pretrained")
    assert config.data.options.to_dict() == {"config": "mono128", "clips": 1000, "frames": 5}
    with config.unlocked():
        config.data.options = {"config": "tiny", "frames": 5}
    config.study.update({"labels": (20,), "epochs": (1,), "seeds": 1, "validations": 1, "rate_labels": 20})
    config.methods.pretrained.classifier.update({"width": 8, "features": 8, "queries": 3, "hidden": 8})
    config.methods.pretrained.tokenizer.run = encoder
    config.methods.tracks.track_model.kind = "linear"
    config.evals.update({"limit": 10, "batch_size": 10})
    return config


def test_an_encoder_stands_beside_random_weights_shuffled_labels_and_tracks(encoder, tmp_path):
    modes.train(small(str(encoder)), str(tmp_path / "study"), str(tmp_path / "data"))
    members = {path.name for path in (tmp_path / "study" / "members").iterdir()}
    assert members >= {f"{name}-20-seed0" for name in (
        "pretrained", "pretrained+untrained", "pretrained+shuffled_labels", "tracks")}
    kept = {path.name.rpartition("-")[2] for path in (tmp_path / "data" / "codes").iterdir()}
    assert len(kept) == 2  # of the encoder, and of the same network with random weights


def test_without_an_encoder_it_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="SCHEME:FILE"):
        modes.train(small(None), str(tmp_path / "study"), str(tmp_path / "data"))
