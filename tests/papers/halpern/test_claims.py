"""The claims: their trials measure what they say, and a method that stops being one changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Claim, Trial
from workingpapers.papers.catalogue import load_catalogue

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("workingpapers.papers.halpern.claims", reason="needs the extra optimisation")
claims = importlib.import_module("workingpapers.papers.halpern.claims")
tuning = importlib.import_module("workingpapers.papers.halpern._tune")
problems = importlib.import_module("workingpapers.papers.halpern._problems")


def attempt(claim: Claim, arm: str, point: Any, seed: int = 0, part: int = 0) -> dict[str, float]:
    trial = Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm])
    return dict(claim.parts[part].function(trial))


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("halpern").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
    assert all(any(a.role == "control" for a in c.arms.values()) for c in made if c.id != "residual-certificate")


def test_problems_are_as_published() -> None:
    game = problems.PolicemanBurglar(6).load(np.random.default_rng(0)).F
    w = np.abs(np.random.default_rng(0).standard_normal(6))
    assert game.A[4, 1] == pytest.approx(w[4] * (1 - np.exp(-2.4)))
    qp = problems.OuyangXu(4).load(np.random.default_rng(0))
    A = np.array([[0, 0, -1, 1], [0, -1, 1, 0], [-1, 1, 0, 0], [1, 0, 0, 0]]) / 4
    x, y = np.arange(4.0), np.array([1.0, -1.0, 2.0, 0.0])
    wanted = np.r_[2 * A.T @ A @ x - [0, 0, 0, 0.25] - A.T @ y, A @ x - 0.25]
    np.testing.assert_allclose(qp.F.full(np.r_[x, y]), wanted, atol=1e-15)
    np.testing.assert_array_equal(qp.u0, np.full(8, 0.25))


@pytest.mark.slow
def test_a_missed_target_counts_with_the_whole_budget() -> None:
    given = attempt(claims.matrix_game, claims.PLAIN, problems.PolicemanBurglar(10))
    assert given["missed"] == 1.0
    assert given["calls"] == claims.GAME_PASSES["smoke"] * 10


def test_every_arm_is_tuned_over_the_same_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spy(F: Any, u0: Any, G: Any, name: str, factors: Any, *rest: Any, **options: Any) -> Any:
        seen[name] = factors
        return tuning.Tuning(1.0, (tuning.Row(1.0, 5, False, 1.0),), None)

    monkeypatch.setattr(claims, "tune", spy)
    for arm in claims.matrix_game.arms:
        attempt(claims.matrix_game, arm, problems.PolicemanBurglar(10))
    assert len(seen) == 5
    assert len({tuple(f) for f in seen.values()}) == 1


@pytest.mark.slow
def test_recomputation_sees_a_wrong_residual() -> None:
    problem = problems.PolicemanBurglar(8).load(np.random.default_rng(1))
    found = claims.solve(problem.F, problem.u0, problem.G, "vr_halpern_pp", tol=1e-2, seed=0)
    assert claims.recomputed(problem, found.u) == pytest.approx(found.residual, abs=1e-12)
    assert abs(claims.recomputed(problem, found.u + 1e-3) - found.residual) > 1e-6


@pytest.mark.slow
def test_the_saving_is_gone_when_the_method_looks_at_every_term() -> None:
    claim = claims.sqrt_n_saving
    whole = replace(claim.arms[claims.PAGE], options={"name": "vr_halpern", "full_prob": 1.0})
    for arm, above in ((claim.arms[claims.PAGE], True), (whole, False)):
        given = claim.parts[0].function(Trial(claim=claim.id, seed=0, point=problems.Subspaces(256), scale="smoke", arm=arm))
        assert (given["saving"] > 1.5) is above
