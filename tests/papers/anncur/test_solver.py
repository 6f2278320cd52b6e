"""The solver against the formulas of the paper and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.anncur.solver import Basis, complete, item_embeddings, leave_one_out

from .conftest import low_rank


@given(rank=st.integers(1, 8), n_q=st.integers(16, 30), k_i=st.integers(16, 40), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_one_shot_equals_the_pseudo_inverse_on_matrices_of_exact_rank(rank: int, n_q: int, k_i: int, seed: int) -> None:
    M = low_rank(n_q + 5, 120, rank, seed)
    R, rows = M[:n_q], M[n_q:]
    A = np.sort(np.random.default_rng(seed).choice(120, k_i, replace=False))
    wanted = rows[:, A] @ np.linalg.pinv(R[:, A], rcond=1e-10) @ R
    np.testing.assert_allclose(wanted, rows, atol=1e-8)  # CUR is exact where k_i and n_q reach the rank
    E = item_embeddings(Basis.of(R.T.astype(np.float64), center=False), A, ridge=1e-13)
    np.testing.assert_allclose(rows[:, A] @ E, rows, atol=1e-5 * np.abs(rows).max())


@pytest.mark.parametrize("k_i", [20, 50, 90])
def test_ridge_zero_without_centring_is_the_official_rule(k_i: int) -> None:
    M = low_rank(60, 300, 10, noise=0.3).astype(np.float32)
    R, row = M[:50], M[50:]
    A = np.sort(np.random.default_rng(1).choice(300, k_i, replace=False))
    official = row[:, A].astype(float) @ (np.linalg.pinv(R[:, A].astype(float)) @ R.astype(float))
    E = item_embeddings(Basis.of(R.T, center=False), A, ridge=0.0)
    np.testing.assert_allclose(row[:, A] @ E, official, atol=1e-4 * np.abs(official).max())


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_embeddings_and_completion_solve_the_same_least_squares(center: bool, ridge: float) -> None:
    M = low_rank(40, 200, 6, noise=0.2) + 5 * np.random.default_rng(3).normal(size=(40, 1))
    S, rows = M[:30].T.astype(np.float32), M[30:]
    basis = Basis.of(S, center)
    A = np.sort(np.random.default_rng(2).choice(200, 25, replace=False))
    s = rows[:, A] @ item_embeddings(basis, A, ridge)
    np.testing.assert_allclose(complete(basis, np.tile(A, (10, 1)), rows[:, A], ridge), s, atol=2e-3)
    # the oracle: stacked least squares with the offset as an unpenalised column, by numpy
    F = S.astype(float) - basis.mu
    penalty = np.sqrt(ridge * (F[A] ** 2).sum())
    for row, found in zip(rows, s):
        one = np.ones((len(A), 1)) if center else np.empty((len(A), 0))
        system = np.vstack([np.hstack([F[A], one]), np.hstack([penalty * np.eye(30), np.zeros((30, one.shape[1]))])])
        w = np.linalg.lstsq(system, np.concatenate([row[A], np.zeros(30)]), rcond=None)[0]
        np.testing.assert_allclose(found, F @ w[:30] + (w[30] if center else 0.0), atol=5e-3 * max(1.0, np.abs(row).max()))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("k_i", [15, 30, 60])
def test_leave_one_out_equals_leaving_one_out(center: bool, k_i: int) -> None:
    M = low_rank(31, 150, 5, noise=0.3).astype(np.float32)
    A = np.sort(np.random.default_rng(4).choice(150, k_i, replace=False))
    ridges = (1e-3, 1e-1)
    basis = Basis.of(M.T, center)
    found = leave_one_out(basis, A, k=10, reranked=20, ridges=ridges)
    energy = float(((M.T[A] - basis.mu) ** 2).sum())
    for ridge, error, recall in zip(ridges, found.error, found.recall):
        errors, hits = [], []
        for j in range(len(M)):
            others = np.delete(np.arange(len(M)), j)
            F = (M.T - basis.mu).astype(float)
            one = np.full((150, 1), basis.ones**0.5)
            F_j = np.hstack([F[:, others], one]) if center else F[:, others]
            penalty = ridge * energy * np.eye(F_j.shape[1])
            w = np.linalg.solve(F_j[A].T @ F_j[A] + penalty, F_j[A].T @ F[A, j])
            row = F_j @ w
            errors.append(np.mean((row - F[:, j]) ** 2))
            row[A] = -np.inf
            seen = set(A) | set(np.argsort(-row)[:20])
            hits.append(len(seen & set(np.argsort(-M[j])[:10])) / 10)
        assert error == pytest.approx(np.sqrt(np.mean(errors)), rel=2e-3)
        assert recall == pytest.approx(np.mean(hits), abs=0.005)


def test_leave_out_in_completion_equals_an_index_without_that_query() -> None:
    M = low_rank(20, 100, 4, noise=0.2).astype(np.float32)
    A = np.tile(np.arange(0, 100, 7), (20, 1))
    whole = Basis.of(M.T, center=True)
    left_out = complete(whole, A, np.take_along_axis(M, A, 1), 1e-2, leave_out=np.arange(20))
    for j in (0, 7, 19):
        others = np.delete(np.arange(20), j)
        without = Basis(M.T[:, others], whole.mu[others], whole.ones)
        np.testing.assert_allclose(complete(without, A[j : j + 1], M[j][A[:1]], 1e-2)[0], left_out[j], atol=1e-3)


def test_a_constant_added_to_a_row_moves_its_reconstruction_by_that_constant() -> None:
    M = low_rank(40, 200, 6, noise=0.1)
    A = np.arange(0, 200, 5)
    E = item_embeddings(Basis.of(M[:30].T.astype(np.float32), center=True), A, 1e-3)
    plain, moved = M[30:, A] @ E, (M[30:, A] + 50) @ E
    np.testing.assert_allclose(moved - plain, 50, atol=0.05)


def test_the_collapse_at_as_many_anchors_as_queries_is_the_bare_rules_alone() -> None:
    M = low_rank(130, 1000, 20, noise=0.3)
    R, rows = M[:100], M[100:]
    A = np.sort(np.random.default_rng(0).choice(1000, 100, replace=False))
    basis = Basis.of(R.T.astype(np.float32), center=False)

    def error(ridge: float) -> float:
        return float(np.mean((rows[:, A] @ item_embeddings(basis, A, ridge) - rows) ** 2))

    best = leave_one_out(basis, A, 10, 100).best
    assert error(best) < 0.1 * error(0.0)


def test_rank_keeps_that_many_components() -> None:
    M = low_rank(50, 200, 12, noise=0.1).astype(np.float32)
    E = item_embeddings(Basis.of(M.T, center=False), np.arange(40), 0.0, rank=5)
    assert np.linalg.matrix_rank(E, tol=1e-3) == 5


def test_half_precision_storage_gives_nearly_the_same() -> None:
    M = low_rank(50, 20000, 8, noise=0.1)
    A = np.arange(0, 20000, 500)
    rows = M[40:, A]
    full, half = (Basis.of(M[:40].T.astype(t), center=True) for t in (np.float32, np.float16))
    np.testing.assert_allclose(rows @ item_embeddings(half, A, 1e-3), rows @ item_embeddings(full, A, 1e-3), atol=0.05)
    at = np.tile(A, (10, 1))
    np.testing.assert_allclose(complete(half, at, rows, 1e-3), complete(full, at, rows, 1e-3), atol=0.05)
