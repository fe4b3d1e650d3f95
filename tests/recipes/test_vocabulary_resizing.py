"""A transformer of one task becomes one of many: what it knew keeps its meaning, and nothing else fits by chance."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.recipes.token_models import CODES, MANY, masked_recipe, state_of
from videogvt.pretrained.start import SAME, Start, VocabularyResizing
from videogvt.train.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A run of one task, and its state."""
    folder = tmp_path_factory.mktemp("runs") / "single"
    state = state_of(masked_recipe(), key=7)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, state, {}, {"step": 3, "numbers": {}})
    return folder, state.params["transformer"]


def grown(folder, **changes):
    recipe = masked_recipe(MANY, **changes)
    start = Start(folder, SAME, resize=VocabularyResizing(recipe.generation.vocabulary))
    recipe = dataclasses.replace(recipe, start=start)
    before = state_of(recipe)
    return recipe, before.params["transformer"], recipe.warm_start(before)


def test_rows_and_positions_go_where_their_meaning_is(single):
    folder, given = single
    recipe, random, state = grown(folder, losses={"ema_decay": 0.9})
    new, vocabulary = state.params["transformer"], recipe.generation.vocabulary
    old_words, words = (tree["BertEmbed_0"]["word_embeddings"]["embedding"] for tree in (given, new))
    assert len(old_words) == CODES + 3 + 2 and len(words) == len(old_words) + 15
    unconditional = vocabulary.unconditional
    np.testing.assert_array_equal(words[: unconditional + 1], old_words[: unconditional + 1])
    np.testing.assert_array_equal(words[vocabulary.mask], old_words[-1])
    fresh = random["BertEmbed_0"]["word_embeddings"]["embedding"]
    np.testing.assert_array_equal(words[unconditional + 1 : -1], fresh[unconditional + 1 : -1])
    old_places, places = (tree["BertEmbed_0"]["position_embeddings"]["embedding"] for tree in (given, new))
    np.testing.assert_array_equal(places[1:], old_places)
    np.testing.assert_array_equal(places[0], old_places[0])
    assert new["BertMlmLayer_0"]["mlm_bias"]["bias"].shape == (vocabulary.size,)
    np.testing.assert_array_equal(new["BertLayer_0"]["BertMlp_0"]["layer_output"]["kernel"],
                                  given["BertLayer_0"]["BertMlp_0"]["layer_output"]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, state.ema["transformer"], new)  # the other run has no average


def test_what_marks_given_codes_begins_at_nothing(single):
    folder, given = single
    _, random, state = grown(folder, segment_embeddings=True)
    marks = state.params["transformer"]["BertEmbed_0"]["segment_embeddings"]["embedding"]
    assert marks.shape == random["BertEmbed_0"]["segment_embeddings"]["embedding"].shape and not np.any(marks)
    np.testing.assert_array_equal(state.params["transformer"]["BertLayer_0"]["BertMlp_0"]["layer_output"]["kernel"],
                                  given["BertLayer_0"]["BertMlp_0"]["layer_output"]["kernel"])


def test_the_same_network_is_taken_over_as_it_is(single):
    folder, given = single
    recipe = masked_recipe()
    start = Start(folder, SAME, resize=VocabularyResizing(recipe.generation.vocabulary))
    after = start(state_of(recipe))
    jax.tree.map(np.testing.assert_array_equal, after.params["transformer"], given)


def test_other_networks_do_not_grow(single):
    with pytest.raises(ValueError, match="the transformer of .* is another network: .* parameters differ"):
        grown(single[0], hidden=32)
    with pytest.raises(ValueError, match="is another network: .* parameters differ"):
        grown(single[0], layers=2)
