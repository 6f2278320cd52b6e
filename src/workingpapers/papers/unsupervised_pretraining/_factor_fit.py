"""Maximum likelihood of a factor model, from the second moment alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.sparse.linalg import eigsh
from sklearn.exceptions import ConvergenceWarning

from ._checks import Array

LANCZOS_ABOVE = 2_000
HEYWOOD = 1e-6  # least share of a column's variance that noise may have


@dataclass(frozen=True)
class Loadings:
    """A fitted factor model: loadings `b` `(d, r)`, noise variances `psi` `(d,)`, mean log-likelihood, iterations."""

    b: Array
    psi: Array
    loglike: float
    n_iter: int = 1


def top_eigen(matrix: Array, r: int) -> tuple[Array, Array]:
    """The r largest eigenvalues `(r,)`, falling, and their vectors `(d, r)` with a fixed sign (largest entry positive)."""
    d = len(matrix)
    if d > LANCZOS_ABOVE and 3 * r < d:
        values, vectors = eigsh(matrix, k=r, v0=np.ones(d))
    else:
        values, vectors = eigh(matrix, subset_by_index=(d - r, d - 1))
    order = np.argsort(values)[::-1]
    values, vectors = values[order], vectors[:, order]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(r)])
    return values, vectors * np.where(signs == 0, 1.0, signs)


def spectral_mle(second: Array, r: int, *, unit: bool) -> Loadings:
    """Closed form for equal noise variances: `B = U_r (Lambda_r - s^2 I)_+^(1/2)`, s^2 = 1 or the mean discarded eigenvalue."""
    d = len(second)
    values, vectors = top_eigen(second, r)
    total = float(np.trace(second))
    left = (total - float(values.sum())) / (d - r)
    floor = max(float(values.max()) * 1e-12, np.finfo(float).tiny)
    noise = 1.0 if unit else max(left, floor)
    gain = np.maximum(values - noise, 0.0)
    return Loadings(vectors * np.sqrt(gain), np.full(d, noise), _loglike(d, np.full(d, np.log(noise)), total / noise, values / noise))


def diagonal_mle(second: Array, r: int, *, tol: float, max_iter: int) -> Loadings:
    """One noise variance a column, by L-BFGS on the profile likelihood over log Psi (Joreskog, 1967).

    For given Psi the best B is spectral in `Psi^-1/2 S Psi^-1/2`; then `d(-2 loglike) / d log psi_i = (Sigma_ii - S_ii) / psi_i`.
    Only the top r eigenpairs are needed, so that fewer rows than columns are no obstacle. A variance ends at 1e-6 of its column's
    (a Heywood case) at the least.
    """
    d = len(second)
    variances = np.diagonal(second).copy()
    scale = max(float(variances.max()), np.finfo(float).tiny)
    least = np.log(np.maximum(variances * HEYWOOD, scale * 1e-12))

    def scaled(log_psi: Array) -> tuple[Array, Array, Array, float]:
        root = np.exp(-0.5 * log_psi)
        matrix = second * root[:, None] * root
        values, vectors = top_eigen(matrix, r)
        return values, vectors, root, float(np.trace(matrix))

    def objective(log_psi: Array) -> tuple[float, Array]:
        values, vectors, root, trace = scaled(log_psi)
        communal = np.square(vectors) @ np.maximum(values - 1.0, 0.0)
        gradient = 1.0 + communal - variances * np.square(root)
        return -2 * _loglike(d, log_psi, trace, values) / d, gradient / d

    # Half of each column's variance is noise, to begin with: always the same start, so that a stream ends where a batch does (noise
    # variances of an earlier, smaller fit may be another maximum's).
    first = np.maximum(np.log(0.5 * np.maximum(variances, scale * 1e-12)), least)
    found = minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=[(x, None) for x in least],
        options={"maxiter": max_iter, "maxfun": 4 * max_iter, "ftol": tol, "gtol": 1e-7, "maxcor": 20},
    )
    if not found.success and found.nit >= max_iter:
        warnings.warn(
            f"the factor model stopped after max_iter={max_iter} iterations: raise max_iter or tol", ConvergenceWarning, stacklevel=4
        )
    values, vectors, root, trace = scaled(found.x)
    b = vectors * np.sqrt(np.maximum(values - 1.0, 0.0)) / root[:, None]
    return Loadings(b, np.exp(found.x), _loglike(d, found.x, trace, values), int(found.nit))


def _loglike(d: int, log_psi: Array, trace: float, values: Array) -> float:
    """Mean log-likelihood at the best B, from the trace and the top eigenvalues of the scaled second moment."""
    above = np.maximum(values, 1.0)
    return float(-0.5 * (d * np.log(2 * np.pi) + log_psi.sum() + trace - (above - 1.0 - np.log(above)).sum()))
