"""The laws of the contract, for every quantizer in the registry, and what is particular to each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import quick_jit
from videogvt.nn.quantizers import make_quantizer, perplexity, quantizers, restart_dead_codes
from videogvt.nn.quantizers.vq import squared_distance

CONFIGS = {
    "vq": {"name": "vq", "num_codes": 24, "embedding_dim": 5},
    "fsq": {"name": "fsq", "levels": (8, 5, 4)},
    "lfq": {"name": "lfq", "num_bits": 6},
}
LOSSES = {"vq": {"commitment", "codebook", "entropy"}, "fsq": set(), "lfq": {"commitment", "entropy"}}


def test_every_quantizer_is_tested():
    assert set(CONFIGS) == set(quantizers)


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def case(request):
    """A quantizer with latents, and what it makes of them outside of and in training."""
    quantizer = make_quantizer(CONFIGS[request.param])
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4, quantizer.width)), jnp.float32)
    params = {"codebook": z.reshape(-1, quantizer.width)[:24] + 0.1} if request.param == "vq" else {}
    variables = {"params": params}

    @quick_jit
    def run(z):
        evaluated = quantizer.apply(variables, z, train=False)

        def target(z, scale=1.0):
            trained = quantizer.apply(variables, z, train=True, entropy_scale=scale)
            return (jnp.arange(z.size).reshape(z.shape) * trained.latents_BthwD).sum(), trained

        (_, trained), grad = jax.value_and_grad(target, has_aux=True)(z)
        _, boosted = target(z, 3.0)
        found = quantizer.apply(variables, evaluated.codes_Bthw, method="lookup")
        every = quantizer.apply(variables, jnp.arange(quantizer.num_codes), method="lookup")
        again = quantizer.apply(variables, every[None, None, None], train=False)
        return evaluated, trained, boosted, grad, found, every, again

    return request.param, quantizer, z, run(z)


def test_codes_are_in_range_and_latents_are_their_vectors(case):
    _, quantizer, z, (evaluated, _, _, _, found, _, _) = case
    assert evaluated.codes_Bthw.shape == z.shape[:-1] and evaluated.codes_Bthw.dtype == jnp.int32
    assert evaluated.codes_Bthw.min() >= 0 and evaluated.codes_Bthw.max() < quantizer.num_codes
    np.testing.assert_array_equal(found, evaluated.latents_BthwD)
    assert evaluated.latents_BthwD.dtype == evaluated.inputs_BthwD.dtype == jnp.float32


def test_training_changes_neither_codes_nor_values(case):
    _, _, _, (evaluated, trained, *_) = case
    np.testing.assert_array_equal(trained.codes_Bthw, evaluated.codes_Bthw)
    np.testing.assert_allclose(trained.latents_BthwD, evaluated.latents_BthwD, atol=1e-6)


def test_gradients_pass_straight_through(case):
    name, quantizer, z, (_, _, _, grad, *_) = case
    expected = jnp.arange(z.size, dtype=jnp.float32).reshape(z.shape)
    if name == "fsq":  # straight through the rounding, with the slope of the bound
        levels = np.asarray(CONFIGS["fsq"]["levels"])
        half = (levels - 1) * 1.001 / 2
        shift = np.arctanh(np.where(levels % 2, 0, 0.5) / half)
        expected *= (1 - jnp.tanh(z + shift) ** 2) * half / (levels // 2)
    np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-5)


def test_usage_counts_every_token(case):
    _, quantizer, z, (evaluated, *_) = case
    usage = evaluated.stats["usage"]
    np.testing.assert_array_equal(usage, np.bincount(evaluated.codes_Bthw.ravel(), minlength=quantizer.num_codes))
    assert usage.sum() == z.size / quantizer.width
    share = usage[usage > 0] / usage.sum()
    np.testing.assert_allclose(evaluated.stats["perplexity"], np.exp(-(share * np.log(share)).sum()), rtol=1e-5)


def test_losses_are_for_training_and_the_entropy_can_be_annealed(case):
    name, _, _, (evaluated, trained, boosted, *_) = case
    assert evaluated.losses == {}
    assert set(trained.losses) == LOSSES[name]
    for term in LOSSES[name]:
        ratio = 3.0 if term == "entropy" else 1.0
        np.testing.assert_allclose(boosted.losses[term], ratio * trained.losses[term], rtol=1e-6)


def test_every_code_is_the_code_of_its_own_vector(case):
    _, quantizer, _, (*_, every, again) = case
    assert every.shape == (quantizer.num_codes, quantizer.width)
    if quantizer.__class__.__name__ == "FiniteScalarQuantizer":  # its latents are bounded once more on the way in
        assert np.unique(every, axis=0).shape == every.shape and np.abs(every).max() == 1
    else:
        np.testing.assert_array_equal(again.codes_Bthw.ravel(), np.arange(quantizer.num_codes))


def test_perplexity_runs_from_one_to_the_number_of_codes():
    np.testing.assert_allclose(perplexity(jnp.asarray([0.0, 7.0, 0.0])), 1.0)
    np.testing.assert_allclose(perplexity(jnp.asarray([3.0, 3.0, 3.0])), 3.0, rtol=1e-6)


def test_vq_takes_the_lowest_index_of_equal_codes_and_weighs_its_losses():
    quantizer = make_quantizer({"name": "vq", "num_codes": 3, "embedding_dim": 2, "entropy_weight": 0.0})
    codebook = jnp.asarray([[5.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    z = jnp.asarray([[2.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 1, 2, 2)
    out = quantizer.apply({"params": {"codebook": codebook}}, z, train=True)
    np.testing.assert_array_equal(out.codes_Bthw.ravel(), [1, 1])
    np.testing.assert_allclose(out.losses["codebook"], (1 + 1 + 1) / 4)
    np.testing.assert_allclose(out.losses["commitment"], 0.25 * (1 + 1 + 1) / 4)
    np.testing.assert_array_equal(squared_distance(z.reshape(2, 2), codebook), [[9, 1, 1], [26, 2, 2]])


def test_normalised_vq_returns_unit_vectors_everywhere():
    quantizer = make_quantizer({"name": "vq", "num_codes": 4, "embedding_dim": 3, "latent_normalize": True})
    variables = {"params": {"codebook": 5.0 * jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)}}
    out = quantizer.apply(variables, 0.1 * jnp.ones((1, 1, 1, 2, 3)), train=False)
    for vectors in (out.latents_BthwD, out.inputs_BthwD, quantizer.apply(variables, jnp.arange(4), method="lookup")):
        np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1.0, rtol=1e-5)


def test_dead_codes_restart_at_latents_of_the_batch():
    codebook = jnp.zeros((4, 2))
    latents = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 2, 3, 2)), jnp.float32)
    restarted, dead = restart_dead_codes(codebook, jnp.asarray([9.0, 0, 2, 1]), latents, jax.random.key(0), threshold=2)
    np.testing.assert_array_equal(dead, [False, True, False, True])
    np.testing.assert_array_equal(restarted[~np.asarray(dead)], 0)
    choices = {tuple(row) for row in latents.reshape(-1, 2).tolist()}
    drawn = {tuple(row) for row in restarted[np.asarray(dead)].tolist()}
    assert len(drawn) == 2 and drawn <= choices


def test_restarts_draw_by_weight_and_no_latent_twice():
    latents = jnp.arange(6.0)[:, None].reshape(1, 1, 2, 3, 1) + 1
    weights = jnp.asarray([0.0, 1e-6, 1, 0, 1, 1]).reshape(1, 1, 2, 3)
    counts = np.zeros(7)
    for seed in range(8):
        codes, dead = restart_dead_codes(
            jnp.zeros((9, 1)), jnp.zeros(9), latents, jax.random.key(seed), threshold=1, weights_Bthw=weights)
        np.testing.assert_array_equal(dead, np.arange(9) < 4)  # four latents can be drawn, so four codes begin again
        drawn = codes[:4, 0].tolist()
        assert sorted(drawn) == [2, 3, 5, 6] and (codes[4:] == 0).all()
        counts[int(drawn[-1])] += 1
    assert counts[2] == 8  # the unlikely one comes last


def test_no_weight_no_restart():
    codes, dead = restart_dead_codes(
        jnp.ones((2, 1)), jnp.zeros(2), jnp.zeros((1, 1, 1, 2, 1)), jax.random.key(0), threshold=1,
        weights_Bthw=jnp.zeros((1, 1, 1, 2)))
    assert not dead.any() and (codes == 1).all()


def test_fsq_reaches_every_level_and_keeps_zero_in_the_middle():
    quantizer = make_quantizer({"name": "fsq", "levels": (8, 5)})
    assert quantizer.num_codes == 40
    line = jnp.linspace(-6, 6, 2001)
    out = quantizer.apply({}, jnp.stack([line, line], -1)[None, None, None], train=False)
    np.testing.assert_allclose(np.unique(out.latents_BthwD[..., 0]), np.arange(-4, 4) / 4)
    np.testing.assert_allclose(np.unique(out.latents_BthwD[..., 1]), np.arange(-2, 3) / 2)
    np.testing.assert_array_equal(quantizer.apply({}, jnp.asarray(39), method="lookup"), [0.75, 1.0])
    with pytest.raises(ValueError, match="at least 2 levels"):
        make_quantizer({"name": "fsq", "levels": (1, 5)}).apply({}, jnp.zeros((1, 1, 1, 1, 2)), train=False)


def test_lfq_counts_bits_and_holds_zero_as_negative():
    quantizer = make_quantizer({"name": "lfq", "num_bits": 18})
    assert quantizer.num_codes == 2**18
    z = jnp.full((1, 1, 1, 1, 18), -0.5).at[..., 1].set(2.0).at[..., 17].set(0.1).at[..., 3].set(0.0)
    out = quick_jit(lambda z: quantizer.apply({}, z, train=True))(z)
    assert out.codes_Bthw.item() == 2 + 2**17
    assert all(np.isfinite(value) for value in out.losses.values())
    with pytest.raises(ValueError, match="1 to 18 bits"):
        make_quantizer({"name": "lfq", "num_bits": 19}).apply({}, jnp.zeros((1, 1, 1, 1, 19)), train=False)


def test_misspelt_configs_are_refused():
    with pytest.raises(KeyError, match="Did you mean 'vq'"):
        make_quantizer({"name": "vqq"})
    with pytest.raises(ValueError, match="Did you mean 'num_codes'"):
        make_quantizer({"name": "vq", "num_code": 8})
    with pytest.raises(ValueError, match="has no name"):
        make_quantizer({"num_codes": 8})


def test_features_are_latents_and_of_finite_scalars_the_levels():
    codes = np.arange(8 * 5).reshape(1, 1, 5, 8)
    fsq = make_quantizer({"name": "fsq", "levels": (8, 5)})
    features = np.asarray(fsq.apply({}, codes, method="features")).reshape(40, -1)
    assert features.shape == (40, fsq.feature_width) == (40, 13)
    np.testing.assert_allclose((features**2).sum(-1), 1, rtol=1e-6)
    levels = np.stack([features[:, :8].argmax(-1), features[:, 8:].argmax(-1)])
    np.testing.assert_array_equal(levels[0] + 8 * levels[1], codes.ravel())
    vq = make_quantizer({"name": "vq", "num_codes": 40, "embedding_dim": 3})
    params = {"params": {"codebook": np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)}}
    np.testing.assert_array_equal(vq.apply(params, codes, method="features"), vq.apply(params, codes, method="lookup"))
    assert vq.feature_width == 3
