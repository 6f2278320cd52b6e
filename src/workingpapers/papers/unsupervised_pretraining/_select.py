"""Before labels are bought: how many causes or groups, and whether the latent carries the labels at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import Array, generator, whole


class RandomProjection(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The control: centred columns onto `n_components` random orthonormal directions; learns nothing but the mean.

    >>> RandomProjection(2, random_state=0).fit_transform(np.eye(4)).shape
    (4, 2)
    """

    def __init__(self, n_components: int = 1, *, random_state: Any = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> RandomProjection:
        """Draw the directions for the width of X."""
        x = validate_data(self, X, dtype=np.float64)
        k = min(whole("n_components", self.n_components), x.shape[1])
        drawn = generator(self.random_state).standard_normal((x.shape[1], k))
        self.mean_ = x.mean(axis=0)
        self.components_ = np.linalg.qr(drawn)[0].T
        return self

    def transform(self, X: Any) -> Array:
        """`(m, n_components)`."""
        check_is_fitted(self)
        return np.asarray((validate_data(self, X, reset=False, dtype=np.float64) - self.mean_) @ self.components_.T)


def select_size(pretrainer: Any, X_u: Any, sizes: Sequence[int]) -> tuple[Any, dict[int, float]]:
    """Fit a factor or mixture pretrainer with each number of factors or components; the fitted one of the lowest BIC, and all BICs.

    It looks at unlabelled rows only: it says how many causes x has, not how many the labels need.

    >>> from workingpapers.papers.unsupervised_pretraining import FactorPretrainer, FactorProblem
    >>> best, bics = select_size(FactorPretrainer(), FactorProblem(d=12, r=3, strength=3.0, seed=0).unlabelled(2_000), [1, 2, 3, 4, 5])
    >>> best.n_factors
    3
    """
    name = next((n for n in ("n_factors", "n_components") if n in pretrainer.get_params()), None)
    if name is None or not hasattr(pretrainer, "bic"):
        raise TypeError(f"{type(pretrainer).__name__} has no bic: a FactorPretrainer or MixturePretrainer is needed")
    if not len(sizes):
        raise ValueError("sizes is empty: give numbers of factors or components")
    fitted = {int(size): clone(pretrainer).set_params(**{name: int(size)}).fit(X_u) for size in sizes}
    bics = {size: model.bic(X_u) for size, model in fitted.items()}
    return fitted[min(bics, key=lambda size: bics[size])], bics


@dataclass(frozen=True)
class InformativeTest:
    """Two gains with 95 % intervals: of held-out likelihood (does x have structure?) and of the head (do labels follow it?).

    Attributes:
        likelihood_gain: mean held-out log-likelihood a row, over independent normal columns (in nats).
        head_gain: cross-validated score of the head on the latent, less that on a random projection of the same width.
        over_nothing: the same, less that of a constant prediction.
    """

    likelihood_gain: tuple[float, float, float]
    head_gain: tuple[float, float, float]
    over_nothing: tuple[float, float, float]

    def sentence(self) -> str:
        """What follows."""
        if self.likelihood_gain[1] <= 0:
            return "The model finds no structure in x: pretraining has nothing to give."
        if self.over_nothing[1] <= 0:
            return "x has structure, but the labels do not visibly follow it: pretraining is not shown to help."
        if self.head_gain[1] <= 0:
            return "x has structure, but the head does no better on it than on a random projection."
        return "x has structure and the labels follow it: try labels_saved."


def informative_test(pretrainer: Any, head: Any, X_u: Any, X_l: Any, y_l: Any, cv: int = 5, *, random_state: int = 0) -> InformativeTest:
    """A practical look at the informative condition (ours): held-out likelihood gain against head gain.

    Args:
        pretrainer: with `fit`, `transform` and `score_samples` (factor or mixture); unfitted.
        head: classifier or regressor.
        X_u, X_l, y_l: unlabelled rows, labelled rows, labels.
        cv: folds, 3 at least.

    A likelihood gain without a head gain is what the negative control looks like: structure that the labels do not use.

    >>> from sklearn.linear_model import RidgeCV
    >>> from workingpapers.papers.unsupervised_pretraining import FactorPretrainer, FactorProblem
    >>> for share in (0.0, 1.0):
    ...     problem = FactorProblem(d=20, r=2, strength=3.0, sigma=0.3, through_noise=share, seed=0)
    ...     test = informative_test(FactorPretrainer(2), RidgeCV(), problem.unlabelled(1_000), *problem.labelled(200))
    ...     print(test.likelihood_gain[1] > 0, test.head_gain[1] > 0)
    True True
    True False
    """
    folds = whole("cv", cv, 3)
    unlabelled = check_array(X_u)
    gains = []
    for train, test in KFold(folds, shuffle=True, random_state=random_state).split(unlabelled):
        mean, spread = unlabelled[train].mean(axis=0), np.maximum(unlabelled[train].std(axis=0), 1e-9)
        plain = -0.5 * np.square((unlabelled[test] - mean) / spread) - np.log(spread) - 0.5 * math.log(2 * math.pi)
        gains.append(float((clone(pretrainer).fit(unlabelled[train]).score_samples(unlabelled[test]) - plain.sum(axis=1)).mean()))
    fitted = clone(pretrainer).fit(unlabelled)
    latent = fitted.transform(X_l)
    control = RandomProjection(latent.shape[1], random_state=random_state).fit(unlabelled).transform(X_l)
    splitter = StratifiedKFold if is_classifier(head) else KFold
    split = splitter(folds, shuffle=True, random_state=random_state)
    nothing = DummyClassifier() if is_classifier(head) else DummyRegressor()
    scores = [cross_val_score(clone(model), rows, y_l, cv=split) for model, rows in ((head, latent), (head, control), (nothing, latent))]
    return InformativeTest(_across(np.array(gains)), _across(scores[0] - scores[1]), _across(scores[0] - scores[2]))


def _across(values: Array) -> tuple[float, float, float]:
    """Mean over folds with Student's t for dependent folds (Nadeau and Bengio: 1/k + 1/(k - 1))."""
    k = len(values)
    half = float(stdtrit(k - 1, 0.975)) * float(values.std(ddof=1)) * math.sqrt(1 / k + 1 / (k - 1))
    mean = float(values.mean())
    return mean, mean - half, mean + half
