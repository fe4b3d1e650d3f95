"""Ids of the published settings, and what has no id."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.models.vocabulary import FROM_END, Vocabulary


@pytest.mark.parametrize(
    "vocabulary, size, classes, unconditional, mask, length",
    [
        (Vocabulary(1024, 101), 1127, (1024, 1124), 1125, 1126, 1025),
        (Vocabulary(1024), 1026, None, 1024, 1025, 1025),
        (Vocabulary(1024, multitask=True), 1041, None, 1024, 1040, 1026),
        (Vocabulary(1024, 174, multitask=True), 1215, (1024, 1197), 1198, 1214, 1026),
    ],
    ids=["UCF-101", "BAIR", "BAIR multitask", "SSv2 multitask"],
)
def test_published_settings(vocabulary, size, classes, unconditional, mask, length):
    assert (vocabulary.size, vocabulary.unconditional, vocabulary.mask) == (size, unconditional, mask)
    assert vocabulary.prefix_length + 4 * 16 * 16 == length
    if classes:
        assert (vocabulary.label(0), vocabulary.label(vocabulary.num_classes - 1)) == classes


def test_special_tokens_of_bair_multitask():
    vocabulary = Vocabulary(1024, multitask=True)
    assert (vocabulary.sep, vocabulary.pad) == (1039, 1026)
    assert {family: vocabulary.task(family) for family in FROM_END} == {
        "full_generation": 1038, "frame_prediction": 1037, "frame_interpolation": 1036, "outpainting": 1035,
        "inpainting": 1034,
    }


@pytest.mark.parametrize("multitask", [False, True])
@pytest.mark.parametrize("num_codes, num_classes", [(1, 0), (7, 0), (7, 1), (1024, 101)])
def test_no_two_meanings_share_an_id(multitask, num_codes, num_classes):
    vocabulary = Vocabulary(num_codes, num_classes, multitask)
    ids = [*range(num_codes), *map(vocabulary.label, range(num_classes)), vocabulary.unconditional, vocabulary.mask]
    if multitask:
        ids += [vocabulary.sep, vocabulary.pad, *map(vocabulary.task, FROM_END)]
    assert len(set(ids)) == len(ids) and min(ids) == 0 and max(ids) == vocabulary.size - 1


def test_labels_of_integers_and_arrays():
    vocabulary = Vocabulary(8, 3)
    labels = np.array([[0, 2], [-1, 3]], np.int32)
    expected = [[8, 10], [11, vocabulary.size]]  # the last label does not exist, nor does its id
    assert [vocabulary.label(label) for label in (0, np.int64(2), -1)] == [8, 10, 11]
    np.testing.assert_array_equal(vocabulary.label(labels), expected)
    traced = jax.jit(vocabulary.label)(jnp.asarray(labels))
    assert traced.dtype == jnp.int32
    np.testing.assert_array_equal(traced, expected)
    np.testing.assert_array_equal(Vocabulary(8).label(np.full(2, -1)), [8, 8])


def test_maskgits_vocabulary_has_no_token_for_no_class():
    """Of MaskGIT (arXiv 2202.04200): 1,024 codes, ImageNet's classes, and the mask as 2024."""
    vocabulary = Vocabulary(1024, 1000, classless=False)
    assert (vocabulary.size, vocabulary.mask, vocabulary.label(207)) == (2025, 2024, 1231)
    np.testing.assert_array_equal(vocabulary.label(np.array([0, 999, 1000, -1])), [1024, 2023, 2025, 2025])
    for ask in (lambda: vocabulary.unconditional, lambda: vocabulary.label(-1)):
        with pytest.raises(ValueError, match="no token for samples without a class, which guidance"):
            ask()


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda: Vocabulary(8).sep, r"has no sep: its only special token is the mask.*multitask=True"),
        (lambda: Vocabulary(8).pad, "has no pad"),
        (lambda: Vocabulary(8).task("inpainting"), "has no task token of inpainting"),
        (lambda: Vocabulary(8, multitask=True).task("inpaint"), "'inpaint'. Did you mean 'inpainting'"),
        (lambda: Vocabulary(8, 3).label(3), r"Found label 3; the labels of this vocabulary are 0\.\.2"),
        (lambda: Vocabulary(8).label(0), "labels of this vocabulary are none"),
        (lambda: Vocabulary(0), "at least 1 code"),
        (lambda: Vocabulary(8, -1), "at least 0 classes; found num_codes=8, num_classes=-1"),
    ],
)
def test_errors_say_what_to_do(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
