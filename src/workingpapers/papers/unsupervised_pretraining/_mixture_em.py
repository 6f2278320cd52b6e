"""Expectation-maximisation for Gaussian mixtures without correlations, all starts side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import kmeans_plusplus

from ._checks import Array

CHUNK_NUMBERS = 1 << 17  # about a megabyte of doubles: rows and responsibilities stay in the cache


@dataclass(frozen=True)
class Mixture:
    """One mixture, or several when a leading axis of starts is there.

    Attributes:
        means: `(..., K, d)`.
        variances: `(..., K)` or `(..., K, d)`.
        weights: `(..., K)`.
    """

    means: Array
    variances: Array
    weights: Array

    @property
    def is_diag(self) -> bool:
        return self.variances.ndim == self.means.ndim

    def only(self, which: Any) -> Mixture:
        """Some of the starts."""
        return Mixture(self.means[which], self.variances[which], self.weights[which])


def plus_plus(x: Array, k: int, random: Any) -> Array:
    """k-means++ centres `(k, d)`."""
    return np.asarray(kmeans_plusplus(x, k, random_state=random)[0])


class _Scores:
    """`log w_k + log N(x | u_k, v_k)` less the part `-|x|^2 / 2` where that is common to all components."""

    def __init__(self, mixture: Mixture) -> None:
        u, v, w = mixture.means, mixture.variances, mixture.weights
        d = u.shape[-1]
        self.k = u.shape[-2]
        per_column = v if mixture.is_diag else np.broadcast_to(v[..., None], u.shape)
        with np.errstate(divide="ignore"):
            constant = np.log(w) - 0.5 * (np.square(u) / per_column).sum(-1) - 0.5 * np.log(per_column).sum(-1)
        self.constant = (constant - 0.5 * d * np.log(2 * np.pi)).reshape(-1, 1)
        self.linear = (u / per_column).reshape(-1, d)  # (starts K, d)
        self.is_unit = not mixture.is_diag and bool((v == 1.0).all())
        self.is_diag = mixture.is_diag
        self.curve = (-0.5 / v).reshape(-1, d) if mixture.is_diag else (-0.5 / v).reshape(-1)

    def __call__(self, x: Array, squares: Array, norms: Array) -> tuple[Array, Array]:
        """Responsibilities `(starts, K, rows)` and log-likelihoods `(starts, rows)`: sums over K run along whole rows of memory."""
        scores = self.linear @ x.T
        scores += self.constant
        if self.is_diag:
            scores += self.curve @ squares.T
        elif not self.is_unit:
            scores += np.multiply.outer(self.curve, norms)
        scores = scores.reshape(-1, self.k, len(x))
        top = scores.max(axis=1)
        scores -= top[:, None]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1)
        scores *= (1.0 / total)[:, None]
        loglike = top + np.log(total)
        if self.is_unit:
            loglike -= 0.5 * norms
        return scores, loglike


def expect(x: Array, mixture: Mixture) -> tuple[Array, Array]:
    """Responsibilities `(m, K)` and log-likelihoods `(m,)` of rows under one mixture."""
    responsibilities, loglike = _Scores(mixture)(x, np.square(x) if mixture.is_diag else x, np.square(x).sum(axis=1))
    return np.ascontiguousarray(responsibilities[0].T), loglike[0]


def _iterate(x: Array, norms: Array, mixture: Mixture, is_free: bool, covariance: str, reg_covar: float) -> tuple[Mixture, Array]:
    """One iteration of every start; the mean log-likelihood `(starts,)` before it."""
    starts, k, d = mixture.means.shape
    score = _Scores(mixture)
    is_diag, is_spherical = covariance == "diag", covariance == "spherical"
    mass, first = np.zeros(starts * k), np.zeros((starts * k, d))
    second = np.zeros((starts * k, d)) if is_diag else np.zeros(starts * k)
    total = np.zeros(starts)
    step = max(64, CHUNK_NUMBERS // (d + starts * k))
    for i in range(0, len(x), step):
        rows, n = x[i : i + step], norms[i : i + step]
        squares = np.square(rows) if is_diag else rows
        responsibilities, loglike = score(rows, squares, n)
        flat = responsibilities.reshape(-1, len(rows))
        total += loglike.sum(axis=1)
        mass += flat.sum(axis=1)
        first += flat @ rows
        if is_diag:
            second += flat @ squares
        elif is_spherical:
            second += flat @ n
    safe = np.maximum(mass, 1e-10)
    # A component that holds nothing keeps its place.
    means = np.where(mass[:, None] > 1e-10, first / safe[:, None], mixture.means.reshape(-1, d))
    variances = mixture.variances
    if is_diag:
        found = np.maximum(second / safe[:, None] - np.square(means), 0.0) + reg_covar
        variances = np.where(mass[:, None] > 1e-10, found, variances.reshape(-1, d)).reshape(mixture.variances.shape)
    elif is_spherical:
        found = np.maximum((second / safe - np.square(means).sum(axis=1)) / d, 0.0) + reg_covar
        variances = np.where(mass > 1e-10, found, variances.reshape(-1)).reshape(mixture.variances.shape)
    weights = (safe.reshape(starts, k) / safe.reshape(starts, k).sum(axis=1, keepdims=True)) if is_free else mixture.weights
    return Mixture(means.reshape(starts, k, d), variances, weights), total / len(x)


def fit_em(
    x: Array, centres: Array, covariance: str, is_free: bool, *, tol: float, max_iter: int, reg_covar: float
) -> tuple[Mixture, Array, bool]:
    """Run every start `(starts, K, d)` until it settles; the best mixture, its log-likelihoods by iteration, and whether it settled."""
    starts, k, d = centres.shape
    norms = np.square(x).sum(axis=1)
    spread = max(float(x.var(axis=0).mean()), reg_covar, np.finfo(float).tiny)
    shape = (starts, k, d) if covariance == "diag" else (starts, k)
    now = Mixture(centres.copy(), np.ones(shape) if covariance == "identity" else np.full(shape, spread), np.full((starts, k), 1.0 / k))
    paths: list[list[float]] = [[] for _ in range(starts)]
    settled = np.zeros(starts, dtype=bool)
    means, variances, weights = now.means.copy(), now.variances.copy(), now.weights.copy()
    active = np.arange(starts)
    for step in range(max_iter + 1):
        updated, loglike = _iterate(x, norms, now, is_free, covariance, reg_covar)
        for i, value in zip(active, loglike):
            paths[i].append(float(value))
        done = np.array([len(paths[i]) > 1 and paths[i][-1] - paths[i][-2] < tol for i in active])
        # The likelihood just computed is that of `now`: a start that has settled, or has run out, ends there.
        means[active], variances[active], weights[active] = now.means, now.variances, now.weights
        settled[active[done]] = True
        if done.all() or step == max_iter:
            break
        active, now = active[~done], updated.only(~done)
    best = max(range(starts), key=lambda i: paths[i][-1])
    return Mixture(means[best], variances[best], weights[best]), np.array(paths[best]), bool(settled[best])
