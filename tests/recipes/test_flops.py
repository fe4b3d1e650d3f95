"""A step's operations by hand and against what the differentiated step multiplies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.recipes.token_models import CLASSES, CODES, VIDEO, causal_recipe, masked_recipe
from videogvt.core.trees import frozen
from videogvt.nn.classifiers import make_classifier
from videogvt.nn.discriminator import Discriminator
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.recipes.classifier import ClassifierLosses, ClassifierRecipe
from videogvt.recipes.flops import JUDGED
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.timing import count_flops

ADAM = Adam(learning_rate=1e-3, total_steps=1)
CLIPS = jax.ShapeDtypeStruct((2, *VIDEO, 3), jnp.float32)


def tokenizer(padding="zero", lowering="auto", **fields):
    model = TokenizerNetwork(
        filters=8, channel_multipliers=(1, 2), temporal_downsample=(True,), encoder_blocks=1, decoder_blocks=1,
        norm_groups=4, padding=padding, lowering=lowering,
        quantizer=frozen({"name": "fsq", "levels": (4, 4)}),
    )
    return TokenizerRecipe(model=model, losses=TokenizerLosses(gan=fields.pop("gan", "none")), optimizer=ADAM, **fields)


def state_of(recipe):
    state = jax.eval_shape(recipe.init, jax.random.key(0), {"video": CLIPS})
    return state.replace(frozen=dict(recipe.frozen))


def flops(recipe, batch=None):
    return recipe.flops(state_of(recipe), batch or {"video": CLIPS})


def test_a_tokenizer_counts_three_passes_however_it_is_lowered():
    expected = flops(tokenizer())
    for padding in ("zero", "replicate", "reflect"):
        for lowering in ("native", "taps"):
            assert flops(tokenizer(padding, lowering)) == expected
    recipe = tokenizer()
    state = state_of(recipe)
    written = count_flops(recipe.step, state, {"video": CLIPS}, jax.random.key(0))
    assert written == pytest.approx(expected, rel=0.1)  # the first layer needs no gradient of its input


def test_convolutions_of_a_tokenizer_by_hand():
    """The widths of each level times the taps, at the level's number of cells."""
    cells = [2 * np.prod(VIDEO), 2 * np.prod(VIDEO) // 8]
    encoder = cells[0] * 27 * (3 * 8 + 2 * 8 * 8) + cells[1] * (27 * (8 * 16 + 16 * 16) + 8 * 16 + 27 * 2 * 16 * 16)
    encoder += cells[1] * 16 * 2
    decoder = cells[1] * 27 * (2 * 16 + 4 * 16 * 16) + cells[0] * 27 * 16 * 16
    decoder += cells[0] * (27 * (16 * 8 + 8 * 8) + 16 * 8 + 27 * 8 * 3)
    assert flops(tokenizer()) == 3 * 2 * (encoder + decoder)


def test_a_discriminator_and_a_fixed_encoder():
    judge = Discriminator(filters=8, channel_multipliers=(1,))
    plain, judged = flops(tokenizer()), tokenizer(gan="hinge", discriminator=judge)
    params = state_of(judged).params["discriminator"]
    once = count_flops(lambda params, video: judge.apply({"params": params}, video), params, CLIPS)
    assert flops(judged) == plain + JUDGED * once and JUDGED == 11
    recipe = tokenizer(train_only="decoder")
    params = state_of(recipe).params["generator"]
    encode = count_flops(lambda p, video: recipe.model.apply({"params": p}, video, method="encode"), params, CLIPS)
    assert flops(recipe) == plain - 2 * encode


def test_second_stages_encode_what_is_not_there_as_codes():
    codes = jax.ShapeDtypeStruct((2, 2, 4, 4), jnp.int32)
    width, mlp, length, words = 16, 32, 33, CODES + CLASSES + 2
    layer = 4 * width * width + 2 * width * mlp + 2 * length * width
    network = 2 * length * (layer + width * width + width * words)
    assert flops(masked_recipe(), {"codes": codes}) == 3 * 2 * network
    beside = masked_recipe(("CG", "FP:2"), segment_embeddings=True)
    words = beside.generation.vocabulary.size
    length = beside.generation.transformer.sequence_length
    layer = 4 * width * width + 2 * width * mlp + 2 * length * width
    network = 2 * length * (layer + width * width + width * words)
    assert flops(beside, {"codes": codes}) == 3 * 2 * network
    for recipe, times in ((masked_recipe(), 1), (masked_recipe(("CG", "FP:2")), 2), (causal_recipe(), 1)):
        alone = flops(recipe, {"codes": codes})
        encode = count_flops(recipe.generation.codes, recipe.frozen["tokenizer"], CLIPS)
        assert flops(recipe, {"video": CLIPS}) == alone + times * encode


def test_a_classifier():
    recipe = ClassifierRecipe(make_classifier({"network": "judge"}, 3), ClassifierLosses(), ADAM)
    state = state_of(recipe)
    once = count_flops(recipe.predict_fns["classify"], state, CLIPS)
    assert recipe.flops(state, {"video": CLIPS}) == 3 * once > 0


def test_products_of_attention_count_whoever_computes_it():
    plain, other = masked_recipe(), masked_recipe(attention="cudnn")  # of which a trace shows no products
    batch = {"codes": jax.ShapeDtypeStruct((2, *plain.generation.latent_shape), jnp.int32)}
    state = jax.eval_shape(plain.init, jax.random.key(0), batch)
    assert other.flops(state, batch) == plain.flops(state, batch)


def test_frames_that_are_taught_all_at_once_cost_the_codes_twice():
    """Each code stands there as it is and as it is to be told; only the head's logits are asked for once."""
    batch = {"codes": jax.ShapeDtypeStruct((2, 2, 4, 4), jnp.int32)}
    plain, taught = (flops(masked_recipe(causal_frames=causal), batch) for causal in (False, True))
    recipe = masked_recipe(causal_frames=True)
    example = batch | {"label": jax.ShapeDtypeStruct((2,), jnp.int32)}
    written = count_flops(recipe.step, state_of(recipe), example, jax.random.key(0))
    assert 1.3 < taught / plain < 2.5
    assert written == pytest.approx(taught, rel=0.1)
