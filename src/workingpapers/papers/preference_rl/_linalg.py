"""Small dense linear algebra on an upper factor R with R'R = Sigma, compiled, so that no matrix is ever inverted.

All functions work on `float64`; rows of R are contiguous, which is what every inner loop walks along.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def rank_one_update(R: Array, x: Array) -> None:
    """Turn the factor of `Sigma` into that of `Sigma + x x'`, in place; O(d^2).

    Args:
        R: upper triangular, shape (d, d), positive diagonal.
        x: shape (d,).

    >>> R = np.eye(2)
    >>> rank_one_update(R, np.array([3.0, 4.0]))
    >>> np.round(R.T @ R, 12)
    array([[10., 12.],
           [12., 17.]])
    """
    w = x.copy()
    for k in range(len(w)):
        if w[k] != 0.0:
            r = math.hypot(R[k, k], w[k])
            c, s = r / R[k, k], w[k] / R[k, k]
            R[k, k] = r
            for i in range(k + 1, len(w)):
                R[k, i] = (R[k, i] + s * w[i]) / c
                w[i] = c * w[i] - s * R[k, i]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def solve_transposed(R: Array, b: Array) -> Array:
    """`R'^{-1} b`, shape (d,): its squared length is `b' Sigma^{-1} b`; O(d^2)."""
    y = b.copy()
    for k in range(len(y)):
        y[k] /= R[k, k]
        for i in range(k + 1, len(y)):
            y[i] -= R[k, i] * y[k]
    return y


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def solve_upper(R: Array, b: Array) -> Array:
    """`R^{-1} b`, shape (d,): of standard normal `b` it has covariance `Sigma^{-1}`; O(d^2)."""
    z = b.copy()
    for k in range(len(z) - 1, -1, -1):
        total = z[k]
        for i in range(k + 1, len(z)):
            total -= R[k, i] * z[i]
        z[k] = total / R[k, k]
    return z


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def solve_many_transposed(R: Array, B: Array) -> Array:
    """`R'^{-1} B` for columns of B, shape (d, n); O(d^2 n)."""
    Y = B.copy()
    d, n = Y.shape
    for k in range(d):
        for j in range(n):
            Y[k, j] /= R[k, k]
        for i in range(k + 1, d):
            f = R[k, i]
            if f != 0.0:
                for j in range(n):
                    Y[i, j] -= f * Y[k, j]
    return Y


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def factorise(A: Array) -> Array:
    """Upper factor of a positive definite A, shape (d, d); O(d^3). Only the upper half of A is read."""
    R = A.copy()
    d = len(R)
    for k in range(d):
        for j in range(k):
            R[k, j] = 0.0
        for m in range(k):
            f = R[m, k]
            if f != 0.0:
                for i in range(k, d):
                    R[k, i] -= f * R[m, i]
        pivot = math.sqrt(max(R[k, k], 1e-300))
        for i in range(k, d):
            R[k, i] /= pivot
    return R


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def norm(R: Array, x: Array) -> float:
    """`sqrt(x' Sigma^{-1} x)`."""
    y = solve_transposed(R, x)
    total = 0.0
    for v in y:
        total += v * v
    return math.sqrt(total)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def normals(rng: np.random.Generator, n: int) -> Array:
    """n standard normal draws, one after another."""
    z = np.empty(n)
    for i in range(n):
        z[i] = rng.standard_normal()
    return z
