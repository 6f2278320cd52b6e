"""Compiled inner loops over the Gram matrix S = X'X/n, so that no cost depends on the number of samples.

With L the Cholesky factor of S in the order p, L[k, k]^2 is the variance that is left of variable p[k] once those before it are
regressed out, and the least-squares score is half their sum. Moving a variable changes only the entries between its old and its new
place, and those of *every* exchange and insertion together cost O(d^3), as much as one factorisation: for a fixed earlier position a,
a rank-one update of the trailing factor forgets the variable at a, and the covariance of any later variable with each one between
then stands in that factor already.
"""

from __future__ import annotations

from math import sqrt

import numba as nb
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator,unused-ignore]
def moves(U: Matrix, last: Order, swap: Matrix, up: Matrix, down: Matrix) -> None:
    """Change of twice the score for moves between positions a < b, written into three `(d, d)` arrays. O(d^3) for all.

    `swap[a, b]`: exchange the two; `up[a, b]`: b goes before a; `down[a, b]`: a goes after b.

    Args:
        U: upper Cholesky factor of the Gram matrix in the present order, rows contiguous.
        last: for each a the highest b wanted, `(d,)`; a or less where none is.
    """
    d = len(U)
    for b in range(d):  # one step further up at a time: what is left of b grows, what is left of the one it passes shrinks
        own, passed = U[b, b] ** 2, 0.0
        for a in range(b - 1, -1, -1):
            shared = U[a, b] ** 2
            own += shared
            passed += U[a, a] ** 2 * shared / own
            up[a, b] = own - U[b, b] ** 2 - passed
    R, forgotten, cov_a = np.empty(d), np.empty(d), np.empty(d)
    left, lost = np.empty(d), np.empty(d)
    V = U.copy()
    for a in range(d - 1):
        end = last[a] + 1
        if end <= a + 1:
            continue
        for k in range(a + 1, end):
            V[k, k:end] = U[k, k:end]
            forgotten[k] = U[a, k]
            cov_a[k] = U[a, a] * U[a, k]
            own = 0.0
            for i in range(a, k + 1):
                own += U[i, k] ** 2
            left[k] = own  # variance of k given all before a
            R[k] = own
            lost[k] = 0.0
        own_a, between, old = U[a, a] ** 2, 0.0, U[a, a] ** 2
        for k in range(a + 1, end):
            pivot = sqrt(V[k, k] ** 2 + forgotten[k] ** 2)
            c, s = pivot / V[k, k], forgotten[k] / V[k, k]
            V[k, k] = pivot
            of_a = cov_a[k] / pivot
            own_a -= of_a * of_a
            old += U[k, k] ** 2
            down[a, k] = between + pivot * pivot + own_a - old
            swap[a, k] = R[k] + between - lost[k] + own_a - old
            between += pivot * pivot
            for j in range(k + 1, end):
                x = (V[k, j] + s * forgotten[j]) / c
                forgotten[j] = c * forgotten[j] - s * x
                cov_a[j] -= of_a * x
                lost[j] += (pivot * x) ** 2 / left[j]
                left[j] -= x * x


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def scores(S: Matrix, orders: Order) -> Matrix:
    """Least-squares scores of many orders `(k, d)` by a factorisation each, `(k,)`; NaN where it breaks down. O(k d^3 / 3)."""
    m, d = orders.shape
    out, L = np.empty(m), np.empty((d, d))
    for r in range(m):
        p, total = orders[r], 0.0
        for i in range(d):
            for j in range(i + 1):
                x = S[p[i], p[j]]
                for k in range(j):
                    x -= L[i, k] * L[j, k]
                if i == j:
                    L[i, i] = sqrt(x) if x > 0 else np.nan
                    total += x
                else:
                    L[i, j] = x / L[j, j]
        out[r] = 0.5 * total
    return out


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def residuals(S: Matrix) -> Matrix:
    """Variance of each variable given each set of others, `(2^d, d)`; bit i of the row stands for variable i. O(2^d d^2).

    Sets are walked by adding the highest variable last, so that a set's Schur complement comes from that of its prefix.
    """
    d = len(S)
    out = np.empty((1 << d, d))
    stack = np.empty((d + 1, d, d))
    masks, following = np.zeros(d + 1, np.int64), np.zeros(d + 1, np.int64)
    stack[0] = S
    depth = 0
    for j in range(d):
        out[0, j] = S[j, j]
    while depth >= 0:
        v = following[depth]
        if v == d:
            depth -= 1
            continue
        following[depth] = v + 1
        M, N = stack[depth], stack[depth + 1]
        mask = masks[depth] | (1 << v)
        for i in range(d):
            f = M[i, v] / M[v, v]
            for j in range(d):
                N[i, j] = M[i, j] - f * M[v, j]
        for j in range(d):
            out[mask, j] = N[j, j]
        masks[depth + 1], following[depth + 1] = mask, v + 1
        depth += 1
    return out


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def best_path(cost: Matrix) -> Order:
    """The order with the least total of `cost[set of those before, variable]`, by dynamic programming over sets. O(2^d d)."""
    n_sets, d = cost.shape
    best, choice = np.full(n_sets, np.inf), np.zeros(n_sets, np.int8)
    best[0] = 0.0
    for mask in range(n_sets):
        for j in range(d):
            if not mask >> j & 1:
                x, into = best[mask] + cost[mask, j], mask | (1 << j)
                if x < best[into]:
                    best[into], choice[into] = x, j
    order, mask = np.empty(d, np.int64), n_sets - 1
    for k in range(d - 1, -1, -1):
        order[k] = choice[mask]
        mask ^= 1 << order[k]
    return order
