"""Hand-computed values and gradients of every loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.ops import losses


def test_reconstruction_is_the_mean_square_and_weights_what_differs_from_the_background():
    video = jnp.ones((1, 1, 1, 2, 3)).at[0, 0, 0, 1].set(jnp.asarray([1.0, 0.5, 0.0]))
    recon = jnp.full_like(video, 0.5)
    squares = np.asarray([[0.25] * 3, [0.25, 0.0, 0.25]])
    np.testing.assert_allclose(losses.reconstruction(video, recon), squares.mean(), rtol=1e-6)
    weighted = losses.reconstruction(video, recon, background_weight=20.0)
    np.testing.assert_allclose(weighted, (squares * [[1], [21]]).mean(), rtol=1e-6)
    black = losses.reconstruction(video, recon, background_weight=2.0, background=0.0)
    np.testing.assert_allclose(black, (squares * 3).mean(), rtol=1e-6)


def test_commitment_and_codebook_move_one_side_each():
    latents, codes = jnp.asarray([[1.0, 2.0]]), jnp.asarray([[0.0, 0.0]])
    value, grads = jax.value_and_grad(losses.commitment, (0, 1))(latents, codes)
    assert value == 2.5
    np.testing.assert_array_equal(grads[0], [[1, 2]])
    np.testing.assert_array_equal(grads[1], [[0, 0]])
    value, grads = jax.value_and_grad(losses.codebook, (0, 1))(latents, codes)
    assert value == 2.5
    np.testing.assert_array_equal(grads[0], [[0, 0]])
    np.testing.assert_array_equal(grads[1], [[-1, -2]])


@pytest.mark.parametrize("kind", ["softmax", "argmax"])
def test_entropy_of_sharp_and_even_of_sharp_and_single_codes(kind):
    num_codes = 1024
    sharp = 10.0 * jnp.eye(num_codes)
    np.testing.assert_allclose(losses.entropy(sharp, kind=kind), -6.92, atol=0.003)
    single = jnp.zeros((num_codes, num_codes)).at[:, 3].set(10.0)
    np.testing.assert_allclose(losses.entropy(single, kind=kind), 0.0, atol=1e-4)


def test_entropy_of_uniform_assignments():
    np.testing.assert_allclose(losses.entropy(jnp.zeros((8, 1024))), 0.01, atol=0.001)  # of the 1e-5 in the logarithm
    with pytest.raises(ValueError, match="Unknown entropy kind 'soft'"):
        losses.entropy(jnp.zeros((8, 4)), kind="soft")


def test_argmax_entropy_takes_its_gradient_through_the_soft_assignment():
    affinity = jnp.asarray([[0.0, -0.01], [-0.02, 0.0]])
    grad = jax.grad(lambda a: losses.entropy(a, kind="argmax"))(affinity)
    assert np.isfinite(grad).all() and (np.abs(grad) > 0).all()


@pytest.mark.parametrize("bits", [1, 2, 5, 6])
def test_bits_entropy_is_the_entropy_over_all_codes(bits):
    latents = 0.01 * jax.random.normal(jax.random.key(bits), (7, bits))
    codes = jnp.asarray([[1.0 if code >> bit & 1 else -1.0 for bit in range(bits)] for code in range(2**bits)])

    def brute_force(latents):
        log_probs = jax.nn.log_softmax(-jnp.square(latents[:, None] - codes).sum(-1) / 0.01)
        probs = jnp.exp(log_probs)
        mean = probs.mean(0)
        return -(probs * log_probs).sum(-1).mean() + (mean * jnp.log(mean)).sum()

    for fast, slow in zip(jax.value_and_grad(losses.bits_entropy)(latents), jax.value_and_grad(brute_force)(latents)):
        np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=2e-4)


def test_bits_entropy_of_saturated_bits_is_finite():
    latents = jnp.asarray([[1.0] * 18, [-1.0] * 18])
    value, grad = jax.jit(jax.value_and_grad(losses.bits_entropy))(latents)
    np.testing.assert_allclose(value, -math.log(2), rtol=1e-5)
    assert np.isfinite(grad).all()


def test_gan_losses():
    real, fake = jnp.asarray([0.0, 2.0]), jnp.asarray([-1.0, 3.0])
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = (softplus(0) + softplus(-2)) / 2 + (softplus(-1) + softplus(3)) / 2
    np.testing.assert_allclose(losses.discriminator_gan(real, fake), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.generator_gan(fake), (softplus(1) + softplus(-3)) / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.discriminator_gan(real, fake, "hinge"), (1 + 0) / 2 + (0 + 4) / 2)
    np.testing.assert_allclose(losses.generator_gan(fake, "hinge"), -1.0)
    with pytest.raises(ValueError, match="Did you mean 'hinge'"):
        losses.generator_gan(fake, "hing")


def test_r1_of_a_linear_discriminator_is_the_squared_norm_of_its_weights():
    key = jax.random.key(0)
    weights = jax.random.normal(key, (2, 4, 4, 3))
    real = jax.random.normal(jax.random.fold_in(key, 1), (5, 2, 4, 4, 3))

    def penalty(weights):
        logits, penalty = losses.r1(lambda video: (video * weights).sum((1, 2, 3, 4)), real)
        return penalty, logits

    (value, logits), grad = jax.value_and_grad(penalty, has_aux=True)(weights)
    np.testing.assert_allclose(value, jnp.square(weights).sum(), rtol=1e-5)
    np.testing.assert_allclose(grad, 2 * weights, rtol=1e-5)
    np.testing.assert_allclose(logits, jnp.einsum("bthwc,thwc->b", real, weights), rtol=1e-3, atol=1e-3)


def test_lecam_pulls_only_logits_beyond_the_other_side_s_mean():
    real, fake = jnp.asarray([1.0, 3.0]), jnp.asarray([-2.0, 0.0])
    np.testing.assert_allclose(losses.lecam(real, fake, ema_real=0.5, ema_fake=-0.5), 2.5**2 + 1.5**2)
    np.testing.assert_allclose(losses.lecam(real, fake, ema_real=-5.0, ema_fake=5.0), 0.0)


def test_token_cross_entropy_by_hand():
    logits = jnp.log(jnp.asarray([[[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]]))
    targets = jnp.asarray([[0, 2]])
    np.testing.assert_allclose(losses.token_cross_entropy(logits, targets), [[-math.log(0.7), -math.log(0.25)]],
                               rtol=1e-6)
    smooth = -0.9 * math.log(0.7) - 0.1 * (math.log(0.7) + math.log(0.2) + math.log(0.1)) / 3
    found = losses.token_cross_entropy(logits, targets, label_smoothing=0.1)
    np.testing.assert_allclose(found[0, 0], smooth, rtol=1e-6)


def test_weighted_mean_is_each_row_s_own_and_bears_an_empty_one():
    values, weights = jnp.asarray([[1.0, 2.0, 6.0], [3.0, 4.0, 5.0]]), jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(losses.weighted_mean(values, weights), [3.5, 0.0], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda v: losses.weighted_mean(v, weights).sum())(values)).all()
