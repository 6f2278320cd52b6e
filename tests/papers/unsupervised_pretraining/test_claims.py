"""The claims: trials measure what they say, and a method that stops being one changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from workingpapers.claims import Claim, Trial, Verdict
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.papers.unsupervised_pretraining import FactorProblem, MixtureProblem

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("workingpapers.papers.unsupervised_pretraining.claims", reason="needs the extra tabular")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
claims = importlib.import_module("workingpapers.papers.unsupervised_pretraining.claims")
arms = importlib.import_module("workingpapers.papers.unsupervised_pretraining._arms")


def trial(claim: Claim, arm: str, point: Any, seed: int = 0) -> Trial:
    return Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm])


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("unsupervised_pretraining").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
        assert any(a.role == "control" for a in claim.arms.values())


def test_arms_share_problem_rows_and_labels() -> None:
    point = claims.three_instances(10, 2, 4, 500, (20,))[0]
    seen = {}
    for name in (claims.METHOD, claims.RIDGE):
        t = trial(claims.advantage, name, point, seed=3)
        problem = point.load(t.rng)
        seen[name] = (problem, problem.unlabelled(5, t.rng_for("rows")).tobytes(), problem.labelled(5, t.rng_for("labels"))[1].tobytes())
    assert seen[claims.METHOD] == seen[claims.RIDGE]


def test_every_arm_learns_and_refuses_nothing() -> None:
    for point in claims.three_instances(10, 2, 4, 500, (40,)):
        for name, arm in claims.advantage.arms.items():
            given = claims.advantage.parts[0].function(trial(claims.advantage, name, point))
            if name.startswith("FactorAnalysis") and point.name == "pairs":
                assert given == {}
                continue
            assert given["excess_risk"] >= 0
            assert given["excess_risk"] == pytest.approx(given["excess_risk_40"])
            assert arm.role in ("method", "baseline", "peer", "control")


def test_baselines_are_tuned() -> None:
    """The head of every arm and the supervised models have something to choose: none is held to a default penalty."""
    factors, groups = FactorProblem(10, 2), MixtureProblem(10, 4)
    assert len(arms.tuned_head(factors).alphas) >= 10
    assert len(arms.tuned_head(groups).Cs) >= 5
    x, y = factors.labelled(30)
    fitted = clone(arms.tuned_linear(factors, None, 0)).fit(x, y)
    assert arms.ALPHAS.min() < fitted.alpha_ < arms.ALPHAS.max()  # the best lies inside what is tried


@pytest.mark.slow
def test_with_the_control_in_its_place_the_advantage_is_gone() -> None:
    claim = claims.advantage
    points = claims.three_instances(30, 2, 4, 2_000, (40,))
    names = tuple(n for n, a in claim.arms.items() if a.role != "peer")

    def verdict(method: Any) -> Verdict:
        part = replace(claim.parts[0], arms=names, points=replace(claim.parts[0].points, values={"smoke": points[:1]}))
        tried = replace(claim, arms={**claim.arms, claims.METHOD: method}, parts=[part])
        return tried.decide(tried.try_all("smoke", seeds=6)).verdict

    assert verdict(claim.arms[claims.METHOD]) is Verdict.HOLDS
    assert verdict(replace(claim.arms[claims.CONTROL], name=claims.METHOD, role="method")) is Verdict.FAILS


def test_slopes_come_from_the_risks_beside_them() -> None:
    claim = claims.rate
    given = claim.parts[0].function(trial(claim, claims.METHOD, claims.Growing("few", "factors", (5_000,), (20, 40, 80))))
    risks = [given[f"risk_at_{n}_labels"] for n in (20, 40, 80)]
    assert given["slope_over_labels"] == pytest.approx(np.polyfit(np.log([20, 40, 80]), np.log(risks), 1)[0])
    rows = claim.part("rate_over_rows").function(trial(claim, claims.METHOD, claims.Growing("few", "factors", (100, 400), (5_000,))))
    assert rows["slope_over_rows"] == pytest.approx(np.log(rows["risk_at_400_rows"] / rows["risk_at_100_rows"]) / np.log(4))


def test_fewer_rows_are_part_of_more_and_phase_one_sees_no_more() -> None:
    point = claims.Growing("few", "pairs", (300, 600), (50,))
    seen: list[int] = []

    def spy(problem: Any, rows: Any, seed: int) -> Any:
        seen.append(len(rows()[0]))
        return arms.pretrained(problem, rows, seed)

    t = trial(claims.rate, claims.METHOD, point)
    claims.table_of(replace(t, arm=replace(t.arm, target=spy)), repeats=1)
    assert seen == [300, 600]


def test_who_learns_from_labels_alone_draws_no_rows() -> None:
    """Rows of many inputs cost more than the fit; and an arm that has none cannot look at them."""

    def none() -> Any:
        raise AssertionError("rows were drawn")

    for problem in (FactorProblem(10, 2), MixtureProblem(10, 4)):
        for arm in (arms.tuned_linear, arms.plain_linear, arms.sparse_or_diagonal, arms.same_model_from_labels, arms.labels_alone):
            arm(problem, none, 0).fit(*problem.labelled(40))
        with pytest.raises(AssertionError, match="rows were drawn"):
            arms.pretrained(problem, none, 0)


def test_negative_control_shows_no_advantage() -> None:
    claim = claims.informative
    part = replace(
        claim.parts[0], arms=(claims.METHOD, claims.ALONE), points=replace(claim.parts[0].points, values={"smoke": claims.leaving(3)})
    )
    tried = replace(claim, parts=[part])
    decided = tried.decide(tried.try_all("smoke", seeds=6))
    found = {c.point: c for c in decided.checks}
    assert found[claims.ALL_Z].verdict is Verdict.HOLDS
    assert found[claims.NO_Z].verdict is Verdict.HOLDS
    assert found[claims.NO_Z].estimate is not None
    assert found[claims.NO_Z].estimate > 1
    assert "no advantage" in claims.negative_control(decided.checks)


def test_notes_say_where_and_upper_bound() -> None:
    from workingpapers.claims import Check

    lost = Check(
        name="x",
        rule=f"excess_risk of {claims.METHOD} / {claims.RIDGE} at groups < 1",
        kind="compare",
        verdict=Verdict.FAILS,
        estimate=1.2,
        interval=(1.1, 1.3),
        point="groups",
    )
    assert "groups against tuned linear model" in claims.where([lost])
    slope = Check(name="slope over labels, factors", rule="", kind="compare", verdict=Verdict.HOLDS, estimate=-1.0, interval=(-1.1, -0.9))
    assert "upper bound" in claims.upper_bound([slope])
    assert "Faster than claimed" in claims.upper_bound([slope])
