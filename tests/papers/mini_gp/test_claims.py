"""The claims: their trials measure what they say, and a method that stops being one changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Claim, Trial, Verdict, baseline
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.workloads.arms import Arms

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("workingpapers.papers.mini_gp.claims", reason="needs the extra optimisation")
claims = importlib.import_module("workingpapers.papers.mini_gp.claims")


def better(claim: Claim) -> dict[str, str]:
    facts = load_catalogue().find("mini_gp").facts.claim(claim.id)
    return {facts.metric: facts.better} | {m.name: m.better for m in facts.metrics}


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("mini_gp").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
        assert any(a.role in ("control", "peer") for a in claim.arms.values())


def test_row_by_row_is_the_posterior_of_every_row() -> None:
    rows = claims.Repeats(300, 15).load(np.random.default_rng(0))
    for a, b in zip(claims.row_by_row(rows), claims.sklearn_on_rows(rows)):
        np.testing.assert_allclose(a, b, atol=1e-9)
    for a, b in zip(claims.collapsed(rows), claims.gpytorch_on_rows(rows)):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_exactness_check_fails_for_a_posterior_that_forgets_the_counts() -> None:
    def forgetful(rows: Any) -> Any:
        points, which = np.unique(rows.x, axis=0, return_inverse=True)
        averages = np.bincount(which.reshape(-1), weights=rows.y) / np.bincount(which.reshape(-1))
        return claims.UniqueGP(claims.RBF(rows.length_scale), rows.noise).add_many(points, averages).posterior(rows.queries)

    claim = claims.collapsed_posterior
    broken = replace(
        claim,
        arms={**claim.arms, "collapsed": replace(claim.arms["collapsed"], target=forgetful)},
        parts=[p for p in claim.parts if p.name == "difference_from_full"],
    )
    decided = broken.decide(broken.try_all("smoke", seeds=3))
    assert decided.headline is not None
    assert decided.headline.verdict is Verdict.FAILS


def test_regret_counts_what_was_played() -> None:
    claim = claims.regret_preserved
    point = Arms(30, 100)
    given = claim.parts[0].function(Trial(claim=claim.id, seed=1, point=point, scale="smoke", arm=claim.arms["random arms"]))
    problem = point.load(Trial(claim=claim.id, seed=1, point=point, scale="smoke", arm=claim.arms["random arms"]).rng)
    assert given["regret"] == pytest.approx(problem.optimum - problem.rewards.mean(), abs=0.6)
    assert given["switches"] > 80


@pytest.mark.slow
def test_with_the_baseline_in_its_place_the_method_no_longer_saves_switches() -> None:
    claim = claims.regret_preserved
    names = ("mini-GP-UCB", "GP-UCB")

    def verdict(arms: Any) -> dict[str, Verdict]:
        part = replace(claim.parts[0], arms=names, points=replace(claim.parts[0].points, values={"smoke": [Arms(60, 200)]}))
        tried = replace(claim, arms={**claim.arms, **arms}, parts=[part])
        checks = tried.decide(tried.try_all("smoke", seeds=6, better=better(claim))).checks
        return {c.rule: c.verdict for c in checks}

    rule = "switches of mini-GP-UCB / GP-UCB < 1"
    assert verdict({})[rule] is Verdict.HOLDS
    fake = replace(claim.arms["GP-UCB"], name="mini-GP-UCB", role="method")
    assert verdict({"mini-GP-UCB": fake})[rule] is not Verdict.HOLDS
    assert baseline(int).role == "baseline"


def test_switch_cost_counts_evaluations_and_priced_switches() -> None:
    claim = claims.switch_cost
    point = claims.Priced(Arms(40, 400), 7)
    for name, arm in claim.arms.items():
        given = claim.parts[0].function(Trial(claim=claim.id, seed=0, point=point, scale="smoke", arm=arm))
        assert given["cost"] == given["evaluations"] + 7 * given["switches"]
        assert given["missed"] == 1.0 or given["evaluations"] < 400, name
    assert point.budget == 400
    assert "7" in point.label


def test_bound_is_reported_for_every_arm() -> None:
    claim = claims.switch_bound
    for arm in claim.arms.values():
        given = claim.parts[0].function(Trial(claim=claim.id, seed=0, point=Arms(30, 200), scale="smoke", arm=arm))
        assert given["switches_over_bound"] == pytest.approx(given["switches"] / given["bound"])
    with_random = claim.parts[0].function(Trial(claim=claim.id, seed=0, point=Arms(5, 2_000), scale="small", arm=claim.arms["random arms"]))
    assert with_random["switches_over_bound"] > 1
