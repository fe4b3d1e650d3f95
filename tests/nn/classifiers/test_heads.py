"""The judge: its size, what its attention sees, and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.weights import quick_jit, random_params, random_video
from videogvt.core.trees import parameter_count
from videogvt.nn.classifiers import make_classifier
from videogvt.nn.classifiers.heads import MotionClassifier, coordinates, pool_by_attention

TINY = {"filters": 8, "heads": 2, "width": 16, "motion_blocks": 1, "norm_groups": 4}


def test_parameter_count():
    """By hand: stem, one residual block, its norm, attention, motion, two blocks over time, norm, head."""
    stem, block, norm = 2 * 8 * 8 * 3 * 32, 2 * (9 + 3) * 32 * 32 + 2 * 2 * 32, 2 * 32
    attention, motion = 32 * 4 + 4, 4 * (32 + 2) * 64 + 64
    over_time = 2 * 2 * (2 * 64 + 3 * 64 * 64 + 64)
    by_hand = stem + block + norm + attention + motion + over_time + 2 * 64 + 64 * 5 + 5
    video = jax.ShapeDtypeStruct((1, 16, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(MotionClassifier(5).init, jax.random.key(0), video)["params"]
    assert parameter_count(params) == by_hand == 96_329


@pytest.fixture(scope="module")
def judged():
    """A small judge with random weights, compiled once: clips, their features, and the function."""
    model = make_classifier({"network": "judge", **TINY, "patch": [2, 8, 8]}, 3)
    video = 0.5 * jnp.asarray(random_video((2, 4, 16, 24, 3)))
    params = random_params(model, video.shape)
    features = quick_jit(lambda video: model.apply({"params": params}, video, method="features"))
    return params, video, features(video), features


def test_features_are_of_map_clip_and_classes(judged):
    params, _, features, _ = judged
    assert features["map"].shape == (2, 2, 2, 3, 8) and features["pooled"].shape == (2, 16)
    logits = features["pooled"] @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(logits, features["logits"], rtol=1e-4, atol=1e-5)


def test_attention_takes_features_and_coordinates_from_where_it_looks():
    rng = np.random.default_rng(0)
    map_BthwC = rng.normal(size=(1, 2, 3, 5, 4)).astype(np.float32)
    attention = np.zeros((1, 2, 3, 5, 2), np.float32)
    attention[0, 0, 2, 1, 0] = attention[0, 1, 0, 4, 0] = 50.0  # the first head; the second looks everywhere
    placed_BthwC = jnp.concatenate([map_BthwC, coordinates(jnp.asarray(map_BthwC))], -1)
    seen, weights = pool_by_attention(placed_BthwC, jnp.asarray(attention))
    np.testing.assert_allclose(weights.sum((2, 3)), 1.0, atol=1e-6)
    seen = np.asarray(seen)[0]
    np.testing.assert_allclose(seen[0, 0], [*map_BthwC[0, 0, 2, 1], 1.0, -0.5], atol=1e-5)
    np.testing.assert_allclose(seen[1, 0], [*map_BthwC[0, 1, 0, 4], -1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(seen[0, 1], [*map_BthwC[0, 0].mean((0, 1)), 0.0, 0.0], atol=1e-5)


def test_clips_are_judged_one_by_one_whatever_their_mean_colour(judged):
    _, video, features, compute = judged
    mixed = jnp.stack([video[1] + 0.25, jnp.zeros_like(video[0])])
    np.testing.assert_allclose(compute(mixed)["logits"][0], features["logits"][1], atol=1e-4)


def test_errors_name_what_fits():
    with pytest.raises(ValueError, match="height = 12 is not a multiple of 8"):
        MotionClassifier(3).init(jax.random.key(0), jnp.zeros((1, 2, 12, 16, 3)))
    with pytest.raises(ValueError, match="Did you mean 'judge'"):
        make_classifier({"network": "juge"}, 3)
    with pytest.raises(ValueError, match="Did you mean 'filters'"):
        make_classifier({"network": "judge", "filter": 8}, 3)
    with pytest.raises(ValueError, match="it needs 'network'"):
        make_classifier({}, 3)
