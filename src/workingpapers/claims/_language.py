"""How a claim is declared: arms, points by scale, seeds, a rule, and the functions that try it once."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Real
from typing import Any, Generic, Literal, TypeVar, cast, get_args

from ._results import Measurement, Planned, Results
from ._rules import Rule, RuleError
from ._trial import TimedTrial, Trial, point_label
from ._verdict import Check, Decision

Scale = Literal["smoke", "small", "full"]
SCALES: tuple[Scale, ...] = get_args(Scale)
Role = Literal["method", "baseline", "peer", "control"]
T = TypeVar("T")

TrialFunction = Callable[..., Any]
TIMED_ARM = "*"
MAX_NAME = 160
MAX_LABEL = 300


class ClaimError(ValueError):
    """A claim that is declared wrongly, or a trial that returned what it may not."""


@dataclass(frozen=True)
class ByScale(Generic[T]):
    """One value for each scale that has one."""

    values: Mapping[Scale, T]

    def __getitem__(self, scale: Scale) -> T:
        if scale not in self.values:
            raise ClaimError(f"no {scale} scale here: there is {', '.join(self.values)}")
        return self.values[scale]

    def __contains__(self, scale: object) -> bool:
        return scale in self.values


def at(**values: T) -> ByScale[T]:
    """A value for each scale: `at(smoke=5, small=20, full=40)`."""
    unknown = set(values) - set(SCALES)
    if unknown or not values:
        raise ClaimError(f"at() takes smoke, small and full, not {', '.join(sorted(unknown)) or 'nothing'}")
    return ByScale(cast("Mapping[Scale, T]", values))


@dataclass(frozen=True)
class ArmSpec:
    """What an arm builds, before the claim names it."""

    role: Role
    target: Callable[..., Any]
    options: Mapping[str, Any]
    requires: str = ""


@dataclass(frozen=True)
class Arm:
    """One of the things compared in a claim.

    Attributes:
        name: as in tables and rules.
        role: `method`, `baseline`, `peer` or `control`.
        target: class or function.
        options: keyword arguments that belong to the arm.
    """

    name: str
    role: Role
    target: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *args: Any, **more: Any) -> Any:
        """`target(*args, **options, **more)`."""
        return self.target(*args, **{**self.options, **more})


def method(target: Callable[..., Any], **options: Any) -> ArmSpec:
    """An arm that the paper proposes."""
    return ArmSpec("method", target, options)


def baseline(target: Callable[..., Any], **options: Any) -> ArmSpec:
    """An arm that the paper says it beats."""
    return ArmSpec("baseline", target, options)


def peer(target: Callable[..., Any], **options: Any) -> ArmSpec:
    """The best implementation that a user would pick today."""
    return ArmSpec("peer", target, options)


def control(target: Callable[..., Any], **options: Any) -> ArmSpec:
    """A random or no-op choice at the same budget."""
    return ArmSpec("control", target, options)


@dataclass(frozen=True)
class Part:
    """One trial function of a claim with the arms, points and seeds it runs over."""

    name: str
    function: TrialFunction
    arms: tuple[str, ...]
    points: ByScale[Sequence[Any]]
    seeds: ByScale[int]
    is_timed: bool


@dataclass(frozen=True)
class Claim:
    """A claim as `claims.py` declares it. Made by the `claim` decorator; statement and figures stand in paper.toml."""

    id: str
    arms: Mapping[str, Arm]
    rule: Rule
    parts: list[Part]
    module: str
    threads: int = 1
    time_limit: float | None = None
    memory_gb: float | None = None
    plots: dict[str, Callable[[Results], Any]] = field(default_factory=dict)
    notes: list[Callable[[Sequence[Check]], str]] = field(default_factory=list)

    # ------------------------------------------------------------ declaring

    def timed(self, function: TrialFunction | None = None, *, arms: Sequence[str] | None = None,
              points: Any = None, seeds: Any = None) -> Any:
        """Add a trial function that times all arms of one seed side by side in one process; it is never cached."""
        return self._add(function, arms, points, seeds, is_timed=True)

    def also(self, function: TrialFunction | None = None, *, arms: Sequence[str] | None = None,
             points: Any = None, seeds: Any = None) -> Any:
        """Add a second untimed trial function, for metrics that need other points or arms."""
        return self._add(function, arms, points, seeds, is_timed=False)

    def plot(self, name: str) -> Callable[[Callable[[Results], Any]], Callable[[Results], Any]]:
        """Add a plot of one's own: a function from the table of measurements to an Altair chart."""

        def keep(function: Callable[[Results], Any]) -> Callable[[Results], Any]:
            self.plots[name] = function
            return function

        return keep

    def note(self, function: Callable[[Sequence[Check]], str]) -> Callable[[Sequence[Check]], str]:
        """Add a sentence of nuance to the verdict, written from its checks."""
        self.notes.append(function)
        return function

    def _add(self, function: TrialFunction | None, arms: Sequence[str] | None, points: Any, seeds: Any, *, is_timed: bool) -> Any:
        first = self.parts[0]

        def keep(f: TrialFunction) -> TrialFunction:
            names = tuple(arms) if arms is not None else tuple(self.arms)
            unknown = [a for a in names if a not in self.arms]
            if unknown:
                raise ClaimError(f"{self.id}: {f.__name__} names the arm {unknown[0]!r}; there are {', '.join(self.arms)}")
            if f.__name__ in {p.name for p in self.parts}:
                raise ClaimError(f"{self.id}: two trial functions are named {f.__name__}")
            part = Part(f.__name__, f, names, _points(self.id, points) if points is not None else first.points,
                        _seeds(self.id, seeds) if seeds is not None else first.seeds, is_timed)
            self.parts.append(part)
            return f

        return keep if function is None else keep(function)

    # ------------------------------------------------------------ reading

    def part(self, name: str) -> Part:
        """The trial function of this name."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(f"{self.id} has no trial function {name!r}")

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The scales at which this claim can be tried."""
        return tuple(s for s in SCALES if all(s in p.points and s in p.seeds for p in self.parts))

    def points(self, scale: Scale) -> list[Any]:
        """All workload points of a scale, over all parts."""
        return list({point_label(p): p for part in self.parts for p in part.points[scale]}.values())

    def decide(self, results: Results) -> Decision:
        """Hold the measurements against the rule."""
        verdict, checks = self.rule.check(results)
        reasons = [c.reason for c in checks if c.reason and c.verdict == verdict]
        return Decision(verdict, tuple(checks), reasons[0] if reasons and verdict == "inconclusive" else "")

    # ------------------------------------------------------------ trying

    def attempt(self, part: Part, arm: str, seed: int, point: Any, scale: Scale,
                report: Callable[[float, float], None] | None = None) -> Iterator[Measurement]:
        """Run one trial in this process; measurements come as the trial gives them."""
        label = point_label(point)
        given_already: set[tuple[str, str]] = set()

        def numbers(name: str, piece: Any) -> Iterator[Measurement]:
            for m in self._measurements(part, name, seed, label, piece):
                if (m.arm, m.metric) in given_already:
                    raise ClaimError(f"{self.id}: {part.name} gave {m.metric} of {m.arm} twice in one trial")
                given_already.add((m.arm, m.metric))
                yield m

        common: dict[str, Any] = {"claim": self.id, "seed": seed, "point": point, "scale": scale}
        if report is not None:
            common["report"] = report
        if part.is_timed:
            given = part.function(TimedTrial(**common, arms={name: self.arms[name] for name in part.arms}))
            for piece in _pieces(given):
                if not isinstance(piece, Mapping):
                    raise ClaimError(f"{self.id}: {part.name} is timed: it must return arm names with metrics, not {type(piece).__name__}")
                for name, metrics in piece.items():
                    if name not in part.arms:
                        raise ClaimError(f"{self.id}: {part.name} returned the arm {name!r}, which it does not try")
                    yield from numbers(name, metrics)
        else:
            given = part.function(Trial(**common, arm=self.arms[arm]))
            for piece in _pieces(given):
                yield from numbers(arm, piece)

    def _measurements(self, part: Part, arm: str, seed: int, label: str, numbers: Any) -> Iterator[Measurement]:
        if not isinstance(numbers, Mapping):
            raise ClaimError(f"{self.id}: {part.name} must return metric names with numbers, not {type(numbers).__name__}")
        for metric, number in numbers.items():
            if not isinstance(metric, str) or not 0 < len(metric) <= MAX_NAME:
                raise ClaimError(f"{self.id}: {part.name} gave a metric named {str(metric)[:80]!r}: "
                                 f"a text of 1 to {MAX_NAME} characters is needed")
            try:
                plain = float("" if isinstance(number, str | bytes) else number)
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:
                raise ClaimError(f"{self.id}: {part.name} gave {metric} = {str(number)[:80]!r}, which is not a number") from error
            yield Measurement(part.name, arm, seed, label, metric, plain)

    def planned(self, scale: Scale, seeds: int | None = None, points: Sequence[Any] | None = None) -> list[tuple[Part, str, int, Any]]:
        """Every trial of a scale: (part, arm, seed, point); the arm of a timed trial is `*`."""
        out = []
        for part in self.parts:
            for point in points if points is not None else part.points[scale]:
                for seed in range(seeds if seeds is not None else part.seeds[scale]):
                    for arm in (TIMED_ARM,) if part.is_timed else part.arms:
                        out.append((part, arm, seed, point))
        return out

    def try_all(self, scale: Scale = "smoke", seeds: int | None = None, points: Sequence[Any] | None = None,
                better: Mapping[str, str] | None = None) -> Results:
        """Run every trial here, in this process, one after another: for tests and notebooks. The lab does it properly."""
        measurements: list[Measurement] = []
        plan: list[Planned] = []
        for part, arm, seed, point in self.planned(scale, seeds, points):
            measurements += self.attempt(part, arm, seed, point, scale)
            for name in part.arms if part.is_timed else (arm,):
                plan.append(Planned(part.name, name, seed, point_label(point), True))
        return Results(measurements, plan, better or {}, attributes(points if points is not None else self.points(scale)))


def attributes(points: Sequence[Any]) -> dict[str, dict[str, float]]:
    """The numbers that each point carries, by its label: fields and numeric properties."""
    out: dict[str, dict[str, float]] = {}
    for point in points:
        names = [n for n in dir(type(point)) if isinstance(getattr(type(point), n, None), property)] + list(getattr(point, "__dict__", {}))
        if is_dataclass(point):
            names += [f.name for f in fields(point)]
        found = {}
        for name in names:
            if not name.startswith("_"):
                with contextlib.suppress(Exception):  # a property that this point cannot give is no number of it
                    found[name] = getattr(point, name)
        out[point_label(point)] = {n: float(v) for n, v in found.items() if not isinstance(v, bool) and isinstance(v, Real)}
    return out


def claim(id: str, *, arms: Mapping[str, ArmSpec], points: Any, seeds: Any, rule: Rule, threads: int = 1,
          time_limit: float | None = None, memory_gb: float | None = None,
          is_timed: bool = False) -> Callable[[TrialFunction], Claim]:
    """Declare a claim; the decorated function tries it once.

    Args:
        id: as in paper.toml.
        arms: name -> `method(...)`, `baseline(...)`, `peer(...)` or `control(...)`.
        points: workload points, one list or `at(smoke=[...], ...)`.
        seeds: how many, one number or `at(...)`; 3 at least.
        rule: what decides.
        threads: processor threads of each trial.
        time_limit: seconds that one trial may take; None leaves it to the lab.
        memory_gb: memory that one trial may take; None leaves it to the lab.
        is_timed: the decorated function itself takes a `TimedTrial` and returns metrics for each arm.

    Raises:
        ClaimError: an arm, point or rule that does not fit, named.
    """
    for name, spec in arms.items():
        if not isinstance(spec, ArmSpec):
            raise ClaimError(f"{id}: the arm {name!r} is {spec!r}: write method(...), baseline(...), peer(...) or control(...)")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise ClaimError(f"{id}: an arm is named {name!r}: a text of 1 to {MAX_NAME} characters is needed")
    named = {name: Arm(name, spec.role, spec.target, dict(spec.options)) for name, spec in arms.items()}
    if not any(a.role == "method" for a in named.values()):
        raise ClaimError(f"{id}: no arm is a method(...)")
    if TIMED_ARM in named:
        raise ClaimError(f"{id}: an arm may not be named {TIMED_ARM!r}")
    if not isinstance(rule, Rule):
        raise ClaimError(f"{id}: rule is not a rule: {rule!r}")
    if not rule.decides:
        raise ClaimError(f"{id}: the rule is an aside: join it by all_of with one that decides")
    unknown = [(leaf, arm) for leaf in rule.leaves() for arm in leaf.arms() if arm not in named]
    if unknown:
        raise ClaimError(f"{id}: the rule names the arm {unknown[0][1]!r}; there are {', '.join(named)}")
    for leaf in rule.leaves():
        try:
            leaf.ready()
        except RuleError as error:
            raise ClaimError(f"{id}: {error}") from error
    if sum(leaf.is_headline for leaf in rule.leaves()) > 1:
        raise ClaimError(f"{id}: two leaves of the rule are marked as the headline")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ClaimError(f"{id}: threads is {threads!r}: a number from 1 up is needed")
    for name, limit in (("time_limit", time_limit), ("memory_gb", memory_gb)):
        if limit is not None and not limit > 0:
            raise ClaimError(f"{id}: {name} is {limit!r}: a number above 0 is needed, or None")

    def declare(function: TrialFunction) -> Claim:
        part = Part(function.__name__, function, tuple(named), _points(id, points), _seeds(id, seeds), is_timed)
        return Claim(id, named, rule, [part], function.__module__, threads, time_limit, memory_gb)

    return declare


def _points(id: str, points: Any) -> ByScale[Sequence[Any]]:
    scaled = points if isinstance(points, ByScale) else ByScale(dict.fromkeys(SCALES, points))
    for scale, chosen in scaled.values.items():
        if not isinstance(chosen, Sequence) or isinstance(chosen, str):
            raise ClaimError(f"{id}: points at {scale} scale is {chosen!r}: a list of workload points is needed")
        labels = [point_label(p) for p in chosen]
        if not labels:
            raise ClaimError(f"{id}: no workload point at {scale} scale")
        if too_long := next((x for x in labels if len(x) > MAX_LABEL), None):
            raise ClaimError(f"{id}: the label {too_long[:60]}... has {len(too_long)} characters, at most {MAX_LABEL} are taken: "
                             "give the point a `label`")
        if len(set(labels)) < len(labels):
            raise ClaimError(f"{id}: two workload points at {scale} scale share a label: {sorted(labels)}")
        for point in chosen:
            if not hasattr(point, "load"):
                raise ClaimError(f"{id}: the workload point {point!r} has no load(rng)")
    return scaled


def _seeds(id: str, seeds: Any) -> ByScale[int]:
    scaled = seeds if isinstance(seeds, ByScale) else ByScale(dict.fromkeys(SCALES, seeds))
    for scale, n in scaled.values.items():
        if isinstance(n, bool) or not isinstance(n, int) or n < 3:
            raise ClaimError(f"{id}: {n!r} seeds at {scale} scale; 3 at least")
    return scaled


def _pieces(given: Any) -> Iterator[Any]:
    if inspect.isgenerator(given):
        yield from given
    else:
        yield given


__all__ = ["SCALES", "TIMED_ARM", "Arm", "ArmSpec", "ByScale", "Claim", "ClaimError", "Part", "Role", "RuleError", "Scale",
           "at", "attributes", "baseline", "claim", "control", "method", "peer"]
