"""Instances A and C as problems with known truth: draws, optimal risk and excess risk of any predictor, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.special import erf, erfc

from ._checks import Array, generator, one_of, positive, whole
from ._streams import LABELLED, MONTE_CARLO, TRUTH, UNLABELLED

Loss = Literal["squared", "truncated"]


class _LinearProblem:
    """What the two regression problems share: x is Gaussian with mean 0, the best prediction is `w*' x`, errors are Gaussian."""

    seed: int

    @property
    def covariance(self) -> Array:
        """Covariance S of a row, `(d, d)`."""
        raise NotImplementedError  # abstract

    @property
    def optimal_weights(self) -> Array:
        """w*, `(d,)`: the best prediction of y is `w*' x`."""
        raise NotImplementedError  # abstract

    @property
    def residual_variance(self) -> float:
        """Variance of y given x."""
        raise NotImplementedError  # abstract

    def optimal_risk(self, *, loss: Loss = "squared", bound: float = math.inf) -> float:
        """Least expected loss, closed form; `loss="truncated"` is `min(error^2, bound)`, as the theory takes it."""
        return expected_loss(self.residual_variance, loss, bound)

    def excess_risk(
        self, predictor: Any, *, loss: Loss = "squared", bound: float = math.inf, draws: int = MONTE_CARLO, seed: int = 0
    ) -> float:
        """Expected loss of a predictor less the least possible.

        Args:
            predictor: weights `(d,)`, a pair (weights, intercept), or anything with `predict`.
            loss: `"squared"`, or `"truncated"` at `bound`.
            draws, seed: for predictors that are not affine in x only: Monte Carlo over x, with the noise integrated out.

        Affine predictors, recognised by trying, get the closed form `(w - w*)' S (w - w*) + b^2`. Cost O(d^2).
        """
        affine = as_affine(predictor, len(self.optimal_weights))
        if affine is None:
            x = generator(seed).standard_normal((draws, len(self.optimal_weights))) @ np.linalg.cholesky(self.covariance).T
            gap = np.square(np.asarray(predictor.predict(x), dtype=float).reshape(-1) - x @ self.optimal_weights)
            if loss == "squared":
                return float(gap.mean())
            # Given x the error is normal around that gap: not one variance for all rows.
            return float(_truncated_around(gap, self.residual_variance, bound).mean()) - self.optimal_risk(loss=loss, bound=bound)
        weights, intercept = affine
        off = weights - self.optimal_weights
        squared = max(float(off @ self.covariance @ off), 0.0)
        if loss == "squared":
            return squared + intercept**2
        if intercept == 0.0:
            return expected_loss(self.residual_variance + squared, loss, bound) - self.optimal_risk(loss=loss, bound=bound)
        return float(_truncated_around(np.array([intercept**2]), self.residual_variance + squared, bound)[0]) - self.optimal_risk(
            loss=loss, bound=bound
        )


def expected_loss(variance: float, loss: Loss = "squared", bound: float = math.inf) -> float:
    """Expected loss of an error N(0, variance): the variance, or `E min(e^2, bound)` in closed form.

    >>> round(expected_loss(2.0), 3), round(expected_loss(2.0, "truncated", 1e9), 3), round(expected_loss(1.0, "truncated", 1.0), 3)
    (2.0, 2.0, 0.516)
    """
    one_of("loss", loss, ("squared", "truncated"))
    if loss == "squared" or math.isinf(bound):
        return variance
    a = math.sqrt(positive("bound", bound) / variance)
    return float(variance * (erf(a / math.sqrt(2)) - a * math.sqrt(2 / math.pi) * math.exp(-(a**2) / 2)) + bound * erfc(a / math.sqrt(2)))


def _truncated_around(gap: Array, variance: float, bound: float, nodes: int = 400) -> Array:
    """`E min((e + sqrt(gap))^2, bound)` for e ~ N(0, variance), by the midpoint rule on quantiles of e; `gap` `(n,)`."""
    from scipy.special import ndtri

    e = math.sqrt(variance) * ndtri((np.arange(nodes) + 0.5) / nodes)
    out = np.empty(len(gap))
    for i in range(0, len(gap), 4_096):
        out[i : i + 4_096] = np.minimum(np.square(e + np.sqrt(gap[i : i + 4_096])[:, None]), bound).mean(axis=1)
    return out


def as_affine(predictor: Any, d: int) -> tuple[Array, float] | None:
    """Weights and intercept of a predictor, when it is affine; None otherwise. Asks for d + 9 predictions."""
    if isinstance(predictor, tuple):
        return np.asarray(predictor[0], dtype=float), float(predictor[1])
    if not hasattr(predictor, "predict"):
        weights = np.asarray(predictor, dtype=float)
        if weights.shape != (d,):
            raise ValueError(f"predictor: weights of shape ({d},), or something with predict, are needed, not shape {weights.shape}")
        return weights, 0.0
    tried = np.random.default_rng(0).standard_normal((8, d)) * np.array([0.1, 1, 3, 10, 0.3, 1, 3, 30])[:, None]
    given = np.asarray(predictor.predict(np.concatenate([np.zeros((1, d)), np.eye(d), tried])), dtype=float).reshape(-1)
    intercept, weights = given[0], given[1 : d + 1] - given[0]
    wanted = intercept + tried @ weights
    scale = np.abs(wanted).max() + np.abs(given).max() + 1e-300
    return (weights, float(intercept)) if np.abs(given[d + 1 :] - wanted).max() <= 1e-8 * scale else None


def strengths(strength: float | Sequence[float], r: int) -> Array:
    """The r eigenvalues asked for: one number for all, a pair (highest, lowest) spread evenly, or r numbers."""
    given = np.atleast_1d(np.asarray(strength, dtype=float))
    if given.ndim != 1 or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(f"strength={strength!r}: finite numbers from 0 up are needed")
    if len(given) == r:
        return given
    if len(given) == 1:
        return np.full(r, given[0])
    if len(given) == 2:
        return np.linspace(given[0], given[1], r)
    raise ValueError(f"strength={strength!r}: one number, a pair (highest, lowest) or r={r} numbers are needed")


def orthonormal(rng: np.random.Generator, d: int, r: int) -> Array:
    """r random orthonormal columns, `(d, r)`."""
    return np.asarray(np.linalg.qr(rng.standard_normal((d, r)))[0])


@dataclass(frozen=True)
class FactorProblem(_LinearProblem):
    """Instance A: `x = B z + mu`, `y = beta' z + nu`, with z, mu standard normal and `nu ~ N(0, sigma^2)`.

    Args:
        d: columns of x.
        r: hidden causes.
        strength: eigenvalues of `B B'`: one number, a pair (highest, lowest), or r numbers. Around 1 and below they are weak.
        sigma: standard deviation of the label noise.
        seed: draws B and beta (of length 1).
        through_noise: share, from 0 to 1, of the label's signal that comes from mu instead of z: the negative control. It lies in a
            direction that B does not reach, so that no factor carries it.

    >>> problem = FactorProblem(d=10, r=2, strength=2.0, sigma=0.5, seed=0)
    >>> x, y = problem.labelled(100)
    >>> x.shape, y.shape, round(problem.excess_risk(problem.optimal_weights), 12)
    ((100, 10), (100,), 0.0)
    """

    d: int
    r: int
    strength: float | tuple[float, ...] = 2.0
    sigma: float = 1.0
    seed: int = 0
    through_noise: float = 0.0

    def __post_init__(self) -> None:
        whole("d", self.d, 2)
        if whole("r", self.r) >= self.d:
            raise ValueError(f"r={self.r}: fewer causes than d={self.d} columns are needed")
        strengths(self.strength, self.r)
        positive("sigma", self.sigma, zero=True)
        if not 0 <= self.through_noise <= 1:
            raise ValueError(f"through_noise={self.through_noise}: a share from 0 to 1 is needed")

    @cached_property
    def _parameters(self) -> tuple[Array, Array, Array]:
        rng = np.random.default_rng([self.seed, TRUTH])
        basis = orthonormal(rng, self.d, self.r + 1)
        beta = rng.standard_normal(self.r)
        beta *= math.sqrt(1.0 - self.through_noise) / float(np.linalg.norm(beta))
        return basis[:, : self.r] * np.sqrt(strengths(self.strength, self.r)), beta, math.sqrt(self.through_noise) * basis[:, self.r]

    @property
    def b(self) -> Array:
        """B, `(d, r)`."""
        return self._parameters[0]

    @property
    def beta(self) -> Array:
        """beta, `(r,)`."""
        return self._parameters[1]

    @property
    def gamma(self) -> Array:
        """Weights of mu in the label, `(d,)`; zero unless `through_noise`."""
        return self._parameters[2]

    @property
    def covariance(self) -> Array:
        """`S = B B' + I`, `(d, d)`."""
        return np.asarray(self.b @ self.b.T + np.eye(self.d))

    @cached_property
    def optimal_weights(self) -> Array:
        """`w* = S^-1 (B beta + gamma)`, `(d,)`."""
        return np.asarray(np.linalg.solve(self.covariance, self.b @ self.beta + self.gamma))

    @cached_property
    def residual_variance(self) -> float:
        """`|beta|^2 + |gamma|^2 + sigma^2 - w*' S w*`."""
        explained = float(self.optimal_weights @ self.covariance @ self.optimal_weights)
        return float(self.beta @ self.beta + self.gamma @ self.gamma) + self.sigma**2 - explained

    def unlabelled(self, m: int, rng: Any = None) -> Array:
        """m rows `(m, d)` from a seed or generator; without one the problem's own stream, the same rows at each call."""
        return self._draw(whole("m", m), generator([self.seed, UNLABELLED] if rng is None else rng))[0]

    def labelled(self, n: int, rng: Any = None) -> tuple[Array, Array]:
        """n rows `(n, d)` with labels `(n,)`; draws as `unlabelled` does, from another stream."""
        return self._draw(whole("n", n), generator([self.seed, LABELLED] if rng is None else rng))

    def _draw(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        z, mu = rng.standard_normal((n, self.r)), rng.standard_normal((n, self.d))
        y = z @ self.beta + mu @ self.gamma + self.sigma * rng.standard_normal(n)
        mu += z @ self.b.T
        return mu, y


@dataclass(frozen=True)
class ContrastiveProblem(_LinearProblem):
    """Instance C: `x, x' ~ N(0, I)`, `P(t = 1) = 1 / (1 + exp(-f(x) . f(x')))` with `f(x) = theta' x`; `y = beta' f(x) + nu`.

    Args:
        d, r: columns of x, length of f(x).
        strength: eigenvalues of `theta theta'`: one number, a pair (highest, lowest), or r numbers.
        sigma: standard deviation of the label noise.
        seed: draws theta and beta (of length 1).

    >>> x1, x2, t = ContrastiveProblem(d=6, r=2, seed=0).unlabelled(50)
    >>> x1.shape, sorted(set(t.tolist()))
    ((50, 6), [-1.0, 1.0])
    """

    d: int
    r: int
    strength: float | tuple[float, ...] = 1.0
    sigma: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        whole("d", self.d)
        if whole("r", self.r) > self.d:
            raise ValueError(f"r={self.r}: at most d={self.d} is possible")
        strengths(self.strength, self.r)
        positive("sigma", self.sigma, zero=True)

    @cached_property
    def _parameters(self) -> tuple[Array, Array]:
        rng = np.random.default_rng([self.seed, TRUTH])
        theta = orthonormal(rng, self.d, self.r) * np.sqrt(strengths(self.strength, self.r))
        beta = rng.standard_normal(self.r)
        return theta, beta / float(np.linalg.norm(beta))

    @property
    def theta(self) -> Array:
        """theta, `(d, r)`."""
        return self._parameters[0]

    @property
    def beta(self) -> Array:
        """beta, `(r,)`."""
        return self._parameters[1]

    @property
    def covariance(self) -> Array:
        """I, `(d, d)`."""
        return np.eye(self.d)

    @cached_property
    def optimal_weights(self) -> Array:
        """`w* = theta beta`, `(d,)`."""
        return np.asarray(self.theta @ self.beta)

    @property
    def residual_variance(self) -> float:
        """`sigma^2`."""
        return self.sigma**2

    def unlabelled(self, m: int, rng: Any = None) -> tuple[Array, Array, Array]:
        """m pairs: `X1` `(m, d)`, `X2` `(m, d)`, `t` `(m,)`; draws as `FactorProblem.unlabelled`."""
        from scipy.special import expit

        rng = generator([self.seed, UNLABELLED] if rng is None else rng)
        x1, x2 = rng.standard_normal((2, whole("m", m), self.d))
        agreement = np.einsum("nr,nr->n", x1 @ self.theta, x2 @ self.theta)
        return x1, x2, np.where(rng.random(m) < expit(agreement), 1.0, -1.0)

    def labelled(self, n: int, rng: Any = None) -> tuple[Array, Array]:
        """n rows `(n, d)` with labels `(n,)`."""
        rng = generator([self.seed, LABELLED] if rng is None else rng)
        x = rng.standard_normal((whole("n", n), self.d))
        return x, x @ self.optimal_weights + self.sigma * rng.standard_normal(n)
