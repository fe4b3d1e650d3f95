"""Codes' vectors in the tables of both transformers: by hand, off by default, and refused where they are missing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from videogvt.nn.lm import CausalTransformer
from videogvt.nn.transformer import MaskedTransformer

pytestmark = pytest.mark.optimized

TINY = {"vocab_size": 11, "sequence_length": 6, "layers": 1, "hidden": 8, "heads": 2, "mlp": 12}
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 6))
CODEBOOK = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)  # of 11 ids the first 7 are codes
KINDS = {"masked": MaskedTransformer, "causal": CausalTransformer}


def params_of(model, std: float = 0.3):
    given = {"codebook_KC": CODEBOOK} if model.codebook_embeddings else {}
    params = model.init(jax.random.key(0), jnp.asarray(TOKENS), **given)["params"]
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda leaf: leaf + std * rng.normal(size=leaf.shape).astype(np.float32), params)


def without_codebook(params, words: str, rows_KD):
    """The parameters of a network that is told nothing, whose token embeddings have what the told one reads."""
    flat = {path: leaf for path, leaf in flatten_dict(params, sep="/").items() if "codebook" not in path}
    table = np.array(flat[words])
    table[: len(rows_KD)] += rows_KD
    return flat | {words: table}


def test_what_is_read_has_a_part_that_is_linear_in_the_code_s_vector():
    """The causal network with a head of zeros: the same as one whose table has the sum."""
    told, plain = (CausalTransformer(**TINY, codebook_embeddings=on) for on in (True, False))
    params = params_of(told)
    params["codebook_head"]["kernel"] = np.zeros_like(params["codebook_head"]["kernel"])
    rows_KD = CODEBOOK @ params["codebook_embeddings"]["kernel"]
    flat = without_codebook(params, "words/embedding", rows_KD)
    expected = plain.apply({"params": unflatten_dict(flat, sep="/")}, TOKENS)
    np.testing.assert_allclose(told.apply({"params": params}, TOKENS, codebook_KC=CODEBOOK), expected, atol=2e-5)


@pytest.mark.parametrize("kind, head", [
    ("masked", "BertMlmLayer_0/codebook_head/kernel"), ("causal", "codebook_head/kernel")])
def test_answers_of_codes_have_one_too_and_those_of_other_ids_have_not(kind, head):
    model = KINDS[kind](**TINY, codebook_embeddings=True)
    params = params_of(model)
    flat = flatten_dict(params, sep="/")

    def logits_of(scale):
        scaled = unflatten_dict(flat | {head: flat[head] * scale}, sep="/")
        return model.apply({"params": scaled}, TOKENS, codebook_KC=CODEBOOK)

    logits = [logits_of(scale) for scale in (0.0, 1.0, 2.0)]
    change = [np.asarray(other - logits[0]) for other in logits[1:]]
    np.testing.assert_allclose(change[1], 2 * change[0], atol=1e-4)
    assert (change[0][..., 7:] == 0).all()
    # Linear in the vectors: of rank 4 at most, although there are 7 codes and 8 channels.
    assert np.linalg.matrix_rank(change[0][..., :7].reshape(-1, 7), tol=1e-3) == 4


def test_the_causal_network_steps_as_it_reads():
    model = CausalTransformer(**TINY, codebook_embeddings=True)
    params, cache, rows = params_of(model), model.init_cache(3), []
    for position in range(6):
        logits, cache = model.apply({"params": params}, TOKENS[:, position], position, cache, CODEBOOK, method="step")
        rows.append(logits)
    whole = model.apply({"params": params}, TOKENS, codebook_KC=CODEBOOK)
    np.testing.assert_allclose(np.stack(rows, axis=1), whole, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_those_of_the_paper_unless_it_is_asked(kind):
    plain, told = (params_of(KINDS[kind](**TINY, codebook_embeddings=on)) for on in (False, True))
    names = [set(flatten_dict(params, sep="/")) for params in (plain, told)]
    assert names[0] < names[1] and all("codebook" in name for name in names[1] - names[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codebook, found", [(None, "None"), (np.zeros((12, 4)), "(12, 4)"), (np.zeros(7), "(7,)")])
def test_a_codebook_that_is_missing_or_too_long_is_refused(kind, codebook, found):
    model = KINDS[kind](**TINY, codebook_embeddings=True)
    with pytest.raises(ValueError, match="codebook_embeddings needs codebook_KC") as error:
        model.init(jax.random.key(0), jnp.asarray(TOKENS), codebook_KC=codebook)
    assert found in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_without_a_row_are_nan_inside_jit(kind):
    model = KINDS[kind](**TINY, codebook_embeddings=True)
    params, wrong = params_of(model), np.array(TOKENS)
    wrong[1, 0] = -1
    logits = jax.jit(lambda tokens: model.apply({"params": params}, tokens, codebook_KC=CODEBOOK))(wrong)
    assert np.isnan(logits[1]).any() and np.isfinite(logits[0]).all()
