"""The paper's updates: each regression sketched, factorised and then iterated with that factor as preconditioner."""

from __future__ import annotations

from math import cos, log, pi, sqrt
from typing import Any

import numpy as np

from ._iterative import ALONG, AT_X, AT_ZERO, RESTARTS, add_pass
from ._lapack import Lapack
from ._rows import BUFFER, Index, Matrix, Vector, compiled, dot, fit_entries, gather, inner

KINDS = ("countsketch", "srht", "gaussian")
U64 = np.uint64


@inner  # type: ignore[untyped-decorator,unused-ignore]
def mixed(key: Any) -> Any:
    """A well-mixed 64-bit number of a 64-bit key (the finaliser of SplitMix64): draws without a state that threads would share."""
    z = U64(key) * U64(0x9E3779B97F4A7C15) + U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@inner  # type: ignore[untyped-decorator,unused-ignore]
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


@inner  # type: ignore[untyped-decorator,unused-ignore]
def hadamard_rows(A: Matrix, b: Vector, m: int, s: int, key: int, B: Matrix, long: Vector) -> None:
    """As `sketch_rows` by the subsampled randomised Hadamard transform of all m rows, padded to a power of two. O(m log m k)."""
    k, size = A.shape[1], 1
    while size < m:
        size *= 2
    for c in range(k + 1):
        for i in range(size):
            value = (A[i, c] if c < k else b[i]) if i < m else long.dtype.type(0)
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


@inner  # type: ignore[untyped-decorator,unused-ignore]
def triangularise(lapack: Lapack, B: Matrix, s: int, tau: Vector, work: Vector) -> bool:
    """QR of the matrix whose columns are the first s numbers of the rows of B, the last of which only becomes Q'b.

    Afterwards row d holds column d of R in its first d + 1 places. False when R is singular to rounding.
    """
    k = len(B) - 1
    letters = np.array([76, 84], np.uint8)  # L T
    numbers = np.array([s, k, 1, B.shape[1], len(work), 0], np.int32)
    at, word = numbers.ctypes.data, np.uint64
    at_s, at_k, at_one, at_lead, at_work, info = at, at + word(4), at + word(8), at + word(12), at + word(16), at + word(20)
    lapack.geqrf(at_s, at_k, B.ctypes.data, at_lead, tau.ctypes.data, work.ctypes.data, at_work, info)
    lapack.ormqr(letters.ctypes.data, letters.ctypes.data + word(1), at_s, at_one, at_k, B.ctypes.data, at_lead, tau.ctypes.data,
                 B[k].ctypes.data, at_lead, work.ctypes.data, at_work, info)
    top = B.dtype.type(0)
    for c in range(k):
        top = max(top, abs(B[c, c]))
    fine = True
    for c in range(k):
        fine = fine and abs(B[c, c]) > top * k * (1e-15 if B.itemsize == 8 else 1e-6)
    return fine


@inner  # type: ignore[untyped-decorator,unused-ignore]
def solve_upper(B: Matrix, x: Vector) -> None:
    """R^-1 x in place."""
    for d in range(len(x) - 1, -1, -1):
        x[d] /= B[d, d]
        for c in range(d):
            x[c] -= x[d] * B[d, c]


@inner  # type: ignore[untyped-decorator,unused-ignore]
def solve_transposed(B: Matrix, x: Vector) -> None:
    """R^-T x in place."""
    for d in range(len(x)):
        x[d] = (x[d] - dot(B[d], x, d)) / B[d, d] if d else x[d] / B[d, d]


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def sketched(lapack: Lapack, U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector,
             columns: Index, tol: float, max_iter: int, X: Matrix, fitted: Vector, iterations: Index, failed: Index,
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
    B, tau, work = np.empty((k + 1, size + k), U.dtype), np.empty(k, U.dtype), np.empty(64 * (k + 1), U.dtype)
    x, g, p, q, v = np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype), np.empty(k, U.dtype)
    zero = U.dtype.type(0)
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
        if s < k or not triangularise(lapack, B, s, tau, work):
            failed[j] = 1
            continue
        for c in range(k):
            x[c] = X[j, c] if warm else B[k, c]
        if not warm:
            solve_upper(B, x)
        step_of, restarts, passes, now, target = AT_ZERO, 0, 0, zero, zero
        while passes < max_iter:
            for c in range(k):
                v[c] = zero if step_of == AT_ZERO else x[c] if step_of == AT_X else p[c]
            if step_of == ALONG:
                solve_upper(B, v)
            for c in range(k):
                q[c] = ridge[j] * diagonal[c] * v[c]
            add_pass(U, indices, values, weights, start, stop, A, b, whole, v, step_of != ALONG, q)
            solve_transposed(B, q)
            if step_of == AT_ZERO:
                target, step_of = tol * tol * dot(q, q, k), AT_X
            elif step_of == AT_X:
                passes += 1
                now = dot(q, q, k)
                if not now > target:
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
                        x[c] += step * v[c]
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


__all__ = ["KINDS", "sketched"]
