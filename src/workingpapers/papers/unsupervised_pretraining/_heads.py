"""Heads: what is fitted to the labels."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import Array


class ComponentVote(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Gives each component of a mixture one label: the one with the least posterior-weighted 0-1 loss.

    Input are responsibilities `(n, K)`, as `MixturePretrainer.transform` gives them. A row's label is the one whose components
    weigh most. Components that no labelled row touches take the most frequent label. The head of instance B (*reconstructed*); O(n K C).

    Attributes:
        classes_: `(C,)`.
        component_labels_: `(K,)`.
        support_: posterior weight of labelled rows on each component, `(K,)`.

    Raises:
        ValueError: negative responsibilities, one class only.

    >>> head = ComponentVote().fit([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]], ["a", "b", "b"])
    >>> head.component_labels_.tolist(), head.predict([[0.6, 0.4]]).tolist()
    (['a', 'b'], ['a'])
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Responsibilities `(n, K)` and labels `(n,)`."""
        responsibilities, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        if (responsibilities < 0).any():
            raise ValueError("Negative values in data passed to ComponentVote: X must be responsibilities, from 0 up")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only, {self.classes_[0]!r}: labels of at least two classes are needed")
        votes = responsibilities.T @ np.eye(len(self.classes_))[codes]  # (K, C): loss of label c is support - votes
        self.support_ = votes.sum(axis=1)
        overall = np.bincount(codes) / len(codes)
        chosen = (votes + 1e-9 * overall).argmax(axis=1)
        self.component_labels_ = self.classes_[chosen]
        self._law = np.eye(len(self.classes_))[chosen]
        return self

    def predict_proba(self, X: Any) -> Array:
        """Weight of the components of each class, `(n, C)`, each row summing to 1."""
        check_is_fitted(self)
        responsibilities = validate_data(self, X, reset=False, dtype=np.float64)
        weights = np.maximum(responsibilities, 0.0) @ self._law
        total = weights.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, weights / np.maximum(total, np.finfo(float).tiny), 1.0 / len(self.classes_)))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The label of each row, `(n,)`."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.classifier_tags.poor_score = True  # on rows that are no responsibilities
        return tags
