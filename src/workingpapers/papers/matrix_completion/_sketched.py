"""The paper's updates: each regression sketched, factorised and then iterated with that factor as preconditioner."""

from __future__ import annotations

from math import cos, log, pi, sqrt
from typing import Any

import numpy as np

from ._iterative import add_pass
from ._rows import BUFFER, Index, Matrix, Vector, compiled, dot, fit_entries, gather

KINDS = ("countsketch", "srht", "gaussian")
U64 = np.uint64


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def mixed(key: Any) -> Any:
    """A well-mixed 64-bit number of a 64-bit key (the finaliser of SplitMix64): draws without a state that threads would share."""
    z = U64(key) * U64(0x9E3779B97F4A7C15) + U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def sketch_rows(A: Matrix, b: Vector, m: int, offset: int, s: int, kind: int, key: int, B: Matrix) -> None:
    """Add the sketch of m rows to B, `(k + 1, >= s)`: row c of B is column c of S A, the last one S b. `offset` numbers the rows.

    Count-sketch: each row, with a random sign, goes into one of s rows; O(m k). Gaussian: O(m k s).
    """
    k = A.shape[1]
    for i in range(m):
        number = mixed(U64(key) + U64(2) * U64(offset + i))
        if kind == 0:
            row, sign = np.int64(number % U64(s)), 1.0 if (number >> U64(63)) else -1.0
            for c in range(k):
                B[c, row] += sign * A[i, c]
            B[k, row] += sign * b[i]
        else:
            for at in range(s):
                first, second = mixed(number + U64(2 * at)), mixed(number + U64(2 * at + 1))
                radius = sqrt(-2 * log((np.float64(first >> U64(11)) + 1) / 9007199254740993.0) / s)
                normal = radius * cos(2 * pi * np.float64(second >> U64(11)) / 9007199254740992.0)
                for c in range(k):
                    B[c, at] += normal * A[i, c]
                B[k, at] += normal * b[i]


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def hadamard_rows(A: Matrix, b: Vector, m: int, s: int, key: int, B: Matrix, long: Vector) -> None:
    """As `sketch_rows` by the subsampled randomised Hadamard transform of all m rows, padded to a power of two. O(m log m k)."""
    k, size = A.shape[1], 1
    while size < m:
        size *= 2
    for c in range(k + 1):
        for i in range(size):
            value = (A[i, c] if c < k else b[i]) if i < m else long[0] * 0
            long[i] = value if mixed(U64(key) + U64(i)) >> U64(63) else -value
        half = 1
        while half < size:
            for base in range(0, size, 2 * half):
                for i in range(base, base + half):
                    high, low = long[i], long[i + half]
                    long[i], long[i + half] = high + low, high - low
            half *= 2
        for at in range(s):  # rows are drawn with replacement: H/sqrt(size) has orthonormal columns, sqrt(size/s) corrects the sample
            B[c, at] = long[np.int64(mixed(U64(key) - U64(1 + at)) % U64(size))] / sqrt(s)


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def triangularise(B: Matrix, s: int) -> bool:
    """QR by Householder reflections of the matrix whose columns are the rows of B, the last of which is only carried along.

    Afterwards row d holds column d of R in its first d + 1 places, the last row Q'b. False when R is singular to rounding.
    """
    k, top = len(B) - 1, B[0, 0] * 0
    for c in range(k):
        size = sqrt(dot(B[c, c:], B[c, c:], s - c))
        top = max(top, size)
        if not size > top * k * (1e-15 if B.itemsize == 8 else 1e-6):
            return False
        head = B[c, c]
        new = -size if head > 0 else size
        B[c, c] = head - new
        scale = 1 / (new * (new - head))  # 2 / |reflector|^2
        for d in range(c + 1, k + 1):
            part = dot(B[c, c:], B[d, c:], s - c) * scale
            for i in range(c, s):
                B[d, i] -= part * B[c, i]
        B[c, c] = new
    return True


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def solve_upper(B: Matrix, x: Vector) -> None:
    """R^-1 x in place."""
    for d in range(len(x) - 1, -1, -1):
        x[d] /= B[d, d]
        for c in range(d):
            x[c] -= x[d] * B[d, c]


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def solve_transposed(B: Matrix, x: Vector) -> None:
    """R^-T x in place."""
    for d in range(len(x)):
        x[d] = (x[d] - dot(B[d], x, d)) / B[d, d] if d else x[d] / B[d, d]


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def sketched(U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector, columns: Index,
             tol: float, max_iter: int, X: Matrix, fitted: Vector, iterations: Index, failed: Index,
             size: int, kind: int, seed: int, warm: bool) -> None:
    """Rows of X named by `columns`: S A = Q R with `size` rows of S, x_0 = R^-1 Q'S b (or X, when `warm`), then conjugate gradients
    preconditioned by R until R^-T times the gradient is below `tol` times that at 0.

    m_j k + 2 size k^2 operations to begin, 4 m_j k + 2 k^2 an iteration. With no more than `size` rows the QR is that of A itself.
    `failed[j]` is set where R is singular to rounding; that row of X is left as it was.
    """
    k = U.shape[1]
    longest = 1
    for which in range(len(columns)):
        longest = max(longest, indptr[columns[which] + 1] - indptr[columns[which]])
    block = longest if kind == 1 else min(longest, max(8, BUFFER // k))
    padded = 1
    while padded < longest:
        padded *= 2
    long = np.empty(padded if kind == 1 else 1, U.dtype)
    A, b = np.empty((block, k), U.dtype), np.empty(block, U.dtype)
    B = np.empty((k + 1, size + k), U.dtype)
    x, g, z, p, q, none = (np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype),
                           np.zeros(k, U.dtype))
    for which in range(len(columns)):
        j = columns[which]
        start, stop = indptr[j], indptr[j + 1]
        m = stop - start
        whole, key = m <= block, mixed(U64(seed) + U64(j))
        s = m if m <= size else size
        B[:] = 0
        for first in range(start, stop, block):
            last = min(stop, first + block)
            gather(U, indices, values, weights, first, last, A, b)
            if m <= size:
                for i in range(last - first):
                    for c in range(k):
                        B[c, first - start + i] = A[i, c]
                    B[k, first - start + i] = b[i]
            elif kind == 1:
                hadamard_rows(A, b, m, s, key, B, long)
            else:
                sketch_rows(A, b, last - first, first - start, s, kind, key, B)
        if ridge[j] > 0:
            for c in range(k):
                B[c, s + c] = sqrt(ridge[j] * diagonal[c])
            s += k
        if s < k or not triangularise(B, s):
            failed[j] = 1
            continue
        for c in range(k):
            x[c] = X[j, c] if warm else B[k, c]
        if not warm:
            solve_upper(B, x)
        g[:] = 0
        add_pass(U, indices, values, weights, start, stop, A, b, whole, none, 1.0, g)
        solve_transposed(B, g)
        target, passes = tol * sqrt(dot(g, g, k)), 0
        for _restart in range(3):
            g[:] = 0
            add_pass(U, indices, values, weights, start, stop, A, b, whole, x, 1.0, g)
            passes += 1
            for c in range(k):
                g[c] = -g[c] - ridge[j] * diagonal[c] * x[c]
            solve_transposed(B, g)
            now = dot(g, g, k)
            if not sqrt(now) > target:
                break
            for c in range(k):
                p[c] = g[c]
            while passes < max_iter:
                for c in range(k):
                    z[c] = p[c]
                solve_upper(B, z)
                for c in range(k):
                    q[c] = ridge[j] * diagonal[c] * z[c]
                add_pass(U, indices, values, weights, start, stop, A, b, whole, z, 0.0, q)
                solve_transposed(B, q)
                passes += 1
                curvature = dot(p, q, k)
                if not curvature > 0:
                    break
                step = now / curvature
                for c in range(k):
                    x[c] += step * z[c]
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


__all__ = ["KINDS", "sketched"]
