"""Rules: trees of checks. Leaves hold an interval against a threshold; nodes combine verdicts."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, Self

from ._results import Results
from ._statistics import BOOTSTRAP_FROM, MIN_SEEDS, bca_interval, log_log_slope, mean, t_interval
from ._verdict import Check, Verdict

Side = Literal["<", "<=", ">", ">="]
H, P, F, OPEN = Verdict.HOLDS, Verdict.PARTLY, Verdict.FAILS, Verdict.INCONCLUSIVE


class RuleError(ValueError):
    """A rule that cannot be read: an unknown arm or point, or a leaf without a threshold."""


@dataclass(frozen=True)
class Rule:
    """A node or a leaf. `check` gives its verdict and its leaves' checks in order."""

    @property
    def decides(self) -> bool:
        """Whether the verdict hangs on it."""
        return True

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        raise NotImplementedError  # abstract

    def leaves(self) -> list[Leaf]:
        raise NotImplementedError  # abstract

    def words(self) -> str:
        raise NotImplementedError  # abstract

    def __bool__(self) -> bool:
        raise RuleError(f"`{self.words()}` was used as a truth value: write two leaves in all_of in place of a chain such as 0 < x < 1")


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

    def ready(self) -> None:
        """Raise RuleError where something is missing that only the claim's author can add, such as a threshold."""

    @property
    def needs_direction(self) -> bool:
        """Whether paper.toml must say which side of the metric is better."""
        return False

    def leaves(self) -> list[Leaf]:
        return [self]

    def carried_by(self, results: Results) -> set[str]:
        """Labels of the points at which an arm of this leaf gives, or should give, the metric."""
        return {point for arm in self.arms() for _, point in {*results.expected(self.metric, arm), *results.values(self.metric, arm)}}

    def title(self) -> str:
        return (self.name or self.words()) + (f" at {self.point}" if self.point and self.name else "")

    def _at(self) -> str:
        return f" at {self.point}" if self.point else ""

    def _speaks_of(self, results: Results, point: str) -> bool:
        return self.point in (None, point)

    def _made(self, results: Results, group: tuple[str, ...], kind: str, **rest: Any) -> tuple[Verdict, list[Check]]:
        made = Check(name=self.title(), rule=self.words(), kind=kind, headline=self.is_headline, group=group,
                     metric=self.metric, point=self.point, **rest)
        return made.verdict, [made]

    def _pairs(self, results: Results) -> tuple[list[dict[tuple[int, str], float]], str]:
        """Values of each arm at the (seed, point) pairs this leaf is about, and what is missing, in words."""
        columns, missing = [], ""
        for arm in self.arms():
            values = {k: v for k, v in results.values(self.metric, arm).items() if self._speaks_of(results, k[1])}
            expected = {k for k in results.expected(self.metric, arm) if self._speaks_of(results, k[1])}
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
    return [mean(v) for v in seeds.values()]


def _few(n: int) -> str:
    return f"{n} seeds: at least {MIN_SEEDS} are needed" if n < MIN_SEEDS else ""


def _number(what: str, number: Any) -> float:
    """A finite number that a rule is written with."""
    if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
        raise RuleError(f"{what} is {number!r}: a finite number is needed")
    return float(number)


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
class _Compared(Leaf):
    """A leaf that is written down without its threshold and then compared with one number by <, <=, > or >=."""

    side: Side | None = None
    threshold: float = math.nan

    def what(self) -> str:
        """What is compared, in words."""
        raise NotImplementedError  # abstract

    def compared(self, side: Side, threshold: float) -> Self:
        if self.side is not None:
            raise RuleError(f"`{self.words()}` is compared already: write one leaf for each comparison")
        return replace(self, side=side, threshold=_number(f"the threshold of `{self.what()}`", threshold))

    def __lt__(self, threshold: float) -> Self:
        return self.compared("<", threshold)

    def __le__(self, threshold: float) -> Self:
        return self.compared("<=", threshold)

    def __gt__(self, threshold: float) -> Self:
        return self.compared(">", threshold)

    def __ge__(self, threshold: float) -> Self:
        return self.compared(">=", threshold)

    def ready(self) -> None:
        if self.side is None:
            raise RuleError(f"`{self.what()}` has no threshold: compare it with <, <=, > or >=")


@dataclass(frozen=True)
class _Interval(_Compared):
    """A leaf that turns one number a seed into an interval and holds it against a threshold."""

    kind: str = "compare"
    log = False

    def seed_values(self, results: Results, columns: list[dict[tuple[int, str], float]]) -> list[float]:
        raise NotImplementedError  # abstract

    def words(self) -> str:
        return f"{self.what()}{self._at()} {self.side} {self.threshold:g}" if self.side else f"{self.what()}{self._at()}"

    def sided(self, results: Results) -> tuple[Side, float]:
        self.ready()
        assert self.side is not None
        return self.side, self.threshold

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        side, threshold = self.sided(results)
        rest: dict[str, Any] = {"threshold": threshold, "better": "lower" if side in ("<", "<=") else "higher",
                                "scale": "log" if self.log else "linear"}
        missing = ""
        try:
            columns, missing = self._pairs(results)
            values = self.seed_values(results, columns)
            found = t_interval(values) if len(values) >= MIN_SEEDS else None
        except ValueError as error:
            return self._made(results, group, self.kind, verdict=OPEN, reason=missing or str(error), **rest)
        back = _exp if self.log else float
        rest |= {"n_seeds": len(values), "also": _bootstrapped(values, back)}
        if found is None:
            middle = back(mean(values)) if values and all(map(math.isfinite, values)) else None
            return self._made(results, group, self.kind, verdict=OPEN, estimate=middle, reason=missing or _few(len(values)), **rest)
        # Held against the threshold on the scale of the interval itself: exp(log(2)) need not be 2.
        held = threshold if not self.log else math.log(threshold) if threshold > 0 else -math.inf
        verdict = OPEN if missing else _judge((found.lo, found.hi), side, held)
        return self._made(results, group, self.kind, verdict=verdict, estimate=back(found.estimate),
                          interval=(back(found.lo), back(found.hi)), reason=missing, **rest)


def _exp(x: float) -> float:
    """exp, ending at the largest number there is: an interval over few wild seeds may reach beyond."""
    return math.exp(x) if x < math.log(sys.float_info.max) else sys.float_info.max


def _bootstrapped(values: list[float], back: Callable[[float], float]) -> dict[str, Any]:
    """The BCa interval, to be shown beside the deciding one where there are seeds enough."""
    if len(values) < BOOTSTRAP_FROM:
        return {}
    found = bca_interval(values)
    return {"bca": [back(found.lo), back(found.hi)]}


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
        return _by_seed({k: _log_ratio(a[k], b[k]) for k in a.keys() & b.keys()})


def _log_ratio(a: float, b: float) -> float:
    quotient = a / b
    # One division and one logarithm give a ratio of counts exactly; where that leaves the range, two logarithms do.
    return math.log(quotient) if 0 < quotient < math.inf else math.log(a) - math.log(b)


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

    def ready(self) -> None:
        return None

    @property
    def needs_direction(self) -> bool:
        return not self.better

    def compared(self, side: Side, threshold: float) -> Self:
        raise RuleError(f"`{self.words()}` carries its own margin: it is not compared with a number")

    def words(self) -> str:
        return f"{self.metric} of {self.a} not worse than {self.b} by more than a factor {self.margin:g}{self._at()}"


@dataclass(frozen=True)
class _NotWorseDifference(_Difference):
    kind: str = "not-worse"
    by: float = math.nan
    better: str = ""

    def sided(self, results: Results) -> tuple[Side, float]:
        return ("<=", self.by) if _direction(self, results) == "lower" else (">=", -self.by)

    def ready(self) -> None:
        return None

    @property
    def needs_direction(self) -> bool:
        return not self.better

    def compared(self, side: Side, threshold: float) -> Self:
        raise RuleError(f"`{self.words()}` carries its own margin: it is not compared with a number")

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
            x = self._x_of(results, point)
            for name, number in ((self.x, x), (f"{self.metric} of {self.arm}", y)):
                if not number > 0:
                    raise RuleError(f"a log-log slope needs positive values: {name} is {number:g} at seed {seed}, {point}")
            seeds.setdefault(seed, []).append((x, y))
        try:
            return [log_log_slope([p[0] for p in pairs], [p[1] for p in pairs]) for pairs in seeds.values()]
        except ValueError as error:
            raise RuleError(f"slope of {self.metric} of {self.arm} over {self.x}: {error}") from error

    def _speaks_of(self, results: Results, point: str) -> bool:
        return self.at_least <= self._x_of(results, point) <= self.at_most

    def _x_of(self, results: Results, point: str) -> float:
        attributes = results.attributes.get(point, {})
        if self.x not in attributes:
            raise RuleError(f"slope over {self.x}: the point {point} has no number of that name")
        return float(attributes[self.x])


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
        finite = all(map(math.isfinite, values))
        try:
            found = t_interval(values) if finite and len(values) >= MIN_SEEDS else None
        except ValueError as error:
            return self._made(results, group, "within", verdict=OPEN, reason=missing or str(error), **rest)
        if found is None:
            return self._made(results, group, "within", verdict=OPEN, reason=missing or _few(len(values)),
                              estimate=mean(values) if values and finite else None, **rest)
        if missing:
            verdict = OPEN
        elif self.lo <= found.lo and found.hi <= self.hi:
            verdict = H
        else:
            verdict = F if found.lo > self.hi or found.hi < self.lo else OPEN
        return self._made(results, group, "within", verdict=verdict, estimate=found.estimate, interval=(found.lo, found.hi),
                          reason=missing, also=_bootstrapped(values, float), **rest)


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
        wanted = {k: w for k in columns[0] if (w := self._wanted(k[1])) is not None}
        unknown = next((k[1] for k in columns[0] if k not in wanted), None)
        if unknown is not None and not missing:
            missing = f"no figure is given for the point {unknown}"
        off = {k: abs(columns[0][k] - w) for k, w in wanted.items()}
        wrong = [k for k, gap in off.items() if not gap <= self.tolerance]
        worst = max(off, key=lambda k: math.inf if math.isnan(off[k]) else off[k], default=None)
        n = len({k[0] for k in off})
        verdict = F if wrong else OPEN if missing or n < MIN_SEEDS else H
        reason = missing or _few(n) if not wrong else f"{wrong[0][1]}: {columns[0][wrong[0]]:g} where {wanted[wrong[0]]:g} is expected"
        single = None if isinstance(self.expected, Mapping) and self.point is None else self._wanted(self.point or "")
        return self._made(results, group, "exact", verdict=verdict, estimate=None if worst is None else columns[0][worst],
                          threshold=single, better="inside", counts=(len(off) - len(wrong), len(off)), n_seeds=n, reason=reason)

    def _wanted(self, point: str) -> float | None:
        return self.expected.get(point) if isinstance(self.expected, Mapping) else self.expected


@dataclass(frozen=True)
class _Bound(_Compared):
    arm: str = ""

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def what(self) -> str:
        return f"bound on {self.metric} of {self.arm}"

    def words(self) -> str:
        compared = f" {self.side} {self.threshold:g}" if self.side else ""
        return f"{self.metric} of {self.arm}{compared}{self._at()} in every trial"

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        self.ready()
        assert self.side is not None
        columns, missing = self._pairs(results)
        values = columns[0]
        broken = [k for k, v in values.items() if _judge((v, v), self.side, self.threshold) is not H]
        below = self.side in ("<", "<=")
        finite = [v for v in values.values() if not math.isnan(v)]
        worst = (max(finite) if below else min(finite)) if finite else None
        n = len({k[0] for k in values})
        verdict = F if broken else OPEN if missing or n < MIN_SEEDS else H
        reason = missing or _few(n)
        if broken:
            (seed, point), v = broken[0], values[broken[0]]
            reason = f"{self.metric} of {self.arm} is {v:g} at seed {seed}, {point}"
        return self._made(results, group, "bound", verdict=verdict, estimate=worst, threshold=self.threshold,
                          better="lower" if below else "higher", counts=(len(values) - len(broken), len(values)), n_seeds=n, reason=reason)


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
        deciding = [rule.check(results, inner) for rule in self.rules if rule.decides]
        beside = [rule.check(results, inner) for rule in self.rules if not rule.decides]
        return _combine(self.kind, [v for v, _ in deciding]), [c for _, checks in (*deciding, *beside) for c in checks]


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
        carried = self.leaf.carried_by(results)
        points = [p for p in results.points() if p in carried and (self.only is None or self.only(p))]
        if not points:
            silent = "no workload point here is one that this check speaks of"
            return self.leaf._made(results, group, getattr(self.leaf, "kind", "compare"), verdict=OPEN, reason=silent)
        first, rest = self.leaf.at_point(points[0]), [replace(self.leaf, point=p, is_headline=False) for p in points[1:]]
        return _Node((first, *rest), self.kind, "points").check(results, group)


@dataclass(frozen=True)
class _Aside(Rule):
    rules: tuple[Rule, ...]
    title: str

    @property
    def decides(self) -> bool:
        return False

    def words(self) -> str:
        return f"{self.title} ({'; '.join(r.words() for r in self.rules)}), not deciding"

    def leaves(self) -> list[Leaf]:
        return [leaf for rule in self.rules for leaf in rule.leaves()]

    def check(self, results: Results, group: tuple[str, ...] = ()) -> tuple[Verdict, list[Check]]:
        found = [rule.check(results, (*group, self.title)) for rule in self.rules]
        return _combine("all of", [v for v, _ in found]), [replace(c, decides=False) for _, checks in found for c in checks]


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
    if better not in ("", "lower", "higher"):
        raise RuleError(f"not_worse on {metric}: better is {better!r}, it must be 'lower' or 'higher'")
    if margin is not None:
        if not _number(f"not_worse on {metric}: margin", margin) > 1:
            raise RuleError(f"not_worse on {metric}: margin is {margin}, it must be above 1")
        return _NotWorseRatio(metric, point, name, a=a, b=b, margin=float(margin), better=better)
    assert by is not None
    if _number(f"not_worse on {metric}: by", by) < 0:
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
    if not at_least < at_most:
        raise RuleError(f"slope on {metric}: no range of {x} lies between {at_least} and {at_most}")
    return _Slope(metric, None, name, arm=arm, x=x, at_least=at_least, at_most=at_most)


def exact(metric: str, arm: str, expected: float | Mapping[str, float], *, tolerance: float = 0.0, point: str | None = None,
          name: str = "") -> _Exact:
    """Every trial gives `expected` (one number, or one for each point label), to `tolerance`."""
    figures = dict(expected) if isinstance(expected, Mapping) else {"": expected}
    if not figures:
        raise RuleError(f"exact on {metric}: expected is empty")
    checked = {label: _number(f"exact on {metric}: expected", figure) for label, figure in figures.items()}
    if _number(f"exact on {metric}: tolerance", tolerance) < 0:
        raise RuleError(f"exact on {metric}: tolerance is {tolerance}, it must not be negative")
    wanted = checked if isinstance(expected, Mapping) else checked[""]
    return _Exact(metric, point, name, arm=arm, expected=wanted, tolerance=float(tolerance))


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


def aside(*rules: Rule, title: str = "beside the verdict") -> Rule:
    """Checks that are measured and shown under `title` beside the verdict and have no part in it, whatever the node above.

    For a finer reading than the claim asks for ("better", where the claim is "not worse").

    >>> rule = all_of(not_worse("error", "ours", "theirs", by=1), aside(difference("error", "ours", "theirs") < 0, title="better"))

    Raises:
        RuleError: no rule, no title, or a headline among the rules, which would stand for the claim.
    """
    inside = _rules("aside", rules)
    if not isinstance(title, str) or not title.strip():
        raise RuleError(f"aside: title is {title!r}: a few words are needed")
    if any(leaf.is_headline for rule in inside for leaf in rule.leaves()):
        raise RuleError("aside: a headline stands for the claim, so it must be among the checks that decide")
    return _Aside(inside, title.strip())


def each_point(leaf: Leaf, only: Callable[[str], bool] | None = None) -> Rule:
    """The leaf at every workload point (whose label passes `only`), joined as `each_of`."""
    return _OverPoints(_for_points("each_point", leaf), "each of", only)


def majority_of_points(leaf: Leaf, only: Callable[[str], bool] | None = None) -> Rule:
    """The leaf at every workload point, joined as `majority`."""
    return _OverPoints(_for_points("majority_of_points", leaf), "majority of", only)


def _for_points(what: str, leaf: Leaf) -> Leaf:
    if not isinstance(leaf, Leaf):
        raise RuleError(f"{what} takes one leaf, not {type(leaf).__name__}")
    if isinstance(leaf, _Slope):
        raise RuleError(f"{what} takes a leaf that one point can decide: a slope runs over the points")
    if leaf.point is not None:
        raise RuleError(f"{what}: the leaf is about the point {leaf.point} already")
    return leaf


def _node(kind: Literal["all of", "each of", "majority of"], rules: tuple[Rule, ...], over: str = "") -> Rule:
    what = "majority" if kind == "majority of" else kind.replace(" ", "_")
    if all(not rule.decides for rule in _rules(what, rules)):
        raise RuleError(f"{what} holds asides only: nothing in it decides")
    return _Node(rules, kind, over)


def _rules(what: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if not rules:
        raise RuleError(f"{what} needs at least one rule")
    wrong = [r for r in rules if not isinstance(r, Rule)]
    if wrong:
        raise RuleError(f"{what} takes rules, not {wrong[0]!r}")
    return rules
