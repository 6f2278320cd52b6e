"""The language in which a claim is written: arms, workload points, trials, rules, verdicts and their statistics.

A claim is one decorated function that tries one arm once; everything that can be compared is declared above it.

>>> from workingpapers.claims import at, baseline, claim, control, headline, method, ratio, all_of
>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Numbers(Workload):
...     n: int
...     def load(self, rng):
...         return rng.normal(size=self.n)
>>> @claim("mean-beats-first",
...        arms={"mean": method(lambda x: x.mean()), "median": baseline(lambda x: sorted(x)[len(x) // 2]),
...              "first": control(lambda x: x[0])},
...        points=[Numbers(100)], seeds=20,
...        rule=all_of(headline(ratio("error", "mean", "first") < 0.5)))
... def mean_beats_first(trial):
...     return {"error": abs(trial.arm.build(trial.point.load(trial.rng))) + 1e-9}
>>> mean_beats_first.decide(mean_beats_first.try_all("smoke")).verdict
<Verdict.HOLDS: 'holds'>
"""

from ._language import (
    Arm,
    ArmSpec,
    ByScale,
    Claim,
    ClaimError,
    Part,
    Role,
    Scale,
    at,
    baseline,
    claim,
    control,
    method,
    peer,
)
from ._results import Measurement, Results
from ._rules import (
    Rule,
    RuleError,
    all_of,
    aside,
    bound,
    difference,
    each_of,
    each_point,
    exact,
    headline,
    majority,
    majority_of_points,
    not_worse,
    ratio,
    slope,
    value,
    within,
)
from ._statistics import Interval, bca_interval, log_log_slope, t_interval
from ._timer import SideBySide, Timing, side_by_side
from ._trial import TimedTrial, Trial
from ._verdict import Check, Decision, Verdict
from ._workload import Untested, Workload, untested

__all__ = [
    "Arm", "ArmSpec", "ByScale", "Check", "Claim", "ClaimError", "Decision", "Interval", "Measurement", "Part", "Results",
    "Role", "Rule", "RuleError", "Scale", "SideBySide", "TimedTrial", "Timing", "Trial", "Untested", "Verdict", "Workload",
    "all_of", "aside", "at", "baseline", "bca_interval", "bound", "claim", "control", "difference", "each_of", "each_point", "exact",
    "headline", "log_log_slope", "majority", "majority_of_points", "method", "not_worse", "peer", "ratio", "side_by_side",
    "slope", "t_interval", "untested", "value", "within",
]
