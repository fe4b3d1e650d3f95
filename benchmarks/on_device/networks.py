"""Recipes of plain settings, and batches for them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from videogvt.core.registry import configure
from videogvt.core.trees import frozen
from videogvt.models.generation import masked_generation
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.ops.masking import Masking
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.token_model import TransformerLosses
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.recipes.transformer import TransformerRecipe

Settings = Mapping[str, Any]


def tokenizer_recipe(settings: Settings, gan: bool = True) -> TokenizerRecipe:
    """How the sections ``tokenizer``, ``generator``, ``losses``, ``discriminator`` and ``optimizer`` train.

    Args:
      settings: the sections, and ``train.steps``; without a perceptual network.
      gan: False to leave the discriminator out.
    """
    losses, judge = settings["losses"], settings["discriminator"]
    if not gan or not judge:
        losses, judge = {**losses, "gan": "none"}, None
    return TokenizerRecipe(
        configure(TokenizerNetwork, "tokenizer", frozen(settings["tokenizer"])),
        configure(TokenizerLosses, "losses", losses),
        configure(Adam, "optimizer", settings["optimizer"], total_steps=settings["train"]["steps"]),
        discriminator=configure(Discriminator, "discriminator", frozen(judge)) if judge else None,
        **settings["generator"])


def transformer_recipe(settings: Settings, network: Settings, clip: tuple[int, int, int], classes: int):
    """How the sections ``transformer``, ``tasks``, ``masking``, ``losses`` and ``optimizer`` train, from random token
    embeddings.

    Args:
      settings: the sections, ``decoding`` and ``train.steps``.
      network: the section ``tokenizer`` of the run whose codes are modelled. Of its weights none is needed but the
        codes' vectors, where the transformer is told them; these are random ones.
      clip: (T, H, W).
      classes: of the data.
    """
    model = configure(TokenizerNetwork, "tokenizer", frozen(network))
    brightest = {"empty": model.num_codes - 1}  # of codes that say how bright a cell is; most cells are white
    asked = [name for name in ("losses", "decoding") if settings[name].get("empty") == "most_frequent"]
    settings = {**settings, **{name: {**settings[name], **brightest} for name in asked}}
    vectors_KC = np.random.default_rng(0).normal(size=(model.num_codes, model.feature_width)).astype(np.float32)
    return TransformerRecipe(
        generation=masked_generation(settings, model, tuple(clip), classes),
        losses=configure(TransformerLosses, "losses", settings["losses"]),
        optimizer=configure(Adam, "optimizer", settings["optimizer"], total_steps=settings["train"]["steps"]),
        masking=configure(Masking, "masking", settings["masking"]),
        frozen={"tokenizer": {"quantizer": {"codebook": vectors_KC}}})


def random_clips(clip: tuple[int, int, int], batch: int) -> dict[str, np.ndarray]:
    """A batch of noise, for tokenizers."""
    return {"video": np.random.default_rng(0).integers(0, 256, (batch, *clip, 3), np.uint8)}


def random_codes(recipe: TransformerRecipe, batch: int) -> dict[str, np.ndarray]:
    """A batch of random codes with their classes, for transformers."""
    generation = recipe.generation
    shape, vocabulary = (batch, *generation.latent_shape), generation.vocabulary
    codes_Bthw = np.random.default_rng(0).integers(0, vocabulary.num_codes, shape, np.int32)
    return {"codes": codes_Bthw, "label": np.arange(batch, dtype=np.int32) % vocabulary.num_classes}
