"""Losses without a closed form: each regression is optimal, the search goes down, and the end is a local minimum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize
from sklearn.linear_model import Lasso as SklearnLasso

from workingpapers.papers.topo import TOPO, notears, polish, shd, simulate, topological_order
from workingpapers.papers.topo._mlp import Perceptrons
from workingpapers.papers.topo._penalised import lasso, log_lasso
from workingpapers.parts.causal import is_dag


def falls(found: TOPO) -> bool:
    return bool((np.diff([r.loss for r in found.history_]) < 0).all())


def logistic_loss(X: np.ndarray, W: np.ndarray, lambda1: float) -> float:
    M = X @ W
    return float((np.logaddexp(0, M) - X * M).sum() / len(X) + lambda1 * np.abs(W).sum())


def test_lasso_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(200, 6)), np.array([2.0, 0, -1, 0, 0.5, 0])
    y = X @ w + rng.normal(size=200)
    for penalty in (0.01, 0.1, 1.0):
        theirs = SklearnLasso(alpha=penalty, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(X, y).coef_
        np.testing.assert_allclose(lasso(X.T @ X / 200, X.T @ y / 200, penalty), theirs, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.sampled_from([0.003, 0.1, 0.5]), st.sampled_from([0.0, 0.3, 2.0]))
def test_paths_end_where_the_conditions_hold(seed: int, k: int, penalty: float, mixing: float) -> None:
    """Collinear columns, more or fewer rows than columns in use: the optimality conditions, and no lower point by alternation."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, k)) @ (np.eye(k) + mixing * rng.normal(size=(k, k)))
    y = X @ (rng.normal(size=k) * (rng.random(k) < 0.5)) + 0.1 * rng.normal(size=60)
    X, y = X / X.std(axis=0), y / y.std()
    A, c, total = X.T @ X / 60, X.T @ y / 60, float(y @ y / 60)
    w, variance = log_lasso(A, c, total, penalty)
    for v, mu in ((lasso(A, c, penalty), penalty), (w, penalty * variance)):
        slope = c - A @ v
        assert (np.abs(slope) <= mu * (1 + 1e-6) + 1e-9).all()
        np.testing.assert_allclose(slope[v != 0], mu * np.sign(v[v != 0]), rtol=1e-5, atol=1e-9)
    plain, at = np.zeros(k), total
    for _ in range(20):
        plain = lasso(A, c, penalty * at)
        at = total - 2 * c @ plain + plain @ A @ plain
    assert np.log(variance) / 2 + penalty * np.abs(w).sum() <= np.log(at) / 2 + penalty * np.abs(plain).sum() + 1e-9


def test_log_lasso_is_stationary() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, 0.0, -0.5] + rng.normal(size=300)
    A, c, total = X.T @ X / 300, X.T @ y / 300, float(y @ y / 300)
    w, variance = log_lasso(A, c, total, 0.1)
    assert variance == pytest.approx(np.mean((y - X @ w) ** 2))
    slope = (A @ w - c) / variance
    assert np.allclose(slope[w != 0], -0.1 * np.sign(w[w != 0]), atol=1e-6)
    assert (np.abs(slope) <= 0.1 + 1e-6).all()


def test_penalised_least_squares_over_all_orders() -> None:
    X = simulate(5, 7, n=200, rng=0).X
    found = TOPO(lambda1=0.2, n_restarts=20, random_state=0).fit(X)
    Xc = X - X.mean(axis=0)
    assert found.score_ == pytest.approx(
        np.square(Xc - Xc @ found.weights_raw_).sum() / 400 + 0.2 * np.abs(found.weights_raw_).sum(), rel=1e-8
    )

    def of_order(order: tuple[int, ...]) -> float:
        out = 0.0
        for k, j in enumerate(order):
            w = SklearnLasso(alpha=0.2, fit_intercept=False, tol=1e-9).fit(Xc[:, order[:k]], Xc[:, j]).coef_ if k else np.zeros(0)
            out += np.square(Xc[:, j] - Xc[:, order[:k]] @ w).mean() / 2 + 0.2 * np.abs(w).sum()
        return out

    assert found.score_ == pytest.approx(min(map(of_order, itertools.permutations(range(5)))), rel=1e-6)


def test_without_a_penalty_every_order_has_the_same_likelihood_which_is_why_it_is_refused() -> None:
    from workingpapers.papers.topo._orders import factor

    X = simulate(5, 8, rng=0).X
    S = np.cov(X.T)
    values = [np.log(np.square(np.diag(factor(S, np.array(p))))).sum() for p in itertools.permutations(range(5))]
    assert np.ptp(values) < 1e-10


def test_log_likelihood_does_not_see_scales_of_noise_as_causes() -> None:
    """Noise scales that mislead least squares: the log-likelihood with a penalty finds more of the graph."""
    rng, errors = np.random.default_rng(0), {True: 0, False: 0}
    for seed in range(6):
        made = simulate(6, 6, n=2_000, rng=seed)
        scale = np.exp(rng.normal(size=6))
        X = (made.X @ (np.eye(6) - made.W)) * scale @ np.linalg.inv(np.eye(6) - made.W)
        X = X / X.std(axis=0)
        for equal in errors:
            found = TOPO(equal_variance=equal, lambda1=0.1, w_threshold=0.1, n_restarts=5, random_state=0).fit(X)
            assert falls(found)
            errors[equal] += shd(made.B + made.B.T, found.adjacency_ + found.adjacency_.T)
    assert errors[False] < errors[True]


def test_logistic_ends_at_a_local_minimum_of_its_own_loss() -> None:
    made = simulate(5, 6, sem="logistic", n=400, rng=1)
    found = TOPO("logistic", random_state=0).fit(made.X)
    assert found.is_local_min_
    assert falls(found)
    assert is_dag(found.adjacency_)
    assert found.score_ == pytest.approx(logistic_loss(made.X, found.weights_raw_, 0.01), rel=1e-9)
    assert found.score(made.X) == pytest.approx(-logistic_loss(made.X, found.weights_raw_, 0.0), rel=1e-9)
    # each column is optimal: no descent in any of its coordinates
    j = int(found.order_[-1])
    before = found.order_[:-1]

    def of_column(v: np.ndarray) -> float:
        w = v[:4] - v[4:]
        m = made.X[:, before] @ w
        return float(np.mean(np.logaddexp(0, m) - made.X[:, j] * m) + 0.01 * v.sum())

    best = minimize(of_column, np.zeros(8), bounds=[(0, None)] * 8, options={"ftol": 1e-14}).fun
    own = of_column(np.concatenate([np.maximum(found.weights_raw_[before, j], 0), np.maximum(-found.weights_raw_[before, j], 0)]))
    assert own <= best + 1e-6
    assert found.check_local_min(made.X)


def test_logistic_polish_lowers_notears() -> None:
    made = simulate(6, 9, sem="logistic", n=500, rng=3)
    W = notears(made.X, lambda1=0.01, loss="logistic", w_threshold=0.1)
    found = polish(W, made.X, loss="logistic", random_state=0)
    assert found.score_ <= found.history_[0].loss
    np.testing.assert_array_equal(np.sort(found.order_), np.arange(6))
    assert found.history_[0].loss <= logistic_loss(made.X, W, 0.01) + 1e-9  # the start is the best that its order allows
    assert len(topological_order(W)) == 6


@pytest.mark.parametrize("equal", [True, False])
def test_gradient_of_a_perceptron(equal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from workingpapers.papers.topo import _mlp

    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    nets = Perceptrons(X, 3, 0.01, 0.02, equal_variance=equal, rng=rng)
    seen = []

    def spy(objective, at, **options):
        seen.append((objective, at + rng.uniform(0.05, 0.5, at.shape)))
        return minimize(objective, at, **options)

    monkeypatch.setattr(_mlp, "minimize", spy)
    for before in (np.array([0, 3]), np.zeros(0, dtype=np.int64)):
        nets.fit_node(1, before, None)
        objective, at = seen[-1]
        assert check_grad(lambda v, f=objective: f(v)[0], lambda v, f=objective: f(v)[1], at) < 1e-4


def test_a_perceptron_follows_a_curve_that_no_line_can() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = np.sin(2 * x) + 0.3 * rng.normal(size=400)
    X = np.column_stack([y, x]) - [y.mean(), x.mean()]
    nets = Perceptrons(X, 10, 1e-4, 1e-4, equal_variance=True, rng=rng)
    alone, curved = nets.fit_node(0, np.zeros(0, dtype=np.int64), None), nets.fit_node(0, np.array([1]), None)
    slope = X[:, 0] @ X[:, 1] / (X[:, 1] @ X[:, 1])
    assert curved.loss < 0.6 * np.square(X[:, 0] - slope * X[:, 1]).mean() / 2
    assert alone.loss == pytest.approx(X[:, 0].var() / 2, rel=1e-3)
    even = Perceptrons(np.column_stack([X[:, 1] ** 2 - 1, X[:, 1]]), 10, 1e-4, 1e-4, equal_variance=True, rng=rng)
    without = even.fit_node(0, np.zeros(0, dtype=np.int64), None).loss  # no bias in the first layer: even curves are out of reach
    assert even.fit_node(0, np.array([1]), None).loss > 0.7 * without


def test_perceptrons_go_down_and_are_repeatable() -> None:
    X = simulate(4, 4, sem="mlp", n=200, rng=1).X
    before = X.copy()
    found = TOPO("mlp", hidden=6, random_state=0).fit(X)
    assert falls(found)
    assert is_dag(found.adjacency_)
    assert TOPO("mlp", hidden=6, random_state=0).fit(X).score_ == found.score_
    errors = np.square(X - X.mean(axis=0)).mean(axis=0).sum() / 2
    assert -found.score(X) < errors  # better than no graph at all
    polished = polish(found.order_[::-1].copy(), X, loss="mlp", hidden=6, random_state=0)
    assert polished.score_ <= polished.history_[0].loss
    np.testing.assert_array_equal(X, before)


def test_a_loss_of_ones_own_is_least_squares_where_it_says_so() -> None:
    X = simulate(5, 7, n=200, rng=2).X

    def regress(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(X, y, rcond=None)[0]

    def score(X: np.ndarray, W: np.ndarray) -> tuple[float, np.ndarray]:
        R = X - X @ W
        return float((R**2).sum() / (2 * len(X))), -X.T @ R / len(X)

    own, usual = (TOPO(loss, random_state=1).fit(X) for loss in ((regress, score), "l2"))
    assert own.score_ == pytest.approx(usual.score_, rel=1e-10)
    np.testing.assert_array_equal(own.order_, usual.order_)
    assert own.score(X) == pytest.approx(usual.score(X))
    filtered = [TOPO(loss, random_state=1, grad_loss_tol=0.1).fit(X) for loss in ((regress, score), "l2")]
    np.testing.assert_array_equal(filtered[0].order_, filtered[1].order_)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ((lambda X, y: np.ones(1 + X.shape[1]), lambda X, W: 0.0), "regress gave weights of shape"),
        ((lambda X, y: np.ones(X.shape[1]), lambda X, W: np.nan), "score gave nan"),
    ],
)
def test_wrong_losses_are_named(loss, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TOPO(loss, random_state=0).fit(simulate(3, 2, rng=0).X)


def test_the_filter_needs_a_gradient() -> None:
    X = simulate(3, 2, rng=0).X
    with pytest.raises(ValueError, match="loss, gradient"):
        TOPO((lambda X, y: np.zeros(X.shape[1]), lambda X, W: 1.0), grad_loss_tol=0.1).fit(X)
    with pytest.raises(ValueError, match="mlp"):
        TOPO("mlp", hidden=2, grad_loss_tol=0.1).fit(X)
