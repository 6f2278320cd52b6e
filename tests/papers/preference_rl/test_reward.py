"""The posterior over rewards against closed forms, Monte Carlo and a peer's optimiser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_ndtr
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from workingpapers.papers.preference_rl import LaplaceReward, Link, PolyaGammaReward, RewardPosterior, TabularFeatures, Trajectory
from workingpapers.papers.preference_rl._entries import transposed_solution, upper_factor, upper_solution
from workingpapers.papers.preference_rl._linalg import rank_one_update
from workingpapers.papers.preference_rl._links import log_likelihood
from workingpapers.papers.preference_rl._posteriors import mean_distance


def answered(seed: int, n: int, d: int, gain: float = 1.0, scale: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, size=(n, d)).astype(float)
    truth = scale * rng.normal(size=d)
    return x, (rng.random(n) < 1 / (1 + np.exp(-gain * x @ truth))).astype(float)


def filled(x: Any, y: Any, **options: Any) -> RewardPosterior:
    posterior = RewardPosterior(x.shape[1], **options)
    for row, answer in zip(x, y):
        assert posterior.add(row, answer) >= 0  # Newton's method never ran out of steps
    return posterior


def test_rank_one_updates_equal_a_fresh_factorisation_after_10000_of_them() -> None:
    rng = np.random.default_rng(0)
    d = 30
    R, A = np.eye(d), np.eye(d)
    for _ in range(10_000):
        x = rng.normal(size=d) * (rng.random(d) < 0.5)
        rank_one_update(R, x)
        A += np.outer(x, x)
    fresh = np.linalg.cholesky(A).T
    assert np.abs(R - fresh).max() <= 1e-8 * np.abs(fresh).max()
    b = rng.normal(size=d)
    np.testing.assert_allclose(upper_solution(R, transposed_solution(R, b)), np.linalg.solve(A, b), rtol=1e-8)
    np.testing.assert_allclose(upper_factor(A), fresh, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 7, 18])
def test_query_value_is_the_mean_disagreement_of_two_draws(d: int) -> None:
    posterior = filled(*answered(d, 60, d), sigma=0.7, lam=2.0)
    x = np.random.default_rng(1).normal(size=d)
    mean, cov = posterior.moments
    draws = np.random.default_rng(2).multivariate_normal(mean, cov, size=(2, 400_000)) @ x
    assert posterior.value(x) == pytest.approx(np.abs(draws[0] - draws[1]).mean(), rel=0.01)
    own = np.array([posterior.sample(np.random.default_rng(i)) for i in range(20_000)])
    np.testing.assert_allclose(np.cov(own.T), cov, atol=0.02 * cov.max() * 3)
    np.testing.assert_allclose(own.mean(axis=0), mean, atol=5 * math.sqrt(cov.max() / 20_000))


@pytest.mark.parametrize(("lam", "gain", "scale"), [(1.0, 1.0, 1.0), (0.1, 4.0, 1.0), (1.0, 4.0, 30.0)])
def test_mean_is_the_penalised_maximum_likelihood_of_scikit_learn(lam: float, gain: float, scale: float) -> None:
    x, y = answered(3, 400, 6, gain, scale)
    ours = filled(x, y, lam=lam, link=Link("logistic", gain))
    # theirs penalises theta' = gain theta: C = gain^2 / lam
    theirs = LogisticRegression(C=gain**2 / lam, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(ours.moments.mean, theirs.coef_[0] / gain, atol=2e-4 * max(1.0, np.abs(theirs.coef_).max()))
    assert ours.n_answers == 400
    assert ours.n_distinct < 400


def test_probit_and_equal_answers_are_fitted_too() -> None:
    x, _ = answered(4, 80, 3)
    y = np.random.default_rng(5).choice([0.0, 0.5, 1.0], size=80)
    ours = filled(x, y, lam=0.5, link="probit")

    def objective(theta: Any) -> float:
        z = x @ theta
        return float(-(y * log_ndtr(z) + (1 - y) * log_ndtr(-z)).sum() + 0.25 * theta @ theta)

    np.testing.assert_allclose(ours.moments.mean, minimize(objective, np.zeros(3), tol=1e-12).x, atol=1e-4)


def test_separable_answers_do_not_diverge() -> None:
    x, _ = answered(6, 300, 4)
    y = (x @ np.array([1.0, -2.0, 0.5, 3.0]) > 0).astype(float)
    ours = filled(x, y, lam=1e-3, link=Link("logistic", 10.0))
    theta = ours.moments.mean
    expected = 1 / (1 + np.exp(-np.clip(10 * x @ theta, -700, 700)))
    gradient = 1e-3 * theta - 10 * x.T @ (y - expected)
    assert np.abs(gradient).max() < 1e-6


def test_norm_bound_is_the_constrained_optimum() -> None:
    x, y = answered(7, 200, 3, scale=3.0)
    free, held = filled(x, y), filled(x, y, norm_bound=0.5)
    assert np.linalg.norm(free.moments.mean) > 0.5
    theta = held.moments.mean
    assert np.linalg.norm(theta) == pytest.approx(0.5, rel=1e-6)
    gradient = theta - x.T @ (y - 1 / (1 + np.exp(-x @ theta)))
    # at the optimum on the sphere the gradient points straight inwards
    np.testing.assert_allclose(gradient / np.linalg.norm(gradient), -theta / np.linalg.norm(theta), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 40))
def test_order_of_answers_and_sides_do_not_matter(seed: int, d: int, n: int) -> None:
    x, y = answered(seed, n, d)
    order = np.random.default_rng(seed).permutation(n)
    a, b = filled(x, y), filled(-x[order], 1 - y[order])
    np.testing.assert_allclose(a.moments.mean, b.moments.mean, atol=1e-6)
    np.testing.assert_allclose(a.moments.cov, b.moments.cov, atol=1e-10)
    assert a.n_distinct == b.n_distinct


@pytest.mark.parametrize("z", [-200.0, -37.0, -25.1, -24.9, -3.0, 0.0, 2.0, 30.0])
def test_log_likelihoods_far_out(z: float) -> None:
    value, slope, curvature = log_likelihood(z, 1)
    assert value == pytest.approx(norm.logcdf(z), rel=1e-9, abs=1e-300)
    assert slope == pytest.approx(math.exp(norm.logpdf(z) - norm.logcdf(z)), rel=1e-6)
    assert 0 <= curvature <= 1 + 1e-6
    value, slope, _ = log_likelihood(z, 0)
    assert value == pytest.approx(-np.logaddexp(0, -z), rel=1e-12)
    assert slope == pytest.approx(1 / (1 + math.exp(min(z, 700))), rel=1e-12)


def test_a_batch_is_chosen_as_if_its_first_questions_had_been_answered() -> None:
    xs = np.random.default_rng(0).normal(size=(12, 4))
    posterior = filled(*answered(1, 10, 4))
    chosen = posterior.most_telling(xs, 5)
    one_by_one = []
    for _ in range(5):
        values = [-1.0 if i in one_by_one else posterior.value(x) for i, x in enumerate(xs)]
        one_by_one.append(int(np.argmax(values)))
        posterior.add(xs[one_by_one[-1]], 1.0)
    assert chosen == one_by_one


def test_wrong_input_is_named() -> None:
    posterior = RewardPosterior(2)
    for answer in (0.3, 2, math.nan, "1", None):
        with pytest.raises(ValueError, match="preference"):
            posterior.add(np.ones(2), answer)  # type: ignore[arg-type]
    for x in (np.ones(3), np.array([1.0, math.nan])):
        with pytest.raises(ValueError, match="x "):
            posterior.add(x, 1.0)
    for options, word in (({"lam": 0.0}, "lam"), ({"sigma": -1.0}, "sigma"), ({"norm_bound": 0.0}, "norm_bound"),
                          ({"link": "cauchy"}, "link"), ({"link": "deterministic"}, "deterministic")):
        with pytest.raises(ValueError, match=word):
            RewardPosterior(2, **options)  # type: ignore[arg-type]
    assert posterior.n_answers == 0


# ---------------------------------------------------------------- the posteriors of the sampling form


def pair(rng: np.random.Generator) -> tuple[Trajectory, Trajectory]:
    return tuple(Trajectory(rng.integers(3, size=5), rng.integers(2, size=4)) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.slow
def test_polya_gamma_draws_have_the_moments_of_the_exact_posterior() -> None:
    """In one dimension the posterior can be integrated; Laplace's approximation is near, and Gibbs sampling is on it."""
    features = TabularFeatures(1, 2)
    ours, rng = PolyaGammaReward(features, lam=0.5), np.random.default_rng(0)
    first, second = Trajectory(np.zeros(3, int), np.zeros(2, int)), Trajectory(np.zeros(3, int), np.ones(2, int))
    for answer in (1.0, 1.0, 1.0, 0.0, 1.0):
        ours.add(first, second, answer, rng)
    draws = np.array([float(np.array([2.0, -2.0]) @ ours.sample(rng).theta) for _ in range(6_000)])
    t = np.linspace(-25, 25, 20_001)  # x . theta, whose prior is N(0, 8 / 0.5)
    density = np.exp(norm.logpdf(t, scale=4.0) - 4 * np.logaddexp(0, -t) - np.logaddexp(0, t))
    density /= density.sum()
    mean = density @ t
    assert draws.mean() == pytest.approx(mean, abs=0.12)
    assert draws.std() == pytest.approx(math.sqrt(density @ (t - mean) ** 2), rel=0.05)


def test_laplace_has_the_inverse_hessian_as_covariance() -> None:
    rng = np.random.default_rng(1)
    ours = LaplaceReward(TabularFeatures(3, 2), lam=0.7, link=Link("logistic", 2.0))
    rows = []
    for _ in range(40):
        a, b = pair(rng)
        ours.add(a, b, float(rng.integers(2)), rng)
        rows.append(ours.difference(a, b))
    x, theta = np.array(rows), ours.mean().theta
    p = 1 / (1 + np.exp(-2 * x @ theta))
    hessian = 0.7 * np.eye(6) + 4 * (x.T * (p * (1 - p))) @ x
    draws = np.array([ours.sample(rng).theta for _ in range(30_000)])
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(hessian), atol=0.03)
    a, b = pair(rng)
    seen = draws @ ours.difference(a, b)
    assert ours.judge(a, b, rng)[0] == pytest.approx(np.abs(seen[::2] - seen[1::2]).mean(), rel=0.02)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_mean_distance_is_that_of_all_pairs(values: list[float]) -> None:
    v = np.array(values)
    n = len(v)
    assert mean_distance(v) == pytest.approx(np.abs(v[:, None] - v).sum() / (n * (n - 1)), abs=1e-9)
