"""Sketched least squares beside LAPACK's, and how far sketches distort."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from workingpapers.papers.matrix_completion import sketched_lstsq
from workingpapers.papers.matrix_completion._lstsq import sketch_of

SKETCHES = ["countsketch", "srht", "gaussian"]


def tall(N, k, condition, seed=0):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.standard_normal((N, k)))[0] * np.geomspace(1, 1 / condition, k)
    return A @ np.linalg.qr(rng.standard_normal((k, k)))[0], rng.standard_normal(N)


@pytest.mark.parametrize("sketch", SKETCHES)
@pytest.mark.parametrize("condition", [1, 1e4, 1e7])
def test_the_solution_is_lapacks(sketch, condition):
    A, b = tall(1_500, 12, condition)
    found = sketched_lstsq(A, b, sketch=sketch, tol=1e-12, random_state=0)
    wanted = np.linalg.lstsq(A, b, rcond=None)[0]
    assert np.linalg.norm(A @ (found.x - wanted)) <= (1e-10 + 1e-15 * condition) * np.linalg.norm(b)
    assert found.n_iter < 80  # whatever the condition


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_the_bound_holds(tol):
    for seed in range(20):
        A, b = tall(800, 10, 100, seed)
        found = sketched_lstsq(A, b, tol=tol, random_state=seed)
        assert np.linalg.norm(found.x - np.linalg.lstsq(A, b, rcond=None)[0]) <= found.forward_error_bound


@pytest.mark.slow
@pytest.mark.parametrize("sketch", SKETCHES)
def test_sketches_of_eight_times_the_rank_distort_by_a_half_at_most(sketch):
    """Singular values of S Q within [1/2, 3/2], so those of A R^-1 within [2/3, 2].

    Those of A R^-1 cannot stay below 3/2 at this size: a Gaussian sketch takes the lowest of S Q to 1 - root(1/8) = 0.65.
    """
    A, _ = tall(2_000, 10, 1e3)
    Q = np.linalg.qr(A)[0]
    fine = 0
    for seed in range(200):
        R = np.linalg.qr(sketch_of(A, 80, sketch, np.random.default_rng(seed)), mode="r")
        sigma = np.linalg.svd(A @ np.linalg.inv(R), compute_uv=False)
        of_q = np.linalg.svd(sketch_of(Q, 80, sketch, np.random.default_rng(seed)), compute_uv=False)
        np.testing.assert_allclose(sigma, 1 / of_q[::-1], rtol=1e-6)
        fine += of_q[-1] >= 0.5 and of_q[0] <= 1.5
    assert fine >= 0.99 * 200


def test_sparse_and_square_problems():
    A, b = tall(1_000, 8, 10)
    A[np.abs(A) < np.median(np.abs(A))] = 0
    np.testing.assert_allclose(sketched_lstsq(sp.csr_array(A), b, random_state=1).x, np.linalg.lstsq(A, b, rcond=None)[0], atol=1e-8)
    square = tall(8, 8, 10)[0]
    np.testing.assert_allclose(sketched_lstsq(square, b[:8]).x, np.linalg.solve(square, b[:8]), rtol=1e-6)


@pytest.mark.parametrize(
    ("A", "b", "more", "words"),
    [
        (np.ones((3, 5)), np.ones(3), {}, "at least as many rows"),
        (np.ones((5, 2)), np.ones(4), {}, "needed"),
        (np.full((5, 2), np.nan), np.ones(5), {}, "finite"),
        (np.ones((50, 2)), np.ones(50), {}, "depend on each other"),
        (np.eye(5), np.ones(5), {"sketch": "dct"}, "one of"),
        (np.eye(5), np.ones(5), {"tol": 0}, "tol"),
        (np.eye(5), np.ones(5), {"sketch_size": 2}, "sketch_size"),
    ],
)
def test_errors_name_the_argument(A, b, more, words):
    with pytest.raises(ValueError, match=words):
        sketched_lstsq(A, b, **more)
