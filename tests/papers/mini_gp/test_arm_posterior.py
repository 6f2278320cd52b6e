"""The posterior kept up to date on arms against the same posterior computed afresh."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF

from workingpapers.papers.mini_gp import UniqueGP, _arms
from workingpapers.papers.mini_gp._arms import ArmPosterior
from workingpapers.papers.mini_gp._kernels import as_covariance

KERNEL, NOISE = RBF(0.3), 0.05


def pair(mean: Any, arms: int = 80) -> tuple[ArmPosterior, UniqueGP, np.random.Generator]:
    rng = np.random.default_rng(0)
    x = rng.random((arms, 3))
    return ArmPosterior(as_covariance(KERNEL), x, NOISE, mean), UniqueGP(KERNEL, NOISE, mean), rng


def agree(kept: ArmPosterior, afresh: UniqueGP, tolerance: float = 1e-8) -> None:
    mean, var = afresh.posterior(kept.arms)
    np.testing.assert_allclose(kept.average_, mean, atol=tolerance)
    np.testing.assert_allclose(kept.var, var, atol=tolerance)
    assert kept.logdet == pytest.approx(afresh.logdet(), abs=1e-7)


@pytest.mark.parametrize("mean", ["zero", "constant"])
@pytest.mark.parametrize("refresh", [7, 1_000_000])
def test_any_sequence_of_observations(mean: Any, refresh: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arms, "REFRESH", refresh)
    kept, afresh, rng = pair(mean)
    for _ in range(400):
        arm, n, average, squares = int(rng.integers(40)), int(rng.integers(1, 5)), float(rng.normal()), float(rng.random())
        kept.observe(arm, n, average, squares)
        afresh.add_stats(kept.arms[arm], n, average, squares)
    agree(kept, afresh)
    assert kept.squares[: kept.q].sum() == pytest.approx(afresh.within_squares)


@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_a_point_outside_the_set_counts(mean: Any) -> None:
    kept, afresh, rng = pair(mean)
    for step in range(60):
        arm = kept.append_arm(rng.random(3)) if step % 20 == 5 else int(rng.integers(len(kept.arms)))
        average = float(rng.normal())
        kept.observe(arm, 2, average)
        afresh.add_stats(kept.arms[arm], 2, average)
        agree(kept, afresh)


@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_hallucinated_evaluations_shrink_the_variance_at_once_and_the_mean_when_told(mean: Any) -> None:
    kept, afresh, rng = pair(mean)
    for arm in range(10):
        kept.observe(arm, 3, float(arm))
        afresh.add_stats(kept.arms[arm], 3, float(arm))
    still = kept.average_.copy()
    arms = [int(a) for a in rng.integers(30, size=25)]
    guesses = []
    for arm in arms:
        guesses.append(float(kept.average_[arm]))
        kept.hallucinate(arm)
    np.testing.assert_array_equal(kept.average_, still)
    values = rng.normal(size=25).tolist()
    for arm, value in zip(arms, values):
        afresh.add(kept.arms[arm], value)
    np.testing.assert_allclose(kept.var, afresh.posterior(kept.arms)[1], atol=1e-9)
    kept.fulfil(arms, guesses, values)
    agree(kept, afresh)


def test_draws_have_the_moments_of_the_joint_posterior() -> None:
    kept, afresh, rng = pair("zero", 12)
    for arm in (1, 5, 7):
        kept.observe(arm, 2, float(arm) / 5)
        afresh.add_stats(kept.arms[arm], 2, float(arm) / 5)
    draws = np.array([kept.sample(rng) for _ in range(20_000)])
    mean, covariance = afresh.joint_posterior(kept.arms)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05)


def test_joint_draws_of_too_many_arms_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arms, "THOMPSON_LIMIT", 10)
    kept, _, rng = pair("zero", 11)
    with pytest.raises(ValueError, match="fewer arms"):
        kept.sample(rng)


def test_a_million_evaluations_of_one_arm_stay_exact() -> None:
    kept, afresh, _ = pair("zero")
    for n in (1, 10, 1_000, 1_000_000):
        before = kept.var[3]
        kept.observe(3, n, 0.5)
        afresh.add_stats(kept.arms[3], n, 0.5)
        assert kept.var[3] == pytest.approx(before / (1 + n * before / NOISE), rel=1e-12)
    agree(kept, afresh)
