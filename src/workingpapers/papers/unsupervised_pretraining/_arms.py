"""What the claims compare: each arm is a function from a setting's problem and unlabelled rows to an estimator that waits for labels.

The rows come as a function that draws them, so that arms which learn from labels alone do not pay for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LassoCV, LinearRegression, LogisticRegressionCV, RidgeCV
from sklearn.naive_bayes import GaussianNB
from sklearn.semi_supervised import LabelSpreading

from ._contrastive import ContrastivePretrainer
from ._estimator import PretrainedEstimator
from ._factor import FactorPretrainer
from ._heads import ComponentVote
from ._mixture import MixturePretrainer
from ._problems import ContrastiveProblem, FactorProblem, MixtureProblem, Problem
from ._select import RandomProjection

Rows = Callable[[], Any]  # gives (m, d), or three arrays of pairs
ALPHAS = np.logspace(-3, 4, 15)
SPREAD_OVER = 250


def size(problem: Problem) -> int:
    """Causes, or groups."""
    return problem.n_components if isinstance(problem, MixtureProblem) else problem.r


def tuned_head(problem: Problem) -> Any:
    """The linear head of every arm: ridge or logistic regression, tuned on the labels."""
    return (
        LogisticRegressionCV(Cs=np.logspace(-2, 2, 5), cv=3, tol=1e-3, max_iter=1_000)
        if isinstance(problem, MixtureProblem)
        else RidgeCV(ALPHAS)
    )


def _on(rows: Rows, pretrainer: Any, head: Any) -> PretrainedEstimator:
    """Phase 1 on the rows; pairs as two sets of rows where the pretrainer takes rows."""
    model, given = PretrainedEstimator(pretrainer, head), rows()
    if not isinstance(given, tuple):
        return model.fit_unlabelled(given)
    if isinstance(pretrainer, ContrastivePretrainer):
        return model.fit_unlabelled(given[0], given[1:])
    return model.fit_unlabelled(np.concatenate(given[:2]))


def pretrained(problem: Problem, rows: Rows, seed: int) -> Any:
    """The method: the instance's own maximum likelihood, then its small head."""
    match problem:
        case FactorProblem():
            return _on(rows, FactorPretrainer(problem.r), RidgeCV(ALPHAS))
        case MixtureProblem():
            return _on(rows, MixturePretrainer(problem.n_components, random_state=seed), ComponentVote())
        case ContrastiveProblem():
            return _on(rows, ContrastivePretrainer(dim=problem.r), RidgeCV(ALPHAS))


def tuned_linear(problem: Problem, rows: Rows, seed: int) -> Any:
    """Ridge or logistic regression on the labels alone, tuned by cross-validation."""
    return tuned_head(problem)


def plain_linear(problem: Problem, rows: Rows, seed: int) -> Any:
    """Least squares; linear discriminants with the Ledoit-Wolf covariance."""
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto") if isinstance(problem, MixtureProblem) else LinearRegression()


def sparse_or_diagonal(problem: Problem, rows: Rows, seed: int) -> Any:
    """Lasso, tuned; quadratic discriminants with diagonal covariance (a full one needs more rows a class than columns)."""
    return GaussianNB() if isinstance(problem, MixtureProblem) else LassoCV(cv=5, tol=1e-3, max_iter=5_000)


def same_model_from_labels(problem: Problem, rows: Rows, seed: int) -> Any:
    """The same architecture from the labelled rows alone: r linear directions and a linear head; a mixture for each class."""
    return ClassMixtures(size(problem) // problem.n_classes, seed) if isinstance(problem, MixtureProblem) else PLSRegression(problem.r)


def pca(problem: Problem, rows: Rows, seed: int) -> Any:
    """Principal components of the unlabelled rows and the tuned linear head: principal component regression."""
    return _on(rows, PCA(size(problem) - isinstance(problem, MixtureProblem), random_state=0), tuned_head(problem))


def factor_analysis_or_spreading(problem: Problem, rows: Rows, seed: int) -> Any:
    """What else scikit-learn has: FactorAnalysis and ridge regression; label spreading over ten neighbours; nothing for pairs."""
    match problem:
        case FactorProblem():
            return _on(rows, FactorAnalysis(problem.r, random_state=0), RidgeCV(ALPHAS))
        case MixtureProblem():
            return Transductive(LabelSpreading(kernel="knn", n_neighbors=10), rows()[:SPREAD_OVER])
    return None


def labels_alone(problem: Problem, rows: Rows, seed: int) -> Any:
    """The better of the supervised models in exploratory runs: tuned ridge regression; linear discriminants with shrinkage."""
    return plain_linear(problem, rows, seed) if isinstance(problem, MixtureProblem) else tuned_linear(problem, rows, seed)


def random_directions(problem: Problem, rows: Rows, seed: int) -> Any:
    """The control: as many random directions, and the tuned head."""
    return _on(rows, RandomProjection(size(problem), random_state=[seed, 105]), tuned_head(problem))


class Transductive(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn semi-supervised classifier that is handed the unlabelled rows with -1 for a label."""

    def __init__(self, model: Any, rows: Any) -> None:
        self.model = model
        self.rows = rows

    def fit(self, X: Any, y: Any) -> Self:
        self.model.fit(np.concatenate([X, self.rows]), np.concatenate([y, np.full(len(self.rows), -1)]))
        self.classes_ = self.model.classes_
        return self

    def predict(self, X: Any) -> Any:
        return self.model.predict(X)


class ClassMixtures(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A mixture for each class from its labelled rows; predicts the class of the highest density."""

    def __init__(self, n_components: int, random_state: int = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        self.classes_, counts = np.unique(y, return_counts=True)
        self.prior_ = np.log(counts / counts.sum())
        self.mixtures_ = [
            MixturePretrainer(min(self.n_components, int(n)), random_state=self.random_state).fit(X[y == c])
            for c, n in zip(self.classes_, counts)
        ]
        return self

    def predict(self, X: Any) -> Any:
        scores = np.stack([m.score_samples(X) for m in self.mixtures_], axis=1) + self.prior_
        return self.classes_[scores.argmax(axis=1)]
