"""Lasso from a Gram matrix, and its form with unknown noise variance."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


@nb.njit(nogil=True, inline="always")  # type: ignore[untyped-decorator,unused-ignore]
def _descend(A: Matrix, c: Matrix, penalty: float, w: Matrix, sweeps: int) -> None:
    g = c - A @ w
    for _ in range(sweeps):
        largest, size = 0.0, 0.0
        for k in range(len(c)):
            z = g[k] + A[k, k] * w[k]
            new = max(abs(z) - penalty, 0.0) / A[k, k]
            new = new if z > 0 else -new
            step = new - w[k]
            if step != 0.0:
                g -= step * A[k]
                w[k] = new
            largest, size = max(largest, abs(step)), max(size, abs(new))
        if largest <= 1e-10 * max(size, 1e-10):
            return


@nb.njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _rays(A: Matrix, c: Matrix, active: Order, signs: Matrix, a: Matrix, b: Matrix) -> None:
    """Solves `A[S, S] a = c[S]` and `A[S, S] b = signs[S]` by Cholesky, for the active set S."""
    n = len(active)
    L = np.empty((n, n))
    for i in range(n):
        for k in range(i + 1):
            rest = A[active[i], active[k]]
            for m in range(k):
                rest -= L[i, m] * L[k, m]
            L[i, k] = np.sqrt(max(rest, 1e-300)) if i == k else rest / L[k, k]
        a[i], b[i] = c[active[i]], signs[active[i]]
        for m in range(i):
            a[i] -= L[i, m] * a[m]
            b[i] -= L[i, m] * b[m]
        a[i] /= L[i, i]
        b[i] /= L[i, i]
    for i in range(n - 1, -1, -1):
        for m in range(i + 1, n):
            a[i] -= L[m, i] * a[m]
            b[i] -= L[m, i] * b[m]
        a[i] /= L[i, i]
        b[i] /= L[i, i]


@nb.njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _follow(A: Matrix, c: Matrix, total: float, end: float, penalty: float, w: Matrix) -> float:
    """The lasso's path from its largest penalty down: to `end`, or, where `penalty > 0`, to where mu = penalty * residual(mu).

    Between two changes of the active set the minimiser at mu is a - mu b and its residual R + q mu^2, both in closed form, so that
    no step is iterated (Osborne, Presnell, Turlach 2000; Efron and others 2004). Writes the weights into `w`, returns mu.
    """
    d = len(c)
    signs, active, a, b = np.zeros(d), np.empty(0, np.int64), np.zeros(d), np.zeros(d)
    mu, left = 0.0, -1
    for k in range(d):
        mu = max(mu, abs(c[k]))
    if penalty > 0:
        end = 0.0
        if penalty * total >= mu:
            return penalty * total
    for _ in range(20 * d + 20):
        if mu <= end:
            break
        n = len(active)
        _rays(A, c, active, signs, a, b)
        following, who, sign = end, -1, 0.0  # the next change: where, of whom, and its sign from there on (0 where it leaves)
        residual, q = total, 0.0
        for i in range(n):
            residual -= c[active[i]] * a[i]
            q += signs[active[i]] * b[i]
            at = a[i] / b[i] if b[i] != 0 else -1.0  # where this weight comes to zero
            if following < at < mu * (1 - 1e-13) and (a[i] - mu * b[i]) * signs[active[i]] > 0:
                following, who, sign = at, active[i], 0.0
        for k in range(d):
            if signs[k] != 0:
                continue
            r, t = c[k], 0.0
            for i in range(n):
                r -= A[k, active[i]] * a[i]
                t += A[k, active[i]] * b[i]
            for s in (1.0, -1.0):
                at = s * r / (1 - s * t) if 1 - s * t > 1e-14 else -1.0
                if k == left and at >= mu * (1 - 1e-9):
                    continue
                at = min(at, mu)
                if at > following:
                    following, who, sign = at, k, s
        if penalty > 0 and n > 0:
            inside = 1 / penalty**2 - 4 * q * max(residual, 0.0)
            root = 2 * max(residual, 0.0) / (1 / penalty + np.sqrt(max(inside, 0.0)))
            if root >= following:
                following, who = min(root, mu), -1
        mu, left = following, -1
        if who < 0:
            break
        if sign == 0.0:
            signs[who], left = 0.0, who
            active = active[active != who]
        else:
            signs[who] = sign
            active = np.append(active, who)
    _rays(A, c, active, signs, a, b)
    for i in range(len(active)):
        w[active[i]] = a[i] - mu * b[i]
    return mu


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def lasso(A: Matrix, c: Matrix, penalty: float) -> Matrix:
    """Minimiser of `w'Aw / 2 - c'w + penalty |w|_1`, `(k,)`; A positive definite `(k, k)`. By its path, then coordinate descent."""
    w = np.zeros(len(c))
    if penalty > 0:
        _follow(A, c, 0.0, penalty, 0.0, w)
    _descend(A, c, penalty, w, 10_000)
    return w


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def log_lasso(A: Matrix, c: Matrix, total: float, penalty: float) -> tuple[Matrix, float]:
    """Stationary w of `log(total - 2 c'w + w'Aw) / 2 + penalty |w|_1` reached downhill from 0, and the bracket's value there.

    Alternating the variance v, in closed form, and a lasso of penalty v * penalty goes down the lasso's path to the first penalty
    at which both agree; that point of the path is found directly, and the alternation only ends it.
    """
    w, variance = np.zeros(len(c)), total
    if penalty > 0 and len(c):
        variance = _follow(A, c, total, 0.0, penalty, w) / penalty
    for _ in range(200):
        _descend(A, c, penalty * variance, w, 10_000)
        new = total - 2 * np.dot(c, w) + np.dot(w, A @ w)
        if abs(new - variance) <= 1e-12 * variance:
            variance = new
            break
        variance = new
    return w, variance
