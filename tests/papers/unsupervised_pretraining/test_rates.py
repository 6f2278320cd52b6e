"""Exponents, the additive law, the bound, and distances between models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, ortho_group
from sklearn.linear_model import LogisticRegression

from workingpapers.papers.unsupervised_pretraining import (
    ContrastivePretrainer,
    ContrastiveProblem,
    FactorPretrainer,
    FactorProblem,
    MixturePretrainer,
    MixtureProblem,
    additive_fit,
    bound,
    hellinger_gaussians,
    informative_ratio,
    kappa_curve,
    rate_fit,
    select_size,
    tv_lower_bound,
)
from workingpapers.papers.unsupervised_pretraining._informative import best_rotation, joint_covariance, tv_gaussians


@settings(max_examples=30, deadline=None)
@given(st.floats(-2, 1), st.floats(0.01, 100))
def test_exact_power_laws_are_found(slope, constant):
    x = np.geomspace(10, 1_000, 5)
    fit = rate_fit(x, constant * x**slope)
    assert fit.slope == pytest.approx(slope, abs=1e-9)
    assert fit.constant == pytest.approx(constant, rel=1e-9)
    assert fit.lo <= fit.slope <= fit.hi


def test_interval_of_a_slope_holds_the_truth():
    rng, x, held = np.random.default_rng(0), np.geomspace(10, 1_000, 5), 0
    for i in range(200):
        fit = rate_fit(x, x**-0.5 * np.exp(0.3 * rng.standard_normal((25, 5))), bootstrap=400, seed=i)
        held += fit.lo <= -0.5 <= fit.hi
    assert 180 <= held <= 200  # 95 % promised


def test_a_faster_fall_is_no_contradiction():
    fit = rate_fit([10, 100, 1_000], [1.0, 0.1, 0.01])
    assert "faster than the upper bound" in fit.against(-0.5)
    assert "slower" in rate_fit([10, 100, 1_000], [1.0, 0.9, 0.8]).against(-0.5)
    assert "in line" in rate_fit([10, 100, 1_000], [1.0, 0.3, 0.1]).against(-0.5)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(-1.5, -0.4), st.floats(-1.5, -0.4), st.floats(-2, 2), st.integers(0, 1_000))
def test_both_terms_are_found(p, q, balance, seed):
    m, n = np.geomspace(100, 10_000, 5), np.geomspace(10, 1_000, 5)
    clean = np.exp(balance) * (m[:, None] / 1_000) ** p + (n / 100) ** q
    fit = additive_fit(m, n, clean)
    assert fit.misfit < 1.001
    assert (fit.p, fit.q) == (pytest.approx(p, abs=0.02), pytest.approx(q, abs=0.02))
    noisy = additive_fit(m, n, clean * np.exp(0.05 * np.random.default_rng(seed).standard_normal(clean.shape)))
    assert noisy.misfit < 1.4


def test_the_window_is_where_the_term_rules():
    m, n = np.geomspace(100, 100_000, 7), np.geomspace(10, 10_000, 5)
    fit = additive_fit(m, n, 100 / m[:, None] + 1 / n)
    window = fit.window(m, 1_000)
    assert window.tolist() == [True] * 5 + [False] * 2  # 100/m >= 0.9 (100/m + 0.001) up to about m = 11,000


def test_bound_is_that_of_the_abstract():
    made = bound(MixtureProblem(d=10, n_components=4), m=1_000, n=100, kappa=2.0, loss_bound=3.0)
    assert made.m_term == pytest.approx(2 * 3 * np.sqrt(40 / 1_000))
    assert made.n_term == pytest.approx(3 * np.sqrt(4 / 100))
    assert made.supervised == pytest.approx(3 * np.sqrt(40 / 100))
    assert made.pretrained == made.m_term + made.n_term


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rate_fit([1], [1]), "two different"),
        (lambda: rate_fit([1, 2], [1, 0]), "y must be finite and above 0"),
        (lambda: rate_fit([1, 2], [1, 2, 3]), "y has shape"),
        (lambda: additive_fit([1, 2], [1, 2], np.ones((2, 2))), "three amounts"),
        (lambda: additive_fit([1, 2, 3], [1, 2, 3], np.zeros((3, 3))), "above 0"),
        (lambda: bound(FactorProblem(3, 1), 0, 5), "m=0"),
        (lambda: kappa_curve(FactorProblem(3, 1), []), "radii is empty"),
        (lambda: informative_ratio(FactorProblem(3, 1), FactorProblem(4, 1)), "one kind and one size"),
        (lambda: informative_ratio(FactorProblem(3, 1), ContrastiveProblem(3, 1)), "one kind and one size"),
        (lambda: informative_ratio(MixtureProblem(3, 2), MixtureProblem(3, 2)), "no distance"),
        (lambda: tv_lower_bound(np.zeros((20, 2)), np.zeros((20, 3))), "same columns"),
        (lambda: select_size(FactorPretrainer(), np.eye(5), []), "sizes is empty"),
    ],
)
def test_refusals_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---------------------------------------------------------------- distances


@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 5), st.floats(0.2, 5))
def test_distances_of_normals_are_the_integrals(a, b):
    def density(v):
        return lambda x: norm.pdf(x, scale=v**0.5)

    affinity = 2 * quad(lambda x: np.sqrt(density(a)(x) * density(b)(x)), 0, 40)[0]
    assert hellinger_gaussians(np.array([[a]]), np.array([[b]])) ** 2 == pytest.approx(1 - affinity, abs=1e-6)
    crossing = np.sqrt(np.log(b / a) / (1 / a - 1 / b)) if a != b else 1.0
    tv = abs(2 * norm.cdf(crossing, scale=a**0.5) - 2 * norm.cdf(crossing, scale=b**0.5))
    found = tv_gaussians(np.array([[a]]), np.array([[b]]), 40_000)
    assert found == pytest.approx(tv, abs=0.01)
    h = hellinger_gaussians(np.array([[a]]), np.array([[b]]))
    assert h**2 - 1e-9 <= tv <= np.sqrt(2) * h + 1e-9


def test_rotation_is_undone_and_steps_improve_on_procrustes():
    rng = np.random.default_rng(0)
    problem = FactorProblem(d=8, r=3, strength=(3.0, 0.5), seed=0)
    turned = problem.b @ ortho_group.rvs(3, random_state=1)
    q = best_rotation(problem.b, np.ones(8), turned, np.ones(8))
    assert np.allclose(turned @ q, problem.b, atol=1e-6)
    other = turned + 0.5 * rng.standard_normal(turned.shape)
    u, _, vt = np.linalg.svd(other.T @ problem.b)
    target = joint_covariance(problem.b, np.ones(8))

    def distance(rotation):
        return hellinger_gaussians(target, joint_covariance(other @ rotation, np.ones(8)))

    found = distance(best_rotation(problem.b, np.ones(8), other, np.ones(8)))
    assert found <= distance(u @ vt) + 1e-12
    assert found <= min(distance(ortho_group.rvs(3, random_state=i)) for i in range(200)) + 1e-12


def test_transformations_do_not_count_and_the_joint_law_is_never_closer():
    """Data processing: forgetting z cannot bring two laws apart, so every ratio is at least 1."""
    factors = FactorProblem(d=8, r=2, strength=2.0, seed=0)
    groups = MixtureProblem(d=5, n_components=4, separation=4.0, seed=0)
    pairs = ContrastiveProblem(d=6, r=2, seed=0)
    for problem, fitted in (
        (factors, FactorPretrainer(2).fit(factors.unlabelled(2_000))),
        (groups, MixturePretrainer(4, random_state=0).fit(groups.unlabelled(2_000))),
        (pairs, ContrastivePretrainer(dim=2).fit(*pairs.unlabelled(5_000))),
    ):
        found = informative_ratio(problem, fitted)
        assert found.ratio >= 0.95
        assert found.ratio == pytest.approx(found.joint / found.observed)
        assert found.joint < 0.6
    bounds = informative_ratio(factors, FactorPretrainer(2).fit(factors.unlabelled(2_000)))
    assert bounds.joint_bounds is not None
    assert bounds.joint_bounds[0] <= bounds.joint <= bounds.joint_bounds[1]


def test_kappa_grows_as_causes_fade():
    by_strength = [kappa_curve(FactorProblem(d=10, r=2, strength=s, seed=0), [0.2], tries=6).kappa for s in (4.0, 0.5, 0.05)]
    by_separation = [kappa_curve(MixtureProblem(d=5, n_components=3, separation=s, seed=0), [0.3], tries=6).kappa for s in (6.0, 2.0, 0.5)]
    by_agreement = [kappa_curve(ContrastiveProblem(d=8, r=2, strength=s, seed=0), [0.1], tries=6).kappa for s in (1.0, 0.2, 0.02)]
    for path in (by_strength, by_separation, by_agreement):
        assert path[0] < path[1] < path[2]
        assert path[0] >= 0.95


def test_classifier_bound_lies_below_the_distance():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4_000, 2)), rng.standard_normal((4_000, 2)) + np.array([1.0, 0.0])
    truth = 2 * norm.cdf(0.5) - 1
    found = tv_lower_bound(a, b, classifier=LogisticRegression())
    assert found.lo <= truth
    assert found.value == pytest.approx(truth, abs=0.05)
    assert tv_lower_bound(a[:2_000], a[2_000:], classifier=LogisticRegression()).lo < 0.05
