"""The claims decide by what is measured: a method broken on purpose changes the verdict."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("sklearn")

from workingpapers.claims import Claim
from workingpapers.papers.anncur import claims
from workingpapers.papers.anncur.claims import BARE, LOO, IndexCost, cheapest, ks_within

BETTER = {"recall@10": "higher", "recall": "higher", "error@1": "lower", "rank99": "lower"}


def verdict(tried: Claim, seeds: int = 3) -> str:
    first = Claim(tried.id, tried.arms, tried.rule, tried.parts[:1], tried.module)
    return first.decide(first.try_all("smoke", seeds=seeds, better=BETTER)).verdict.value


def swapped(tried: Claim, a: str, b: str) -> Claim:
    """The claim with the doings of two arms exchanged."""
    arms = dict(tried.arms)
    arms[a], arms[b] = (replace(arms[x], target=arms[y].target, options=arms[y].options) for x, y in ((a, b), (b, a)))
    return replace(tried, arms=arms)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method", "baseline"), [("regularised_solver", LOO, BARE), ("emb_low_rank", "[EMB]", "[CLS]")]
)
def test_exchanging_method_and_baseline_overturns_the_verdict(name: str, method: str, baseline: str) -> None:
    tried: Claim = getattr(claims, name)
    broken = swapped(tried, method, baseline)
    assert verdict(tried, seeds=5) == "holds"
    assert verdict(broken, seeds=5) == "fails"
    same = replace(tried, arms={**tried.arms, method: replace(tried.arms[method], options=tried.arms[baseline].options)})
    assert verdict(same, seeds=5) != "holds"


def test_two_seeds_decide_nothing() -> None:
    assert verdict(claims.emb_low_rank, seeds=2) == "inconclusive"


def test_only_cells_count_that_leave_something_to_find() -> None:
    assert ks_within(50, 400) == [1, 10]
    assert ks_within(200, 400) == [1, 10, 50, 100]
    assert ks_within(250, 400) == []


def test_the_cheapest_index_lies_where_recall_crosses_the_target() -> None:
    assert cheapest([10.0, 20.0, 40.0], [0.2, 0.6, 0.9], 0.75) == pytest.approx(30.0)
    assert cheapest([10.0, 20.0], [0.5, 0.6], 0.4) == 10.0
    assert cheapest([10.0, 20.0], [0.5, 0.6], 0.6) == pytest.approx(20.0)


def test_points_of_a_claim_have_labels_of_their_own() -> None:
    every = (claims.recall_at_equal_cost, claims.cheaper_index, claims.emb_low_rank, claims.multi_round_anchors, claims.regularised_solver)
    for tried in every:
        for scale in ("smoke", "small", "full"):
            labels = [p.label for p in tried.points(scale)]  # type: ignore[arg-type]
            assert len(set(labels)) == len(labels)
    assert all(isinstance(p, IndexCost) for p in claims.cheaper_index.points("small"))
