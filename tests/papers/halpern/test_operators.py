"""Operators against dense matrices, finite differences and closed forms; compiled terms against Python's."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("numba", reason="needs the extra optimisation")
from workingpapers.papers.halpern import (
    AffineOperator,
    Ball,
    CountingOperator,
    FiniteSum,
    FunctionOperator,
    Halfspace,
    LeastSquares,
    LogisticGame,
    MatrixGame,
    ProjectionSum,
    QuadraticSaddle,
    Resolvent,
    RobustRegression,
    Subspace,
    plot,
    project_simplex,
    residual,
)

kernels = importlib.import_module("workingpapers.papers.halpern._kernels")


def saddle(rng: np.random.Generator, sparse_too: bool = False) -> QuadraticSaddle:
    A, B = rng.standard_normal((3, 5)), rng.standard_normal((5, 5))
    make = sparse.csr_array if sparse_too else np.asarray
    return QuadraticSaddle(make(B @ B.T), make(A), rng.standard_normal(3), rng.standard_normal(5))


def subspaces(rng: np.random.Generator) -> ProjectionSum:
    bases = [np.linalg.qr(rng.standard_normal((6, r)))[0] for r in (2, 3, 3, 4)]
    return ProjectionSum([Subspace(B, rng.standard_normal(6)) for B in bases])


def operators(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((7, 3)), rng.standard_normal(7)
    M = rng.standard_normal((6, 6))
    M = M @ M.T + M - M.T
    S = sparse.random_array((7, 4), density=0.5, rng=rng, format="csr")
    signs = np.where(y > 0, 1.0, -1.0)
    return {
        "wide game": MatrixGame(rng.standard_normal((3, 5))),
        "tall game": MatrixGame(rng.standard_normal((5, 3)), sampling="importance"),
        "sparse game": MatrixGame(S),
        "affine": AffineOperator(M, rng.standard_normal(6), [[0, 4], [1], [5, 2, 3]]),
        "sparse affine": AffineOperator(sparse.csr_array(M), rng.standard_normal(6)),
        "saddle": saddle(rng),
        "sparse saddle": saddle(rng, sparse_too=True),
        "least squares": LeastSquares(X, y),
        "sparse least squares": LeastSquares(S, y),
        "robust": RobustRegression(X, y, huber=0.3),
        "sparse robust": RobustRegression(S, y),
        "logistic": LogisticGame(X, signs, ridge=0.1, spread=0.2),
        "sparse logistic": LogisticGame(S, signs, ridge=0.1),
        "subspaces": subspaces(rng),
        "wide subspaces": ProjectionSum(np.linalg.qr(rng.standard_normal((5, 9, 6)))[0]),
        "sets": ProjectionSum([Halfspace([1.0, 2.0], 0.5), Ball([0.0, 1.0], 0.7), lambda u: np.clip(u, 0, 1)]),
    }


OPERATORS = operators()


@pytest.mark.parametrize("name", OPERATORS)
def test_full_is_the_mean_of_the_terms_and_a_batch_their_sum(name: str) -> None:
    F, rng = OPERATORS[name], np.random.default_rng(1)
    u, v = rng.standard_normal(F.dim), rng.standard_normal(F.dim)
    one_by_one = [F.batch(np.array([i]), u) for i in range(F.n)]
    np.testing.assert_allclose(F.full(u), np.mean(one_by_one, axis=0), atol=1e-12)
    idx = rng.integers(F.n, size=9)  # with repeats
    np.testing.assert_allclose(F.batch(idx, u), np.sum([one_by_one[i] for i in idx], axis=0), atol=1e-11)
    np.testing.assert_allclose(F.batch_diff(idx, u, v), F.batch(idx, u) - F.batch(idx, v), atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in OPERATORS if n != "sets"])
def test_compiled_terms_are_those_of_python(name: str) -> None:
    F, rng = OPERATORS[name], np.random.default_rng(2)
    for size in (0, 1, 3, 4, 9):  # dense rows go four at a time, the rest one by one
        u, v, idx, weights = rng.standard_normal(F.dim), rng.standard_normal(F.dim), rng.integers(F.n, size=size), rng.random(size)
        out = np.ones(F.dim)
        kernels.differences(F.terms(), idx, weights, u, v, out)
        wanted = sum((w * (F.batch(np.array([i]), u) - F.batch(np.array([i]), v)) for i, w in zip(idx, weights)), np.ones(F.dim))
        np.testing.assert_allclose(out, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_monotone_within_its_constants(name: str) -> None:
    F, rng = OPERATORS[name], np.random.default_rng(3)
    q = np.full(F.n, 1 / F.n) if F.sampling_weights is None else F.sampling_weights
    for _ in range(50):
        u, v = (project(F, rng.standard_normal(F.dim)) for _ in range(2))
        change, step = F.full(u) - F.full(v), u - v
        assert change @ step >= -1e-10
        assert np.linalg.norm(change) <= F.lipschitz() * np.linalg.norm(step) * (1 + 1e-9)
        terms = [np.linalg.norm(F.batch_diff(np.array([i]), u, v)) ** 2 / (F.n**2 * q[i]) for i in range(F.n)]
        bound = F.avg_lipschitz() * (change @ step) if F.is_cocoercive else F.avg_lipschitz() ** 2 * (step @ step)
        assert sum(terms) <= bound * (1 + 1e-9)


def project(F: Any, u: Any) -> Any:
    """Onto the set on which the constants hold: the logistic game's are those of the simplex."""
    return F.constraint()(u) if isinstance(F, LogisticGame) else u


@pytest.mark.parametrize("name", ["robust", "logistic"])
def test_operators_of_losses_are_gradients_with_the_second_player_turned(name: str) -> None:
    F, rng = OPERATORS[name], np.random.default_rng(4)
    d = F.dim - F.n

    def payoff(u: Any) -> float:
        w, p = u[:d], u[d:]
        if name == "robust":
            return float((p * (F.X @ w - F.y) - F.huber * p**2 / 2).mean())
        losses = np.log1p(np.exp(-(F.X @ w)))  # X carries the labels' signs
        return float(p @ losses + F.ridge * w @ w / 2 - F.spread * ((F.n * p - 1) ** 2).sum() / (2 * F.n))

    u = rng.standard_normal(F.dim)
    slopes = np.array([(payoff(u + 1e-6 * e) - payoff(u - 1e-6 * e)) / 2e-6 for e in np.eye(F.dim)])
    slopes[d:] *= -1
    np.testing.assert_allclose(F.full(u), slopes, atol=1e-7)


def test_sparse_and_dense_are_the_same_operator() -> None:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((6, 4)) * (rng.random((6, 4)) < 0.6)
    for dense, thin in ((MatrixGame(A), MatrixGame(sparse.coo_array(A))),
                        (LeastSquares(A, np.ones(6)), LeastSquares(sparse.csc_array(A), np.ones(6))),
                        (RobustRegression(A, np.ones(6)), RobustRegression(sparse.csr_array(A), np.ones(6)))):
        u = rng.standard_normal(dense.dim)
        np.testing.assert_allclose(dense.full(u), thin.full(u), atol=1e-13)
        assert dense.lipschitz() == pytest.approx(thin.lipschitz())
        assert dense.avg_lipschitz() == pytest.approx(thin.avg_lipschitz())


def test_importance_lowers_the_average_constant_of_uneven_rows() -> None:
    A = np.diag([1.0, 1.0, 1.0, 10.0])
    assert LeastSquares(A, np.ones(4), sampling="uniform").avg_lipschitz() == pytest.approx(100)
    assert LeastSquares(A, np.ones(4)).avg_lipschitz() == pytest.approx(103 / 4, rel=0.02)
    assert MatrixGame(A).avg_lipschitz() == pytest.approx(np.linalg.norm(A), rel=0.01)


# ---------------------------------------------------------------- resolvents


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40), st.floats(0.1, 10))
@settings(max_examples=150, deadline=None)
def test_simplex_projection_meets_its_optimality_conditions(values: list[float], radius: float) -> None:
    x = np.array(values)
    z = project_simplex(x, radius)
    assert z.min() >= 0
    assert z.sum() == pytest.approx(radius, rel=1e-9)
    taus = (x - z)[z > 1e-12]  # one threshold for all kept entries, none of the dropped above it
    assert np.ptp(taus) <= 1e-9 * (1 + np.abs(x).max())
    assert (x[z <= 1e-12] <= taus.min() + 1e-9 * (1 + np.abs(x).max())).all()
    data = Resolvent.simplex(len(x), radius).data()
    compiled = x.copy()
    kernels._resolve(data, compiled, 1.0)
    np.testing.assert_allclose(compiled, z, atol=1e-9)


def test_compiled_simplex_projection_survives_the_input_that_takes_many_passes() -> None:
    x = np.cumsum(2.0 ** np.arange(60))[::-1].copy() / 2.0**58
    compiled = x.copy()
    kernels._resolve(Resolvent.simplex(60).data(), compiled, 1.0)
    np.testing.assert_allclose(compiled, project_simplex(x), atol=1e-12)


def test_simplex_projection_of_entries_that_dwarf_the_radius() -> None:
    for x, wanted in (([1e20, 1e20, 0.0], [0.5, 0.5, 0.0]), ([1e300, -1e300], [1.0, 0.0])):
        compiled = np.array(x)
        kernels._resolve(Resolvent.simplex(len(x)).data(), compiled, 1.0)
        np.testing.assert_array_equal(compiled, wanted)
        np.testing.assert_array_equal(project_simplex(np.array(x)), wanted)
    assert np.isnan(project_simplex(np.array([np.inf, 0.0]))).all()


def test_resolvents_solve_their_inclusion_and_compiled_ones_agree() -> None:
    rng = np.random.default_rng(6)
    J = Resolvent.product(Resolvent.simplex(4), Resolvent.box(-0.3, [0.2, np.inf], size=2), Resolvent.l2_ball(0.5, 3), Resolvent.l1(0.7, 3),
                          Resolvent.none())
    for _ in range(20):
        x = 2 * rng.standard_normal(14)
        z = J(x, 0.4)
        compiled = x.copy()
        kernels._resolve(J.bind(14).data(), compiled, 0.4)
        np.testing.assert_allclose(compiled, z, atol=1e-12)
        assert np.linalg.norm(z[6:9]) <= 0.5 + 1e-12
        # Soft thresholding minimises |z - x|^2 / 2 + 0.4 * 0.7 |z|_1: no grid point does better.
        for c in range(9, 12):
            grid = np.linspace(-4, 4, 2001)
            cost = (grid - x[c]) ** 2 / 2 + 0.28 * np.abs(grid)
            assert (z[c] - x[c]) ** 2 / 2 + 0.28 * abs(z[c]) <= cost.min() + 1e-5
        np.testing.assert_array_equal(z[12:], x[12:])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("make", "words"), [
    (lambda: MatrixGame(np.array([[1.0, np.nan]])), "A holds NaN"),
    (lambda: MatrixGame(np.zeros((0, 3))), "A has shape"),
    (lambda: MatrixGame(np.eye(2), sampling="odd"), "sampling"),
    (lambda: MatrixGame([[1.0, "a"]]), "A must be an array of real numbers"),
    (lambda: MatrixGame([[1.0, 2.0], [3.0]]), "rows of one length"),
    (lambda: MatrixGame(1j * np.eye(2)), "complex"),
    (lambda: MatrixGame(sparse.csr_array(1j * np.eye(2))), "complex"),
    (lambda: FunctionOperator.min_max(lambda i, x, y: x, 3, n=2, dim_x=1, dim_y=1), "grad_y"),  # type: ignore[arg-type]
    (lambda: residual(LeastSquares(np.eye(2), [1, 1]), np.zeros(3)), "u has shape"),
    (lambda: residual(LeastSquares(np.eye(2), [1, 1]), np.zeros(2), eta=0.0), "eta"),
    (lambda: plot({"run": 3}), "what solve gave"),  # type: ignore[dict-item]
    (lambda: Resolvent.box("a", 1.0), "must be numbers"),
    (lambda: AffineOperator(np.ones((2, 3))), "square"),
    (lambda: AffineOperator(-np.eye(2)), "not monotone"),
    (lambda: AffineOperator(np.eye(3), blocks=[[0], [1]]), "exactly once"),
    (lambda: QuadraticSaddle(np.array([[1.0, 1.0], [0.0, 1.0]]), np.eye(2), [1, 1], [0, 0]), "symmetric"),
    (lambda: LeastSquares(np.eye(3), [1.0]), "b has shape"),
    (lambda: RobustRegression(np.eye(3), np.ones(3), huber=-1.0), "huber"),
    (lambda: LogisticGame(np.eye(2), [0, 1]), "-1 and 1"),
    (lambda: ProjectionSum([]), "sets is empty"),
    (lambda: ProjectionSum([Subspace(np.ones((3, 1)))]), "orthonormal"),
    (lambda: ProjectionSum([Halfspace([0.0, 0.0], 1.0)]), "normal"),
    (lambda: ProjectionSum([Ball([0.0, 0.0], 1.0), Ball([0.0], 1.0)]), "agree"),
    (lambda: FunctionOperator(lambda i, u: u, n=0, dim=2), "n is 0"),
    (lambda: Resolvent.box(1.0, 0.0), "empty"),
    (lambda: Resolvent.simplex(3).bind(4), "G covers 3"),
    (lambda: Resolvent.product(Resolvent.simplex(), Resolvent.none()), "at most one"),
    (lambda: Resolvent.l2_ball(-1.0), "radius"),
])
def test_what_does_not_fit_is_named(make: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_users_data_is_not_changed_nor_kept() -> None:
    A = np.eye(3)
    game = MatrixGame(A)
    A[:] = 7
    np.testing.assert_array_equal(game.A, np.eye(3))


def test_counter_counts_what_is_asked_of_it() -> None:
    counted = CountingOperator(LeastSquares(np.eye(5), np.ones(5)))
    u = np.zeros(5)
    counted.full(u)
    counted.batch(np.array([1, 1, 2]), u)
    counted.batch_diff(np.array([0, 3]), u, u + 1)
    assert (counted.n_oracle, counted.n_full) == (5 + 3 + 4, 1)
    assert counted.is_cocoercive is True


def test_own_class_needs_three_things_only() -> None:
    class Own(FiniteSum):
        n, dim = 4, 2

        def batch(self, idx: Any, u: Any) -> Any:
            return len(idx) * (u - 1.0)

    np.testing.assert_allclose(Own().full(np.zeros(2)), [-1.0, -1.0])
    np.testing.assert_allclose(Own().batch_diff(np.array([0, 1]), np.ones(2), np.zeros(2)), [2.0, 2.0])
