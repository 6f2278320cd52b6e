"""The five words of a verdict, and the checks it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Verdict(StrEnum):
    """What happened here, at this scale."""

    HOLDS = "holds"
    PARTLY = "partly"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Check:
    """One leaf of a rule with what was measured for it.

    Attributes:
        name: short text that names the leaf, unique within its rule.
        rule: the leaf in words, threshold included.
        kind: `compare`, `not-worse`, `within`, `slope`, `exact` or `bound`.
        estimate: ratio, difference, value, slope; for `exact` and `bound` the worst value seen. None when nothing was measured.
        interval: 95 % interval of the estimate; None for `exact` and `bound`, and under 3 seeds.
        threshold: the number the interval is held against, or a band (lo, hi).
        better: the side on which the check holds.
        scale: `log` for ratios, `linear` otherwise: how a ruler should draw it.
        n_seeds: how many seeds stand behind the estimate.
        counts: for `exact` and `bound`, (trials that agree, trials).
        group: the nodes of the rule above this leaf, outermost first.
        decides: whether the verdict hangs on it; checks set aside are shown beside the verdict.
        reason: why it is inconclusive, when something other than a straddling interval made it so.
        also: other intervals worth showing, such as the bootstrap's.
    """

    name: str
    rule: str
    kind: str
    verdict: Verdict
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | tuple[float, float] | None = None
    better: Literal["lower", "higher", "inside"] = "lower"
    scale: Literal["linear", "log"] = "linear"
    n_seeds: int = 0
    counts: tuple[int, int] | None = None
    headline: bool = False
    group: tuple[str, ...] = ()
    decides: bool = True
    reason: str = ""
    metric: str = ""
    point: str | None = None
    also: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """A verdict and every check behind it; one check is the headline."""

    verdict: Verdict
    checks: tuple[Check, ...]
    reason: str = ""

    @property
    def headline(self) -> Check | None:
        """The check whose estimate stands for the claim: the marked one, else the first."""
        return next((c for c in self.checks if c.headline), self.checks[0] if self.checks else None)
