"""Compiled loops of the stochastic methods: many steps a call, memory O(dim + batch).

Python calls only the five `*_chunk` functions, `differences` and `resolve`, which write into arrays that they are handed and return
none; no compiled function calls those. (Numba's disk cache breaks functions that Python and compiled code both call for an array.)
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
    SQUARES: `F_i(u) = a_i (a_i'u - vec_i)`.  SUBSPACES: `F_i(u) = (I - B_i B_i')(u - o_i)`, `rows` holds the B_i' one under
    another, row i of `other` the constant `-(I - B_i B_i') o_i`.
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
def _dot_four(rows: Array, a: int, b: int, c: int, d: int, x: Array) -> tuple[float, float, float, float]:
    """Four rows times the head of x, which is read once for all of them."""
    p = q = r = s = 0.0
    for k in range(rows.shape[1]):
        at = x[k]
        p += rows[a, k] * at
        q += rows[b, k] * at
        r += rows[c, k] * at
        s += rows[d, k] * at
    return p, q, r, s


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_four(rows: Array, a: int, b: int, c: int, d: int, by: tuple[float, float, float, float], out: Array) -> None:
    """out += four rows, each times its number; out is read and written once for all of them."""
    p, q, r, s = by
    for k in range(rows.shape[1]):
        out[k] += p * rows[a, k] + q * rows[b, k] + r * rows[c, k] + s * rows[d, k]


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_rows(rows: Array, at: Ints, by: Array, out: Array) -> None:
    """out += sum over j of by[j] * row at[j]."""
    fours = at.shape[0] - at.shape[0] % 4
    for j in range(0, fours, 4):
        _add_four(rows, at[j], at[j + 1], at[j + 2], at[j + 3], (by[j], by[j + 1], by[j + 2], by[j + 3]), out)
    for j in range(fours, at.shape[0]):
        _add_dense(rows, at[j], by[j], out)


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


# ---------------------------------------------------------------- differences of terms, by kind


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_differences(T: Terms, idx: Ints, weights: Array, scale: float, u: Array, v: Array, step: Array, out: Array) -> None:
    """out += scale * sum over idx of weights (F_i(u) - F_i(v)); `step` is scratch of their shape.

    Takes the whole batch: a call a term would cost more than a row of a few hundred numbers. Dense rows go four at a time, which
    halves the time of one by one.
    """
    if T.kind == SQUARES:
        if T.is_sparse:
            for b in range(idx.shape[0]):
                t = scale * weights[b] * _dot_sparse(T.indptr, T.indices, T.values, idx[b], u, v)
                _add_sparse(T.indptr, T.indices, T.values, idx[b], t, out)
        else:
            _add_squares(T.rows, idx, weights, scale, u, v, step, out)
    elif T.kind == COLUMNS:
        _add_columns(T, idx, weights, scale, u, v, out)
    elif T.kind == GAME:
        _add_game(T.rows, T.other, T.n, idx, weights, scale, u, v, out)
    elif T.kind == SUBSPACES:
        _add_subspaces(T.rows, T.n, idx, weights, scale, u, v, step, out)
    elif T.kind == ROBUST:
        _add_robust(T, idx, weights, scale, u, v, step, out)
    else:
        _add_logistic(T, idx, weights, scale, u, v, out)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_squares(rows: Array, idx: Ints, weights: Array, scale: float, u: Array, v: Array, step: Array, out: Array) -> None:
    """Terms `a_i a_i'u`."""
    fours = idx.shape[0] - idx.shape[0] % 4
    if fours:
        for k in range(u.shape[0]):
            step[k] = u[k] - v[k]
    for j in range(0, fours, 4):
        a, b, c, d = idx[j], idx[j + 1], idx[j + 2], idx[j + 3]
        p, q, r, s = _dot_four(rows, a, b, c, d, step)
        by = (scale * weights[j] * p, scale * weights[j + 1] * q, scale * weights[j + 2] * r, scale * weights[j + 3] * s)
        _add_four(rows, a, b, c, d, by, out)
    for j in range(fours, idx.shape[0]):
        _add_dense(rows, idx[j], scale * weights[j] * _dot_dense(rows, idx[j], u, v), out)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_columns(T: Terms, idx: Ints, weights: Array, scale: float, u: Array, v: Array, out: Array) -> None:
    """Terms `n M[:, B_i] u[B_i]`."""
    many = 0
    for b in range(idx.shape[0]):
        many += T.cuts[idx[b] + 1] - T.cuts[idx[b]]
    at, by, m = np.empty(many, np.int64), np.empty(many), 0
    for b in range(idx.shape[0]):
        for k in range(T.cuts[idx[b]], T.cuts[idx[b] + 1]):
            j = T.members[k]
            at[m], by[m] = j, scale * weights[b] * T.n * (u[j] - v[j])
            m += 1
    if T.is_sparse:
        for k in range(many):
            _add_sparse(T.indptr, T.indices, T.values, at[k], by[k], out)
    else:
        _add_rows(T.rows, at, by, out)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_game(rows: Array, other: Array, n: int, idx: Ints, weights: Array, scale: float, u: Array, v: Array, out: Array) -> None:
    """Terms `n (A[i] y_i, -A[:, i] x_i)`; i may be beyond the shorter side of A."""
    m, c = rows.shape
    if idx.shape[0] < 4:
        for b in range(idx.shape[0]):
            i, t = idx[b], scale * weights[b] * n
            if i < m:
                _add_dense(rows, i, t * (u[c + i] - v[c + i]), out)
            if i < c:
                _add_dense(other, i, -t * (u[i] - v[i]), out[c:])
        return
    at, by = np.empty(idx.shape[0], np.int64), np.empty(idx.shape[0])
    many = 0
    for b in range(idx.shape[0]):
        i = idx[b]
        if i < m:
            at[many], by[many] = i, scale * weights[b] * n * (u[c + i] - v[c + i])
            many += 1
    _add_rows(rows, at[:many], by[:many], out)
    many = 0
    for b in range(idx.shape[0]):
        i = idx[b]
        if i < c:
            at[many], by[many] = i, -scale * weights[b] * n * (u[i] - v[i])
            many += 1
    _add_rows(other, at[:many], by[:many], out[c:])


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_subspaces(rows: Array, n: int, idx: Ints, weights: Array, scale: float, u: Array, v: Array, step: Array, out: Array) -> None:
    """Terms `(I - B_i B_i') u`, the rows of B_i' one under another."""
    width, total = rows.shape[0] // n, 0.0
    for k in range(u.shape[0]):
        step[k] = u[k] - v[k]
    for b in range(idx.shape[0]):
        t, first = scale * weights[b], width * idx[b]
        total += t
        for j in range(first, first + width - width % 4, 4):
            p, q, r, s = _dot_four(rows, j, j + 1, j + 2, j + 3, step)
            _add_four(rows, j, j + 1, j + 2, j + 3, (-t * p, -t * q, -t * r, -t * s), out)
        for j in range(first + width - width % 4, first + width):
            _add_dense(rows, j, -t * _dot_dense(rows, j, u, v), out)
    for k in range(u.shape[0]):
        out[k] += total * step[k]


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_robust(T: Terms, idx: Ints, weights: Array, scale: float, u: Array, v: Array, step: Array, out: Array) -> None:
    """Terms `(p_i a_i, e_i (scale p_i - a_i'w))`."""
    first, fours = u.shape[0] - T.n, 0
    if not T.is_sparse and idx.shape[0] >= 4:
        fours = idx.shape[0] - idx.shape[0] % 4
        for k in range(first):
            step[k] = u[k] - v[k]
    for j in range(0, fours, 4):
        a, b, c, d = idx[j], idx[j + 1], idx[j + 2], idx[j + 3]
        margins = _dot_four(T.rows, a, b, c, d, step)
        p, q, r, s = first + a, first + b, first + c, first + d
        moves = (u[p] - v[p], u[q] - v[q], u[r] - v[r], u[s] - v[s])
        by = (scale * weights[j], scale * weights[j + 1], scale * weights[j + 2], scale * weights[j + 3])
        _add_four(T.rows, a, b, c, d, (by[0] * moves[0], by[1] * moves[1], by[2] * moves[2], by[3] * moves[3]), out)
        out[p] += by[0] * (T.scale * moves[0] - margins[0])
        out[q] += by[1] * (T.scale * moves[1] - margins[1])
        out[r] += by[2] * (T.scale * moves[2] - margins[2])
        out[s] += by[3] * (T.scale * moves[3] - margins[3])
    for j in range(fours, idx.shape[0]):
        i, t = idx[j], scale * weights[j]
        move = u[first + i] - v[first + i]
        if T.is_sparse:
            margin = _dot_sparse(T.indptr, T.indices, T.values, i, u, v)
            _add_sparse(T.indptr, T.indices, T.values, i, t * move, out)
        else:
            margin = _dot_dense(T.rows, i, u, v)
            _add_dense(T.rows, i, t * move, out)
        out[first + i] += t * (T.scale * move - margin)


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_logistic(T: Terms, idx: Ints, weights: Array, scale: float, u: Array, v: Array, out: Array) -> None:
    """Terms of the logistic game; not affine, so both points are looked at. What all terms share is added once a batch."""
    d, total = u.shape[0] - T.n, 0.0
    for b in range(idx.shape[0]):
        i, t, at_u, at_v = idx[b], scale * weights[b], 0.0, 0.0
        total += t
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
        out[d + i] -= t * T.n * (loss_u - loss_v)
    for k in range(d):
        out[k] += total * T.scale * (u[k] - v[k])
    for k in range(d, u.shape[0]):
        out[k] += total * T.extra * (u[k] - v[k])


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _add_constants(T: Terms, idx: Ints, weights: Array, out: Array) -> None:
    """out += sum over idx of weights F_i(0)."""
    total = 0.0
    for b in range(idx.shape[0]):
        i, t = idx[b], weights[b]
        total += t
        if T.kind == SQUARES:
            if T.is_sparse:
                _add_sparse(T.indptr, T.indices, T.values, i, -t * T.vec[i], out)
            else:
                _add_dense(T.rows, i, -t * T.vec[i], out)
        elif T.kind == SUBSPACES:
            _add_dense(T.other, i, t, out)
        elif T.kind == ROBUST:
            out[out.shape[0] - T.n + i] += t * T.vec[i]
        elif T.kind == LOGISTIC:
            out[out.shape[0] - T.n + i] -= t * T.n * np.log(2.0)
    if T.kind in (COLUMNS, GAME):
        for k in range(T.vec.shape[0]):
            out[k] += total * T.vec[k]
    elif T.kind == LOGISTIC:
        for k in range(out.shape[0] - T.n, out.shape[0]):
            out[k] -= total * T.vec[0]


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
def _total(x: Array) -> float:
    """Sum of the entries."""
    s = 0.0
    for k in range(x.shape[0]):
        s += x[k]
    return s


@numba.njit(fastmath=FAST, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _above(x: Array, tau: float) -> tuple[float, int]:
    """Sum and number of the entries above tau; without a branch, so that it runs eight entries at a time."""
    s, c = 0.0, 0
    for k in range(x.shape[0]):
        keeps = x[k] > tau
        s += x[k] * keeps
        c += keeps
    return s, c


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _project_simplex(x: Array, radius: float) -> None:
    """x <- its projection: lower bounds of the threshold rise until none of the kept entries leaves (Michelot 1986).

    A handful of passes over x nearly always; after 30 the threshold is found by sorting, so O(n log n) holds in any case. Sorting
    also serves entries so large that the radius is lost in them.
    """
    tau, kept, passes = (_total(x) - radius) / x.shape[0], -1, 0
    while passes < 30:
        s, c = _above(x, tau)
        if c == kept:
            break
        if c == 0:
            passes = 30
            break
        tau, kept = max(tau, (s - radius) / c), c
        passes += 1
    if passes == 30:
        ordered, s = np.sort(x), 0.0
        top = ordered[x.shape[0] - 1]
        tau = -radius
        for k in range(x.shape[0]):
            at = ordered[x.shape[0] - 1 - k] - top
            s += at
            t = (s - radius) / (k + 1)
            if at > t:
                tau = t
        for k in range(x.shape[0]):
            x[k] = max(x[k] - top - tau, 0.0)
        return
    for k in range(x.shape[0]):
        x[k] = max(x[k] - tau, 0.0)


# ---------------------------------------------------------------- what Python calls


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def differences(T: Terms, idx: Ints, weights: Array, u: Array, v: Array, out: Array) -> None:
    """out += sum over idx of `weights (F_i(u) - F_i(v))`."""
    _add_differences(T, idx, weights, 1.0, u, v, np.empty_like(u), out)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def resolve(J: ResolventData, x: Array, step: float) -> None:
    """x <- J_{step G}(x)."""
    _resolve(J, x, step)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def page_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, v: Array, k: int, eta: float, anchor: float, idx: Ints,
               weights: Array) -> None:
    """Algorithm 1 from iteration k: `len(idx)` steps, each with its recursive estimate v (in place, as u), and one step more."""
    d, new, step = u.shape[0], np.empty_like(u), np.empty_like(u)
    for t in range(idx.shape[0] + 1):
        lam = anchor / (k + t + 2.0 * anchor)
        for c in range(d):
            new[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, new, eta)
        if t < idx.shape[0]:
            _add_differences(T, idx[t], weights[t], 1.0, new, u, step, v)
        u[:] = new


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def svrg_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, w: Array, at_w: Array, k: int, eta: float, anchor: float,
               idx: Ints, weights: Array) -> None:
    """Halpern steps from iteration k with the estimate `F(w) + mean of F_i(u) - F_i(w)`; u in place."""
    v, step = np.empty_like(u), np.empty_like(u)
    for t in range(idx.shape[0]):
        lam = anchor / (k + t + 2.0 * anchor)
        v[:] = at_w
        _add_differences(T, idx[t], weights[t], 1.0, u, w, step, v)
        for c in range(u.shape[0]):
            u[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, u, eta)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def plain_chunk(T: Terms, J: ResolventData, u0: Array, u: Array, k: int, eta: float, anchor: float, idx: Ints,
               weights: Array) -> None:
    """Halpern steps from iteration k with the plain mean of the drawn terms; u in place."""
    v, zero, step = np.empty_like(u), np.zeros_like(u), np.empty_like(u)
    for t in range(idx.shape[0]):
        lam = anchor / (k + t + 2.0 * anchor)
        v[:] = 0.0
        _add_differences(T, idx[t], weights[t], 1.0, u, zero, step, v)
        _add_constants(T, idx[t], weights[t], v)
        for c in range(u.shape[0]):
            u[c] = lam * u0[c] + (1.0 - lam) * u[c] - eta * v[c]
        _resolve(J, u, eta)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def forb_chunk(T: Terms, J: ResolventData, w: Array, w_before: Array, at_w: Array, v: Array, c: float, gamma: float, alpha: float,
               idx: Ints, weights: Array) -> None:
    """Steps of variance-reduced forward-reflected-backward on `c F(v) + v - anchor`; `at_w` is that at w; v in place.

    The first step reflects at the snapshot before (`w_before`), the others at w.
    """
    diff, step, d = np.empty_like(v), np.empty_like(v), v.shape[0]
    for t in range(idx.shape[0]):
        ref = w_before if t == 0 else w
        diff[:] = 0.0
        _add_differences(T, idx[t], weights[t], c, v, ref, step, diff)
        for k in range(d):
            v[k] = alpha * v[k] + (1.0 - alpha) * w[k] - gamma * (at_w[k] + diff[k] + v[k] - ref[k])
        _resolve(J, v, gamma * c)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def eg_chunk(T: Terms, J: ResolventData, w: Array, at_w: Array, z: Array, total: Array, tau: float, alpha: float, idx: Ints,
             weights: Array) -> None:
    """Steps of variance-reduced extragradient around the snapshot w; z in place, iterates added to `total`."""
    centre, half, step, d = np.empty_like(z), np.empty_like(z), np.empty_like(z), z.shape[0]
    for t in range(idx.shape[0]):
        for k in range(d):
            centre[k] = alpha * z[k] + (1.0 - alpha) * w[k] - tau * at_w[k]
            half[k] = centre[k]
        _resolve(J, half, tau)
        _add_differences(T, idx[t], weights[t], -tau, half, w, step, centre)
        z[:] = centre
        _resolve(J, z, tau)
        for k in range(d):
            total[k] += z[k]
