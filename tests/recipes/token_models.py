"""A small second stage for tests: a random tokenizer of 2 x 4 x 4 codes and a small transformer."""

import dataclasses
import functools

import jax
import numpy as np

from videogvt.core.trees import frozen
from videogvt.inputs.pipeline import TrainingData
from videogvt.inputs.sources import ArraySource
from videogvt.models.generation import causal_generation, masked_generation
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.ops.masking import Masking
from videogvt.recipes.lm import LanguageRecipe
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.token_model import TransformerLosses
from videogvt.recipes.transformer import TransformerRecipe

VIDEO, GRID, CODES, CLASSES = (4, 16, 16), (2, 4, 4), 32, 3
NETWORK = {"layers": 1, "hidden": 16, "heads": 2, "mlp": 32, "dropout": 0.1}
TOKENIZER = TokenizerNetwork(
    filters=8, channel_multipliers=(1,), temporal_downsample=(), encoder_blocks=(1, 0), decoder_blocks=(1, 0),
    norm_groups=4, stem=(2, 4, 4), conv="split", padding="zero",
    quantizer=frozen({"name": "vq", "num_codes": CODES, "embedding_dim": 4}),
)
MANY = ("CG", "FP:2", "OPC", "IPD", "CFP:1")


@functools.cache
def tokenizer_params():
    """Parameters on the host; the codes lie as far apart as the latents, so that many are used."""
    params = jax.jit(TOKENIZER.init)(jax.random.key(0), np.zeros((1, *VIDEO, 3), np.float32))["params"]
    params = jax.tree.map(np.array, params)
    params["quantizer"]["codebook"] *= 8
    return params


def masked_recipe(
    names=("CG",), *, condition="commit", steps=8, start=None, losses=None, optimizer=None, **network
) -> TransformerRecipe:
    """A recipe of the masked transformer."""
    config = {
        "tasks": {"names": names}, "transformer": {**NETWORK, "attention_dropout": 0.0, "norm": "pre", **network},
        "decoding": {"steps": 4},
    }
    return TransformerRecipe(
        generation=masked_generation(config, TOKENIZER, VIDEO, CLASSES),
        masking=Masking(schedule="between:0.5,1", condition=condition), **_learning(steps, start, losses, optimizer),
    )


def causal_recipe(*, steps=8, start=None, losses=None, optimizer=None, **network) -> LanguageRecipe:
    """A recipe of the causal transformer."""
    config = {"tasks": {"names": ("CG",)}, "lm": {**NETWORK, **network}, "decoding": {}}
    generation = causal_generation(config, TOKENIZER, VIDEO, CLASSES)
    return LanguageRecipe(generation=generation, **_learning(steps, start, losses, optimizer))


def _learning(steps, start, losses, optimizer):
    fields = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.96, "weight_decay": 0.045, "clip_norm": 1.0, "warmup_steps": 1}
    return {
        "losses": TransformerLosses(**(losses or {})), "frozen": {"tokenizer": tokenizer_params()}, "start": start,
        "optimizer": Adam(**{**fields, "total_steps": steps, **(optimizer or {})}),
    }


def clips(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Smooth noise with labels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 2, 4, 4, 3), dtype=np.uint8)
    video = coarse.repeat(2, axis=1).repeat(4, axis=2).repeat(4, axis=3)
    return {"video": video, "label": np.arange(count, dtype=np.int32) % CLASSES}


def clip_data(count: int = 12, batch_size: int = 4) -> TrainingData:
    """Training data that lie in memory."""
    return TrainingData(ArraySource(clips(count), ("a", "b", "c")), batch_size, seed=3)


def state_of(recipe, key: int = 0):
    """The first state, with the tokenizer in it."""
    state = jax.jit(lambda key: recipe.init(key, {}))(jax.random.key(key))
    return dataclasses.replace(state, frozen=dict(recipe.frozen))


def loss_of(recipe, params, codes_Bthw, condition_Bthw, task_B, label_B, key, codebook_KC=None):
    """The loss of a step on these codes, and its numbers, as Means."""
    rows = recipe._rows(codes_Bthw, condition_Bthw, task_B, label_B, key)
    loss, found = recipe._loss_of_rows(codebook_KC, params, *rows)
    return loss, found.sums
