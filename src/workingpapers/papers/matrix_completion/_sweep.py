"""One half-sweep: every regression of one side, by the solver asked for, over a pool of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ._cost import basis_flops, choose_exact, exact_flops, expected_passes, iterative_flops, sketched_flops
from ._exact import exact
from ._iterative import conjugate, lsqr
from ._lapack import lapack
from ._observed import Index, Matrix, Side, Vector
from ._sketched import KINDS, sketched

Solver = Literal["auto", "cholesky", "cg", "cg_orth", "sketch", "lsqr"]
Sketch = Literal["countsketch", "srht", "gaussian"]
SOLVERS: tuple[str, ...] = get_args(Solver)


@dataclass
class Pace:
    """How many times more passes a side needed than random rows would have: learnt sweep by sweep."""

    passes: float = 1.0


@dataclass(frozen=True)
class How:
    """How regressions are solved.

    Attributes:
        solver, sketch: see `RobustALSCompleter`.
        sketch_size: rows of a sketch, times the rank.
        max_passes: passes over a regression's rows at most.
        seed: of the sketches.
    """

    solver: str = "auto"
    sketch: str = "countsketch"
    sketch_size: float = 4.0
    max_passes: int = 500
    seed: int = 0


@dataclass(frozen=True)
class Done:
    """What a half-sweep took: operations, mean passes over those solved in passes, share of regressions solved exactly."""

    flops: float
    passes: float
    exactly: float


class Pool:
    """Threads that take blocks of columns in turn. One thread means none beside the caller's."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def run(self, kernel: Callable[[Index], None], columns: Index, work: Vector) -> None:
        """Call the kernel on blocks of `columns` with about equal sums of `work`, `(n,)` by column."""
        if len(columns) == 0:
            return
        if self._executor is None:
            kernel(columns)
            return
        done = np.cumsum(work[columns])
        cuts = np.searchsorted(done, done[-1] * np.arange(1, 8 * self.threads) / (8 * self.threads))
        blocks = [block for block in np.split(columns, np.unique(cuts)) if len(block)]
        for future in [self._executor.submit(kernel, block) for block in blocks]:
            future.result()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()


@contextmanager
def pool(n_jobs: int | None) -> Iterator[Pool]:
    """A pool of `n_jobs` threads (-1: as many as this process may use), with BLAS held to one thread in each."""
    from threadpoolctl import threadpool_limits

    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    made = Pool(1 if n_jobs is None else max(1, here + 1 + n_jobs) if n_jobs < 0 else n_jobs)
    try:
        with threadpool_limits(limits=1):
            yield made
    finally:
        made.close()


def half_sweep(side: Side, U: Matrix, X: Matrix, ridge: Vector, how: How, tol: float, threads: Pool, *, fitted: Vector | None = None,
               is_orthonormal: bool = False, warm: bool = True, reduction: float | None = None, pace: Pace | None = None) -> Done:
    """Rows of X, `(n, k)`: for each regression j, argmin over x of `|A x - b|^2 + ridge_j |x|^2`, A the rows of U its entries name.

    Args:
        side: the entries.
        U: the factor held fixed, `(m, k)`.
        X: the factor solved for, in place; where it starts from, when `warm`. Rows without entries become 0.
        ridge: `(n,)`.
        tol: gradient at the end over that at 0, for solvers that work in passes.
        fitted: `(N,)`, takes predictions of the entries.
        is_orthonormal: the columns of U are.
        reduction: fall of the error that is needed, for `auto`; `tol` unless given.
        pace: what earlier half-sweeps of this side taught, kept up.

    Returns:
        what it took.
    """
    k, n = U.shape[1], len(X)
    counts = side.counts.astype(np.float64)
    pace = pace or Pace()
    fitted = np.empty(0, U.dtype) if fitted is None else fitted
    values = side.values.astype(U.dtype, copy=False)
    ridge = np.ascontiguousarray(ridge, dtype=U.dtype)
    ones, failed, iterations = np.ones(k, U.dtype), np.zeros(n, np.int8), np.zeros(n, np.int32)
    X[counts == 0] = 0
    if not warm:
        X[:] = 0
    short = (counts < k) & (ridge == 0)
    exactly = short.copy()
    if how.solver == "cholesky":
        exactly[:] = True
    elif how.solver == "auto":
        exactly |= choose_exact(counts, k, tol if reduction is None else reduction, pace.passes)
    roughly = np.flatnonzero(~exactly & (counts > 0))
    entries = (side.indptr, side.indices, values, side.weights, ridge)
    flops = 0.0

    def passes() -> Vector:
        return iterations[roughly].astype(np.float64)

    def exact_block(columns: Index) -> None:
        exact(lapack(U.dtype), U, *entries, ones, columns, X, fitted, failed)

    threads.run(exact_block, np.flatnonzero(exactly & (counts > 0)), counts)
    flops += float(exact_flops(counts[exactly], k)[counts[exactly] > 0].sum())
    if len(roughly) and how.solver == "sketch":
        size = max(k, round(how.sketch_size * k))

        def sketched_block(columns: Index) -> None:
            sketched(lapack(U.dtype), U, *entries, ones, columns, float(tol), how.max_passes, X, fitted, iterations, failed, size,
                     KINDS.index(how.sketch), how.seed, warm)

        threads.run(sketched_block, roughly, counts)
        flops += float(sketched_flops(counts[roughly], k, passes(), size, how.sketch).sum())
    elif len(roughly) and how.solver == "lsqr":
        threads.run(lambda columns: lsqr(U, *entries, ones, columns, float(tol), how.max_passes, X, fitted, iterations), roughly, counts)
        flops += float(iterative_flops(counts[roughly], k, passes()).sum())
    elif len(roughly):
        Q, diagonal, Z, back = U, ones, X, None
        if how.solver != "cg" and not (is_orthonormal and not ridge.any()):
            Q, diagonal, into, back = basis(U, float(ridge[roughly].mean()), float(side.mass[roughly].mean()) / len(U))
            Z = X @ into
            flops += basis_flops(len(U), 2 * n, k)
        threads.run(lambda columns: conjugate(Q, *entries, diagonal, columns, float(tol), how.max_passes, Z, fitted, iterations),
                    roughly, counts)
        if back is not None:
            X[roughly] = Z[roughly] @ back
        flops += float(iterative_flops(counts[roughly], k, passes()).sum())
        if how.solver == "auto" and warm:
            predicted = expected_passes(counts[roughly], k, tol if reduction is None else reduction)
            pace.passes = float(np.clip(np.mean(iterations[roughly]) / np.mean(predicted), 0.5, 50))
    for j in map(int, np.flatnonzero(failed)):
        X[j] = least_norm(side, U, j, float(ridge[j]))
        if len(fitted):
            own = slice(side.indptr[j], side.indptr[j + 1])
            fitted[own] = U[side.indices[own]] @ X[j]
    solved = max(1, int((counts > 0).sum()))
    return Done(flops, float(iterations[roughly].mean()) if len(roughly) else 0.0, 1 - len(roughly) / solved)


def basis(U: Matrix, ridge: float, share: float) -> tuple[Matrix, Vector, Matrix, Matrix]:
    """Coordinates in which a random share of the rows of U has a Gram matrix, ridge included, near the identity.

    With `share U'U + ridge I = E diag(s) E'`, they are z with `x = E diag(s)^-1/2 z`; the ridge stays diagonal in them.

    Returns:
        U in those coordinates, the ridge's diagonal for a ridge of 1, and the matrices that take rows x to z and z to x.
    """
    R = np.linalg.qr(U)[1].astype(np.float64)
    _, singular, Et = np.linalg.svd(R)
    s = share * singular**2 + ridge
    kept = s > (s[0] if s[0] > 0 else 1.0) * (len(s) * np.finfo(U.dtype).eps) ** 2  # a direction that U lacks has nothing to solve for
    root = np.sqrt(np.where(kept, s, 1.0))
    into, back = (Et.T * (root * kept)).astype(U.dtype), (Et.T * (kept / root)).T.astype(U.dtype)
    return np.ascontiguousarray(U @ back.T), np.ascontiguousarray(kept / root**2, dtype=U.dtype), into, back


def least_norm(side: Side, U: Matrix, j: int, ridge: float) -> Vector:
    """Solution of least norm of one regression, by its singular values."""
    own = slice(side.indptr[j], side.indptr[j + 1])
    A, b = U[side.indices[own]].astype(np.float64), side.values[own].astype(np.float64)
    if len(side.weights):
        root = np.sqrt(side.weights[own])
        A, b = A * root[:, None], b * root
    if ridge > 0:
        A, b = np.vstack([A, np.sqrt(ridge) * np.eye(U.shape[1])]), np.concatenate([b, np.zeros(U.shape[1])])
    return np.asarray(np.linalg.lstsq(A, b, rcond=None)[0], dtype=U.dtype)


__all__ = ["SOLVERS", "Done", "How", "Pace", "Pool", "Sketch", "Solver", "half_sweep", "pool"]

