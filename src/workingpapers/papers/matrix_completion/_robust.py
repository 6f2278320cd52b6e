"""Huber's loss: the weights of its reweighted least squares, its scale, its noise, and regressions under it.

`rho(r) = r^2 / 2` up to `delta` and `delta |r| - delta^2 / 2` beyond. Alternating minimisation renews the weights after every sweep
(`_alternate`); here is what both share, and the regressions of rows that come later.

Huber. Robust estimation of a location parameter. Annals of Mathematical Statistics, 1964. Holland, Welsch. Robust regression using
iteratively reweighted least squares. Communications in Statistics, 1977.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from ._observed import Matrix, Side, Vector
from ._sweep import How, Pool, half_sweep

TUNING = 1.345
"""Delta in robust standard deviations at which 95 % of the efficiency of least squares is kept under normal noise."""

NORMAL = 0.6744897501960817
"""Median of |z| for a standard normal z."""


def huber_weights(residuals: Vector, delta: float) -> npt.NDArray[np.float64]:
    """`min(1, delta / |r|)`: weights whose least-squares equations are those of Huber's loss, `(N,)`."""
    return np.asarray(np.minimum(1.0, delta / np.maximum(np.abs(residuals), delta)), dtype=np.float64)


def robust_delta(residuals: Vector, values: Vector) -> float:
    """1.345 times the residuals' median absolute value, scaled to a standard deviation.

    Never under the rounding of the values: a model that fits more than half of them exactly would else give every entry no weight.
    """
    floor = float(np.finfo(values.dtype).eps) * max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
    return max(TUNING * float(np.median(np.abs(residuals))) / NORMAL, floor)


def huber_noise(residuals: Vector, delta: float, weights: Vector, parameters: int) -> tuple[float, npt.NDArray[np.float64]]:
    """Standard deviation of the noise under Huber's loss, and the weights with which entries tell of a parameter.

    The asymptotic variance `mean psi^2 / (mean psi')^2`, corrected for the number of parameters; a regression's covariance is then
    `noise^2 (A' diag(psi' / mean psi') A)^-1`, in which entries beyond delta do not count (Huber's second estimate, H2).

    Args:
        residuals: `(N,)`.
        weights: of the entries, `(N,)`, or empty when all are 1.
        parameters: how many were fitted.
    """
    w = weights.astype(np.float64) if len(weights) else np.ones(len(residuals))
    inside = np.abs(residuals) <= delta
    share = float(np.average(inside, weights=w))
    if share == 0:
        return float("inf"), np.zeros(len(residuals))
    psi = float(np.average(np.clip(residuals, -delta, delta) ** 2, weights=w))
    return float(np.sqrt(psi * len(residuals) / max(1, len(residuals) - parameters)) / share), w * inside / share


def huber_regressions(side: Side, U: Matrix, X: Matrix, ridge: Vector, delta: float, threads: Pool, *, tol: float = 1e-9,
                      max_iter: int = 500) -> None:
    """Rows of X, in place: argmin over x of `sum_i w_i rho(b_i - a_i x) + ridge_j |x|^2 / 2`, by reweighted least squares.

    The problem is convex, so where it starts does not matter. Sweeps of exact regressions until no solution moves by more than `tol` of
    its length. Rows without entries become 0.
    """
    w = side.weights.astype(np.float64) if len(side.weights) else np.ones(len(side.values))
    solver, fitted = How("cholesky"), np.empty(len(side.values), U.dtype)
    half_sweep(side, U, X, ridge, solver, tol, threads, warm=False, fitted=fitted)
    for _ in range(max_iter):
        before = X.copy()
        robust = (w * huber_weights(side.values - fitted, delta)).astype(U.dtype)
        half_sweep(replace(side, weights=robust), U, X, ridge, solver, tol, threads, fitted=fitted)
        moved = np.linalg.norm(X - before, axis=1)
        if (moved <= max(tol, 8 * float(np.finfo(U.dtype).eps)) * np.linalg.norm(X, axis=1)).all():
            return
    warnings.warn(f"Huber's loss: {int((moved > tol * np.linalg.norm(X, axis=1)).sum())} rows still moved after {max_iter} sweeps",
                  ConvergenceWarning, stacklevel=2)


__all__ = ["huber_noise", "huber_regressions", "huber_weights", "robust_delta"]
