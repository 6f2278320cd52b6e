"""The table of measurements of one run, as rules and plots read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One number of one trial."""

    part: str
    arm: str
    seed: int
    point: str
    metric: str
    value: float


@dataclass(frozen=True)
class Planned:
    """One (part, arm, seed, point) that the run set out to try, and whether it finished."""

    part: str
    arm: str
    seed: int
    point: str
    finished: bool


@dataclass
class Results:
    """Measurements with the plan they came from: what is missing is as visible as what is there.

    Attributes:
        measurements: every number.
        planned: every arm, seed and point of the plan.
        better: direction of each metric, `lower` or `higher`, where known.
        attributes: for each point label, the numbers it carries (`tokens`, `side`, ...), for slopes.
    """

    measurements: list[Measurement]
    planned: list[Planned]
    better: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._values: dict[tuple[str, str], dict[tuple[int, str], float]] = {}
        self._parts_of: dict[str, set[str]] = {}
        self._measured_at: set[tuple[str, str, str]] = set()
        for m in self.measurements:
            column = self._values.setdefault((m.metric, m.arm), {})
            if (m.seed, m.point) in column:
                raise ValueError(f"{m.metric} of {m.arm} was measured twice at seed {m.seed}, {m.point}: "
                                 "two trial functions may not share a metric's name there")
            column[m.seed, m.point] = m.value
            self._parts_of.setdefault(m.metric, set()).add(m.part)
            self._measured_at.add((m.part, m.metric, m.point))
        self._finished_at = {(p.part, p.arm, p.point) for p in self.planned if p.finished}

    def values(self, metric: str, arm: str) -> dict[tuple[int, str], float]:
        """Values of one metric on one arm, by (seed, point)."""
        return dict(self._values.get((metric, arm), {}))

    def expected(self, metric: str, arm: str) -> set[tuple[int, str]]:
        """The (seed, point) pairs at which this metric should be there.

        A point at which trials of the arm finished, and no arm gave the metric, does not carry it: nothing is expected there.
        """
        parts = self._parts_of.get(metric) or {p.part for p in self.planned}
        wanted = set()
        for p in self.planned:
            if p.part not in parts or p.arm != arm:
                continue
            silent = (p.part, p.arm, p.point) in self._finished_at and (p.part, metric, p.point) not in self._measured_at
            if not silent or metric not in self._parts_of:
                wanted.add((p.seed, p.point))
        return wanted

    def points(self) -> list[str]:
        """Labels of the points in the order of the plan."""
        return list(dict.fromkeys(p.point for p in self.planned))

    def arms(self) -> list[str]:
        """Names of the arms in the order of the plan."""
        return list(dict.fromkeys(p.arm for p in self.planned))

    def metrics(self) -> list[str]:
        """Names of the metrics that were measured."""
        return list(dict.fromkeys(m.metric for m in self.measurements))

    def rows(self, metrics: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Plain rows (part, arm, seed, point, metric, value) for tables and plots."""
        wanted = None if metrics is None else set(metrics)
        return [
            {"part": m.part, "arm": m.arm, "seed": m.seed, "point": m.point, "metric": m.metric, "value": m.value}
            for m in self.measurements
            if wanted is None or m.metric in wanted
        ]

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)
