"""Instance C: contrastive pairs, P(t = 1 | x, x') = 1 / (1 + exp(-f(x) . f(x')))."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from ._checks import Array, generator, one_of, positive, rows_of, whole
from ._factor_fit import top_eigen

Pairs = tuple[Array, Array, Array]
ANCHORS = 20_000


class ContrastivePretrainer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Maximum-likelihood encoder of pairs that belong together (t = 1) or not (t = -1); `transform` gives f(x).

    The likelihood is logistic in `f(x) . f(x')`; f is known up to a rotation, which a linear head absorbs.

    Good at: rows for which you know what belongs together (two views, neighbours in time, clicks), but few labels.

    Args:
        encoder: `"linear"`, f(x) = theta' x, or a `torch.nn.Module` from `(batch, d)` to `(batch, dim)`; a copy of it is trained.
        dim: r, the length of f(x); for a linear encoder at most d.
        pairs: how pairs are made where `fit` is given rows only (inside a pipeline): a function `(X, generator) -> (X1, X2, t)`;
            None takes each row with its nearest neighbour (t = 1) and with a random row (t = -1).
        optimiser: `"lbfgs"` (all pairs at each step) or `"adamw"` (batches; torch encoders only).
        l2: ridge penalty `l2 / 2 * |theta|^2` beside the mean loss.
        max_iter: iterations (L-BFGS) or passes over the pairs (AdamW).
        batch_size, learning_rate: of AdamW.
        tol: relative gain of the loss at which L-BFGS stops.
        random_state: seed of made pairs and batches. A torch module brings its own initial weights.
        verbose: show a progress bar while a torch encoder is trained.

    Attributes:
        components_: `theta'`, `(dim, d)`, for a linear encoder.
        encoder_: the trained copy, for a torch encoder.
        loss_: mean logistic loss of the training pairs, with the penalty.
        loss_path_: after each iteration.
        n_iter_, converged_, n_features_in_.

    Cost: four products of `(N, d)` by `(d, r)` an iteration; it starts from the top eigenvectors of the mean of `t x x''`.

    Raises:
        ValueError: `dim > d`, t other than -1 and 1 or all of one sign, halves of different shapes, NaN.

    Instance C of the paper; formulas and start *reconstructed*. A linear encoder has no intercept: centre the columns first.

    >>> from workingpapers.papers.unsupervised_pretraining import ContrastiveProblem
    >>> problem = ContrastiveProblem(d=8, r=2, seed=0)
    >>> pretrainer = ContrastivePretrainer(dim=2).fit(*problem.unlabelled(20_000))
    >>> error = pretrainer.components_.T @ pretrainer.components_ - problem.theta @ problem.theta.T
    >>> bool(np.linalg.norm(error) < 0.1 * np.linalg.norm(problem.theta @ problem.theta.T))
    True
    """

    def __init__(
        self,
        encoder: Any = "linear",
        dim: int = 1,
        pairs: Callable[[Array, np.random.Generator], Pairs] | None = None,
        optimiser: str = "lbfgs",
        l2: float = 0.0,
        *,
        max_iter: int = 500,
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        tol: float = 1e-9,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.encoder = encoder
        self.dim = dim
        self.pairs = pairs
        self.optimiser = optimiser
        self.l2 = l2
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, t: Any = None) -> Self:
        """Fit to pairs: `fit(X1, X2, t)` with `X1`, `X2` `(N, d)` and `t` `(N,)` of -1 and 1.

        `fit(X)` makes the pairs itself (see `pairs`); `y` is then ignored, as a pipeline hands labels to every step.
        """
        self._check_parameters()
        x = rows_of(self, X, reset=True, least=2)
        if t is None and isinstance(y, np.ndarray) and y.shape == x.shape and x.shape[1] > 1:
            raise ValueError("t is missing: fit(X1, X2, t) needs 1 (belong together) or -1 for each pair")
        x1, x2, signs = self._made(x) if t is None else _checked_pairs(x, y, t)
        if self.encoder == "linear":
            if self.dim > x.shape[1]:
                raise ValueError(f"dim={self.dim} is above the n_features = {x.shape[1]} of X: a linear encoder needs dim <= d")
            self._fit_linear(x1, x2, signs)
        else:
            from ._encoder import train

            self.encoder_, self.loss_path_, self.converged_ = train(
                self.encoder,
                x1,
                x2,
                signs,
                dim=self.dim,
                optimiser=self.optimiser,
                l2=self.l2,
                max_iter=self.max_iter,
                tol=self.tol,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                rng=generator(self.random_state),
                verbose=self.verbose,
            )
        if not self.converged_:
            warnings.warn(
                f"the encoder stopped after max_iter={self.max_iter} iterations: raise max_iter or tol", ConvergenceWarning, stacklevel=2
            )
        self.loss_ = float(self.loss_path_[-1])
        self.n_iter_ = len(self.loss_path_) - 1
        self._n_features_out = self.dim
        return self

    def transform(self, X: Any) -> Array:
        """f(x), `(m, dim)`."""
        check_is_fitted(self)
        x = rows_of(self, X, reset=False)
        if hasattr(self, "encoder_"):
            from ._encoder import encode

            return encode(self.encoder_, x)
        return np.asarray(x @ self.components_.T)

    def pair_log_likelihood(self, X1: Any, X2: Any, t: Any) -> float:
        """Mean `log P(t | x, x')` of held-out pairs."""
        check_is_fitted(self)
        x1, x2, signs = _checked_pairs(rows_of(self, X1, reset=False), X2, t)
        agreement = np.einsum("nr,nr->n", self.transform(x1), self.transform(x2))
        return float(-np.logaddexp(0.0, -signs * agreement).mean())

    # ------------------------------------------------------------ inside

    def _check_parameters(self) -> None:
        whole("dim", self.dim)
        one_of("optimiser", self.optimiser, ("lbfgs", "adamw"))
        positive("l2", self.l2, zero=True)
        positive("tol", self.tol, zero=True)
        positive("learning_rate", self.learning_rate)
        whole("max_iter", self.max_iter)
        whole("batch_size", self.batch_size)
        if isinstance(self.encoder, str):
            one_of("encoder", self.encoder, ("linear",))
            if self.optimiser == "adamw":
                raise ValueError("optimiser='adamw' trains torch encoders: a linear encoder takes 'lbfgs'")
        elif not hasattr(self.encoder, "parameters"):
            raise TypeError(f"encoder is a {type(self.encoder).__name__}: it must be 'linear' or a torch.nn.Module")
        if self.pairs is not None and not callable(self.pairs):
            raise TypeError("pairs must be a function (X, generator) -> (X1, X2, t), or None; hand ready pairs to fit(X1, X2, t)")

    def _made(self, x: Array) -> Pairs:
        rng = generator(self.random_state)
        made = neighbour_pairs(x, rng) if self.pairs is None else self.pairs(x, rng)
        if not isinstance(made, tuple) or len(made) != 3:
            raise ValueError("pairs must return (X1, X2, t)")
        return _checked_pairs(check_array(made[0], dtype=np.float64), made[1], made[2])

    def _fit_linear(self, x1: Array, x2: Array, signs: Array) -> None:
        start = spectral_start(x1, x2, signs, self.dim)
        path: list[float] = [contrastive_loss(start.ravel(), x1, x2, signs, self.l2)[0]]
        found = minimize(
            contrastive_loss,
            start.ravel(),
            args=(x1, x2, signs, self.l2),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: path.append(float(intermediate_result.fun)),
            options={"maxiter": self.max_iter, "ftol": self.tol, "gtol": 1e-8, "maxcor": 20},
        )
        self.components_ = found.x.reshape(start.shape).T.copy()
        self.loss_path_ = np.array(path)
        # An abnormal end of the line search at the rounding floor is an end; only running out of iterations is not.
        self.converged_ = bool(found.success or found.nit < self.max_iter)


def contrastive_loss(theta: Array, x1: Array, x2: Array, signs: Array, l2: float = 0.0) -> tuple[float, Array]:
    """Mean `log(1 + exp(-t f(x) . f(x')))` plus `l2 / 2 |theta|^2`, and its gradient; theta is flat, `(d * r,)`."""
    weights = theta.reshape(x1.shape[1], -1)
    z1, z2 = x1 @ weights, x2 @ weights
    margin = signs * np.einsum("nr,nr->n", z1, z2)
    slope = (-signs * expit(-margin) / len(signs))[:, None]
    gradient = x1.T @ (slope * z2) + x2.T @ (slope * z1) + l2 * weights
    return float(np.logaddexp(0.0, -margin).mean() + 0.5 * l2 * theta @ theta), gradient.ravel()


def spectral_start(x1: Array, x2: Array, signs: Array, r: int) -> Array:
    """theta `(d, r)` from the top eigenvectors of the mean of `t x x''`, made symmetric (reconstructed).

    For small agreements `E[t x x''] = C theta theta' C / 2` with C the second moment of a row: the eigenvalues give the lengths.
    """
    cross = x1.T @ (signs[:, None] * x2) / len(signs)
    second = (x1.T @ x1 + x2.T @ x2) / (2 * len(signs))
    inverse = np.linalg.pinv(second, rcond=1e-10, hermitian=True)
    values, vectors = top_eigen(inverse @ (cross + cross.T) @ inverse, r)
    # Not quite zero: at zero the gradient is zero as well.
    return np.asarray(vectors * np.sqrt(np.maximum(values, 1e-3 * max(float(np.abs(values).max()), 1e-6))))


def neighbour_pairs(x: Array, rng: np.random.Generator) -> Pairs:
    """Each row (of at most 20,000) with its nearest neighbour, t = 1, and with a random row, t = -1."""
    from sklearn.neighbors import NearestNeighbors

    chosen = rng.choice(len(x), size=ANCHORS, replace=False) if len(x) > ANCHORS else np.arange(len(x))
    rows = x[chosen]
    near = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(return_distance=False)[:, 0]
    other = (np.arange(len(rows)) + rng.integers(1, len(rows), size=len(rows))) % len(rows)
    return np.concatenate([rows, rows]), np.concatenate([rows[near], rows[other]]), np.repeat([1.0, -1.0], len(rows))


def _checked_pairs(x1: Array, x2: Any, t: Any) -> Pairs:
    if x2 is None:
        raise ValueError("X2 is missing: fit(X1, X2, t) needs both halves of each pair")
    second = check_array(x2, dtype=np.float64)
    if second.shape != x1.shape:
        raise ValueError(f"X1 has shape {x1.shape}, X2 {second.shape}: the halves of pairs must have one shape")
    signs = np.asarray(t)
    if signs.shape != (len(x1),):
        raise ValueError(f"t has shape {signs.shape}: one sign for each of the {len(x1)} pairs is needed")
    if not np.isin(signs, (-1, 1)).all():
        raise ValueError("t must be 1 (belong together) or -1 (do not): for 0/1 hand in 2 * t - 1")
    if len(np.unique(signs)) < 2:
        raise ValueError(f"t is {signs[0]} for every pair: pairs of both kinds are needed")
    return x1, second, signs.astype(np.float64)
