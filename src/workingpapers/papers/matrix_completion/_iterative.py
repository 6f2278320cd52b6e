"""Approximate updates that never form a Gram matrix: conjugate gradients, and LSQR."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ._rows import BUFFER, Index, Matrix, Vector, add_gram_times, compiled, dot, fit_entries, gather

RESTARTS = 4
"""Fresh gradients a column at most: the recurrence drifts by rounding, which tight tolerances would not survive."""


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def conjugate(U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector, columns: Index,
              tol: float, max_iter: int, X: Matrix, fitted: Vector, iterations: Index) -> None:
    """Rows of X named by `columns`, improved from what they are until the gradient is below `tol` times that at 0.

    4 m_j k operations an iteration, in one pass over the rows; one such pass more to begin. `iterations[j]` counts all passes.
    """
    k = U.shape[1]
    block = max(8, BUFFER // k)
    A, b = np.empty((block, k), U.dtype), np.empty(block, U.dtype)
    x, g, p, q, none = np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.zeros(k, U.dtype)
    for which in range(len(columns)):
        j = columns[which]
        start, stop = indptr[j], indptr[j + 1]
        whole, passes = stop - start <= block, 0
        if whole:
            gather(U, indices, values, weights, start, stop, A, b)
        for c in range(k):
            x[c] = X[j, c]
        if ridge[j] == 0 and stop - start < k:
            x[:] = 0  # from nothing it tends to the solution of least norm
        g[:] = 0
        add_pass(U, indices, values, weights, start, stop, A, b, whole, none, 1.0, g)
        size = sqrt(dot(g, g, k))
        target = tol * size
        for restart in range(RESTARTS):
            g[:] = 0
            add_pass(U, indices, values, weights, start, stop, A, b, whole, x, 1.0, g)
            passes += 1
            for c in range(k):
                g[c] = -g[c] - ridge[j] * diagonal[c] * x[c]
                p[c] = g[c]
            now = dot(g, g, k)
            if not sqrt(now) > target or (restart and sqrt(now) < 1e-15 * size):
                break
            while passes < max_iter:
                for c in range(k):
                    q[c] = ridge[j] * diagonal[c] * p[c]
                add_pass(U, indices, values, weights, start, stop, A, b, whole, p, 0.0, q)
                passes += 1
                curvature = dot(p, q, k)
                if not curvature > 0:
                    break
                step = now / curvature
                for c in range(k):
                    x[c] += step * p[c]
                    g[c] -= step * q[c]
                before = now
                now = dot(g, g, k)
                if not sqrt(now) > 0.5 * target:
                    break
                for c in range(k):
                    p[c] = g[c] + (now / before) * p[c]
            if passes >= max_iter or tol > 1e-7:
                break
        iterations[j] = passes
        for c in range(k):
            X[j, c] = x[c]
        fit_entries(U, indices, start, stop, x, fitted)


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def add_pass(U: Matrix, indices: Index, values: Vector, weights: Vector, start: int, stop: int, A: Matrix, b: Vector, whole: bool,
             x: Vector, shift: float, out: Vector) -> None:
    """`out += A'(A x - shift b)` for one column, from its gathered rows, or block by block where they are too many."""
    if whole:
        add_gram_times(A, b, stop - start, x, shift, out)
        return
    for first in range(start, stop, len(b)):
        last = min(stop, first + len(b))
        gather(U, indices, values, weights, first, last, A, b)
        add_gram_times(A, b, last - first, x, shift, out)


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def lsqr(U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector, columns: Index,
         tol: float, max_iter: int, X: Matrix, fitted: Vector, iterations: Index) -> None:
    """As `conjugate`, by the bidiagonalisation of Golub and Kahan on [A; root of the ridge], which does not square the condition number.

    4 m_j k operations an iteration in two passes. Memory: the largest column's rows.
    """
    k = U.shape[1]
    longest = 1
    for which in range(len(columns)):
        longest = max(longest, indptr[columns[which] + 1] - indptr[columns[which]])
    A, b = np.empty((longest, k), U.dtype), np.empty(longest, U.dtype)
    u, v, w = np.empty(longest + k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype)
    x, root = np.empty(k, U.dtype), np.empty(k, U.dtype)
    for which in range(len(columns)):
        j = columns[which]
        start, stop = indptr[j], indptr[j + 1]
        m = stop - start
        gather(U, indices, values, weights, start, stop, A, b)
        v[:] = 0
        for i in range(m):
            for c in range(k):
                v[c] += b[i] * A[i, c]
        target = tol * sqrt(dot(v, v, k))
        for c in range(k):
            root[c] = sqrt(ridge[j] * diagonal[c])
            x[c] = X[j, c] if ridge[j] > 0 or m >= k else X[j, c] * 0
        for i in range(m):
            u[i] = b[i] - dot(A[i], x, k)
        for c in range(k):
            u[m + c] = -root[c] * x[c]
        beta = scaled(u, m + k)
        half_bidiagonal(A, root, m, u, v, w[0] * 0)
        alpha = scaled(v, k)
        w[:] = v
        phi, rho, passes = beta, alpha, 1
        while passes < max_iter and alpha * phi > target:
            for i in range(m):
                u[i] = dot(A[i], v, k) - alpha * u[i]
            for c in range(k):
                u[m + c] = root[c] * v[c] - alpha * u[m + c]
            beta = scaled(u, m + k)
            half_bidiagonal(A, root, m, u, v, beta)
            alpha = scaled(v, k)
            passes += 1
            size = sqrt(rho * rho + beta * beta)
            if not size > 0:
                break
            cosine, sine = rho / size, beta / size
            theta, rho = sine * alpha, -cosine * alpha
            step, phi = cosine * phi, sine * phi
            for c in range(k):
                x[c] += step / size * w[c]
                w[c] = v[c] - theta / size * w[c]
            if not abs(cosine) * alpha * phi > target:
                break
        iterations[j] = passes
        for c in range(k):
            X[j, c] = x[c]
        fit_entries(U, indices, start, stop, x, fitted)


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def scaled(x: Vector, n: int) -> float:
    """Norm of the first n numbers, which are divided by it."""
    size = sqrt(dot(x, x, n))
    if size > 0:
        for c in range(n):
            x[c] /= size
    return size


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def half_bidiagonal(A: Matrix, root: Vector, m: int, u: Vector, v: Vector, beta: float) -> None:
    """`v = [A; root]' u - beta v`."""
    for c in range(len(v)):
        v[c] = root[c] * u[m + c] - beta * v[c]
    for i in range(m):
        for c in range(len(v)):
            v[c] += u[i] * A[i, c]


__all__ = ["conjugate", "lsqr"]
