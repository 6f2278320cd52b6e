"""Nodes against a definition by brute force: what the verdict could still become once the open parts are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.claims import Check, Decision, Results, Rule, Verdict, all_of, aside, each_of, headline, majority, value

H, P, F, OPEN = Verdict.HOLDS, Verdict.PARTLY, Verdict.FAILS, Verdict.INCONCLUSIVE


@dataclass(frozen=True)
class Fixed(Rule):
    """A rule with a verdict given beforehand."""

    verdict: Verdict

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        return self.verdict, [Check(self.verdict, "", "compare", self.verdict, group=group)]

    def leaves(self) -> list[Any]:
        return []

    def words(self) -> str:
        return str(self.verdict)


EMPTY = Results([], [])


def verdict_of(node: Callable[..., Rule], parts: list[Verdict]) -> Verdict:
    return node(*(Fixed(v) for v in parts)).check(EMPTY)[0]


def by_definition(kind: str, parts: list[Verdict]) -> Verdict:
    """From the words of the design, for parts that hold, fail or are open."""
    if kind == "all_of":
        return F if F in parts else OPEN if OPEN in parts else H
    if kind == "each_of":  # holds when all do, fails when all do, partly once some hold and some fail, else open
        return H if set(parts) == {H} else F if set(parts) == {F} else P if {H, F} <= set(parts) else OPEN
    # majority: settled when every way to fill in the open parts gives the same answer to "do more than half hold?"
    ways = [list(way) for way in product((H, F), repeat=parts.count(OPEN))]
    answers = set()
    for way in ways:
        filled = [way.pop() if v is OPEN else v for v in parts]
        answers.add(2 * filled.count(H) > len(filled))
    if answers == {True}:
        return H
    if answers == {False}:
        return P if H in parts else F
    return OPEN


NODES = {"all_of": all_of, "each_of": each_of, "majority": majority}


@pytest.mark.parametrize("kind", NODES)
@given(parts=st.lists(st.sampled_from([H, F, OPEN]), min_size=1, max_size=7))
def test_nodes_follow_their_definition(kind: str, parts: list[Verdict]) -> None:
    assert verdict_of(NODES[kind], parts) == by_definition(kind, parts)


@pytest.mark.parametrize("kind", NODES)
@given(parts=st.lists(st.sampled_from([H, P, F, OPEN]), min_size=1, max_size=7), data=st.data())
def test_order_does_not_matter(kind: str, parts: list[Verdict], data: st.DataObject) -> None:
    assert verdict_of(NODES[kind], parts) == verdict_of(NODES[kind], data.draw(st.permutations(parts)))


@pytest.mark.parametrize("kind", NODES)
@given(parts=st.lists(st.sampled_from([H, F, OPEN]), min_size=1, max_size=6))
def test_what_is_settled_stays_settled(kind: str, parts: list[Verdict]) -> None:
    """Filling in an open part never turns a verdict that holds or fails into another."""
    before = verdict_of(NODES[kind], parts)
    if before in (H, F) and not (kind == "majority" and before is F):  # a majority that fails may yet hold in part
        for filled in product((H, F), repeat=parts.count(OPEN)):
            rest = iter(filled)
            assert verdict_of(NODES[kind], [next(rest) if v is OPEN else v for v in parts]) == before


@pytest.mark.parametrize(("parts", "wanted"), [
    ([H, H], (H, H, H)), ([H, F], (F, P, P)), ([F, F], (F, F, F)), ([H, OPEN], (OPEN, OPEN, OPEN)), ([F, OPEN], (F, OPEN, F)),
    ([H, H, F], (F, P, H)), ([H, F, F], (F, P, P)), ([H, H, OPEN], (OPEN, OPEN, H)), ([H, F, OPEN], (F, P, OPEN)),
    ([F, F, OPEN], (F, OPEN, F)), ([OPEN, OPEN, OPEN], (OPEN, OPEN, OPEN)), ([H, F, F, OPEN], (F, P, P)),
    ([P], (P, P, P)), ([P, H], (P, P, P)), ([P, F], (F, P, P)), ([P, OPEN], (OPEN, P, P)),
    ([P, H, H], (P, P, H)), ([P, F, F], (F, P, P))])
def test_truth_table(parts: list[Verdict], wanted: tuple[Verdict, Verdict, Verdict]) -> None:
    assert tuple(verdict_of(node, parts) for node in (all_of, each_of, majority)) == wanted


def test_nodes_nest_and_every_leaf_is_kept_with_the_nodes_above_it() -> None:
    tree = all_of(Fixed(H), each_of(Fixed(H), Fixed(F), over="baselines"), majority(Fixed(F), Fixed(H), Fixed(H)))
    verdict, checks = tree.check(EMPTY)
    assert verdict == P
    assert [c.verdict for c in checks] == [H, H, F, F, H, H]
    assert [c.group for c in checks] == [("all of",), *[("all of", "each of baselines")] * 2, *[("all of", "majority of")] * 3]


def test_the_headline_of_a_decision(table: Callable[..., Results]) -> None:
    rule = all_of(value("m", "a") < 9, headline(value("m", "b") < 9))
    verdict, checks = rule.check(table({"p": {"a": [1.0] * 3, "b": [2.0] * 3}}))
    found = Decision(verdict, tuple(checks)).headline
    assert found is not None
    assert found.estimate == 2.0
    assert Decision(H, ()).headline is None


@pytest.mark.parametrize("kind", NODES)
@given(parts=st.lists(st.sampled_from([H, P, F, OPEN]), min_size=1, max_size=5),
       beside=st.lists(st.sampled_from([H, P, F, OPEN]), min_size=1, max_size=4), at=st.integers(0, 5))
def test_asides_never_change_a_verdict_and_are_shown_last(kind: str, parts: list[Verdict], beside: list[Verdict], at: int) -> None:
    rules: list[Rule] = [Fixed(v) for v in parts]
    rules.insert(at, aside(*(Fixed(v) for v in beside), title="more"))
    verdict, checks = NODES[kind](*rules).check(EMPTY)
    assert verdict == verdict_of(NODES[kind], parts)
    assert [c.verdict for c in checks] == [*parts, *beside]
    assert [c.decides for c in checks] == [True] * len(parts) + [False] * len(beside)
    assert {c.group[1:] for c in checks if not c.decides} == {("more",)}


def test_a_first_aside_is_not_the_headline(table: Callable[..., Results]) -> None:
    rule = all_of(aside(value("m", "a") < 0), value("m", "b") < 9)
    verdict, checks = rule.check(table({"p": {"a": [1.0] * 3, "b": [2.0] * 3}}))
    decision = Decision(verdict, tuple(checks))
    assert (decision.verdict, decision.headline.metric, decision.headline.estimate) == (H, "m", 2.0)  # type: ignore[union-attr]
    assert [c.verdict for c in checks] == [H, F]
