"""A rule that asks a share of all pairs of a check and a workload point to hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from workingpapers.claims import Check, Results, Rule, RuleError, Verdict
from workingpapers.claims._rules import Leaf


@dataclass(frozen=True)
class _MostOfPoints(Rule):
    inside: tuple[Leaf, ...]
    share: float

    def words(self) -> str:
        return f"at least {100 * self.share:g} % of ({'; '.join(leaf.words() for leaf in self.inside)}), over the points"

    def leaves(self) -> list[Leaf]:
        return list(self.inside)

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        inner, found = (*group, f"{100 * self.share:g} % of points"), []
        for leaf in self.inside:
            tried = [{point for _, point in results.expected(leaf.metric, arm)} for arm in leaf.arms()]
            points = [p for p in results.points() if all(p in where for where in tried)]  # settings in which both were tried
            for k, point in enumerate(points):
                found.append(replace(leaf.at_point(point), is_headline=leaf.is_headline and k == 0).check(results, inner))
            if not points:
                found.append(leaf.check(results, inner))
        verdicts = [verdict for verdict, _ in found]
        holds, still_open = verdicts.count(Verdict.HOLDS), verdicts.count(Verdict.INCONCLUSIVE)
        wanted = math.ceil(self.share * len(found) - 1e-9)
        if holds >= wanted:
            verdict = Verdict.HOLDS
        elif holds + still_open >= wanted:
            verdict = Verdict.INCONCLUSIVE
        else:
            verdict = Verdict.PARTLY if holds else Verdict.FAILS
        return verdict, [check for _, checks in found for check in checks]


def most_of_points(*leaves: Leaf, share: float) -> Rule:
    """At least `share` of all pairs of a leaf and a workload point hold; partly when that can no longer be but some do.

    Raises:
        RuleError: no leaf, a leaf that speaks of one point already, or a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise RuleError(f"most_of_points: share is {share}, it must lie above 0 and not above 1")
    if not leaves or any(leaf.point is not None for leaf in leaves):
        raise RuleError("most_of_points needs leaves that speak of all points")
    return _MostOfPoints(leaves, share)
