"""Alternating minimisation: where it starts, its sweeps, and what it keeps account of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from ._observed import Index, Matrix, Observed, Side, Vector
from ._robust import huber_weights, robust_delta
from ._sweep import Done, How, Pace, Pool, half_sweep


@dataclass(frozen=True)
class Sweep:
    """One sweep over both factors.

    Attributes:
        rmse: on the entries fitted, weighted.
        held_out: RMSE on entries set aside; NaN without.
        change: of the predictions of the entries fitted, relative to their size.
        seconds: since the start.
        flops: of this sweep, see `_cost`.
        inner_iterations: mean passes over a regression's rows, of those solved in passes.
        exactly: share of regressions solved exactly.
        inner_tol: gradient asked for, relative to that at 0.
    """

    rmse: float
    held_out: float
    change: float
    seconds: float
    flops: float
    inner_iterations: float
    exactly: float
    inner_tol: float


@dataclass
class Plan:
    """What the sweeps are told; see `RobustALSCompleter` for each.

    Attributes:
        after: called with each new factor before it is used, for experiments that disturb it.
        report: called with each sweep and the factors; an answer of True ends the run.
    """

    how: How
    tol: float = 1e-4
    max_iter: int = 50
    inner_tol: float | None = None
    reg: float = 0.0
    scale_reg: bool = False
    bias: bool = False
    sample_split: bool = False
    huber: float | str | None = None
    after: Callable[[Matrix], None] | None = None
    report: Callable[[Sweep, Factors], bool | None] | None = None


@dataclass
class Factors:
    """A model `mean + row_bias[i] + column_bias[j] + U[i] . V[j]`."""

    U: Matrix
    V: Matrix
    mean: float
    row_bias: Vector
    column_bias: Vector
    history: list[Sweep] = field(default_factory=list)
    converged: bool = False
    subspace_change: float = np.nan
    weights: Vector = field(default_factory=lambda: np.empty(0))
    huber_delta: float = np.nan

    def at(self, rows: Index, columns: Index) -> Vector:
        """Predictions of entries, in blocks so that memory stays small."""
        out = np.empty(len(rows), self.U.dtype)
        step = max(1, (1 << 21) // max(1, self.U.shape[1]))
        for a in range(0, len(rows), step):
            r, c = rows[a : a + step], columns[a : a + step]
            out[a : a + step] = np.einsum("ij,ij->i", self.U[r], self.V[c]) + self.row_bias[r] + self.column_bias[c] + self.mean
        return out


def spectral_start(observed: Observed, rank: int, mean: float, rng: np.random.Generator, clip_mu: float | None = None) -> Matrix:
    """Top left singular vectors of the observed entries (others 0), `(m, k)`, orthonormal.

    With `clip_mu`, rows longer than 2 mu sqrt(k / m) become 0 and the rest is made orthonormal again.
    """
    side, (m, n) = observed.rows, observed.shape
    values = side.values - np.asarray(mean, side.values.dtype)
    matrix = sp.csr_matrix((values * side.weights if len(side.weights) else values, side.indices, side.indptr), shape=(m, n))
    seed = int(rng.integers(2**31))
    U = randomized_svd(matrix, rank, n_oversamples=min(10, min(m, n) - rank), n_iter=4, random_state=seed)[0]
    if clip_mu is not None:
        U = np.where(np.linalg.norm(U, axis=1, keepdims=True) > 2 * clip_mu * np.sqrt(rank / m), 0, U)
    return orthonormal(np.asarray(U, dtype=side.values.dtype))[0]


def random_start(observed: Observed, rank: int, rng: np.random.Generator) -> Matrix:
    """Orthonormal columns at random, `(m, k)`."""
    return orthonormal(rng.standard_normal((observed.shape[0], rank)).astype(observed.rows.values.dtype))[0]


def orthonormal(U: Matrix) -> tuple[Matrix, Matrix]:
    """QR of a factor, rows contiguous."""
    Q, R = np.linalg.qr(U)
    return np.ascontiguousarray(Q), R


def subspace_distance(U: npt.ArrayLike, Uref: npt.ArrayLike) -> float:
    """Sine of the largest angle between the column spaces of two matrices of equal shape `(m, k)`: 0 equal, 1 some direction missed.

    The norm of what is left of Uref's orthonormal columns outside of U's. O(m k^2).

    Raises:
        ValueError: other shapes, NaN or infinite values.

    >>> import numpy as np
    >>> round(subspace_distance(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])), 4)
    0.7071
    """
    a, b = np.asarray(U, dtype=np.float64), np.asarray(Uref, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or a.size == 0:
        raise ValueError(f"U has shape {a.shape} and Uref {b.shape}: two matrices (m, k) of one shape are needed")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("U and Uref must be finite")
    Q, P = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return min(1.0, float(np.linalg.norm(P - Q @ (Q.T @ P), 2)))


def incoherence(U: Matrix) -> float:
    """mu with `max_i |Q_i|^2 = mu k / m` for the orthonormal basis Q of a factor: 1 even, m / k when a row stands alone."""
    Q = np.linalg.qr(np.asarray(U, dtype=np.float64))[0]
    return float((Q**2).sum(axis=1).max() * len(Q) / Q.shape[1])


def alternate(observed: Observed, U: Matrix, plan: Plan, threads: Pool, *, held_out: tuple[Index, Index, Vector] | None = None,
              rng: np.random.Generator | None = None, mean: float = 0.0) -> Factors:
    """Solve for the column factor, then for the row factor, until predictions of the entries move by less than `plan.tol` of their size.

    Args:
        observed: the entries.
        U: where the row factor starts, `(m, k)`.
        held_out: entries (rows, columns, values) whose error is kept account of.
        rng: splits the entries when `plan.sample_split`.
        mean: subtracted from all values.
    """
    run = _Run(observed, U, plan, threads, mean)
    began, parts = time.perf_counter(), _parts(observed, plan, rng)
    for _ in range(plan.max_iter):
        before, tol = run.f.U, run.inner_tol
        done = run.sweep(parts)
        run.f.history.append(Sweep(run.rmse, run.error_at(held_out), run.change, time.perf_counter() - began, sum(d.flops for d in done),
                                   float(np.mean([d.passes for d in done])), float(np.mean([d.exactly for d in done])), tol))
        stop = plan.report(run.f.history[-1], run.f) if plan.report else False
        run.f.converged = run.change <= plan.tol
        if run.f.converged or stop:
            break
    run.f.subspace_change = subspace_distance(run.f.U, before)
    return run.f


def _parts(observed: Observed, plan: Plan, rng: np.random.Generator | None) -> list[Observed] | None:
    """The entries in as many random parts as there are half-sweeps, as the theory has it."""
    if not plan.sample_split:
        return None
    labels = (rng or np.random.default_rng(0)).integers(2 * plan.max_iter, size=len(observed))
    return [observed.part(labels == t) for t in range(2 * plan.max_iter)]


class _Run:
    """State between sweeps."""

    def __init__(self, observed: Observed, U: Matrix, plan: Plan, threads: Pool, mean: float) -> None:
        m, n = observed.shape
        kind = observed.rows.values.dtype
        self.observed, self.plan, self.threads, self.centre = observed, plan, threads, np.asarray(mean, kind)[()]
        self.f = Factors(U, np.zeros((n, U.shape[1]), kind), float(mean), np.zeros(m, kind), np.zeros(n, kind))
        self.given = observed.rows.weights
        self.masses = observed.columns.mass, observed.rows.mass  # of the weights given: robust ones do not make the ridge smaller
        self.f.weights = self.given
        self.paces, self.swept = (Pace(), Pace()), 0
        self.change, self.last_change, self.rmse = 1.0, 1.0, np.nan
        self.fitted: Vector = np.zeros(len(observed), kind)
        # Without ridge and biases the factors may be changed to any basis: an orthonormal one keeps the regressions well conditioned.
        self.is_free = plan.reg == 0 and not plan.bias and plan.how.solver not in ("cg", "lsqr")

    @property
    def inner_tol(self) -> float:
        if self.plan.inner_tol is not None:
            return self.plan.inner_tol
        return max(min(0.1, 0.1 * self.expected), 1e-14)

    @property
    def expected(self) -> float:
        """The change to expect of the next sweep: the last one, smaller once more by the factor that it was smaller than the one before."""
        return self.change * min(1.0, max(self.change / max(self.last_change, 1e-300), 1e-2))

    def sweep(self, parts: list[Observed] | None) -> list[Done]:
        """Both half-sweeps, then what is known of the fit."""
        f, warm, t = self.f, self.swept > 0, 2 * self.swept
        first = parts[t] if parts else self.observed
        second = parts[t + 1] if parts else self.observed
        if self.is_free:
            f.U, f.V = self.rebased(f.U, f.V)
        masses = (first.columns.mass, second.rows.mass) if parts else self.masses
        a = self.half(first.columns, masses[0], f.U, f.row_bias, f.V, f.column_bias, self.paces[0], warm, None)
        if self.plan.after:
            self.plan.after(f.V)
        if self.is_free:
            f.V, f.U = self.rebased(f.V, f.U)
        else:
            f.U = f.U.copy()
        fitted = np.empty_like(self.fitted)
        b = self.half(second.rows, masses[1], f.V, f.column_bias, f.U, f.row_bias, self.paces[1], True, None if parts else fitted)
        if self.plan.after:
            self.plan.after(f.U)
        self.account(fitted, is_fresh=parts is None and self.plan.after is None)
        self.swept += 1
        m, n = self.observed.shape
        extra = basis_cost(m, n, f.U.shape[1]) if self.is_free else 0.0
        return [replace(a, flops=a.flops + extra), b]

    @staticmethod
    def rebased(U: Matrix, V: Matrix) -> tuple[Matrix, Matrix]:
        Q, R = orthonormal(U)
        return Q, np.ascontiguousarray(V @ R.T)

    def half(self, side: Side, mass: Vector, U: Matrix, bias: Vector, X: Matrix, own_bias: Vector, pace: Pace, warm: bool,
             fitted: Vector | None) -> Done:
        """Solve for X (and its bias, as one more unknown beside a column of ones) with U (and its bias) held."""
        plan = self.plan
        ridge = np.full(len(X), plan.reg) * (mass if plan.scale_reg else 1.0)
        how = replace(plan.how, seed=plan.how.seed + 2 * self.swept + (side is self.observed.rows))
        reduction = min(1.0, max(self.inner_tol, 1e-15) / max(self.change, 1e-15)) if warm else self.inner_tol
        more: dict[str, Any] = {"warm": warm, "fitted": fitted, "pace": pace, "reduction": reduction}
        if not plan.bias:
            centred = replace(side, values=side.values - self.centre) if self.centre else side
            return half_sweep(centred, U, X, ridge, how, self.inner_tol, self.threads, is_orthonormal=self.is_free, **more)
        targets = replace(side, values=side.values - self.centre - bias[side.indices])
        design = np.concatenate([U, np.ones((len(U), 1), U.dtype)], axis=1)
        wide = np.concatenate([X, own_bias[:, None]], axis=1)
        done = half_sweep(targets, design, wide, ridge, how, self.inner_tol, self.threads, **more)
        X[:], own_bias[:] = wide[:, :-1], wide[:, -1]
        if fitted is not None:
            fitted += bias[side.indices]
        return done

    def account(self, fitted: Vector, is_fresh: bool) -> None:
        """RMSE and change; new weights when the loss is Huber's."""
        rows, columns, values = self.observed.triplets
        fitted = fitted + self.centre if is_fresh else self.f.at(rows, columns)
        left = (values - fitted).astype(np.float64)
        w: Any = self.given.astype(np.float64) if len(self.given) else None
        self.rmse = float(np.sqrt(np.average(left**2, weights=w)))
        size = float(np.linalg.norm(fitted - self.centre))
        self.last_change = self.change
        self.change = float(np.linalg.norm(fitted - self.fitted)) / size if size > 0 else 0.0
        self.fitted = fitted
        if self.plan.huber is not None:
            delta = robust_delta(left, values) if self.plan.huber == "auto" else float(self.plan.huber)
            robust = huber_weights(left, delta).astype(values.dtype)
            self.f.huber_delta = delta
            self.f.weights = robust * self.given if len(self.given) else robust
            self.observed = self.observed.weighted(self.f.weights)

    def error_at(self, held_out: tuple[Index, Index, Vector] | None) -> float:
        if held_out is None or len(held_out[0]) == 0:
            return float("nan")
        return float(np.sqrt(np.mean((self.f.at(held_out[0], held_out[1]) - held_out[2]) ** 2)))


def basis_cost(m: int, n: int, k: int) -> float:
    """Both changes of basis of a sweep."""
    from ._cost import basis_flops

    return basis_flops(m, n, k) + basis_flops(n, m, k)


__all__ = ["Factors", "Plan", "Sweep", "alternate", "incoherence", "orthonormal", "random_start", "spectral_start", "subspace_distance"]
