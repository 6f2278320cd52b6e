"""Lasso from a Gram matrix, and its form with unknown noise variance."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@nb.njit(nogil=True, inline="always")  # type: ignore[untyped-decorator,unused-ignore]
def _descend(A: Matrix, c: Matrix, penalty: float, w: Matrix, sweeps: int) -> None:
    g = c - A @ w
    for _ in range(sweeps):
        largest, size = 0.0, 0.0
        for k in range(len(c)):
            z = g[k] + A[k, k] * w[k]
            new = max(abs(z) - penalty, 0.0) / A[k, k]
            new = new if z > 0 else -new
            step = new - w[k]
            if step != 0.0:
                g -= step * A[k]
                w[k] = new
            largest, size = max(largest, abs(step)), max(size, abs(new))
        if largest <= 1e-10 * max(size, 1e-10):
            return


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def lasso(A: Matrix, c: Matrix, penalty: float) -> Matrix:
    """Minimiser of `w'Aw / 2 - c'w + penalty |w|_1` by coordinate descent, `(k,)`; A positive definite `(k, k)`."""
    w = np.zeros(len(c))
    _descend(A, c, penalty, w, 10_000)
    return w


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def log_lasso(A: Matrix, c: Matrix, total: float, penalty: float) -> tuple[Matrix, float]:
    """Stationary w of `log(total - 2 c'w + w'Aw) / 2 + penalty |w|_1` reached downhill from 0, and the bracket's value there."""
    w, variance = np.zeros(len(c)), total
    for _ in range(200):
        _descend(A, c, penalty * variance, w, 10_000)
        new = total - 2 * np.dot(c, w) + np.dot(w, A @ w)
        if abs(new - variance) <= 1e-12 * variance:
            variance = new
            break
        variance = new
    return w, variance
