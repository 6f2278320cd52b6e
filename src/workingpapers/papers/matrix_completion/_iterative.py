"""Approximate updates that never form a Gram matrix: conjugate gradients, and LSQR."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ._rows import BUFFER, Index, Matrix, Vector, add_gram_times, compiled, dot, fit_entries, gather, inner

RESTARTS = 4
"""Fresh gradients a column at most: the recurrence drifts by rounding, which tight tolerances would not survive."""

AT_ZERO, AT_X, ALONG = 0, 1, 2
"""What a pass is for: the gradient at 0, which sets the target; the gradient where we are; the curvature along a direction."""


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def conjugate(U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector, columns: Index,
              tol: float, max_iter: int, X: Matrix, fitted: Vector, iterations: Index) -> None:
    """Rows of X named by `columns`, improved from what they are until the gradient is below `tol` times that at 0.

    4 m_j k operations an iteration, in one pass over the rows; one such pass more to begin. `iterations[j]` counts all passes.
    """
    k = U.shape[1]
    block = max(8, BUFFER // k)
    A, b = np.empty((block, k), U.dtype), np.empty(block, U.dtype)
    x, g, p, q, v = np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype)
    zero = U.dtype.type(0)
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
        step_of, restarts, now, size, target = AT_ZERO, 0, zero, zero, zero
        while passes < max_iter:
            # One place that passes over the rows, whatever for: it is what compilation takes long over.
            for c in range(k):
                v[c] = zero if step_of == AT_ZERO else x[c] if step_of == AT_X else p[c]
                q[c] = ridge[j] * diagonal[c] * v[c]
            add_pass(U, indices, values, weights, start, stop, A, b, whole, v, step_of != ALONG, q)
            if step_of == AT_ZERO:
                size = dot(q, q, k)
                target, step_of = tol * tol * size, AT_X
            elif step_of == AT_X:
                passes += 1
                now = dot(q, q, k)
                if not now > target or (restarts and now < 1e-30 * size):
                    break
                for c in range(k):
                    g[c] = -q[c]
                    p[c] = g[c]
                step_of = ALONG
            else:
                passes += 1
                curvature, before = dot(p, q, k), now
                if curvature > 0:
                    step = now / curvature
                    for c in range(k):
                        x[c] += step * p[c]
                        g[c] -= step * q[c]
                    now = dot(g, g, k)
                    for c in range(k):
                        p[c] = g[c] + (now / before) * p[c]
                if not curvature > 0 or not now > 0.25 * target:
                    restarts += 1
                    if tol > 1e-7 or restarts == RESTARTS:
                        break
                    step_of = AT_X
        iterations[j] = passes
        for c in range(k):
            X[j, c] = x[c]
        fit_entries(U, indices, start, stop, x, fitted)


@inner  # type: ignore[untyped-decorator,unused-ignore]
def add_pass(U: Matrix, indices: Index, values: Vector, weights: Vector, start: int, stop: int, A: Matrix, b: Vector, whole: bool,
             x: Vector, less: bool, out: Vector) -> None:
    """`out += A'(A x - b)` for one column, without b unless `less`, from its gathered rows, or block by block where they are too many."""
    if whole:
        add_gram_times(A, b, stop - start, x, less, out)
        return
    for first in range(start, stop, len(b)):
        last = min(stop, first + len(b))
        gather(U, indices, values, weights, first, last, A, b)
        add_gram_times(A, b, last - first, x, less, out)


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
            x[c] = X[j, c] if ridge[j] > 0 or m >= k else U.dtype.type(0)
        for i in range(m):
            u[i] = b[i] - dot(A[i], x, k)
        for c in range(k):
            u[m + c] = -root[c] * x[c]
        beta = scaled(u, m + k)
        half_bidiagonal(A, root, m, u, v, U.dtype.type(0))
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


@inner  # type: ignore[untyped-decorator,unused-ignore]
def scaled(x: Vector, n: int) -> float:
    """Norm of the first n numbers, which are divided by it."""
    size = sqrt(dot(x, x, n))
    if size > 0:
        for c in range(n):
            x[c] /= size
    return size


@inner  # type: ignore[untyped-decorator,unused-ignore]
def half_bidiagonal(A: Matrix, root: Vector, m: int, u: Vector, v: Vector, beta: float) -> None:
    """`v = [A; root]' u - beta v`."""
    for c in range(len(v)):
        v[c] = root[c] * u[m + c] - beta * v[c]
    for i in range(m):
        for c in range(len(v)):
            v[c] += u[i] * A[i, c]


__all__ = ["ALONG", "AT_X", "AT_ZERO", "add_pass", "conjugate", "lsqr"]
