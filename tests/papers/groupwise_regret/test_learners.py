"""Learners of one group: against refits from scratch, against river, against their regret bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from river import linear_model, tree
from sklearn.linear_model import SGDRegressor

from workingpapers.papers.groupwise_regret import AzouryWarmuthVovk, Hedge, OnlineRidge, RiverLearner, SklearnLearner
from workingpapers.papers.groupwise_regret._learners import make_learner


def stream(T: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((T, d)) * (rng.random((T, d)) < 0.6)
    return X, X @ rng.standard_normal(d) + 0.3 * rng.standard_normal(T)


@pytest.mark.parametrize("l2", [0.1, 1.0, 7.0])
def test_online_ridge_is_a_refit_in_every_round(l2: float) -> None:
    X, y = stream(500, 20)
    learner = OnlineRidge(l2)
    for t in range(500):
        theta = np.linalg.solve(l2 * np.eye(20) + X[:t].T @ X[:t], X[:t].T @ y[:t])
        assert learner.propose(X[t]) == pytest.approx(X[t] @ theta, abs=1e-8)
        learner.learn(X[t], y[t])


def test_forward_algorithm_is_its_formula() -> None:
    X, y = stream(200, 7)
    learner = AzouryWarmuthVovk(0.5)
    for t in range(200):
        matrix = 0.5 * np.eye(7) + X[: t + 1].T @ X[: t + 1]
        assert learner.propose(X[t]) == pytest.approx(X[t] @ np.linalg.solve(matrix, X[:t].T @ y[:t]), abs=1e-10)
        learner.learn(X[t], y[t])


@pytest.mark.parametrize("seed", range(5))
def test_forward_algorithm_keeps_its_bound_against_adversarial_signs(seed: int) -> None:
    """Labels are -sign(prediction): the worst answer in every round. |y| <= 1, |x_i| <= 1."""
    d, T, l2 = 5, 400, 1.0
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (T, d))
    learner, y, loss = AzouryWarmuthVovk(l2), np.zeros(T), 0.0
    for t in range(T):
        z = learner.propose(X[t])
        y[t] = -1.0 if z >= 0 else 1.0
        loss += (z - y[t]) ** 2
        learner.learn(X[t], y[t])
    theta = np.linalg.solve(l2 * np.eye(d) + X.T @ X, X.T @ y)
    best = float(((X @ theta - y) ** 2).sum() + l2 * theta @ theta)
    assert loss - best <= d * math.log(1 + T / l2)  # against every theta: l2 |theta|^2 + d Y^2 log(1 + T X^2 / l2)


def test_ridge_and_river_agree() -> None:
    X, y = stream(150, 4, seed=3)
    ours, theirs = OnlineRidge(1.0), linear_model.BayesianLinearRegression(alpha=1.0, beta=1.0)
    for row, label in zip(X, y):
        x = dict(enumerate(row.tolist()))
        assert ours.propose(row) == pytest.approx(theirs.predict_one(x), abs=1e-9)
        ours.learn(row, label)
        theirs.learn_one(x, label)


def test_long_streams_of_dependent_columns_do_not_drift() -> None:
    """One-hot columns sum to the column of ones; after 100,000 rows the model still is the refit."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, 100_000)
    X = np.column_stack([np.eye(4)[kinds], np.ones(100_000)])
    y = rng.random(100_000)
    learner = OnlineRidge()
    for row, label in zip(X[:20_000], y):
        learner.learn(row, label)
    theta = np.linalg.solve(np.eye(5) + X[:20_000].T @ X[:20_000], X[:20_000].T @ y[:20_000])
    np.testing.assert_allclose(learner.theta_, theta, atol=1e-9)


def test_forgetting_follows_a_change_and_never_overflows() -> None:
    rng = np.random.default_rng(1)
    plain, fading = OnlineRidge(), OnlineRidge(forget=0.98)
    errors = np.zeros(2)
    for t in range(6_000):
        x = np.append(rng.random(2), float(t < 5))  # the third feature is seen five times only
        y = (1.0 if t < 2_000 else -1.0) * x[0]
        if t >= 2_200:
            errors += np.square([plain.propose(x) - y, fading.propose(x) - y])
        for learner in (plain, fading):
            learner.learn(x, y)
    assert errors[1] < 0.01 * errors[0]
    assert np.isfinite(fading.theta_).all()
    assert np.diagonal(fading._P).max() <= 1.0 + 1e-12


@pytest.mark.parametrize(("make", "words"), [
    (lambda: OnlineRidge(0.0), "l2 is 0.0"), (lambda: OnlineRidge(forget=1.5), "forget is 1.5"), (lambda: Hedge(0), "n is 0"),
    (lambda: Hedge(2, rate=-1), "rate is -1"), (lambda: OnlineRidge().learn([1.0, np.nan], 0.0), "NaN"),
    (lambda: OnlineRidge().learn([1.0], np.inf), "y is inf"), (lambda: OnlineRidge().propose([[1.0]]), "one row"),
    (lambda: Hedge(2).learn(None, [1.0]), "2 finite numbers"),
])
def test_bad_arguments_are_named(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_another_width_is_refused() -> None:
    learner = OnlineRidge()
    learner.learn([1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        learner.propose([1.0, 2.0, 3.0])


def test_hedge_keeps_its_bound() -> None:
    """Expected loss against the best action, for losses that always hit the heaviest action."""
    n, T = 10, 2_000
    hedge, total, losses = Hedge(n, seed=0), 0.0, np.zeros(n)
    for _ in range(T):
        p = hedge.distribution_
        loss = np.zeros(n)
        loss[p.argmax()] = 1.0
        total += p @ loss
        losses += loss
        hedge.learn(None, loss)
    assert total - losses.min() <= math.sqrt(2 * T * math.log(n)) + math.sqrt(math.log(n) / 8)


def test_hedge_draws_from_its_distribution() -> None:
    hedge = Hedge(3, rate=1.0, seed=0)
    hedge.learn(None, [0.0, 1.0, 2.0])
    drawn = []
    for _ in range(4_000):
        drawn.append(hedge.propose(None))
        hedge.learn(None, [0.0, 0.0, 0.0])
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4_000, hedge.distribution_, atol=0.03)


def test_bases_of_every_kind() -> None:
    assert isinstance(make_learner(OnlineRidge), OnlineRidge)
    kept = OnlineRidge(3.0)
    made = make_learner(kept)
    assert made is not kept
    assert made.l2 == 3.0
    assert isinstance(make_learner(lambda: OnlineRidge(2.0)), OnlineRidge)
    assert isinstance(make_learner(linear_model.LinearRegression()), RiverLearner)
    assert isinstance(make_learner(linear_model.LinearRegression), RiverLearner)
    assert isinstance(make_learner(tree.HoeffdingTreeRegressor), RiverLearner)
    adapted = make_learner(SGDRegressor(random_state=0))
    assert isinstance(adapted, SklearnLearner)
    assert adapted.propose(np.array([1.0, 2.0])) == 0.0
    for _ in range(400):
        adapted.learn(np.array([1.0, 2.0]), 3.0)
    assert adapted.propose(np.array([1.0, 2.0])) == pytest.approx(3.0, abs=0.5)
    for wrong in (3, "ridge", dict):
        with pytest.raises(TypeError, match="base"):
            make_learner(wrong)
