"""Factor models of rows with missing entries: expectation-maximisation over the observed entries."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._checks import Array
from ._factor_fit import Loadings

ROWS = 8_192


def fit_missing(x: Array, r: int, noise: str, *, centre: bool, tol: float, max_iter: int) -> tuple[Array, Loadings]:
    """EM for entries missing at random; mean `(d,)` and loadings.

    Every sum over rows is one matrix product with the mask: row i's precision is `I + sum_j mask_ij b_j b_j' / psi_j`, and
    column j's loadings and mean are a least-squares problem over the rows that hold it. O(m d r^2) an iteration.

    Raises:
        ValueError: a column or a row without any entry.
    """
    seen = ~np.isnan(x)
    if not seen.any(axis=0).all():
        raise ValueError(f"X: column {int(np.flatnonzero(~seen.any(axis=0))[0])} is missing in every row: leave it out")
    if not seen.any(axis=1).all():
        raise ValueError(f"X: row {int(np.flatnonzero(~seen.any(axis=1))[0])} has no entry at all: leave it out")
    mask, count = seen.astype(float), seen.sum(axis=0).astype(float)
    # Sums of squares below would lose digits to a large mean: work around the columns' averages.
    offset = np.where(seen, x, 0.0).sum(axis=0) / count if centre else np.zeros(x.shape[1])
    x = x - offset
    filled, mean = np.where(seen, x, 0.0), np.zeros(x.shape[1])
    spread = (mask * np.square(filled - mean)).sum(axis=0) / count
    least = max(float(spread.max()) * 1e-9, np.finfo(float).tiny)
    spread = np.maximum(spread, least)
    b = _start(filled, mask, mean, spread, r)
    psi = np.ones_like(spread) if noise == "unit" else np.maximum(spread - np.square(b).sum(axis=1), 0.1 * spread)
    before, steps = -np.inf, 0
    while steps < max_iter:
        steps += 1
        mean, b, psi, now = _step(filled, mask, count, mean, b, psi, noise, least, centre=centre)
        if now - before < tol * abs(now):
            break
        before = now
    else:
        warnings.warn(
            f"EM for missing entries stopped after max_iter={max_iter} iterations: raise max_iter or tol", ConvergenceWarning, stacklevel=4
        )
    loglike = float(posterior_missing(np.where(seen, x - mean, np.nan), b, psi)[1].mean())
    return mean + offset, Loadings(b, psi, loglike, steps)


def _start(filled: Array, mask: Array, mean: Array, spread: Array, r: int) -> Array:
    """Leading directions of the rows with their gaps at the mean."""
    centred = mask * (filled - mean)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(filled))
    return np.asarray(vectors[:, -r:] * np.sqrt(np.maximum(0.5 * values[-r:], 1e-3 * spread.mean())))


def _step(
    filled: Array, mask: Array, count: Array, mean: Array, b: Array, psi: Array, noise: str, least: float, *, centre: bool
) -> tuple[Array, Array, Array, float]:
    """One iteration; also the mean log-likelihood before it."""
    d, r = b.shape
    left = np.zeros((d, (r + 1) ** 2))  # sums of E[(z,1)(z,1)'] over the rows that hold column j
    right = np.zeros((d, r + 1))
    squares = np.zeros(d)
    total = 0.0
    for start in range(0, len(filled), ROWS):
        m, f = mask[start : start + ROWS], filled[start : start + ROWS]
        z, covariance, loglike = _posterior(m * (f - mean), m, b, psi)
        total += float(loglike.sum())
        one = np.concatenate([z, np.ones((len(z), 1))], axis=1)
        outer = one[:, :, None] * one[:, None, :]
        outer[:, :r, :r] += covariance
        left += m.T @ outer.reshape(len(z), -1)
        right += f.T @ one
        squares += np.square(f).sum(axis=0)
    gram = left.reshape(d, r + 1, r + 1)
    if centre:
        solution = np.asarray(np.linalg.solve(gram + 1e-12 * np.eye(r + 1) * count[:, None, None], right[:, :, None])[:, :, 0], dtype=float)
        b, mean = solution[:, :r], solution[:, r]
    else:
        b = np.asarray(
            np.linalg.solve(gram[:, :r, :r] + 1e-12 * np.eye(r) * count[:, None, None], right[:, :r, None])[:, :, 0], dtype=float
        )
        solution = np.concatenate([b, np.zeros((d, 1))], axis=1)
    residual = squares - 2 * np.einsum("da,da->d", right, solution) + np.einsum("da,dab,db->d", solution, gram, solution)
    if noise == "diagonal":
        psi = np.maximum(residual / count, least)
    elif noise == "isotropic":
        psi = np.full(d, max(float(residual.sum() / count.sum()), least))
    return mean, b, psi, total / len(filled)


def _posterior(centred: Array, mask: Array, b: Array, psi: Array) -> tuple[Array, Array, Array]:
    """Posterior means `(m, r)`, covariances `(m, r, r)` and log-likelihoods `(m,)`; `centred` is 0 where missing."""
    r = b.shape[1]
    weighted = b / psi[:, None]
    products = (weighted[:, :, None] * b[:, None, :]).reshape(len(b), -1)
    precision = (mask @ products).reshape(-1, r, r) + np.eye(r)
    covariance = np.asarray(np.linalg.inv(precision), dtype=float)
    projected = centred @ weighted
    z = np.einsum("mab,mb->ma", covariance, projected)
    squares = np.einsum("md,md,d->m", centred, centred, 1 / psi) - np.einsum("mr,mr->m", projected, z)
    logdet = np.linalg.slogdet(precision)[1] + mask @ np.log(psi)
    return z, covariance, -0.5 * (mask.sum(axis=1) * np.log(2 * np.pi) + logdet + squares)


def posterior_missing(centred: Array, b: Array, psi: Array) -> tuple[Array, Array]:
    """Posterior means `(m, r)` and log-likelihoods `(m,)` of rows whose missing entries are NaN."""
    seen = ~np.isnan(centred)
    z, _, loglike = _posterior(np.where(seen, centred, 0.0), seen.astype(float), b, psi)
    return z, loglike
