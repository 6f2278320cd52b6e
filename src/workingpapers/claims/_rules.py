"""Rules: trees of checks. Leaves hold an interval against a threshold; nodes combine verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ._results import Results
from ._statistics import BOOTSTRAP_FROM, MIN_SEEDS, Interval, bca_interval, log_log_slope, t_interval
from ._verdict import Check, Verdict

Side = Literal["<", "<=", ">", ">="]
H, P, F, OPEN = Verdict.HOLDS, Verdict.PARTLY, Verdict.FAILS, Verdict.INCONCLUSIVE


class RuleError(ValueError):
    """A rule that cannot be read: an unknown arm or point, or a leaf without a threshold."""


@dataclass(frozen=True)
class Rule:
    """A node or a leaf. `check` gives its verdict and its leaves' checks in order."""

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        raise NotImplementedError  # abstract

    def leaves(self) -> list[Leaf]:
        raise NotImplementedError  # abstract

    def words(self) -> str:
        raise NotImplementedError  # abstract


# ---------------------------------------------------------------- leaves


@dataclass(frozen=True)
class Leaf(Rule):
    """What all leaves share: a metric, perhaps one point, perhaps the headline."""

    metric: str
    point: str | None = None
    name: str = ""
    is_headline: bool = False

    def at_point(self, point: str) -> Leaf:
        return replace(self, point=point)

    def arms(self) -> tuple[str, ...]:
        raise NotImplementedError  # abstract

    def leaves(self) -> list[Leaf]:
        return [self]

    def title(self) -> str:
        return (self.name or self.words()) + (f" at {self.point}" if self.point and self.name else "")

    def _at(self) -> str:
        return f" at {self.point}" if self.point else ""

    def _made(self, results: Results, group: tuple[str, ...], kind: str, **rest: Any) -> tuple[Verdict, list[Check]]:
        made = Check(name=self.title(), rule=self.words(), kind=kind, headline=self.is_headline, group=group,
                     metric=self.metric, point=self.point, **rest)
        return made.verdict, [made]

    def _pairs(self, results: Results) -> tuple[list[dict[tuple[int, str], float]], str]:
        """Values of each arm at the (seed, point) pairs this leaf is about, and what is missing, in words."""
        columns, missing = [], ""
        for arm in self.arms():
            values = {k: v for k, v in results.values(self.metric, arm).items() if self.point in (None, k[1])}
            expected = {k for k in results.expected(self.metric, arm) if self.point in (None, k[1])}
            gone = sorted(expected - set(values))
            bad = sorted(k for k, v in values.items() if not math.isfinite(v))
            if gone and not missing:
                missing = f"{len(gone)} of {len(expected)} trials of {arm} did not give {self.metric}"
            if bad and not missing:
                missing = f"{self.metric} of {arm} is not a finite number in {len(bad)} trials"
            if not expected and not values and not missing:
                missing = f"no trial of {arm} measures {self.metric}{self._at()}"
            columns.append(values)
        return columns, missing


def _by_seed(values: Mapping[tuple[int, str], float]) -> list[float]:
    """Mean over points within each seed: one independent number a seed."""
    seeds: dict[int, list[float]] = {}
    for (seed, _), v in sorted(values.items()):
        seeds.setdefault(seed, []).append(v)
    return [sum(v) / len(v) for v in seeds.values()]


def _judge(interval: tuple[float, float], side: Side, threshold: float) -> Verdict:
    """An interval that lies beyond the threshold holds, on the other side fails, else it is open."""
    lo, hi = interval
    match side:
        case "<":
            return H if hi < threshold else F if lo >= threshold else OPEN
        case "<=":
            return H if hi <= threshold else F if lo > threshold else OPEN
        case ">":
            return H if lo > threshold else F if hi <= threshold else OPEN
        case ">=":
            return H if lo >= threshold else F if hi < threshold else OPEN


@dataclass(frozen=True)
class _Interval(Leaf):
    """A leaf that turns one number a seed into an interval and holds it against a threshold."""

    side: Side | None = None
    threshold: float = math.nan
    kind: str = "compare"
    log = False

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        raise NotImplementedError  # abstract

    def __lt__(self, threshold: float) -> _Interval:
        return replace(self, side="<", threshold=float(threshold))

    def __le__(self, threshold: float) -> _Interval:
        return replace(self, side="<=", threshold=float(threshold))

    def __gt__(self, threshold: float) -> _Interval:
        return replace(self, side=">", threshold=float(threshold))

    def __ge__(self, threshold: float) -> _Interval:
        return replace(self, side=">=", threshold=float(threshold))

    def __bool__(self) -> bool:
        raise RuleError(f"`{self.words()}` was used as a truth value: write two leaves in all_of in place of a chain such as 0 < x < 1")

    def words(self) -> str:
        return f"{self.what()}{self._at()} {self.side} {self.threshold:g}" if self.side else f"{self.what()}{self._at()}"

    def what(self) -> str:
        raise NotImplementedError  # abstract

    def sided(self, results: Results) -> tuple[Side, float]:
        if self.side is None:
            raise RuleError(f"`{self.what()}` has no threshold: compare it with <, <=, > or >=")
        return self.side, self.threshold

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        side, threshold = self.sided(results)
        columns, missing = self._pairs(results)
        rest: dict[str, Any] = {"threshold": threshold, "better": "lower" if side in ("<", "<=") else "higher",
                                "scale": "log" if self.log else "linear"}
        try:
            values = self.seed_values(results, columns)
        except ValueError as error:
            return self._made(results, group, self.kind, verdict=OPEN, reason=missing or str(error), **rest)
        found, also = _estimate(values, self.log)
        rest |= {"n_seeds": len(values), "also": also}
        if found is None:
            few = f"{len(values)} seeds: an interval needs {MIN_SEEDS}"
            middle = sum(values) / len(values) if values else None
            if middle is not None and self.log:
                middle = math.exp(middle)
            return self._made(results, group, self.kind, verdict=OPEN, estimate=middle, reason=missing or few, **rest)
        verdict = OPEN if missing else _judge((found.lo, found.hi), side, threshold)
        return self._made(results, group, self.kind, verdict=verdict, estimate=found.estimate,
                          interval=(found.lo, found.hi), reason=missing, **rest)


def _estimate(values: list[float], log: bool) -> tuple[Interval | None, dict[str, Any]]:
    if len(values) < MIN_SEEDS:
        return None, {}
    back: Callable[[float], float] = math.exp if log else float
    found = Interval(*(back(v) for v in t_interval(values)))
    also: dict[str, Any] = {}
    if len(values) >= BOOTSTRAP_FROM:
        boot = bca_interval(values)
        also["bca"] = [back(boot.lo), back(boot.hi)]
    return found, also


@dataclass(frozen=True, eq=True)
class _Pair(_Interval):
    a: str = ""
    b: str = ""

    def arms(self) -> tuple[str, ...]:
        return (self.a, self.b)


@dataclass(frozen=True)
class _Ratio(_Pair):
    log = True

    def what(self) -> str:
        return f"{self.metric} of {self.a} / {self.b}"

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        a, b = columns
        for arm, column in zip(self.arms(), columns):
            for (seed, point), v in column.items():
                if v <= 0:
                    raise RuleError(f"a ratio needs positive values: {self.metric} of {arm} is {v:g} at seed {seed}, {point}")
        return _by_seed({k: math.log(a[k]) - math.log(b[k]) for k in a.keys() & b.keys()})


@dataclass(frozen=True)
class _Difference(_Pair):
    def what(self) -> str:
        return f"{self.metric} of {self.a} - {self.b}"

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        a, b = columns
        return _by_seed({k: a[k] - b[k] for k in a.keys() & b.keys()})


@dataclass(frozen=True)
class _NotWorseRatio(_Ratio):
    kind: str = "not-worse"
    margin: float = math.nan
    better: str = ""

    def sided(self, results: Results) -> tuple[Side, float]:
        return ("<=", self.margin) if _direction(self, results) == "lower" else (">=", 1 / self.margin)

    def words(self) -> str:
        return f"{self.metric} of {self.a} not worse than {self.b} by more than a factor {self.margin:g}{self._at()}"


@dataclass(frozen=True)
class _NotWorseDifference(_Difference):
    kind: str = "not-worse"
    by: float = math.nan
    better: str = ""

    def sided(self, results: Results) -> tuple[Side, float]:
        return ("<=", self.by) if _direction(self, results) == "lower" else (">=", -self.by)

    def words(self) -> str:
        return f"{self.metric} of {self.a} not worse than {self.b} by more than {self.by:g}{self._at()}"


def _direction(leaf: _NotWorseRatio | _NotWorseDifference, results: Results) -> str:
    better = leaf.better or results.better.get(leaf.metric, "")
    if better not in ("lower", "higher"):
        raise RuleError(f"not_worse on {leaf.metric}: say better='lower' or 'higher', here or among the claim's metrics in paper.toml")
    return better


@dataclass(frozen=True)
class _Value(_Interval):
    arm: str = ""
    geometric: bool = False

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def what(self) -> str:
        return f"{self.metric} of {self.arm}"

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        return _by_seed(columns[0])


@dataclass(frozen=True)
class _Slope(_Interval):
    kind: str = "slope"
    arm: str = ""
    x: str = ""
    at_least: float = -math.inf
    at_most: float = math.inf

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def what(self) -> str:
        return f"log-log slope of {self.metric} of {self.arm} over {self.x}"

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        seeds: dict[int, list[tuple[float, float]]] = {}
        for (seed, point), y in sorted(columns[0].items()):
            attributes = results.attributes.get(point, {})
            if self.x not in attributes:
                raise RuleError(f"slope over {self.x}: the point {point} has no number of that name")
            if self.at_least <= attributes[self.x] <= self.at_most:
                seeds.setdefault(seed, []).append((attributes[self.x], y))
        return [log_log_slope([p[0] for p in pairs], [p[1] for p in pairs]) for pairs in seeds.values()]


@dataclass(frozen=True)
class _Within(Leaf):
    arm: str = ""
    lo: float = -math.inf
    hi: float = math.inf

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def words(self) -> str:
        return f"{self.metric} of {self.arm} within [{self.lo:g}, {self.hi:g}]{self._at()}"

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        columns, missing = self._pairs(results)
        values = _by_seed(columns[0])
        rest: dict[str, Any] = {"threshold": (self.lo, self.hi), "better": "inside", "n_seeds": len(values)}
        if missing and not all(math.isfinite(v) for v in values):
            values = []
        found, also = _estimate(values, log=False)
        if found is None:
            few = f"{len(values)} seeds: an interval needs {MIN_SEEDS}"
            return self._made(results, group, "within", verdict=OPEN, reason=missing or few,
                              estimate=sum(values) / len(values) if values else None, **rest)
        if missing:
            verdict = OPEN
        elif self.lo <= found.lo and found.hi <= self.hi:
            verdict = H
        else:
            verdict = F if found.lo > self.hi or found.hi < self.lo else OPEN
        return self._made(results, group, "within", verdict=verdict, estimate=found.estimate,
                          interval=(found.lo, found.hi), reason=missing, also=also, **rest)


@dataclass(frozen=True)
class _Exact(Leaf):
    arm: str = ""
    expected: float | Mapping[str, float] = math.nan
    tolerance: float = 0.0

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def words(self) -> str:
        wanted = "the expected figure" if isinstance(self.expected, Mapping) else f"{self.expected:g}"
        return f"{self.metric} of {self.arm} equals {wanted}{self._at()} in every trial"

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        columns, missing = self._pairs(results)
        off = {k: abs(v - self._wanted(k[1])) for k, v in columns[0].items()}
        wrong = [k for k, gap in off.items() if not gap <= self.tolerance]
        worst = max(off, key=lambda k: math.inf if math.isnan(off[k]) else off[k], default=None)
        single = None if isinstance(self.expected, Mapping) and self.point is None else self._wanted(self.point or "")
        verdict = F if wrong else OPEN if missing or not off else H
        reason = missing if not wrong else f"{wrong[0][1]}: {columns[0][wrong[0]]:g} where {self._wanted(wrong[0][1]):g} is expected"
        return self._made(results, group, "exact", verdict=verdict, estimate=None if worst is None else columns[0][worst],
                          threshold=single, better="inside", counts=(len(off) - len(wrong), len(off)),
                          n_seeds=len({k[0] for k in off}), reason=reason)

    def _wanted(self, point: str) -> float:
        if not isinstance(self.expected, Mapping):
            return self.expected
        if point not in self.expected:
            raise RuleError(f"exact on {self.metric}: no figure is given for the point {point}")
        return self.expected[point]


@dataclass(frozen=True)
class _Bound(Leaf):
    arm: str = ""
    side: Side | None = None
    threshold: float = math.nan

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def __le__(self, threshold: float) -> _Bound:
        return replace(self, side="<=", threshold=float(threshold))

    def __ge__(self, threshold: float) -> _Bound:
        return replace(self, side=">=", threshold=float(threshold))

    def __lt__(self, threshold: float) -> _Bound:
        return replace(self, side="<", threshold=float(threshold))

    def __gt__(self, threshold: float) -> _Bound:
        return replace(self, side=">", threshold=float(threshold))

    def words(self) -> str:
        return f"{self.metric} of {self.arm} {self.side} {self.threshold:g}{self._at()} in every trial"

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        if self.side is None:
            raise RuleError(f"bound on {self.metric}: compare it with <, <=, > or >=")
        columns, missing = self._pairs(results)
        values = columns[0]
        broken = [k for k, v in values.items() if _judge((v, v), self.side, self.threshold) is not H]
        below = self.side in ("<", "<=")
        finite = [v for v in values.values() if not math.isnan(v)]
        worst = (max(finite) if below else min(finite)) if finite else None
        verdict = F if broken else OPEN if missing or not values else H
        return self._made(results, group, "bound", verdict=verdict, estimate=worst, threshold=self.threshold,
                          better="lower" if below else "higher", counts=(len(values) - len(broken), len(values)),
                          n_seeds=len({k[0] for k in values}), reason="" if broken else missing)


# ---------------------------------------------------------------- nodes


@dataclass(frozen=True)
class _Node(Rule):
    rules: tuple[Rule, ...]
    kind: Literal["all of", "each of", "majority of"]
    over: str = ""

    def words(self) -> str:
        return f"{self.kind} {self.over}".strip() if self.over else f"{self.kind} ({'; '.join(r.words() for r in self.rules)})"

    def leaves(self) -> list[Leaf]:
        return [leaf for rule in self.rules for leaf in rule.leaves()]

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        inner = (*group, f"{self.kind} {self.over}".strip())
        found = [rule.check(results, inner) for rule in self.rules]
        return _combine(self.kind, [v for v, _ in found]), [c for _, checks in found for c in checks]


@dataclass(frozen=True)
class _OverPoints(Rule):
    leaf: Leaf
    kind: Literal["all of", "each of", "majority of"]
    only: Callable[[str], bool] | None = None

    def words(self) -> str:
        return f"{self.leaf.words()}, {self.kind} the points"

    def leaves(self) -> list[Leaf]:
        return [self.leaf]

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        points = [p for p in results.points() if self.only is None or self.only(p)]
        if not points:
            return self.leaf.check(results, group)
        first, rest = self.leaf.at_point(points[0]), [replace(self.leaf, point=p, is_headline=False) for p in points[1:]]
        return _Node((first, *rest), self.kind, "points").check(results, group)


def _combine(kind: str, verdicts: list[Verdict]) -> Verdict:
    holds, fails, partly = (verdicts.count(v) for v in (H, F, P))
    n = len(verdicts)
    open_ = n - holds - fails - partly
    if kind == "all of":
        return F if fails else OPEN if open_ else P if partly else H
    if kind == "each of":
        if holds == n:
            return H
        if fails == n:
            return F
        return P if partly or (holds and fails) else OPEN
    if 2 * holds > n:
        return H
    if 2 * (holds + open_) > n:
        return OPEN
    return P if holds or partly else F


# ---------------------------------------------------------------- what claims are written with


def ratio(metric: str, a: str, b: str, *, point: str | None = None, name: str = "") -> _Ratio:
    """Ratio of a positive metric of arm `a` to arm `b`, paired by seed: the mean of log-ratios. Compare it with a number."""
    return _Ratio(metric, point, name, a=a, b=b)


def difference(metric: str, a: str, b: str, *, point: str | None = None, name: str = "") -> _Difference:
    """Mean difference of a metric, arm `a` minus arm `b`, paired by seed. Compare it with a number."""
    return _Difference(metric, point, name, a=a, b=b)


def value(metric: str, arm: str, *, point: str | None = None, name: str = "") -> _Value:
    """Mean of a metric of one arm over seeds. Compare it with a number."""
    return _Value(metric, point, name, arm=arm)


def not_worse(metric: str, a: str, b: str, *, margin: float | None = None, by: float | None = None, better: str = "",
              point: str | None = None, name: str = "") -> _NotWorseRatio | _NotWorseDifference:
    """Arm `a` is not worse than `b` by more than a factor `margin` (> 1), or than `by` (>= 0) in the metric's unit.

    Which side is worse comes from the metric's direction in paper.toml unless `better` says it.
    """
    if (margin is None) == (by is None):
        raise RuleError(f"not_worse on {metric}: give either margin (a factor) or by (a difference)")
    if margin is not None:
        if margin <= 1:
            raise RuleError(f"not_worse on {metric}: margin is {margin}, it must be above 1")
        return _NotWorseRatio(metric, point, name, a=a, b=b, margin=float(margin), better=better)
    assert by is not None
    if by < 0:
        raise RuleError(f"not_worse on {metric}: by is {by}, it must not be negative")
    return _NotWorseDifference(metric, point, name, a=a, b=b, by=float(by), better=better)


def within(metric: str, arm: str, lo: float, hi: float, *, point: str | None = None, name: str = "") -> _Within:
    """The interval of a metric's mean lies in the band [lo, hi]."""
    if not lo <= hi:
        raise RuleError(f"within on {metric}: the band [{lo}, {hi}] is empty")
    return _Within(metric, point, name, arm=arm, lo=float(lo), hi=float(hi))


def slope(metric: str, arm: str, x: str, *, at_least: float = -math.inf, at_most: float = math.inf, name: str = "") -> _Slope:
    """Log-log slope of a metric over the number `x` that each workload point carries. Compare it with a number.

    One slope a seed, so the interval speaks of seeds. `at_least` and `at_most` cut the range of x.
    """
    return _Slope(metric, None, name, arm=arm, x=x, at_least=at_least, at_most=at_most)


def exact(metric: str, arm: str, expected: float | Mapping[str, float], *, tolerance: float = 0.0, point: str | None = None,
          name: str = "") -> _Exact:
    """Every trial gives `expected` (one number, or one for each point label), to `tolerance`."""
    return _Exact(metric, point, name, arm=arm, expected=expected, tolerance=tolerance)


def bound(metric: str, arm: str, *, point: str | None = None, name: str = "") -> _Bound:
    """No trial may break the bound that this is compared with: `bound("ratio", "arm") <= 1`."""
    return _Bound(metric, point, name, arm=arm)


def headline(leaf: Leaf) -> Any:
    """Mark the leaf whose estimate stands for the claim."""
    if not isinstance(leaf, Leaf):
        raise RuleError("headline takes one leaf, not a node")
    return replace(leaf, is_headline=True)


def all_of(*rules: Rule) -> Rule:
    """Fails when a part fails; inconclusive when none fails and one is open; else holds (or partly, when a part is)."""
    return _node("all of", rules)


def each_of(*rules: Rule, over: str = "") -> Rule:
    """Holds when all hold, fails when all fail, partly when some hold and some fail, else inconclusive."""
    return _node("each of", rules, over)


def majority(*rules: Rule, over: str = "") -> Rule:
    """Holds when more than half hold; when that can no longer be, partly if any holds, else fails."""
    return _node("majority of", rules, over)


def each_point(leaf: Leaf, only: Callable[[str], bool] | None = None) -> Rule:
    """The leaf at every workload point (whose label passes `only`), joined as `each_of`."""
    return _OverPoints(leaf, "each of", only)


def majority_of_points(leaf: Leaf, only: Callable[[str], bool] | None = None) -> Rule:
    """The leaf at every workload point, joined as `majority`."""
    return _OverPoints(leaf, "majority of", only)


def _node(kind: Literal["all of", "each of", "majority of"], rules: tuple[Rule, ...], over: str = "") -> Rule:
    if not rules:
        raise RuleError(f"{kind.replace(' ', '_')} needs at least one rule")
    wrong = [r for r in rules if not isinstance(r, Rule)]
    if wrong:
        raise RuleError(f"{kind.replace(' ', '_')} takes rules, not {wrong[0]!r}")
    return _Node(rules, kind, over)
