"""The polynomials that codes of a spectrum stand for: hand-computed, a transform and its inverse, exact for a throw."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import random_params, random_video
from videogvt.nn.layers import Style
from videogvt.nn.spectral import SpectralDecoder, SpectralEncoder, Spectrum, places, polynomials

STYLE = Style(conv="2d", norm_groups=1)


class Colours(nn.Module):
    """A frame's features: its pixels."""

    def __call__(self, video_BTHWC, *, train=False):
        del train
        return video_BTHWC


class Painter(nn.Module):
    """Draws frames as their features are, and says which stages it was asked for."""

    def __call__(self, x, *, train=False, stages=(1, 2)):
        del train
        return x + (10.0 if 2 in stages else 0.0)


def test_polynomials_of_four_frames():
    np.testing.assert_allclose(polynomials(4, 3), [
        [1, 1, 1, 1], np.array([-3, -1, 1, 3]) / np.sqrt(5), [1, -1, -1, 1]], atol=1e-6)


def test_all_polynomials_give_a_course_back_and_the_lowest_its_mean():
    basis, course = polynomials(16, 16), np.random.default_rng(0).normal(size=16)
    amplitudes = basis @ course / 16
    np.testing.assert_allclose(amplitudes @ basis, course, atol=1e-5)
    np.testing.assert_allclose(amplitudes[0], course.mean(), atol=1e-6)
    np.testing.assert_allclose(basis @ basis.T, 16 * np.eye(16), atol=1e-4)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_rest_line_and_throw_have_no_amplitude_beyond_their_degree(degree):
    course = np.polyval([-0.8, 0.5, 0.3][2 - degree:], np.linspace(-1, 1, 16))
    amplitudes = polynomials(16, 8) @ course / 16
    assert np.abs(amplitudes[degree]) > 1e-2
    np.testing.assert_allclose(amplitudes[degree + 1:], 0.0, atol=1e-6)
    np.testing.assert_allclose(amplitudes @ polynomials(16, 8), course, atol=1e-6)


def test_coordinates_begin_as_the_place_and_amount_of_colour():
    kernel = np.asarray(places(4, 2)(jax.random.key(0), (4 * 2 * 8, 4))).reshape(4, 2, 8, 4)
    down, right = np.array([-3, -1, 1, 3]) / np.sqrt(5), np.array([-1, 1])
    assert not kernel[:, :, :5].any()
    np.testing.assert_allclose(kernel[:, :, 5:, 0], down[:, None, None] * np.ones((4, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(kernel[:, :, 5:, 1], right[:, None] * np.ones((4, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(kernel[:, :, 5:, 2:], 1.0)


def test_the_encoder_gives_amplitudes_of_linear_maps_of_frames():
    spectrum = Spectrum(clip=(4, 2, 2), grid=(2, 2, 1))
    model = SpectralEncoder(spectrum, Colours(), 1, STYLE)
    video = random_video((2, 4, 2, 2, 3))
    params = random_params(model, video.shape)
    dense = params["coordinates"]
    cells = np.concatenate([video / np.sqrt(12), video], axis=-1)  # features and colours, both the pixels
    coordinates = cells.reshape(2, 4, -1) @ dense["kernel"] + dense["bias"]
    wanted = np.einsum("kT,BTF->BkF", polynomials(4, 2) / 4, coordinates).reshape(2, 2, 2, 1, 1)
    np.testing.assert_allclose(model.apply({"params": params}, video), wanted, atol=1e-5)
    still = np.broadcast_to(video[:, :1], video.shape)
    np.testing.assert_allclose(model.apply({"params": params}, still)[:, 1:], 0.0, atol=1e-6)


def test_frames_of_a_spectrum_without_changes_are_alike_and_its_stages_follow_each_other():
    spectrum = Spectrum(clip=(4, 2, 2), grid=(2, 1, 1), channels=3, width=8, blocks=1)
    model = SpectralDecoder(spectrum, Painter(), (2, 2), STYLE)
    latents = np.random.default_rng(0).normal(size=(2, 2, 1, 1, 3)).astype(np.float32)
    latents[0, 1] = 0.0
    params = model.init(jax.random.key(0), latents)["params"]
    features = model.apply({"params": params}, latents, stages=(1,))
    assert features.shape == (2, 4, 2, 2, 3)
    np.testing.assert_allclose(features[0], np.broadcast_to(features[0, :1], features[0].shape), atol=1e-5)
    assert np.abs(jnp.diff(features[1], axis=0)).max() > 1e-2
    np.testing.assert_array_equal(
        model.apply({"params": params}, features, stages=(2,)), model.apply({"params": params}, latents))
