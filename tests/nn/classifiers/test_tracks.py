"""Models of track features: what they learn, what they do with gaps and missing classes, what they refuse."""

import sys

import numpy as np
import pytest

from videogvt.nn.classifiers.tracks import TRACK_MODELS, TrackModel

FAST = {"iterations": 20, "leaves": 4}


def data(count=120, seed=0):
    """Three classes by one feature, a position by another; a third is often nan."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count)
    features = {"a": label + 0.2 * rng.normal(size=count), "b": rng.uniform(-3, 3, count), "c": rng.normal(size=count)}
    features["c"][::3] = np.nan
    return features, label, np.stack([2 * features["b"] + 1, -features["b"]], -1)


@pytest.mark.parametrize("kind", TRACK_MODELS)
def test_it_learns_classes_and_positions(kind):
    features, label, position = data()
    model = TrackModel(4, kind, **FAST).fit(features, label, position)
    other, other_label, other_position = data(seed=1)
    probability = model.predict_proba(other)
    assert probability.shape == (120, 4) and probability.dtype == np.float32 and (probability[:, 3] == 0).all()
    np.testing.assert_allclose(probability.sum(1), 1.0, atol=1e-5)
    assert (model.predict(other) == other_label).mean() > 0.95
    found = model.predict_position(dict(reversed(other.items())))  # names count, not their order
    assert found.shape == (120, 2) and np.abs(found - other_position).mean() < (0.1 if kind == "linear" else 0.7)
    again = TrackModel(4, kind, **FAST).fit(features, label, position)
    np.testing.assert_array_equal(again.predict_proba(other), probability)


@pytest.mark.parametrize("kind", TRACK_MODELS)
def test_features_that_were_never_seen_harm_nothing(kind):
    features, label, _ = data()
    features["c"][:] = np.nan
    model = TrackModel(3, kind, **FAST).fit(features, label)
    assert (model.predict(features) == label).mean() > 0.95


def test_errors_say_what_to_do(monkeypatch):
    features, label, position = data(12)
    with pytest.raises(ValueError, match="Did you mean 'boosting'"):
        TrackModel(3, "bosting")
    with pytest.raises(ValueError, match="labels, positions or both; found neither"):
        TrackModel(3).fit(features)
    with pytest.raises(ValueError, match=r"two or more of the classes 0\.\.1; found \[0, 1, 2\]"):
        TrackModel(2).fit(features, label)
    model = TrackModel(3, "linear").fit(features, position_NP=position)
    with pytest.raises(ValueError, match="has learned no labels; give them to fit"):
        model.predict(features)
    with pytest.raises(ValueError, match="learned from the features a, b, c; found a, b"):
        model.predict_position({"a": features["a"], "b": features["b"]})
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'scikit-learn"):
        TrackModel(3).fit(features, label)
