"""A run of a small tokenizer, written without training it."""

import json

import jax
import numpy as np
import pytest

from videogvt import pretrained
from videogvt.core.trees import frozen, tree_hash
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.pretrained.generator import GENERATIONS
from videogvt.train.checkpoint import Checkpoints
from videogvt.train.state import TrainState

FIELDS = {
    "filters": 8, "channel_multipliers": [1, 2], "temporal_downsample": [True], "encoder_blocks": [0, 1, 0],
    "decoder_blocks": [0, 1, 0], "norm_groups": 4, "stem": [2, 4, 4], "conv": "2plus1d", "padding": "zero",
    "quantizer": {"name": "vq", "num_codes": 64, "embedding_dim": 8},
}
NETWORK = {"layers": 1, "hidden": 16, "heads": 2, "mlp": 32, "norm": "pre", "attention_dropout": 0.0}


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """The run's directory; the moving average differs from the parameters."""
    return write_tokenizer(tmp_path_factory.mktemp("runs") / "small")


def write_tokenizer(folder):
    network = TokenizerNetwork(**frozen(FIELDS))
    params = [network.init(jax.random.key(seed), np.zeros((1, 8, 16, 16, 3), np.float32))["params"] for seed in (0, 1)]
    for tree in params:  # codes as far apart as the latents, so that many are used
        tree["quantizer"]["codebook"] = 8 * tree["quantizer"]["codebook"]
    state = TrainState.create(params={"generator": params[0]}, opt={}, ema={"generator": params[1]})
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(2, state, {}, {"step": 2, "numbers": {}})
    data = {"source": "trajectories", "options": {"config": "tiny"}, "batch_size": 4, "transforms": {}}
    config = {"name": "small", "recipe": "tokenizer", "seed": 3, "tokenizer": FIELDS, "data": data,
              "train": {"steps": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def video():
    """Two clips, uint8 (2, 40, 16, 16, 3), of smooth noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 10, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2).repeat(4, axis=3)


@pytest.fixture(scope="session")
def generator_run(workdir, tmp_path_factory):
    """The run of a small masked transformer on the codes of ``workdir``, written without training it."""
    folder = tmp_path_factory.mktemp("runs") / "masked"
    return write_run(folder, workdir, "transformer", ("CG", "FP:4", "IPC"), NETWORK, {"steps": 3})


@pytest.fixture(scope="session")
def lm_run(workdir, tmp_path_factory):
    """The run of a small causal transformer on the codes of ``workdir``, written without training it."""
    network = {"layers": 1, "hidden": 16, "heads": 2, "mlp": 32}
    return write_run(tmp_path_factory.mktemp("runs") / "causal", workdir, "lm", ("CG",), network, {})


def write_run(folder, tokenizer_run, recipe, tasks, network, decoding):
    tokenizer = pretrained.VideoTokenizer.load(tokenizer_run)
    data = {"source": "trajectories", "options": {"config": "tiny"}, "batch_size": 4, "transforms": {}}
    config = {
        "name": folder.name, "recipe": recipe, "seed": 3, "data": data, recipe: network, "decoding": decoding,
        "evals": {}, "tasks": {"names": list(tasks)}, "tokenizer": {"run": str(tokenizer_run), "step": "best"},
    }
    generation = GENERATIONS[recipe](config, tokenizer.network, (8, 32, 32), 5)
    params = jax.jit(generation.init)(jax.random.key(1))
    params = jax.tree.map(lambda leaf: 3 * leaf, params)  # so that something hangs on what is asked
    state = TrainState.create(params={recipe: params}, opt={})
    meta = {"step": 2, "numbers": {}, "frozen": {"tokenizer": tree_hash(tokenizer.params)}}
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(2, state, {}, meta)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
