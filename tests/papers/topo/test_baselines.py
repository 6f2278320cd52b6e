"""What the method is compared with: each reaches what its own objective asks for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import approx_fprime

from workingpapers.papers.topo import dagma, golem, notears, order_score, random_orders, shd, simulate, sort_n_regress, topological_order
from workingpapers.papers.topo._baselines import _lagrangian
from workingpapers.parts.causal import is_dag


@pytest.mark.parametrize("solve", [notears, dagma, golem])
def test_solvers_find_an_easy_graph(solve) -> None:
    made = simulate(6, 5, n=3_000, rng=0)
    before = made.X.copy()
    W = solve(made.X)
    assert is_dag(W)
    assert shd(made.B, W) <= 1
    np.testing.assert_array_equal(made.X, before)
    np.testing.assert_allclose(W[(made.B != 0) & (W != 0)], made.W[(made.B != 0) & (W != 0)], atol=0.4)  # an L1 penalty shrinks


def test_logistic_notears_is_acyclic_and_keeps_the_skeleton() -> None:
    made = simulate(5, 4, sem="logistic", n=4_000, rng=1)
    W = notears(made.X, lambda1=0.005, loss="logistic")
    assert is_dag(W)
    assert shd(made.B + made.B.T, W + W.T) <= 3


@pytest.mark.parametrize("given", [False, True])
def test_the_lagrangian_and_its_gradient(given: bool) -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4, 4))
    S, v = A @ A.T, rng.uniform(0, 0.6, 32)
    rho, alpha, lambda1 = 3.0, 0.7, 0.1
    W = (v[:16] - v[16:]).reshape(4, 4)
    h = np.trace(expm(W * W)) - 4
    loss = 0.5 * np.trace((np.eye(4) - W).T @ S @ (np.eye(4) - W))
    G = S @ W - S if given else np.empty((0, 0))
    found_h, value, gradient = _lagrangian(v, loss if given else 0.0, G, S, rho, alpha, lambda1)
    assert found_h == pytest.approx(h, rel=1e-10)
    assert value == pytest.approx(loss + 0.5 * rho * h * h + alpha * h + lambda1 * v.sum(), rel=1e-10)
    if not given:
        slopes = approx_fprime(v, lambda x: _lagrangian(x, 0.0, np.empty((0, 0)), S, rho, alpha, lambda1)[1], 1e-7)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-4)


def test_controls_are_what_they_say() -> None:
    X = simulate(7, 10, rng=0).X
    Xc = X - X.mean(axis=0)
    S = Xc.T @ Xc / len(X)
    sorted_order = np.argsort(X.var(axis=0))
    W = sort_n_regress(X)
    assert np.square(Xc - Xc @ W).sum() / (2 * len(X)) == pytest.approx(order_score(S, sorted_order))
    few, many = (random_orders(X, n, np.random.default_rng(0)) for n in (1, 5_000))
    assert order_score(S, topological_order(many)) < order_score(S, topological_order(few))


def test_unusable_data_are_refused() -> None:
    for solve in (notears, dagma, golem, sort_n_regress):
        with pytest.raises(ValueError, match="finite samples"):
            solve(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="one of l2, logistic"):
        notears(np.zeros((5, 2)), loss="poisson")  # type: ignore[arg-type]
