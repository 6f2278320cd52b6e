"""The claims: their trials measure what they say, and a method that stops being one changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Claim, Measurement, Results, RuleError, Trial, Verdict, method, ratio
from workingpapers.claims._results import Planned
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.papers.topo import TOPO, Simulated, order_score, shd, simulate, topological_order
from workingpapers.papers.topo._rule import most_of_points
from workingpapers.parts.causal import is_dag

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("causallearn", reason="needs the extra causal")
claims = importlib.import_module("workingpapers.papers.topo.claims")


def attempt(claim: Claim, arm: str, point: Any, seed: int = 0, part: int = 0) -> dict[str, float]:
    trial = Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm])
    return claim.parts[part].function(trial)


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("topo").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
        assert any(a.role == "control" for a in claim.arms.values())


@pytest.mark.parametrize("arm", ["TOPO", "TOPO, published sizes", "DAGMA", "GOLEM", "BOSS", "sorted by variance", "random orders"])
def test_arms_answer_with_an_order_and_a_graph(arm: str) -> None:
    made = simulate(6, 7, rng=1)
    answer = claims.lower_score.arms[arm].build(made, 0)
    assert sorted(answer.order) == list(range(6))
    assert is_dag(answer.W)


def test_boss_finds_the_skeleton_of_a_sparse_graph() -> None:
    made = simulate(10, 9, n=3_000, rng=2)
    W = claims.boss(made, 0).W
    assert shd(made.B + made.B.T, W + W.T) <= 2


def test_a_solver_is_given_its_better_order() -> None:
    made = simulate(6, 12, rng=0)
    S, order = claims.gram(made.X), topological_order(made.B)
    right, wrong = np.zeros((6, 6)), np.zeros((6, 6))
    right[np.ix_(order, order)] = np.triu(np.ones((6, 6)), 1)
    wrong[np.ix_(order[::-1], order[::-1])] = np.triu(np.ones((6, 6)), 1)

    def solve(X: Any, lambda1: float, w_threshold: float) -> Any:
        return right if lambda1 == 0 else wrong

    answer = claims.solver(made, 0, solve, (0.1, 0.0))
    assert order_score(S, answer.order) == order_score(S, order) < order_score(S, order[::-1])
    np.testing.assert_array_equal(answer.W, wrong)  # its own graph is that of the published penalty


def test_a_method_that_only_draws_orders_fails_lower_score() -> None:
    claim = claims.lower_score
    lazy = replace(
        claim,
        arms={
            **claim.arms,
            "TOPO": replace(claim.arms["TOPO"], target=partial(claims.topo, no_large_search=0, size_small=1, size_large=1)),
        },
    )
    made = claims.Graph(10, 4)
    found = attempt(lazy, "TOPO", made)["over_true"]
    assert found > 1.05
    assert attempt(claim, "TOPO", made)["over_true"] <= 1.001


def test_the_certificate_fails_for_fits_that_stop_early() -> None:
    claim = claims.local_minimum
    early = replace(claim.arms["TOPO"], options={"size_small": 1, "size_large": 2, "no_large_search": 1})
    broken = replace(claim, arms={**claim.arms, "TOPO": early})
    decided = broken.decide(broken.try_all("smoke", seeds=6))
    assert decided.headline is not None
    assert decided.headline.verdict is Verdict.FAILS


def test_polish_that_raises_the_loss_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(W: Any, X: Any, **options: Any) -> TOPO:
        found = TOPO(init=W).fit(X)
        found.order_ = found.order_[::-1].copy()
        return found

    monkeypatch.setattr(claims, "polish", worse)
    assert attempt(claims.post_processing, "sorted by variance", claims.Graph(10, 4))["drop"] < 0


def test_descent_counts_every_scored_order() -> None:
    made = simulate(8, 16, rng=0)
    S, order = claims.gram(made.X), np.random.default_rng(0).permutation(8)
    losses, hits = claims.descent(S, order, claims.by_chance, 5, 200, np.random.default_rng(1))
    assert losses.shape == (200,)
    assert losses[0] == pytest.approx(order_score(S, order))
    assert (np.diff(losses) <= 0).all()
    assert len(set(np.flatnonzero(np.diff(losses)) % 5)) <= 5
    assert 0 <= hits <= 1


def test_points_carry_what_their_label_says() -> None:
    made = claims.Graph(10, 4, "ER", "exp", n=50).load(np.random.default_rng(0))
    assert isinstance(made, Simulated)
    assert made.X.shape == (50, 10)
    assert made.B.sum() == 40
    assert claims.Graph(5, 4).load(np.random.default_rng(0)).B.sum() == 10  # no more than there is room for


def table(ratios: dict[str, dict[str, float]]) -> Results:
    """Three seeds a point; arm a at the given ratio to arm b, with a little spread."""
    rows, plan = [], []
    for point, by_metric in ratios.items():
        for metric, r in by_metric.items():
            for seed in range(3):
                for arm, x in (("a", r * (1 + 0.001 * seed)), ("b", 1.0)):
                    rows.append(Measurement("f", arm, seed, point, metric, x))
                    plan.append(Planned("f", arm, seed, point, True))
    return Results(rows, plan, {}, {})


@pytest.mark.parametrize(
    ("values", "share", "verdict"),
    [
        ([0.5, 0.5, 0.5, 0.5, 2.0], 0.8, "holds"),
        ([0.5, 0.5, 0.5, 2.0, 2.0], 0.8, "partly"),
        ([2.0, 2.0], 0.8, "fails"),
        ([0.5, 0.999], 0.5, "holds"),
        ([0.5, 0.999], 0.8, "inconclusive"),
        ([2.0, 0.999], 0.5, "inconclusive"),
    ],
)
def test_most_of_points(values: list[float], share: float, verdict: str) -> None:
    rule = most_of_points(ratio("m", "a", "b") < 1, share=share)
    results = table({f"p{k}": {"m": v} for k, v in enumerate(values)})
    assert rule.check(results)[0] == verdict
    assert len(rule.check(results)[1]) == len(values)


def test_most_of_points_refuses_what_it_cannot_count() -> None:
    for bad in (
        lambda: most_of_points(share=0.5),
        lambda: most_of_points(ratio("m", "a", "b", point="p") < 1, share=0.5),
        lambda: most_of_points(ratio("m", "a", "b") < 1, share=0.0),
    ):
        with pytest.raises(RuleError):
            bad()
    assert method(TOPO).role == "method"
