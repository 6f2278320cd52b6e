"""Instance B: Gaussian mixtures, z uniform on {1..K}, x | z = k ~ N(u_k, I)."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._checks import Array, one_of, positive, rows_of, whole
from ._mixture_em import Mixture, expect, fit_em, plus_plus

COVARIANCES = ("identity", "spherical", "diag")


class MixturePretrainer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Maximum-likelihood Gaussian mixture of unlabelled rows; `transform` gives the posterior weight of each component.

    Components come in no order: never compare two fits component by component, match them first (`informative_ratio` does).

    Good at: rows that fall into groups, with labels that follow the groups. Not for: groups closer than about `sqrt(log K)`
    standard deviations, where the likelihood no longer tells them apart.

    Args:
        n_components: K.
        covariance: `"identity"` (the paper's instance: the columns' scale within a group is 1), `"spherical"` (one variance a
            component), `"diag"` (one variance a component and column).
        weights: `"uniform"` (1/K, the paper's instance) or `"free"`.
        n_init: starts by k-means++; the best likelihood wins. All run at once, as one wider matrix product.
        tol: a start ends when an iteration adds less than this to the mean log-likelihood.
        max_iter: and at this many iterations, with a ConvergenceWarning when the best start was cut off.
        reg_covar: added to estimated variances.
        random_state: seed of the starts.

    Attributes:
        means_: `(K, d)`.
        covariances_: variances, `(K,)`, or `(K, d)` for `"diag"`; ones for `"identity"`.
        weights_: `(K,)`.
        loglike_: mean log-likelihood of the rows it was fitted on.
        loglike_path_: the same after each iteration of the winning start; never falls.
        n_iter_, converged_, n_features_in_.

    Cost: O(m d K n_init) an iteration, in chunks of rows that stay in the cache.

    Raises:
        ValueError: `n_components` above the number of rows, NaN, other widths at `transform`.

    Reference: expectation-maximisation (Dempster, Laird and Rubin, 1977). Instance B of the paper; formulas *reconstructed*.

    >>> from workingpapers.papers.unsupervised_pretraining import MixtureProblem
    >>> problem = MixtureProblem(d=5, n_components=3, separation=6.0, seed=0)
    >>> pretrainer = MixturePretrainer(3, random_state=0).fit(problem.unlabelled(2_000))
    >>> pretrainer.transform(problem.unlabelled(4)).sum(axis=1).round(6)
    array([1., 1., 1., 1.])
    """

    def __init__(
        self,
        n_components: int = 2,
        covariance: str = "identity",
        weights: str = "uniform",
        n_init: int = 10,
        *,
        tol: float = 1e-6,
        max_iter: int = 300,
        reg_covar: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance = covariance
        self.weights = weights
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.reg_covar = reg_covar
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to unlabelled rows `X` `(m, d)`; `y` is ignored."""
        k = whole("n_components", self.n_components)
        one_of("covariance", self.covariance, COVARIANCES)
        one_of("weights", self.weights, ("uniform", "free"))
        whole("n_init", self.n_init)
        whole("max_iter", self.max_iter)
        positive("tol", self.tol, zero=True)
        positive("reg_covar", self.reg_covar, zero=True)
        x = rows_of(self, X, reset=True, least=1)
        if k > len(x):
            raise ValueError(f"n_components={k} is above the n_samples = {len(x)} rows of X: take fewer components or more rows")
        centre = x.mean(axis=0)  # variances are differences of squares: large means would cost digits
        random = check_random_state(self.random_state)
        starts = np.stack([plus_plus(x, k, random) for _ in range(self.n_init)]) - centre
        best, path, converged = fit_em(
            x - centre, starts, self.covariance, self.weights == "free", tol=self.tol, max_iter=self.max_iter, reg_covar=self.reg_covar
        )
        if not converged:
            warnings.warn(
                f"the best start stopped after max_iter={self.max_iter} iterations: raise max_iter or tol", ConvergenceWarning, stacklevel=2
            )
        self.means_ = best.means + centre
        self.covariances_ = best.variances
        self.weights_ = best.weights
        self.loglike_path_ = path
        self.loglike_ = float(path[-1])
        self.n_iter_ = len(path)
        self.converged_ = converged
        self._n_features_out = k
        return self

    def transform(self, X: Any) -> Array:
        """Responsibilities `P(z = k | x)`, `(m, K)`: each row sums to 1."""
        return self._posterior(X)[0]

    def predict(self, X: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The likeliest component of each row, `(m,)`."""
        return np.asarray(self.transform(X).argmax(axis=1))

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """Log-likelihood of each row, `(m,)`."""
        return self._posterior(X)[1]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows."""
        return float(self.score_samples(X).mean())

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on rows `X`: lower is better."""
        k, d = self.means_.shape
        free = k * d + {"identity": 0, "spherical": k, "diag": k * d}[self.covariance] + (k - 1 if self.weights == "free" else 0)
        scores = self.score_samples(X)
        return float(-2 * scores.sum() + free * np.log(len(scores)))

    def _posterior(self, X: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        x = rows_of(self, X, reset=False)
        centre = self.means_.mean(axis=0)
        return expect(x - centre, Mixture(self.means_ - centre, self.covariances_, self.weights_))
