"""Compiled loops of the stochastic methods: many steps a call, no allocation within, memory O(dim).

Python calls only the five `*_chunk` functions and `differences`, which write into arrays that they are handed and return none; no
compiled function calls those. (Numba's disk cache breaks functions that Python and compiled code both call for an array.)
Which terms are drawn is decided outside, so these and the loops in Python take the same steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ._resolvents import ResolventData

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLUMNS, GAME, SQUARES, SUBSPACES, ROBUST, LOGISTIC = range(6)
BOX, SIMPLEX, BALL, L1 = 1, 2, 3, 4
FAST = {"reassoc", "contract", "nsz"}


class Terms(NamedTuple):
    """The terms of a finite sum as arrays. What each field holds depends on the kind; those not needed are empty.

    COLUMNS: `F_i(u) = n M[:, B_i] u[B_i] + vec`; row j of `rows` is column j of M, B_i = `members[cuts[i]:cuts[i + 1]]`.
    GAME: `F_i = n (A[i] y_i, -A[:, i] x_i)`; `rows` is A, `other` its transpose.
    SQUARES: `F_i(u) = a_i (a_i'u - vec_i)`.  SUBSPACES: `F_i(u) = (I - B_i B_i')(u - o_i)`, row i of `rows` is B_i' row by row, of
    `other` the constant `-(I - B_i B_i') o_i`.
    ROBUST: `F_i(w, p) = (p_i a_i, e_i (vec_i - a_i'w + scale p_i))`.
    LOGISTIC: `F_i(w, p) = (n p_i grad l_i(w) + scale w, -n e_i l_i(w) + extra p - vec)`, `l_i(w) = log(1 + exp(-a_i'w))`.
    """

    kind: int
    is_sparse: bool
    n: int
    rows: Array
    other: Array
    cuts: Ints
    members: Ints
    indptr: Ints
    indices: Ints
    values: Array
    vec: Array
    scale: float
    extra: float


def terms(kind: int, n: int, rows: Array | None = None, other: Array | None = None, cuts: Ints | None = None, members: Ints | None = None,
          csr: object = None, vec: Array | None = None, scale: float = 0.0, extra: float = 0.0) -> Terms:
    """Terms with empty arrays for what is left out; `csr` is a scipy CSR array in place of `rows`."""
    none, nothing, no = np.empty((0, 0)), np.empty(0), np.empty(0, np.int64)
    indptr: Ints = np.ascontiguousarray(getattr(csr, "indptr", no), np.int64)
    indices: Ints = np.ascontiguousarray(getattr(csr, "indices", no), np.int64)
    values: Array = nothing if csr is None else np.ascontiguousarray(getattr(csr, "data"), np.float64)  # noqa: B009 (csr is no array)
    return Terms(kind, csr is not None, n, none if rows is None else rows, none if other is None else other, no if cuts is None else cuts,
                 no if members is None else members, indptr, indices, values, nothing if vec is None else vec, float(scale), float(extra))


# ---------------------------------------------------------------- rows, dense and sparse


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _dot_dense(rows: Array, i: int, u: Array, v: Array) -> float:
    """Row i times the head of u - v."""
    s = 0.0
    for k in range(rows.shape[1]):
        s += rows[i, k] * (u[k] - v[k])
    return s


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_dense(rows: Array, i: int, t: float, out: Array) -> None:
    """out += t * row i."""
    for k in range(rows.shape[1]):
        out[k] += t * rows[i, k]


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _dot_sparse(indptr: Ints, indices: Ints, values: Array, i: int, u: Array, v: Array) -> float:
    """Row i times the head of u - v."""
    s = 0.0
    for k in range(indptr[i], indptr[i + 1]):
        s += values[k] * (u[indices[k]] - v[indices[k]])
    return s


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_sparse(indptr: Ints, indices: Ints, values: Array, i: int, t: float, out: Array) -> None:
    """out += t * row i."""
    for k in range(indptr[i], indptr[i + 1]):
        out[indices[k]] += t * values[k]


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _loss_and_slope(z: float) -> tuple[float, float]:
    """`log(1 + exp(-z))` and its derivative."""
    if z >= 0:
        e = np.exp(-z)
        return np.log1p(e), -e / (1.0 + e)
    e = np.exp(z)
    return np.log1p(e) - z, -1.0 / (1.0 + e)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_differences(T: Terms, idx: Ints, weights: Array, scale: float, u: Array, v: Array, out: Array) -> None:
    """out += scale * sum over idx of weights (F_i(u) - F_i(v)).

    Takes the whole batch, and its arrays out of the tuple first: a call a term would cost more than a row of a few hundred numbers.
    """
    rows, other, indptr, indices, values = T.rows, T.other, T.indptr, T.indices, T.values
    n, d, dense = T.n, u.shape[0], not T.is_sparse
    for b in range(idx.shape[0]):
        i, t = idx[b], scale * weights[b]
        if T.kind == SQUARES:
            if dense:
                _add_dense(rows, i, t * _dot_dense(rows, i, u, v), out)
            else:
                _add_sparse(indptr, indices, values, i, t * _dot_sparse(indptr, indices, values, i, u, v), out)
        elif T.kind == COLUMNS:
            for k in range(T.cuts[i], T.cuts[i + 1]):
                j = T.members[k]
                if dense:
                    _add_dense(rows, j, t * n * (u[j] - v[j]), out)
                else:
                    _add_sparse(indptr, indices, values, j, t * n * (u[j] - v[j]), out)
        elif T.kind == GAME:
            m, c = rows.shape
            if i < m:
                _add_dense(rows, i, t * n * (u[c + i] - v[c + i]), out)
            if i < c:
                _add_dense(other, i, -t * n * (u[i] - v[i]), out[c:])
        elif T.kind == SUBSPACES:
            _add_subspace(rows, i, t, u, v, out)
        elif T.kind == ROBUST:
            p = d - n + i
            dp = u[p] - v[p]
            if dense:
                margin = _dot_dense(rows, i, u, v)
                _add_dense(rows, i, t * dp, out)
            else:
                margin = _dot_sparse(indptr, indices, values, i, u, v)
                _add_sparse(indptr, indices, values, i, t * dp, out)
            out[p] += t * (T.scale * dp - margin)
        else:
            _add_logistic(T, i, t, u, v, out)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_subspace(rows: Array, i: int, t: float, u: Array, v: Array, out: Array) -> None:
    """out += t (I - B B')(u - v), B' row by row in row i."""
    d = u.shape[0]
    for k in range(d):
        out[k] += t * (u[k] - v[k])
    for r in range(rows.shape[1] // d):
        s = 0.0
        for k in range(d):
            s += rows[i, r * d + k] * (u[k] - v[k])
        s *= t
        for k in range(d):
            out[k] -= s * rows[i, r * d + k]


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_logistic(T: Terms, i: int, t: float, u: Array, v: Array, out: Array) -> None:
    """out += t (F_i(u) - F_i(v)) of the logistic game; not affine, so both points are looked at."""
    d = u.shape[0] - T.n
    at_u, at_v = 0.0, 0.0
    if T.is_sparse:
        for k in range(T.indptr[i], T.indptr[i + 1]):
            at_u += T.values[k] * u[T.indices[k]]
            at_v += T.values[k] * v[T.indices[k]]
    else:
        for k in range(d):
            at_u += T.rows[i, k] * u[k]
            at_v += T.rows[i, k] * v[k]
    loss_u, slope_u = _loss_and_slope(at_u)
    loss_v, slope_v = _loss_and_slope(at_v)
    s = t * T.n * (u[d + i] * slope_u - v[d + i] * slope_v)
    if T.is_sparse:
        _add_sparse(T.indptr, T.indices, T.values, i, s, out)
    else:
        _add_dense(T.rows, i, s, out)
    for k in range(d):
        out[k] += t * T.scale * (u[k] - v[k])
    for k in range(d, u.shape[0]):
        out[k] += t * T.extra * (u[k] - v[k])
    out[d + i] -= t * T.n * (loss_u - loss_v)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_constant(T: Terms, i: int, t: float, out: Array) -> None:
    """out += t F_i(0)."""
    if T.kind in (COLUMNS, GAME):
        for k in range(T.vec.shape[0]):
            out[k] += t * T.vec[k]
    elif T.kind == SQUARES:
        if T.is_sparse:
            _add_sparse(T.indptr, T.indices, T.values, i, -t * T.vec[i], out)
        else:
            _add_dense(T.rows, i, -t * T.vec[i], out)
    elif T.kind == SUBSPACES:
        _add_dense(T.other, i, t, out)
    elif T.kind == ROBUST:
        out[out.shape[0] - T.n + i] += t * T.vec[i]
    else:
        d = out.shape[0] - T.n
        for k in range(d, out.shape[0]):
            out[k] -= t * T.vec[0]
        out[d + i] -= t * T.n * np.log(2.0)


# ---------------------------------------------------------------- resolvent


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _resolve(J: ResolventData, x: Array, step: float) -> None:
    """x <- J_{step G}(x)."""
    for b in range(J.kinds.shape[0]):
        kind, start, stop = J.kinds[b], J.starts[b], J.stops[b]
        if kind == BOX:
            for k in range(start, stop):
                x[k] = min(max(x[k], J.lower[k]), J.upper[k])
        elif kind == SIMPLEX:
            _project_simplex(x[start:stop], J.radii[b])
        elif kind == BALL:
            s = 0.0
            for k in range(start, stop):
                s += x[k] * x[k]
            if s > J.radii[b] ** 2:
                s = J.radii[b] / np.sqrt(s)
                for k in range(start, stop):
                    x[k] *= s
        elif kind == L1:
            w = step * J.radii[b]
            for k in range(start, stop):
                x[k] -= min(max(x[k], -w), w)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _above(x: Array, tau: float) -> tuple[float, int]:
    """Sum and number of the entries above tau."""
    s, c = 0.0, 0
    for k in range(x.shape[0]):
        if x[k] > tau:
            s += x[k]
            c += 1
    return s, c


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _project_simplex(x: Array, radius: float) -> None:
    """x <- its projection: lower bounds of the threshold rise until none of the kept entries leaves (Michelot 1986).

    A handful of passes over x nearly always; after 30 the threshold is found by sorting, so O(n log n) holds in any case.
    """
    s, biggest = 0.0, -np.inf
    for k in range(x.shape[0]):
        s += x[k]
        biggest = max(biggest, x[k])
    tau = max((s - radius) / x.shape[0], biggest - radius)
    kept, passes = -1, 0
    while passes < 30:
        s, c = _above(x, tau)
        if c == 0 or c == kept:
            break
        tau, kept = max(tau, (s - radius) / c), c
        passes += 1
    if passes == 30:
        ordered, s = np.sort(x), 0.0
        for k in range(x.shape[0]):
            s += ordered[x.shape[0] - 1 - k]
            t = (s - radius) / (k + 1)
            if ordered[x.shape[0] - 1 - k] > t:
                tau = t
    for k in range(x.shape[0]):
        x[k] = max(x[k] - tau, 0.0)


# ---------------------------------------------------------------- what Python calls


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def differences(T: Terms, idx: Ints, weights: Array, u: Array, v: Array, out: Array) -> None:
    """out += sum over idx of `weights (F_i(u) - F_i(v))`."""
    _add_differences(T, idx, weights, 1.0, u, v, out)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def page_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, v: Array, k: int, eta: float, anchor: float, idx: Ints,
               weights: Array) -> None:
    """Algorithm 1 from iteration k: `len(idx)` steps, each with its recursive estimate v (in place, as u), and one step more."""
    d, new = u.shape[0], np.empty_like(u)
    for t in range(idx.shape[0] + 1):
        lam = anchor / (k + t + 2.0 * anchor)
        for c in range(d):
            new[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, new, eta)
        if t < idx.shape[0]:
            _add_differences(T, idx[t], weights[t], 1.0, new, u, v)
        u[:] = new


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def svrg_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, w: Array, at_w: Array, k: int, eta: float, anchor: float,
               idx: Ints, weights: Array) -> None:
    """Halpern steps from iteration k with the estimate `F(w) + mean of F_i(u) - F_i(w)`; u in place."""
    v = np.empty_like(u)
    for t in range(idx.shape[0]):
        lam = anchor / (k + t + 2.0 * anchor)
        v[:] = at_w
        _add_differences(T, idx[t], weights[t], 1.0, u, w, v)
        for c in range(u.shape[0]):
            u[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, u, eta)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def plain_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, k: int, eta: float, anchor: float, idx: Ints,
               weights: Array) -> None:
    """Halpern steps from iteration k with the plain mean of the drawn terms; u in place."""
    v, zero = np.empty_like(u), np.zeros_like(u)
    for t in range(idx.shape[0]):
        lam = anchor / (k + t + 2.0 * anchor)
        v[:] = 0.0
        _add_differences(T, idx[t], weights[t], 1.0, u, zero, v)
        for j in range(idx.shape[1]):
            _add_constant(T, idx[t, j], weights[t, j], v)
        for c in range(u.shape[0]):
            u[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, u, eta)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def forb_chunk(T: Terms, J: ResolventData, w: Array, w_before: Array, at_w: Array, v: Array, c: float, gamma: float, alpha: float,
               idx: Ints, weights: Array) -> None:
    """Steps of variance-reduced forward-reflected-backward on `c F(v) + v - anchor`; `at_w` is that at w; v in place.

    The first step reflects at the snapshot before (`w_before`), the others at w.
    """
    diff, d = np.empty_like(v), v.shape[0]
    for t in range(idx.shape[0]):
        ref = w_before if t == 0 else w
        diff[:] = 0.0
        _add_differences(T, idx[t], weights[t], c, v, ref, diff)
        for k in range(d):
            v[k] = alpha * v[k] + (1.0 - alpha) * w[k] - gamma * (at_w[k] + diff[k] + v[k] - ref[k])
        _resolve(J, v, gamma * c)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def eg_chunk(T: Terms, J: ResolventData, w: Array, at_w: Array, z: Array, total: Array, tau: float, alpha: float, idx: Ints,
             weights: Array) -> None:
    """Steps of variance-reduced extragradient around the snapshot w; z in place, iterates added to `total`."""
    centre, half, d = np.empty_like(z), np.empty_like(z), z.shape[0]
    for t in range(idx.shape[0]):
        for k in range(d):
            centre[k] = alpha * z[k] + (1.0 - alpha) * w[k] - tau * at_w[k]
            half[k] = centre[k]
        _resolve(J, half, tau)
        _add_differences(T, idx[t], weights[t], -tau, half, w, centre)
        z[:] = centre
        _resolve(J, z, tau)
        for k in range(d):
            total[k] += z[k]
