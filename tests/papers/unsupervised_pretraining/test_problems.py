"""The problems: closed forms against Monte Carlo, and truths that no seed of a user's gives away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from workingpapers.papers.unsupervised_pretraining import (
    ComponentVote,
    ContrastiveProblem,
    FactorPretrainer,
    FactorProblem,
    MixturePretrainer,
    MixtureProblem,
    PretrainedEstimator,
    excess_risk,
)
from workingpapers.papers.unsupervised_pretraining._linear_problems import as_affine, expected_loss

LINEAR = [
    FactorProblem(d=6, r=2, strength=(3.0, 0.5), sigma=0.7, seed=1),
    FactorProblem(d=6, r=2, sigma=0.7, seed=1, through_noise=0.6),
    ContrastiveProblem(d=6, r=2, strength=(2.0, 0.5), sigma=0.7, seed=1),
]


def draws(problem, count, seed=0):
    """Rows and labels in parts, so that a million fit anywhere."""
    rng = np.random.default_rng(seed)
    for _ in range(count // 100_000):
        yield problem.labelled(100_000, rng)


@pytest.mark.parametrize("problem", LINEAR)
@pytest.mark.parametrize(("loss", "bound"), [("squared", np.inf), ("truncated", 1.5)])
def test_closed_form_equals_monte_carlo(problem, loss, bound):
    """A million draws, three standard errors; the difference of the two losses on the same draws."""
    x, y = problem.labelled(30)
    model = Ridge(1.0).fit(x, y)
    cut = min(bound, 1e300)
    gaps, optimal = [], []
    for x, y in draws(problem, 1_000_000):
        theirs, best = np.minimum(np.square(model.predict(x) - y), cut), np.minimum(np.square(x @ problem.optimal_weights - y), cut)
        gaps.append(theirs - best)
        optimal.append(best)
    gap, least = np.concatenate(gaps), np.concatenate(optimal)
    assert abs(gap.mean() - problem.excess_risk(model, loss=loss, bound=bound)) < 3 * gap.std() / 1_000
    assert abs(least.mean() - problem.optimal_risk(loss=loss, bound=bound)) < 3 * least.std() / 1_000


@pytest.mark.slow
def test_excess_risk_of_groups_equals_monte_carlo():
    problem = MixtureProblem(d=4, n_components=4, separation=2.5, flip=0.15, seed=1)
    model = PretrainedEstimator(MixturePretrainer(4, n_init=2, random_state=0), ComponentVote()).fit_unlabelled(problem.unlabelled(300))
    model.fit(*problem.labelled(12))
    gaps, wrong = [], []
    for x, y in draws(problem, 1_000_000, seed=5):
        best = problem.predict(x) != y
        gaps.append((model.predict(x) != y).astype(float) - best)
        wrong.append(best)
    gap, least = np.concatenate(gaps), np.concatenate(wrong)
    own = problem.excess_risk(model, draws=1_000_000)
    assert own > 0.01
    assert abs(gap.mean() - own) < 3 * np.sqrt(2) * gap.std() / 1_000  # both sides are estimates
    assert abs(least.mean() - problem.optimal_risk(draws=1_000_000)) < 3 * np.sqrt(2) * least.std() / 1_000


def test_law_of_pairs_and_of_rows():
    problem = ContrastiveProblem(d=3, r=1, strength=2.0, seed=0)
    x1, x2, t = problem.unlabelled(200_000)
    probability = 1 / (1 + np.exp(-((x1 @ problem.theta) * (x2 @ problem.theta)).sum(axis=1)))
    for low in (0.0, 0.25, 0.5, 0.75):
        chosen = (probability >= low) & (probability < low + 0.25)
        assert np.mean(t[chosen] == 1) == pytest.approx(probability[chosen].mean(), abs=0.01)
    factor = FactorProblem(d=5, r=2, strength=3.0, seed=0)
    assert np.abs(np.cov(factor.unlabelled(200_000).T) - factor.covariance).max() < 0.06


def test_no_predictor_beats_the_optimum():
    for problem in LINEAR:
        assert problem.excess_risk(problem.optimal_weights) == 0.0
        assert problem.excess_risk((problem.optimal_weights, 0.3)) == pytest.approx(0.09)
        assert problem.excess_risk(KNeighborsRegressor(3).fit(*problem.labelled(50)), draws=20_000) > 0
    groups = MixtureProblem(d=3, n_components=4, separation=2.0, seed=0)
    assert groups.excess_risk(groups) == 0.0


def test_predictors_that_are_not_affine_are_integrated():
    problem = FactorProblem(d=3, r=1, strength=2.0, sigma=0.5, seed=0)

    class Absolute:
        def predict(self, x):
            return np.abs(x @ problem.optimal_weights)

    assert as_affine(Absolute(), 3) is None
    # E (|u| - u)^2 = 2 E u^2 for a symmetric u
    wanted = 2 * float(problem.optimal_weights @ problem.covariance @ problem.optimal_weights)
    assert excess_risk(problem, Absolute()) == pytest.approx(wanted, rel=0.02)
    weights, intercept = as_affine(LinearRegression().fit(*problem.labelled(20)), 3)
    assert problem.excess_risk((weights, intercept)) == pytest.approx(problem.excess_risk(LinearRegression().fit(*problem.labelled(20))))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 10), st.floats(0.01, 50))
def test_truncated_loss_is_the_integral(variance, bound):
    from scipy.integrate import quad
    from scipy.stats import norm

    wanted = (
        2
        * quad(
            lambda e: min(e * e, bound) * norm.pdf(e, scale=variance**0.5),
            0,
            12 * variance**0.5,
            points=[min(bound**0.5, 11 * variance**0.5)],
        )[0]
    )
    assert expected_loss(variance, "truncated", bound) == pytest.approx(wanted, rel=1e-6)
    assert expected_loss(variance, "truncated", bound) <= min(variance, bound) + 1e-12


def test_streams_do_not_meet_each_other_nor_a_users_seed():
    """numpy takes [s, 0] for s: a user's generator of the same seed must not draw the hidden directions."""
    for seed in (0, 1, 7):
        problem = FactorProblem(d=12, r=2, strength=2.0, seed=seed)
        guess = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 3)))[0]
        assert np.linalg.norm(guess[:, :2].T @ problem.b, 2) < 1.35
        assert not np.allclose(problem.unlabelled(3), problem.labelled(3)[0])
        assert np.array_equal(problem.unlabelled(3), problem.unlabelled(3))
        assert not np.array_equal(problem.unlabelled(3), problem.unlabelled(3, rng=seed))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FactorProblem(3, 3), "r=3"),
        (lambda: FactorProblem(3, 1, strength=-1.0), "strength"),
        (lambda: FactorProblem(9, 4, strength=(1.0, 2.0, 3.0)), "strength"),
        (lambda: FactorProblem(3, 1, sigma=np.nan), "sigma"),
        (lambda: FactorProblem(3, 1, through_noise=1.5), "through_noise"),
        (lambda: ContrastiveProblem(2, 3), "r=3"),
        (lambda: MixtureProblem(2, 1), "n_components=1"),
        (lambda: MixtureProblem(2, 3, n_classes=4), "n_classes=4"),
        (lambda: MixtureProblem(2, 3, flip=0.5), "flip"),
        (lambda: FactorProblem(3, 1).unlabelled(0), "m=0"),
        (lambda: FactorProblem(3, 1).excess_risk(np.ones(4)), "shape"),
    ],
)
def test_refusals_name_the_argument(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_pretraining_finds_what_labels_alone_do_not():
    problem = FactorProblem(d=40, r=2, strength=3.0, seed=0)
    model = PretrainedEstimator(FactorPretrainer(2), Ridge(1.0)).fit_unlabelled(problem.unlabelled(4_000))
    x, y = problem.labelled(30)
    assert problem.excess_risk(model.fit(x, y)) < 0.5 * problem.excess_risk(Ridge(1.0).fit(x, y))
