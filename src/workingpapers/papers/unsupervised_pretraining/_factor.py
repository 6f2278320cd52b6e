"""Instance A: factor models, x = B z + mu with z ~ N(0, I_r)."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._checks import Array, one_of, positive, rows_of, whole
from ._factor_fit import Loadings, diagonal_mle, spectral_mle
from ._factor_missing import fit_missing, posterior_missing
from ._moments import Moments

NOISES = ("unit", "isotropic", "diagonal")


class FactorPretrainer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Maximum-likelihood factor model of unlabelled rows; `transform` gives the posterior mean of the factors.

    The model is `x = mean + B z + mu`, with `z ~ N(0, I_r)`, `mu ~ N(0, Psi)` and B `(d, r)`. B is known up to a rotation
    of z only, which a linear head absorbs: never compare two B entry by entry, compare `B B'` (`get_covariance`).

    Good at: rows whose columns move together through a few common causes, with many more unlabelled rows than labelled ones.
    Not for: labels that depend on what is left after the causes are taken out (`informative_test` looks for that).

    Args:
        n_factors: r, from 1 to d - 1.
        noise: `"unit"` (Psi = I, the paper's instance: the columns' noise must have variance 1), `"isotropic"`
            (Psi = s^2 I, estimated: probabilistic PCA), `"diagonal"` (one variance a column, estimated: factor analysis).
        centre: subtract the mean of the rows; False models the second moment about zero.
        missing: `"raise"` refuses NaN; `"em"` fits the observed entries by expectation-maximisation (missing at random).
        tol: stops the iterative fits (diagonal noise, missing entries) at this relative gain of the mean log-likelihood.
        max_iter: and at this many iterations, with a ConvergenceWarning.

    Attributes:
        components_: `B'`, `(r, d)`.
        noise_variance_: diagonal of Psi, `(d,)`.
        mean_: `(d,)`; zeros without `centre`.
        loglike_: mean log-likelihood of the rows it was fitted on.
        n_active_: factors above the noise floor; the others have zero loadings (a warning says so).
        n_samples_seen_, n_iter_, n_features_in_.

    Cost: O(m d^2) to take the rows in, then one eigen-decomposition (top r only; Lanczos above 2,000 columns), or about 30 of
    them for diagonal noise. `partial_fit` takes rows in chunk by chunk in O(d^2) memory and gives what `fit` gives.

    Raises:
        ValueError: `n_factors >= d`, NaN or infinity (with `missing="raise"`), a column or row without
            any entry, other widths at `transform`.

    References: closed forms of the likelihood for unit and isotropic noise (Tipping and Bishop, 1999); the profile likelihood over
    Psi (Joreskog, 1967). Instance A of the paper; the formulas are *reconstructed*.

    >>> from workingpapers.papers.unsupervised_pretraining import FactorProblem
    >>> problem = FactorProblem(d=20, r=2, strength=3.0, seed=0)
    >>> pretrainer = FactorPretrainer(2).fit(problem.unlabelled(5_000))
    >>> pretrainer.transform(problem.unlabelled(3)).shape
    (3, 2)
    >>> error = pretrainer.get_covariance() - problem.covariance
    >>> bool(np.linalg.norm(error) < 0.1 * np.linalg.norm(problem.covariance))
    True
    """

    def __init__(
        self,
        n_factors: int = 1,
        noise: str = "unit",
        centre: bool = True,
        *,
        missing: str = "raise",
        tol: float = 1e-8,
        max_iter: int = 500,
    ) -> None:
        self.n_factors = n_factors
        self.noise = noise
        self.centre = centre
        self.missing = missing
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to unlabelled rows `X` `(m, d)`; `y` is ignored."""
        x = self._checked(X, reset=True)
        if np.isnan(x).any():
            mean, loadings = fit_missing(
                x, whole("n_factors", self.n_factors), self.noise, centre=bool(self.centre), tol=self.tol, max_iter=self.max_iter
            )
            self._moments = None
            return self._keep(loadings, mean, len(x))
        self._moments = Moments.of(x)
        return self._solve()

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Take in more rows `X` `(m, d)` and fit to all rows seen so far; complete rows only."""
        is_first = not hasattr(self, "n_samples_seen_")
        x = self._checked(X, reset=is_first)
        if np.isnan(x).any() or (not is_first and self._moments is None):
            raise ValueError("X has missing entries: partial_fit keeps moments only and needs complete rows; use fit with missing='em'")
        more = Moments.of(x)
        self._moments = more if is_first or self._moments is None else self._moments.merge(more)
        return self._solve()

    def transform(self, X: Any) -> Array:
        """Posterior means `E[z | x] = (I + B' Psi^-1 B)^-1 B' Psi^-1 (x - mean)`, `(m, r)`."""
        return self._posterior(X)[0]

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """Log-likelihood of each row (of its observed entries), `(m,)`."""
        return self._posterior(X)[1]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows."""
        return float(self.score_samples(X).mean())

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on rows `X`: lower is better. Rotations of z are not counted as parameters."""
        d, r = self.n_features_in_, len(self.components_)
        noise = {"unit": 0, "isotropic": 1, "diagonal": d}[self.noise]
        free = d * r - r * (r - 1) // 2 + noise + (d if self.centre else 0)
        scores = self.score_samples(X)
        return float(-2 * scores.sum() + free * np.log(len(scores)))

    def get_covariance(self) -> Array:
        """`B B' + Psi`, `(d, d)`."""
        check_is_fitted(self)
        return np.asarray(self.components_.T @ self.components_ + np.diag(self.noise_variance_))

    # ------------------------------------------------------------ inside

    def _checked(self, X: Any, *, reset: bool) -> Array:
        r = whole("n_factors", self.n_factors)
        one_of("noise", self.noise, NOISES)
        one_of("missing", self.missing, ("raise", "em"))
        positive("tol", self.tol, zero=True)
        whole("max_iter", self.max_iter)
        x = rows_of(self, X, reset=reset, least=2 if reset else 1, nan=self.missing == "em")
        if r >= x.shape[1]:
            raise ValueError(
                f"n_factors={r} is not below the n_features = {x.shape[1]} of X: a factor model needs fewer factors than columns"
            )
        return x

    def _solve(self) -> Self:
        moments = self._moments
        assert moments is not None
        if moments.count < 2:
            raise ValueError("n_samples=1: a factor model needs two rows at least")
        second = moments.second(centre=bool(self.centre))
        if self.noise == "diagonal":
            loadings = diagonal_mle(second, self.n_factors, tol=self.tol, max_iter=self.max_iter)
        else:
            loadings = spectral_mle(second, self.n_factors, unit=self.noise == "unit")
        mean = moments.mean if self.centre else np.zeros(len(second))
        if self.noise == "unit":
            _warn_of_scale(second, loadings)
        return self._keep(loadings, mean.copy(), moments.count)

    def _keep(self, loadings: Loadings, mean: Array, count: int) -> Self:
        self.mean_ = mean
        self.components_ = loadings.b.T.copy()
        self.noise_variance_ = loadings.psi
        self.loglike_ = loadings.loglike
        self.n_iter_ = loadings.n_iter
        self.n_samples_seen_ = count
        self.n_active_ = int((np.abs(loadings.b).max(axis=0) > 0).sum())
        self._n_features_out = len(self.components_)
        if self.n_active_ < len(self.components_):
            warnings.warn(
                f"only {self.n_active_} of {len(self.components_)} factors rise above the noise: the others have zero loadings; "
                "take fewer factors, more rows, or noise='isotropic' where the columns' noise is not of variance 1",
                stacklevel=3,
            )
        return self

    def _posterior(self, X: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        x = rows_of(self, X, reset=False, nan=self.missing == "em")
        b, psi = self.components_.T, self.noise_variance_
        centred = x - self.mean_
        if np.isnan(x).any():
            return posterior_missing(centred, b, psi)
        weighted = b / psi[:, None]
        precision = np.eye(b.shape[1]) + b.T @ weighted
        projected = centred @ weighted
        z = np.linalg.solve(precision, projected.T).T
        squares = np.einsum("md,md,d->m", centred, centred, 1 / psi) - np.einsum("mr,mr->m", projected, z)
        logdet = np.linalg.slogdet(precision)[1] + np.log(psi).sum()
        return np.asarray(z), np.asarray(-0.5 * (len(psi) * np.log(2 * np.pi) + logdet + squares))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "em"
        return tags


def _warn_of_scale(second: Array, loadings: Loadings) -> None:
    """Unit noise is an assumption about the columns' scale: say so where it is far off."""
    left = float(np.trace(second) - np.square(loadings.b).sum()) / len(second)
    if not 0.5 <= left <= 2.0:
        warnings.warn(
            f"noise='unit' assumes noise of variance 1 in each column, but {left:.3g} is left on average: "
            "use noise='isotropic' or 'diagonal'",
            stacklevel=4,
        )
