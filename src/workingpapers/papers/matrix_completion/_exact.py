"""Exact updates: each small regression by Cholesky on its normal equations."""

from __future__ import annotations

import numpy as np

from ._lapack import Lapack
from ._rows import BUFFER, Index, Matrix, Vector, cholesky, cholesky_solve, compiled, dot, fit_entries, gather

SMALL = 32
"""Up to this rank a general product and a factorisation of our own are faster than LAPACK's, whose calls have a fixed cost."""


@compiled  # type: ignore[untyped-decorator,unused-ignore]
def exact(lapack: Lapack, U: Matrix, indptr: Index, indices: Index, values: Vector, weights: Vector, ridge: Vector, diagonal: Vector,
          columns: Index, X: Matrix, fitted: Vector, failed: Index) -> None:
    """Rows of X named by `columns`: argmin over x of |A x - b|^2 + ridge x' diag(diagonal) x. m_j k^2 + k^3/3 operations each.

    A column with fewer than k entries and no ridge gets its solution of least norm. `failed[j]` is set where the normal equations are
    singular to rounding; that row of X is left as it was.
    """
    k = U.shape[1]
    block = max(8, min(BUFFER // k, 1024))
    A, b = np.empty((max(block, k), k), U.dtype), np.empty(max(block, k), U.dtype)
    G, x, dual = np.empty((k, k), U.dtype), np.empty(k, U.dtype), np.empty((k, k), U.dtype)
    letters = np.array([85, 78, 84], np.uint8)  # U N T
    numbers = np.array([k, 0, 1, 0], np.int32)
    scalars = np.array([0, 1], U.dtype)
    word = np.uint64
    upper, plain, turned = letters.ctypes.data, letters.ctypes.data + word(1), letters.ctypes.data + word(2)
    at_k, at_rows = numbers.ctypes.data, numbers.ctypes.data + word(4)
    at_one, info = numbers.ctypes.data + word(8), numbers.ctypes.data + word(12)
    zero, one = scalars.ctypes.data, scalars.ctypes.data + word(U.itemsize)
    for which in range(len(columns)):
        j = columns[which]
        start, stop = indptr[j], indptr[j + 1]
        m = stop - start
        if m < k and ridge[j] == 0:
            gather(U, indices, values, weights, start, stop, A, b)
            for i in range(m):
                for c in range(i + 1):
                    dual[i, c] = dot(A[i], A[c], k)
            if m and not cholesky(dual, m):
                failed[j] = 1
                continue
            if m:
                cholesky_solve(dual, m, b)
            x[:] = 0
            for i in range(m):
                for c in range(k):
                    x[c] += b[i] * A[i, c]
        else:
            x[:] = 0
            for first in range(start, stop, block):
                last = min(stop, first + block)
                numbers[1] = last - first
                gather(U, indices, values, weights, first, last, A, b)
                for i in range(last - first):
                    for c in range(k):
                        x[c] += b[i] * A[i, c]
                fresh = zero if first == start else one
                if k <= SMALL:
                    lapack.gemm(plain, turned, at_k, at_k, at_rows, one, A.ctypes.data, at_k, A.ctypes.data, at_k, fresh, G.ctypes.data,
                                at_k)
                else:
                    lapack.syrk(upper, plain, at_k, at_rows, one, A.ctypes.data, at_k, fresh, G.ctypes.data, at_k)
            if m == 0:
                G[:] = 0
            for c in range(k):
                G[c, c] += ridge[j] * diagonal[c]
            if k <= SMALL:
                if not cholesky(G, k):
                    failed[j] = 1
                    continue
                cholesky_solve(G, k, x)
            else:
                top = G[0, 0]
                for c in range(k):
                    top = max(top, G[c, c])
                lapack.potrf(upper, at_k, G.ctypes.data, at_k, info)
                floor = top * k * (1e-15 if U.itemsize == 8 else 1e-6)
                for c in range(k):
                    if not G[c, c] * G[c, c] > floor:
                        numbers[3] = 1
                if numbers[3] != 0:
                    numbers[3] = 0
                    failed[j] = 1
                    continue
                lapack.potrs(upper, at_k, at_one, G.ctypes.data, at_k, x.ctypes.data, at_k, info)
        for c in range(k):
            X[j, c] = x[c]
        fit_entries(U, indices, start, stop, x, fitted)


__all__ = ["exact"]
