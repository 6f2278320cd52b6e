"""Methods against hand-written loops, linear programs and exact solutions; counts against an independent counter."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("numba", reason="needs the extra optimisation")
from workingpapers.papers.halpern import (
    AffineOperator,
    CountingOperator,
    DivergenceError,
    FunctionOperator,
    LeastSquares,
    LogisticGame,
    MatrixGame,
    MonotonicityWarning,
    ProjectionSum,
    Resolvent,
    RobustRegression,
    plot,
    residual,
    solve,
    tune,
)
from workingpapers.papers.halpern._methods import METHODS, STOCHASTIC, page_probability
from workingpapers.papers.halpern._steps import CompiledSteps, Draws, PythonSteps, steps_for


def game(m: int = 12, k: int = 9, seed: int = 0) -> MatrixGame:
    return MatrixGame(np.random.default_rng(seed).standard_normal((m, k)))


def regression(n: int = 40, d: int = 5, seed: int = 0) -> LeastSquares:
    rng = np.random.default_rng(seed)
    return LeastSquares(rng.standard_normal((n, d)), rng.standard_normal(n))


def quietly(*args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return solve(*args, **options)


# ---------------------------------------------------------------- counts and certificates


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tol", [0.1, 1e-9])
def test_an_independent_counter_agrees(method: str, tol: float) -> None:
    F = CountingOperator(regression())
    found = quietly(F, np.zeros(5), Resolvent.l1(0.05), method, tol=tol, max_oracle=3_000, seed=1)
    assert F.n_oracle == found.n_oracle + found.n_extra
    assert found.n_oracle <= 3_000
    assert found.n_full + found.n_extra / F.n == F.n_full


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_residual_can_be_recomputed(method: str) -> None:
    F = game()
    found = quietly(F, F.centre(), F.simplices(), method, tol=1e-3, max_oracle=20_000, seed=2)
    assert found.residual == pytest.approx(recomputed(F, found.u), abs=1e-12)
    assert residual(F, found.u, F.simplices()) == pytest.approx(recomputed(F, found.u), abs=1e-12)
    assert found.history.residual[-1] == found.residual
    assert (np.diff(found.history.oracle) >= 0).all()


def recomputed(F: MatrixGame, u: Any) -> float:
    """The natural residual from the definition, the projection by bisection of its threshold."""
    at = np.concatenate([F.A.T @ u[F.shape[1] :], -F.A @ u[: F.shape[1]]])

    def onto_simplex(x: Any) -> Any:
        lo, hi = x.min() - 1.0, x.max()
        for _ in range(200):
            mid = (lo + hi) / 2
            lo, hi = (mid, hi) if np.maximum(x - mid, 0).sum() > 1 else (lo, mid)
        return np.maximum(x - lo, 0)

    z, cut = u - at, F.shape[1]
    return float(np.linalg.norm(u - np.concatenate([onto_simplex(z[:cut]), onto_simplex(z[cut:])])))


# ---------------------------------------------------------------- the algorithms


def test_every_term_every_time_is_deterministic_halpern_bit_for_bit() -> None:
    F, u0 = regression(), np.ones(5)
    eta, u, wanted = 0.1, np.ones(5), []
    for k in range(60):
        v = F.full(u)
        wanted.append(np.linalg.norm(v))
        lam = 2 / (k + 4)
        u = lam * u0 + (1 - lam) * u - eta * v
    for options in ({"method": "vr_halpern", "full_prob": 1.0}, {"method": "halpern", "anchor": 2.0}):
        for batch in (1, F.n):
            found = quietly(F, u0, eta=eta, tol=1e-12, max_oracle=60 * F.n, batch=batch, seed=3, **options)
            assert found.history.residual.tolist() == wanted


@pytest.mark.slow
def test_page_estimate_is_exact_with_every_term_and_right_on_average() -> None:
    F, rng = regression(12, 4), np.random.default_rng(4)
    u, v, at_v = rng.standard_normal(4), rng.standard_normal(4), F.full(np.zeros(4))
    at_v = F.full(v)
    for q in (None, np.arange(1.0, 13.0)):
        draws = Draws(12, 3, None if q is None else q / q.sum(), rng)
        steps = PythonSteps(F, Resolvent.none(4))
        idx, weights = draws.take(20_000)
        estimates = np.array([at_v + steps._difference(i, w, u, v) for i, w in zip(idx, weights)])
        error = (estimates.mean(axis=0) - F.full(u)) / (estimates.std(axis=0) / np.sqrt(len(idx)))
        assert np.abs(error).max() < 4.5
    idx, weights = Draws(12, 12, None, rng).take(1)
    np.testing.assert_allclose(at_v + steps._difference(idx[0], weights[0], u, v), F.full(u), atol=1e-13)


def test_page_schedule() -> None:
    assert [page_probability(k, 100) for k in (0, 1, 2, 11, 12, 500)] == pytest.approx([1, 1, 4 / 6, 4 / 15, 4 / 15, 4 / 15])


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("problem", ["game", "regression", "robust", "logistic", "subspaces", "affine"])
def test_compiled_steps_are_those_of_python(method: str, problem: str) -> None:
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((10, 3)), np.sign(rng.standard_normal(10))
    bases = np.array([np.linalg.qr(rng.standard_normal((6, 3)))[0] for _ in range(10)])
    M = rng.standard_normal((10, 10))
    F: Any = {"game": game(10, 10), "regression": LeastSquares(X, y), "robust": RobustRegression(X, y), "logistic": LogisticGame(X, y),
              "subspaces": ProjectionSum(bases), "affine": AffineOperator(M @ M.T + M - M.T, np.ones(10))}[problem]
    G = F.simplices() if problem == "game" else F.constraint() if problem in ("robust", "logistic") else Resolvent.l1(0.01)
    assert isinstance(steps_for(F, G.bind(F.dim)), CompiledSteps)
    assert isinstance(steps_for(CountingOperator(F), G.bind(F.dim)), PythonSteps)
    options = {"method": method, "tol": 1e-12, "max_oracle": 40 * F.n, "batch": 2, "seed": 6}
    fast, plain = quietly(F, np.full(F.dim, 0.1), G, **options), quietly(CountingOperator(F), np.full(F.dim, 0.1), G, **options)
    np.testing.assert_allclose(fast.u, plain.u, atol=1e-10)
    assert fast.n_oracle == plain.n_oracle


def test_matrix_game_reaches_the_value_of_the_linear_program() -> None:
    F = game()
    m, k = F.shape
    exact = linprog(np.r_[np.zeros(k), 1.0], A_ub=np.c_[F.A, -np.ones(m)], b_ub=np.zeros(m), A_eq=np.r_[np.ones(k), 0.0][None],
                    b_eq=[1.0], bounds=[(0, None)] * k + [(None, None)])
    for method, options in (("vr_halpern_pp", {"restart": True}), ("og", {}), ("vr_eg", {})):
        found = solve(F, F.centre(), F.simplices(), method, tol=2e-5, max_oracle=1_000_000, seed=7, **options)
        assert found.converged, method
        assert F.value(found.u) == pytest.approx(exact.fun, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_but_the_control_reaches_the_exact_solution(method: str) -> None:
    F = regression()
    found = quietly(F, np.zeros(5), None, method, tol=1e-3, max_oracle=100_000 if method == "stochastic_halpern" else 4_000_000, seed=8)
    assert found.converged is (method != "stochastic_halpern")
    if found.converged:
        exact = np.linalg.lstsq(F.X, F.b, rcond=None)[0]
        assert np.linalg.norm(found.u - exact) < 1e-3 / np.linalg.eigvalsh(F.X.T @ F.X / F.n)[0]


@pytest.mark.slow
def test_robust_regression_is_the_linear_program_of_least_absolute_deviations() -> None:
    rng = np.random.default_rng(9)
    X, w = rng.standard_normal((30, 2)), np.array([1.0, -2.0])
    y = X @ w + 0.1 * rng.standard_normal(30)
    y[:4] += 50
    F = RobustRegression(X, y)
    found = solve(F, np.zeros(F.dim), F.constraint(), "og", tol=1e-6, max_oracle=50_000_000)
    n, d = X.shape
    exact = linprog(np.r_[np.zeros(d), np.ones(n)], A_ub=np.block([[X, -np.eye(n)], [-X, -np.eye(n)]]), b_ub=np.r_[y, -y],
                    bounds=[(None, None)] * d + [(0, None)] * n)
    assert F.loss(F.split(found.u)[0]) == pytest.approx(exact.fun / n, abs=1e-4)


@pytest.mark.parametrize("method", ["vr_halpern", "vr_halpern_pp", "vr_eg"])
def test_sparse_and_dense_runs_are_the_same(method: str) -> None:
    rng = np.random.default_rng(15)
    A = rng.standard_normal((12, 9)) * (rng.random((12, 9)) < 0.4)
    for dense, thin, at in ((MatrixGame(A), MatrixGame(sparse.csr_array(A)), np.full(21, 0.1)),
                            (LeastSquares(A, np.ones(12)), LeastSquares(sparse.csr_array(A), np.ones(12)), np.zeros(9))):
        G = dense.simplices() if isinstance(dense, MatrixGame) else None
        a, b = (quietly(F, at, G, method, tol=1e-300, max_oracle=3_000, batch=5, seed=1) for F in (dense, thin))
        np.testing.assert_allclose(a.u, b.u, atol=1e-12)
        assert a.history.oracle.tolist() == b.history.oracle.tolist()


def test_restart_reaches_a_small_residual_of_a_sharp_problem_with_less() -> None:
    F = regression()
    spent = {r: solve(F, np.zeros(5), method="vr_halpern", tol=1e-4, seed=10, restart=r, max_oracle=400_000).n_oracle
             for r in (False, True)}
    assert spent[True] < spent[False] / 5


def test_the_same_seed_gives_the_same_run_and_data_stay() -> None:
    F, u0 = game(), np.full(21, 0.1)
    a, b = (solve(F, u0, F.simplices(), "vr_halpern_pp", tol=1e-2, seed=11) for _ in range(2))
    np.testing.assert_array_equal(a.u, b.u)
    np.testing.assert_array_equal(u0, np.full(21, 0.1))


# ---------------------------------------------------------------- a user's own problem


def test_a_saddle_of_ones_own_functions_without_constants() -> None:
    rng = np.random.default_rng(12)
    B, a = rng.standard_normal((60, 3, 3)), rng.standard_normal((60, 3))
    F = FunctionOperator.min_max(lambda i, x, y: (x - a[i]).sum(0) + y @ B[i].sum(0), lambda i, x, y: B[i].sum(0) @ x - len(i) * y,
                                 n=60, dim_x=3, dim_y=3)
    mean = B.mean(axis=0)
    exact = np.linalg.solve(np.block([[np.eye(3), mean.T], [-mean, np.eye(3)]]), np.r_[a.mean(axis=0), np.zeros(3)])
    for method in ("vr_halpern_pp", "vr_eg", "eg", "eag"):
        found = solve(F, np.zeros(6), None, method, tol=1e-4, seed=13, restart=method in ("vr_halpern_pp", "eag"))
        assert found.converged, method
        np.testing.assert_allclose(found.u, exact, atol=1e-3)


def test_an_underestimated_constant_is_backed_off_from() -> None:
    # Flat near the start, steep away from it: estimates there are far too small.
    F = FunctionOperator(lambda i, u: len(i) * (100 * np.sign(u - 1) * np.maximum(np.abs(u - 1) - 1, 0) + 0.01 * (u - 1)), n=4, dim=1)
    found = solve(F, np.array([1.9]), None, "eg", tol=1e-3, eta="auto", seed=0, max_oracle=10_000_000)
    assert found.converged


def test_a_function_that_means_instead_of_sums_is_told_so() -> None:
    F = FunctionOperator(lambda i, u: u - 1.0, n=5, dim=2)
    with pytest.raises(ValueError, match="looks like the mean"):
        solve(F, np.zeros(2), method="vr_halpern")
    # One forgotten len(idx), on a part that is zero at the start.
    F = FunctionOperator.min_max(lambda i, x, y: len(i) * (x - 1) + y, lambda i, x, y: len(i) * (x - y), n=5, dim_x=2, dim_y=2)
    with pytest.raises(ValueError, match="does not sum"):
        solve(F, np.zeros(4), method="vr_halpern_pp")


# ---------------------------------------------------------------- warnings and errors


def test_a_run_that_grows_without_end_is_given_up() -> None:
    turned = FunctionOperator(lambda i, u: -len(i) * u, n=3, dim=2, lipschitz=1.0, avg_lipschitz=1.0)  # a forgotten sign
    with pytest.warns(MonotonicityWarning), pytest.raises(DivergenceError, match="check that F is monotone"):
        solve(turned, np.ones(2), method="eg", max_oracle=1_000_000)


def test_a_function_that_is_no_number_at_the_start_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"F\(u0\) holds NaN"):
        solve(FunctionOperator(lambda i, u: u * np.nan, n=3, dim=2), np.ones(2), method="eg")


def test_a_function_that_writes_into_its_point_is_stopped() -> None:
    def careless(idx: Any, u: Any) -> Any:
        u *= len(idx)
        return u

    with pytest.raises(ValueError, match="read-only"):
        solve(FunctionOperator(careless, n=3, dim=2), np.ones(2), method="eg")


@pytest.mark.parametrize("options", [{"restart": True}, {"batch": 5}])
def test_options_without_effect_are_told(options: Any) -> None:
    with pytest.warns(UserWarning, match="changes nothing for 'eg'"):
        solve(regression(), np.zeros(5), method="eg", max_oracle=1e3, **options)


def test_restart_helps_anchored_extragradient_too() -> None:
    F = game()
    spent = {r: solve(F, F.centre(), F.simplices(), "eag", tol=1e-3, restart=r, max_oracle=500_000).n_oracle for r in (False, True)}
    assert spent[True] < spent[False] / 3


def test_pruned_tuning_chooses_the_same_factor() -> None:
    F = game()
    whole, pruned = (tune(F, F.centre(), F.simplices(), "vr_eg", (1.0, 2.0, 8.0, 4.0, 64.0), 1e-3, 40_000, seed=3, prune=p)
                     for p in (False, True))
    assert whole.result is not None
    assert pruned.result is not None
    assert (whole.factor, whole.result.n_oracle) == (pruned.factor, pruned.result.n_oracle)
    assert whole.result.converged
    assert all(p.n_oracle <= w.n_oracle for p, w in zip(pruned.table, whole.table))


def test_plot_holds_every_run_and_few_points() -> None:
    F = regression()
    runs = {name: solve(F, np.zeros(5), method=name, tol=1e-3, seed=0, max_oracle=400_000) for name in ("halpern", "vr_halpern")}
    rows = plot(runs).data.values
    for name, found in runs.items():
        mine = [r for r in rows if r["run"] == name]
        assert mine[0]["residual"] == found.history.residual[0]
        assert mine[-1] == {"run": name, "evaluations": found.n_oracle, "residual": found.residual}
        assert len(mine) <= 500
    with pytest.raises(ValueError, match="nothing to plot"):
        plot(solve(F, np.zeros(5), method="eg", max_oracle=3))


def test_divergence_names_the_step() -> None:
    with pytest.raises(DivergenceError, match="eta=1000"):
        solve(regression(), np.ones(5), eta=1e3, method="vr_halpern", max_oracle=10_000_000, seed=0)


def test_a_monotone_operator_is_pointed_to_algorithm_2() -> None:
    with pytest.warns(UserWarning, match="vr_halpern_pp"):
        solve(game(), game().centre(), game().simplices(), "vr_halpern", max_oracle=100, seed=0)


def test_an_operator_that_is_not_monotone_is_caught_with_the_pair() -> None:
    F = FunctionOperator(lambda i, u: -len(i) * u, n=3, dim=2, lipschitz=1.0, avg_lipschitz=1.0)
    with pytest.warns(MonotonicityWarning, match="not monotone") as caught:
        solve(F, np.ones(2), method="eg", max_oracle=100)
    u, v = caught[0].message.pair  # type: ignore[union-attr]
    assert -(u - v) @ (u - v) < 0


def test_callback_stops_and_nothing_is_lost() -> None:
    seen: list[float] = []

    def stop(step: Any) -> bool:
        seen.append(step.residual)
        return len(seen) == 3

    found = solve(regression(), np.zeros(5), method="halpern", tol=1e-12, callback=stop)
    assert len(seen) == len(found.history.residual) == 3
    assert "callback" in found.message

    def interrupt(step: Any) -> None:
        raise KeyboardInterrupt

    found = solve(regression(), np.zeros(5), method="halpern", tol=1e-12, callback=interrupt)
    assert found.message == "interrupted"
    assert np.isfinite(found.residual)


@pytest.mark.parametrize(("change", "words"), [
    ({"method": "newton"}, "method"), ({"tol": 0.0}, "tol"), ({"tol": float("nan")}, "tol"), ({"max_oracle": 0}, "max_oracle"),
    ({"max_oracle": 1.5}, "max_oracle"), ({"callback": 3}, "callback"),
    ({"eta": -1.0}, "eta"), ({"eta": "fast"}, "eta"), ({"batch": 0}, "batch"), ({"batch": 41}, "batch"), ({"G": 3}, "Resolvent"),
    ({"u0": np.zeros(4)}, "u0 has shape"), ({"u0": np.full(5, np.nan)}, "u0 holds NaN"), ({"G": Resolvent.simplex(4)}, "G covers"),
    ({"full_prob": 0.0}, "full_prob"), ({"F": 3}, "F is int"), ({"c": 0.0}, "c is"), ({"inner": 0}, "inner"), ({"anchor": -1.0}, "anchor"),
])
def test_arguments_that_do_not_fit_are_named(change: Any, words: str) -> None:
    arguments = {"F": regression(), "u0": np.zeros(5), **change}
    with pytest.raises((ValueError, TypeError), match=words):
        solve(**arguments)


def test_one_term_and_one_coordinate() -> None:
    F = LeastSquares(np.array([[2.0]]), [4.0])
    for method in METHODS:
        found = quietly(F, np.zeros(1), None, method, tol=1e-2, seed=0, max_oracle=20_000)
        assert found.converged, method
        assert found.u[0] == pytest.approx(2.0, abs=1e-2)


def test_a_budget_below_one_evaluation_of_everything_gives_the_start_back() -> None:
    found = solve(regression(), np.ones(5), method="eg", max_oracle=3)
    assert not found.converged
    assert found.residual == np.inf
    np.testing.assert_array_equal(found.u, np.ones(5))
