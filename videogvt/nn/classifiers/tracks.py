"""Classifiers of track features by scikit-learn: a linear model and boosted trees."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from videogvt.core.registry import unknown_name

TRACK_MODELS = ("linear", "boosting")


@dataclasses.dataclass
class TrackModel:
    """Names classes and predicts positions from features, jointly or singly; features may be nan.

    Attributes:
      num_classes: K; where training clips lack some classes, these get the probability 0.
      kind: "linear", logistic and ridge regression on standardized features, whose nan become medians; or "boosting",
        gradient boosting of trees on histograms, to which nan is a value of its own.
      seed: of the trees; the linear models draw nothing.
      penalty: of the linear models, the squared weights' factor.
      iterations, learning_rate, leaves, min_samples: of the boosting: trees (for each class), their weight, their
        leaves, and clips in a leaf at least.
    """

    num_classes: int
    kind: Literal["linear", "boosting"] = "boosting"
    seed: int = 0
    penalty: float = 1.0
    iterations: int = 200
    learning_rate: float = 0.1
    leaves: int = 15
    min_samples: int = 5

    def __post_init__(self):
        if self.kind not in TRACK_MODELS:
            raise ValueError(unknown_name("kind of track model", self.kind, TRACK_MODELS))
        self._names, self._told_F, self._classes = (), np.zeros(0, bool), np.zeros(0, np.int64)
        self._classifier = self._regressor = None

    def fit(
        self, features: Mapping[str, np.ndarray], label_N: np.ndarray | None = None,
        position_NP: np.ndarray | None = None,
    ) -> "TrackModel":
        """Learns from features by name, (N,) each, what it is given: labels in 0..K-1, positions (N, P), or both.

        Raises:
          ValueError: neither is given, or a label is no class, or there is a single class.
          ModuleNotFoundError: scikit-learn is missing.
        """
        if label_N is None and position_NP is None:
            raise ValueError("A track model learns labels, positions or both; found neither.")
        self._names = tuple(features)
        self._told_F = np.array([np.isfinite(features[name]).any() for name in self._names])
        table_NF = self._table(features)
        self._classifier = self._regressor = None
        if label_N is not None:
            self._classes = np.unique(np.asarray(label_N, np.int64))
            if len(self._classes) < 2 or self._classes[0] < 0 or self._classes[-1] >= self.num_classes:
                raise ValueError(f"Labels are two or more of the classes 0..{self.num_classes - 1}; found "
                                 f"{self._classes.tolist()}.")
            self._classifier = self._make(classify=True).fit(table_NF, np.asarray(label_N, np.int64))
        if position_NP is not None:
            self._regressor = self._make(classify=False).fit(table_NF, np.asarray(position_NP, np.float64))
        return self

    def predict_proba(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities (N, K), float32."""
        found_NC = self._fitted(self._classifier, "labels").predict_proba(self._table(features))
        probability_NK = np.zeros((len(found_NC), self.num_classes), np.float32)
        probability_NK[:, self._classes] = found_NC
        return probability_NK

    def predict(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """The most probable class of each, int64 (N,)."""
        return self.predict_proba(features).argmax(-1)

    def predict_position(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Positions (N, P), float32, in the unit of those it learned from."""
        return self._fitted(self._regressor, "positions").predict(self._table(features)).astype(np.float32)

    def _table(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        if set(features) != set(self._names):
            raise ValueError(f"This model learned from the features {', '.join(self._names)}; found "
                             f"{', '.join(features)}.")
        table_NF = np.stack([np.asarray(features[name], np.float64) for name in self._names], axis=-1)
        return np.where(self._told_F, table_NF, 0.0)  # the trees cannot take a column of nothing but nan

    @staticmethod
    def _fitted(model: Any, what: str) -> Any:
        if model is None:
            raise ValueError(f"This model has learned no {what}; give them to fit first.")
        return model

    def _make(self, *, classify: bool) -> Any:
        """An estimator of scikit-learn that has learned nothing yet."""
        try:
            from sklearn import ensemble, impute, linear_model, multioutput, pipeline, preprocessing
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Models of track features need scikit-learn: pip install 'scikit-learn>=1.6,<2'.") from error
        if self.kind == "linear":
            last = (linear_model.LogisticRegression(C=1 / self.penalty, max_iter=2000) if classify
                    else linear_model.Ridge(self.penalty))
            fill = impute.SimpleImputer(strategy="median", keep_empty_features=True)
            return pipeline.make_pipeline(fill, preprocessing.StandardScaler(), last)
        fields = {
            "max_iter": self.iterations, "learning_rate": self.learning_rate, "max_leaf_nodes": self.leaves,
            "min_samples_leaf": self.min_samples, "early_stopping": False, "random_state": self.seed,
        }
        if classify:
            return ensemble.HistGradientBoostingClassifier(**fields)
        return multioutput.MultiOutputRegressor(ensemble.HistGradientBoostingRegressor(**fields))
