"""Compiled pieces that every solver shares: rows of a factor gathered for one regression, and products with them.

Solvers are compiled without threads of their own: a half-sweep hands blocks of columns to a pool (`_sweep`), which releases the lock,
balances uneven columns, and may be used from several threads and after a fork, where numba's parallel loops may not.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numba as nb
import numpy.typing as npt

Matrix = npt.NDArray[Any]
Vector = npt.NDArray[Any]
Index = npt.NDArray[Any]

FAST = {"reassoc", "contract", "nsz"}
_jit: Any = nb.njit
compiled = _jit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
inner = _jit(cache=True, nogil=True, fastmath=FAST, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For functions that only compiled ones call: without the wrappers they compile sooner."""

BUFFER = 1 << 20
"""Numbers of a gathered block: 8 MB in double precision. Columns that need more are gathered block by block at every pass."""


@inner  # type: ignore[untyped-decorator,unused-ignore]
def gather(U: Matrix, indices: Index, values: Vector, weights: Vector, start: int, stop: int, A: Matrix, b: Vector) -> None:
    """Rows of U that entries start:stop name, into A, and their values into b, both times the root of the entry's weight if any."""
    for p in range(start, stop):
        row, out = U[indices[p]], A[p - start]
        if len(weights):
            root = sqrt(weights[p])
            b[p - start] = root * values[p]
            for c in range(U.shape[1]):
                out[c] = root * row[c]
        else:
            b[p - start] = values[p]
            for c in range(U.shape[1]):
                out[c] = row[c]


@inner  # type: ignore[untyped-decorator,unused-ignore]
def add_gram_times(A: Matrix, b: Vector, m: int, x: Vector, less: bool, out: Vector) -> None:
    """`out += A'(A x - b)`, without b unless `less`, over the first m rows, in one pass over A: 4 m k operations."""
    k, i, zero = len(x), 0, A.dtype.type(0)  # a literal 0 would make sums in single precision double
    while i + 2 <= m:
        first, second = A[i], A[i + 1]
        t0, t1 = zero, zero
        if less:
            t0, t1 = -b[i], -b[i + 1]
        for c in range(k):
            t0 += first[c] * x[c]
            t1 += second[c] * x[c]
        for c in range(k):
            out[c] += t0 * first[c] + t1 * second[c]
        i += 2
    if i < m:
        row, t = A[i], (-b[i] if less else zero)
        for c in range(k):
            t += row[c] * x[c]
        for c in range(k):
            out[c] += t * row[c]


@inner  # type: ignore[untyped-decorator,unused-ignore]
def dot(x: Vector, y: Vector, n: int) -> Any:
    """Inner product of the first n numbers."""
    total = x.dtype.type(0)
    for c in range(n):
        total += x[c] * y[c]
    return total


@inner  # type: ignore[untyped-decorator,unused-ignore]
def fit_entries(U: Matrix, indices: Index, start: int, stop: int, x: Vector, fitted: Vector) -> None:
    """Predictions of the entries start:stop of a column with solution x; nothing when `fitted` is empty."""
    if len(fitted):
        for p in range(start, stop):
            fitted[p] = dot(U[indices[p]], x, len(x))


@inner  # type: ignore[untyped-decorator,unused-ignore]
def cholesky(G: Matrix, n: int) -> bool:
    """Lower factor of the leading n x n block in place, from its lower triangle; False when it is not positive definite to rounding."""
    top = G.dtype.type(0)
    for i in range(n):
        top = max(top, G[i, i])
    floor = top * n * (1e-15 if G.itemsize == 8 else 1e-6)
    for i in range(n):
        for j in range(i):
            G[i, j] = (G[i, j] - dot(G[i], G[j], j)) / G[j, j] if j else G[i, j] / G[j, j]
        left = G[i, i] - dot(G[i], G[i], i) if i else G[i, i]
        if not left > floor:
            return False
        G[i, i] = sqrt(left)
    return True


@inner  # type: ignore[untyped-decorator,unused-ignore]
def cholesky_solve(L: Matrix, n: int, x: Vector) -> None:
    """Solve L L' y = x in place."""
    for i in range(n):
        x[i] = (x[i] - dot(L[i], x, i)) / L[i, i] if i else x[i] / L[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= L[i, i]
        for j in range(i):
            x[j] -= x[i] * L[i, j]


__all__ = ["BUFFER", "Index", "Matrix", "Vector", "add_gram_times", "cholesky", "cholesky_solve", "compiled", "dot", "fit_entries",
           "gather", "inner"]
