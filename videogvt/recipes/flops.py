"""What one training step of a recipe multiplies, counted from its networks and not from how they are lowered.

A function for each kind of recipe, which is its method ``flops`` (``train.contracts.Recipe``).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.train.state import TrainState
from videogvt.train.timing import count_flops

TRAINED = 3
"""Forward passes that a trained network costs: itself, and products of the same number for the gradients of its input
and of its weights. What is computed again to save memory does not count."""

JUDGED = 2 + TRAINED + 2 * TRAINED
"""Forward passes of a discriminator: the gradient at the generator's clips, its training on them, and on real clips,
where the penalty (R1) is itself a gradient at pixels, that is two passes, which are then trained."""


def _clips(batch) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(batch["video"].shape, jnp.float32)


def _forward(model, params, *inputs, **options) -> float:
    return count_flops(lambda params, *inputs: model.apply({"params": params}, *inputs, **options), params, *inputs)


def of_tokenizer(recipe, state: TrainState, batch: Mapping[str, Any]) -> float:
    """Of a ``TokenizerRecipe``: the generator, and the discriminator and the perceptual network where there are."""
    video = _clips(batch)
    params = state.params["generator"]
    total = TRAINED * _forward(recipe.model, params, video)
    if recipe.train_only == "decoder":
        total -= (TRAINED - 1) * _forward(recipe.model, params, video, method="encode")
    if recipe.discriminator is not None:
        total += JUDGED * _forward(recipe.discriminator, state.params["discriminator"], video)
    if recipe.perceptual is not None:  # both clips forward, and the gradient at the pixels of one
        total += 3 * count_flops(recipe.perceptual, state.frozen["perceptual"], video)
    return total


def of_stage(recipe, state: TrainState, batch: Mapping[str, Any]) -> float:
    """Of a ``TokenModelRecipe``: the transformer, and the tokenizer as far as codes are made while training."""
    generation = recipe.generation
    rows, length = next(iter(batch.values())).shape[0], generation.transformer.sequence_length
    tokens_BL = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    network = generation.transformer.clone(attention=None)  # a call of a library shows no products

    def forward(params, tokens_BL):
        beside = {"segments_BL": tokens_BL} if recipe.network == "transformer" else {}
        if recipe.network == "transformer" and network.causal_frames:
            beside |= {"taught_BL": tokens_BL, "start": generation.vocabulary.prefix_length}
            if network.conditions_ahead and generation.tasks.needs_condition:
                beside |= {"ahead_BN": tokens_BL[:, generation.vocabulary.prefix_length:]}
        return network.apply({"params": params}, tokens_BL, codebook_KC=generation.blank_codebook(), **beside)

    total = TRAINED * count_flops(forward, state.params[recipe.network], tokens_BL)
    if "video" in batch:  # the clips, and beside them their conditions, become codes as far as these are not known
        tasks, known = generation.tasks, "codes" in batch
        conditions = tasks.shares_n[tasks.in_part_n].sum() if generation.tokenizer.local else tasks.needs_condition
        encode = _forward(generation.tokenizer, state.frozen["tokenizer"], _clips(batch), method="codes")
        total += encode * ((not known) + conditions)
    return total


def of_classifier(recipe, state: TrainState, batch: Mapping[str, Any]) -> float:
    """Of a ``ClassifierRecipe``."""
    return TRAINED * count_flops(recipe.predict_fns["answer"], state, batch[recipe.field])
