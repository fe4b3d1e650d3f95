"""The curves that codes of a spectrum stand for: hand-computed, a transform and its inverse, and the way to frames."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import random_params, random_video
from videogvt.nn.layers import Style
from videogvt.nn.spectral import EDGE, SpectralDecoder, SpectralEncoder, Spectrum, begin_as_moments, curves, moments

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


def test_curves_of_four_frames():
    line, rest = np.array([-3, -1, 1, 3]) / np.sqrt(5), np.array([-1, 3, -3, 1]) / np.sqrt(5)
    np.testing.assert_allclose(curves(4, 4), [[1, 1, 1, 1], line, [1, -1, -1, 1], rest], atol=1e-6)


def test_all_curves_give_a_course_back_and_the_first_its_mean():
    basis, course = curves(16, 16), np.random.default_rng(0).normal(size=16)
    amplitudes = basis @ course / 16
    np.testing.assert_allclose(amplitudes @ basis, course, atol=1e-4)
    np.testing.assert_allclose(amplitudes[0], course.mean(), atol=1e-6)
    np.testing.assert_allclose(basis @ basis.T, 16 * np.eye(16), atol=1e-4)
    np.testing.assert_allclose(np.mean((amplitudes[:8] @ basis[:8]) ** 2), np.sum(amplitudes[:8] ** 2), rtol=1e-4)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_rest_line_and_throw_have_no_amplitude_beyond_their_degree(degree):
    course = np.polyval([-0.8, 0.5, 0.3][2 - degree:], np.linspace(-1, 1, 16))
    amplitudes = curves(16, 8) @ course / 16
    assert np.abs(amplitudes[degree]) > 1e-2
    np.testing.assert_allclose(amplitudes[degree + 1:], 0.0, atol=1e-6)
    np.testing.assert_allclose(amplitudes @ curves(16, 8), course, atol=1e-6)


def test_what_winds_on_a_line_is_kept_by_seven_curves_better_than_by_seven_powers():
    time = np.linspace(-1, 1, 16)
    courses = 3 * time + np.cos(np.pi * np.linspace(1.0, 1.5, 9)[:, None] * time + np.arange(9)[:, None])
    powers = np.linalg.qr(np.polynomial.legendre.legvander(time, 6))[0].T * 4
    lost = [np.abs(courses - courses @ basis.T @ basis / 16).max() for basis in (curves(16, 7), powers)]
    assert lost[0] < lost[1] / 2, lost


def test_moments_of_a_dot_by_hand():
    video = np.zeros((1, 2, 3, 5, 3), np.float32)
    video[0, 0, 2, 3] = -0.9, 0.0, 0.3  # on the last of three rows and the fourth of five columns
    found = np.asarray(moments(video))
    amounts = 64 / 15 * np.array([0.4, -0.9, 0.0, 0.3])
    np.testing.assert_allclose(found[0, 0], [EDGE, EDGE / 2, *amounts], rtol=1e-2)
    np.testing.assert_array_equal(found[0, 1], 0.0)  # nothing is there
    np.testing.assert_allclose(moments(video / 4)[..., :2], found[..., :2], rtol=2e-2)  # places do not fade


def test_coordinates_begin_as_moments():
    kernel = np.asarray(begin_as_moments(jax.random.key(0), (40 + 6, 8)))
    assert not kernel[:40].any()
    np.testing.assert_array_equal(kernel[40:], np.eye(6)[:, [0, 1, 2, 3, 4, 5, 2, 3]])


def test_the_encoder_gives_amplitudes_of_linear_maps_of_frames():
    spectrum = Spectrum(clip=(4, 2, 2), grid=(2, 2, 1))
    model, video = SpectralEncoder(spectrum, Colours(), 1, STYLE), random_video((2, 4, 2, 2, 3))
    params = random_params(model, video.shape)
    wanted = np.einsum("kT,BTF->BkF", curves(4, 2) / 4, linear_map(video, params)).reshape(2, 2, 2, 1, 1)
    np.testing.assert_allclose(model.apply({"params": params}, video), wanted, atol=1e-5)
    still = np.broadcast_to(video[:, :1], video.shape)
    np.testing.assert_allclose(model.apply({"params": params}, still)[:, 1:], 0.0, atol=1e-6)


def linear_map(video, params):
    """The coordinates of an encoder whose features are the pixels."""
    inputs = np.concatenate([video.reshape(*video.shape[:2], -1) / np.sqrt(video[0, 0].size), moments(video)], axis=-1)
    return inputs @ params["coordinates"]["kernel"] + params["coordinates"]["bias"]


def test_what_is_still_is_the_mean_of_coordinates_of_its_own():
    spectrum = Spectrum(clip=(4, 2, 2), grid=(2, 2, 1), still=1)
    model, video = SpectralEncoder(spectrum, Colours(), 1, STYLE), random_video((2, 4, 2, 2, 3))
    params = random_params(model, video.shape)
    latents = model.apply({"params": params}, video)[..., 0, 0]
    np.testing.assert_allclose(latents, linear_map(video, params).mean(1).reshape(2, 2, 2), atol=1e-5)
    decoder = SpectralDecoder(dataclasses.replace(spectrum, channels=3, width=8), Painter(), (2, 2), STYLE)
    rows = np.random.default_rng(0).normal(size=(1, 2, 2, 1, 1)).astype(np.float32)
    frames = decoder.init_with_output(jax.random.key(0), rows)[0]
    np.testing.assert_allclose(frames, np.broadcast_to(frames[:, :1], frames.shape), atol=1e-5)
    with pytest.raises(ValueError, match="tokenizer.spectrum.still is 2; .* less than the 2 of grid"):
        Spectrum(clip=(4, 2, 2), grid=(2, 2, 1), still=2)


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
