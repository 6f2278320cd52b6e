"""Solvers of one half-sweep beside LAPACK's least squares, their counts beside ones made by hand, and where conditioning tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.matrix_completion._cost import choose_exact, exact_flops, expected_passes, iterative_flops, sketched_flops
from workingpapers.papers.matrix_completion._observed import from_triplets
from workingpapers.papers.matrix_completion._sweep import SOLVERS, How, Pool, half_sweep

SINGLE = Pool(1)


def problem(m, n, k, per_column, seed=0, condition=1.0, weighted=False, dtype=np.float64):
    """Columns that each see some rows of a factor with a given condition number."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((m, k)))[0] * np.geomspace(1, 1 / condition, k) * np.sqrt(m)
    U = U @ np.linalg.qr(rng.standard_normal((k, k)))[0]
    rows = np.concatenate([rng.choice(m, per_column, replace=False) for _ in range(n)])
    columns = np.repeat(np.arange(n), per_column)
    weights = rng.uniform(0.5, 2, len(rows)) if weighted else None
    values = rng.standard_normal(len(rows)).astype(dtype)
    return np.ascontiguousarray(U, dtype=dtype), from_triplets(rows, columns, values, (m, n), weights).columns


def by_lstsq(U, side, ridge):
    out = np.empty((len(side.indptr) - 1, U.shape[1]))
    for j in range(len(out)):
        own = slice(side.indptr[j], side.indptr[j + 1])
        root = np.sqrt(side.weights[own]) if len(side.weights) else np.ones(own.stop - own.start)
        A = np.vstack([U[side.indices[own]] * root[:, None], np.sqrt(ridge) * np.eye(U.shape[1])])
        out[j] = np.linalg.lstsq(A, np.concatenate([side.values[own] * root, np.zeros(U.shape[1])]), rcond=None)[0]
    return out


def solve(U, side, solver, ridge=0.0, tol=1e-13, **more):
    X = np.zeros((len(side.indptr) - 1, U.shape[1]), U.dtype)
    how = How(solver, **{k: v for k, v in more.items() if k in ("sketch", "sketch_size", "max_passes")})
    done = half_sweep(side, U, X, np.full(len(X), ridge), how, tol, more.get("threads", SINGLE), warm=False, fitted=more.get("fitted"))
    return X, done


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("k", "per_column", "ridge", "weighted"), [(6, 60, 0.0, False), (6, 60, 0.5, True), (40, 90, 0.0, True), (1, 5, 0.0, False)]
)
def test_solvers_agree_with_lstsq(solver, k, per_column, ridge, weighted):
    U, side = problem(200, 15, k, per_column, condition=20, weighted=weighted)
    wanted = by_lstsq(U, side, ridge)
    found, _ = solve(U, side, solver, ridge)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


@pytest.mark.parametrize("solver", SOLVERS)
def test_fewer_entries_than_unknowns_give_the_least_norm(solver):
    U, side = problem(50, 12, 8, 5)
    np.testing.assert_allclose(solve(U, side, solver)[0], by_lstsq(U, side, 0.0), atol=1e-8)


@pytest.mark.parametrize("solver", ["cholesky", "cg_orth", "sketch"])
def test_a_singular_problem_gets_the_least_norm_too(solver):
    U, side = problem(50, 4, 4, 20)
    U[:, 3] = U[:, 2]
    found, wanted = solve(U, side, solver, tol=1e-12)[0], by_lstsq(U, side, 0.0)
    np.testing.assert_allclose(U @ found.T, U @ wanted.T, atol=1e-7)
    if solver != "cg_orth":  # its norm is that of another basis
        np.testing.assert_allclose(found, wanted, atol=1e-7)


@pytest.mark.parametrize("sketch", ["countsketch", "srht", "gaussian"])
def test_every_sketch_serves_as_preconditioner(sketch):
    U, side = problem(600, 6, 8, 300, condition=1e5)
    found, done = solve(U, side, "sketch", sketch=sketch)
    np.testing.assert_allclose(U @ found.T, U @ by_lstsq(U, side, 0.0).T, atol=1e-7)
    assert done.passes < 60


def test_ill_conditioned_factors_cost_plain_gradients_five_times_the_passes():
    U, side = problem(800, 5, 40, 400, condition=300)
    plain = solve(U, side, "cg", tol=1e-8, max_passes=3_000)[1].passes
    assert plain > 5 * solve(U, side, "cg_orth", tol=1e-8)[1].passes
    assert plain > 5 * solve(U, side, "sketch", tol=1e-8)[1].passes


def test_clustered_rows_cost_a_shared_preconditioner_more_than_a_sketch_of_each():
    rng = np.random.default_rng(0)
    m, k, n = 8_000, 30, 5
    scales = 10.0 ** -rng.integers(0, 4, (20, k))  # each cluster of rows lies near directions of its own
    cluster = np.arange(m) % 20
    U = rng.standard_normal((m, k)) * scales[cluster]
    rows = np.concatenate([rng.choice(np.flatnonzero(cluster == j), 350, replace=False) for j in range(n)])
    side = from_triplets(rows, np.repeat(np.arange(n), 350), rng.standard_normal(350 * n), (m, n)).columns
    shared = solve(U, side, "cg_orth", tol=1e-8, max_passes=3_000)[1]
    assert shared.passes > 3 * solve(U, side, "sketch", tol=1e-8)[1].passes


@pytest.mark.parametrize("solver", ["cholesky", "cg_orth", "sketch", "auto"])
def test_threads_change_nothing(solver):
    U, side = problem(300, 70, 12, 60)
    alone, threads = solve(U, side, solver)[0], Pool(3)
    try:
        np.testing.assert_array_equal(solve(U, side, solver, threads=threads)[0], alone)
    finally:
        threads.close()


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["auto", "cg"])
def test_single_precision_stays_single(solver):
    U, side = problem(200, 10, 6, 60, dtype=np.float32)
    found, _ = solve(U, side, solver, tol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_lstsq(U, side, 0.0), atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fitted_entries_are_the_products(solver):
    U, side = problem(80, 9, 5, 30)
    fitted = np.full(len(side.values), np.nan)
    found, _ = solve(U, side, solver, fitted=fitted)
    np.testing.assert_allclose(fitted, np.einsum("ij,ij->i", U[side.indices], found[side.owners]), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(m=st.integers(2, 40), k=st.integers(1, 12), share=st.floats(0.1, 1), ridge=st.sampled_from([0.0, 0.1]), seed=st.integers(0, 99))
def test_exact_is_lstsq_for_any_shape(m, k, share, ridge, seed):
    U, side = problem(m, 3, min(k, m), max(1, int(share * m)), seed)
    np.testing.assert_allclose(solve(U, side, "cholesky", ridge)[0], by_lstsq(U, side, ridge), rtol=1e-5, atol=1e-5)


def test_blocks_of_a_long_column_are_the_column(monkeypatch):
    """More rows than a block holds: the Gram matrix is summed over blocks."""
    U, side = problem(5_000, 2, 40, 3_000)
    np.testing.assert_allclose(solve(U, side, "cholesky")[0], by_lstsq(U, side, 0.0), atol=1e-10)


# ---------------------------------------------------------------- counts


class Counting:
    """A number that counts what is done with it."""

    done = 0

    def __init__(self, x):
        self.x = float(x)

    def __add__(self, other):
        Counting.done += 1
        return Counting(self.x + other.x)

    def __sub__(self, other):
        Counting.done += 1
        return Counting(self.x - other.x)

    def __mul__(self, other):
        Counting.done += 1
        return Counting(self.x * other.x)

    def __truediv__(self, other):
        Counting.done += 1
        return Counting(self.x / other.x)

    def root(self):
        Counting.done += 1
        return Counting(np.sqrt(self.x))


def counted_cholesky_solve(A, b):
    """Normal equations by the textbook, on counting numbers."""
    m, k = A.shape
    a = [[Counting(A[i, c]) for c in range(k)] for i in range(m)]
    right = [Counting(v) for v in b]
    zero = Counting(0)
    G = [[zero] * k for _ in range(k)]
    x = [zero] * k
    Counting.done = 0
    for i in range(m):
        for c in range(k):
            x[c] = x[c] + a[i][c] * right[i]
            for d in range(c + 1):
                G[c][d] = G[c][d] + a[i][c] * a[i][d]
    for i in range(k):
        for j in range(i + 1):
            for q in range(j):
                G[i][j] = G[i][j] - G[i][q] * G[j][q]
            G[i][j] = G[i][j] / G[j][j] if j < i else G[i][i].root()
    for i in range(k):
        for q in range(i):
            x[i] = x[i] - G[i][q] * x[q]
        x[i] = x[i] / G[i][i]
    for i in reversed(range(k)):
        for q in range(i + 1, k):
            x[i] = x[i] - G[q][i] * x[q]
        x[i] = x[i] / G[i][i]
    return np.array([v.x for v in x]), Counting.done


def test_exact_operations_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    for m, k in ((12, 4), (30, 9)):
        A, b = rng.standard_normal((m, k)), rng.standard_normal(m)
        x, done = counted_cholesky_solve(A, b)
        np.testing.assert_allclose(x, np.linalg.lstsq(A, b, rcond=None)[0])
        assert float(exact_flops(np.array([float(m)]), k)[0]) == done


def test_operations_of_the_least_norm_are_those_of_the_textbook():
    """With fewer entries than unknowns: the m x m system of inner products, then back to k unknowns."""
    rng = np.random.default_rng(0)
    for m, k in ((3, 7), (8, 9)):
        A, b = rng.standard_normal((m, k)), rng.standard_normal(m)
        a = [[Counting(v) for v in row] for row in A]
        zero, G = Counting(0), [[Counting(0)] * m for _ in range(m)]
        Counting.done = 0
        for i in range(m):
            for j in range(i + 1):
                for c in range(k):
                    G[i][j] = G[i][j] + a[i][c] * a[j][c]
        products = Counting.done
        K = np.array([[G[max(i, j)][min(i, j)].x for j in range(m)] for i in range(m)])
        solved = m * (m + 1) * (2 * m + 1) // 6 + 2 * m * m  # factorisation and two solves, counted above
        dual, x, Counting.done = np.linalg.solve(K, b), [zero] * k, 0
        for i in range(m):
            for c in range(k):
                x[c] = x[c] + a[i][c] * Counting(dual[i])
        np.testing.assert_allclose([v.x for v in x], np.linalg.lstsq(A, b, rcond=None)[0])
        assert float(exact_flops(np.array([float(m)]), k)[0]) == products + solved + Counting.done


def test_operations_of_a_half_sweep_are_the_formulas():
    U, side = problem(60, 5, 4, 30)
    m = np.full(5, 30.0)
    assert solve(U, side, "cholesky")[1].flops == pytest.approx(exact_flops(m, 4).sum())
    for solver, by in (("cg", iterative_flops), ("lsqr", iterative_flops)):
        done = solve(U, side, solver)[1]
        assert done.flops == pytest.approx(by(np.array([30.0]), 4, np.array([5 * done.passes]))[0] + 4 * 4 * 30 * 4, rel=1e-12)
    done = solve(U, side, "sketch", sketch_size=5)[1]
    assert done.flops == pytest.approx(5 * float(sketched_flops(np.array([30.0]), 4, np.array([done.passes]), 20)[0]))


def test_more_passes_are_expected_of_fewer_rows_and_tighter_tolerances():
    rows = np.array([60.0, 200.0, 1_000.0])
    assert (np.diff(expected_passes(rows, 50, 1e-6)) < 0).all()
    assert (expected_passes(rows, 50, 1e-6) > expected_passes(rows, 50, 1e-2)).all()


def test_auto_is_exact_at_low_rank_and_rough_at_high():
    assert choose_exact(np.array([200.0]), 10, 0.1, 1.0).all()
    assert not choose_exact(np.array([1_300.0]), 200, 0.1, 1.0).any()
    assert choose_exact(np.array([1_300.0]), 200, 0.1, 50.0).all()  # after many passes were needed before
