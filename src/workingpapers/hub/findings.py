"""What is known about claims, as pages and the API show it: findings, their checks, and the claims they belong to."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from workingpapers.claims import Verdict
from workingpapers.lab.fingerprint import code_of
from workingpapers.lab.store import RunRow
from workingpapers.papers import ClaimFacts, Paper

from . import ruler, words

VERDICTS: tuple[str, ...] = tuple(v.value for v in Verdict)
SCALES: tuple[Literal["smoke", "small", "full"], ...] = ("smoke", "small", "full")
UNDER_WAY = ("queued", "running")
BY_DESIGN = {"smoke": "under 20 s", "small": "about 5 min", "full": "time not known"}


@dataclass(frozen=True)
class CheckView:
    """One check of a finding, ready to be shown."""

    body: Mapping[str, Any]
    unit: str = ""
    reported: float | None = None

    @property
    def name(self) -> str:
        return str(self.body.get("name") or self.rule)

    @property
    def rule(self) -> str:
        return str(self.body.get("rule") or "")

    @property
    def kind(self) -> str:
        return str(self.body.get("kind") or "compare")

    @property
    def verdict(self) -> str:
        return str(self.body["verdict"])

    @property
    def reason(self) -> str:
        return str(self.body.get("reason") or "")

    @property
    def n_seeds(self) -> int:
        return int(self.body.get("n_seeds") or 0)

    @property
    def is_headline(self) -> bool:
        return bool(self.body.get("headline"))

    @property
    def decides(self) -> bool:
        """False for checks that are shown beside the verdict."""
        return bool(self.body.get("decides", True))

    @property
    def group(self) -> tuple[str, ...]:
        return tuple(self.body.get("group") or ())

    @property
    def estimate(self) -> float | None:
        return finite(self.body.get("estimate"))

    @property
    def interval(self) -> tuple[float, float] | None:
        return pair(self.body.get("interval"))

    @property
    def threshold(self) -> float | tuple[float, float] | None:
        raw = self.body.get("threshold")
        return pair(raw, finite_only=False) if isinstance(raw, list | tuple) else finite(raw)

    @property
    def better(self) -> ruler.Better:
        raw = self.body.get("better")
        return raw if raw in ("higher", "inside") else "lower"

    @property
    def counts(self) -> str:
        """`n of n` for checks that hold trial by trial."""
        found = self.body.get("counts")
        return f"{found[0]:,} of {found[1]:,}" if found else ""

    @property
    def needs(self) -> str:
        return "" if self.kind == "exact" and self.threshold is None else ruler.needs_words(self.threshold, self.better, self.unit)

    @property
    def measured(self) -> str:
        """Estimate and interval in words; the worst value seen for checks that hold trial by trial."""
        if self.counts:
            worst = f", worst {words.quantity(self.estimate, self.unit)}" if self.kind == "bound" and self.estimate is not None else ""
            return f"{self.counts} trials{worst}"
        return ruler.measured_words(self.estimate, self.interval, self.unit)

    @cached_property
    def ruler(self) -> ruler.Ruler | None:
        if self.counts or self.kind in ("exact", "bound") or self.verdict == Verdict.UNTESTED:
            return None
        return ruler.draw(verdict=self.verdict, estimate=self.estimate, interval=self.interval, threshold=self.threshold,
                          better=self.better, log=self.body.get("scale") == "log", reported=self.reported, unit=self.unit, name=self.name)


@dataclass(frozen=True)
class Finding:
    """One decided run of a claim: measured here, on another machine, or shipped with the paper as its reference run."""

    origin: Literal["here", "imported", "reference"]
    run_id: str
    verdict: str
    reason: str
    note: str
    scale: str
    seconds: float | None
    ended_at: dt.datetime | str | None
    environment: Mapping[str, Any]
    code_hash: str
    checks: tuple[CheckView, ...]
    is_yours: bool = False
    plots: Sequence[Any] = ()

    @property
    def headline(self) -> CheckView | None:
        return next((c for c in self.checks if c.is_headline), self.checks[0] if self.checks else None)

    @property
    def decided_by(self) -> str:
        """The checks that made the verdict another than the headline's, in words; empty where they agree."""
        if self.headline is None or self.headline.verdict == self.verdict or self.verdict in (Verdict.HOLDS, Verdict.UNTESTED):
            return ""
        deciding = [c for c in self.checks if c.decides]
        others = [c for c in deciding if c.verdict == self.verdict] or [c for c in deciding if c.verdict != Verdict.HOLDS]
        if not others:
            return ""
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{others[0].verdict}: {others[0].name}{more}"

    @property
    def place(self) -> str:
        return {"here": "here", "imported": "on another machine", "reference": "on the reference machine"}[self.origin]

    @property
    def summary(self) -> str:
        """How it was made, in a line: seeds, scale, time, machine."""
        seeds = self.headline.n_seeds if self.headline else 0
        cores = self.environment.get("cores")
        parts = [words.count(seeds, "seed") if seeds else "", f"{self.scale} scale" if self.scale else "",
                 words.duration(self.seconds) if self.seconds else "", words.count(int(cores), "core") if cores else ""]
        return " · ".join(p for p in parts if p)


@dataclass(frozen=True)
class ScaleButton:
    """A scale at which a claim can be tried, with the time it is expected to take."""

    scale: str
    setting: str
    time: str
    is_measured: bool


@dataclass(frozen=True)
class ClaimView:
    """A claim with everything known about it.

    Attributes:
        here: the newest verdict on this machine.
        reference: the verdict of the run that the paper ships.
        active: a run that waits or is under way.
        broken: the newest run, when it ended without a verdict.
        took: seconds that a run took here, by scale.
        code: hash of the code that would run now, where it was looked up.
        runs: whether the paper can be run here at all.
    """

    paper: Paper
    facts: ClaimFacts
    here: Finding | None = None
    reference: Finding | None = None
    active: RunRow | None = None
    broken: RunRow | None = None
    took: Mapping[str, float] = field(default_factory=dict)
    code: str = ""
    runs: bool = False

    @property
    def is_older(self) -> bool:
        """Whether what is shown was made with other code than the paper has now, as far as that is known."""
        return self.shown is not None and is_older(self.shown, self.code)

    @property
    def shown(self) -> Finding | None:
        """What stands for the claim: measured here, else the reference run."""
        return self.here or self.reference

    @property
    def state(self) -> str:
        """One word for lists: a verdict reached here, `running`, `queued`, `untried`, or `listed`."""
        if self.here is not None:
            return self.here.verdict
        if self.active is not None:
            return self.active.state
        return "untried" if self.runs else "listed"

    @property
    def buttons(self) -> tuple[ScaleButton, ...]:
        if not self.runs:
            return ()
        going_on = self.active.scale if self.active is not None and self.active.state == "running" else None
        return tuple(ScaleButton(s, self.facts.scales[s], *self._time(s)) for s in SCALES if s in self.facts.scales and s != going_on)

    def _time(self, scale: Literal["smoke", "small", "full"]) -> tuple[str, bool]:
        if scale in self.took:
            return words.duration(self.took[scale]), True
        expected = self.facts.seconds.get(scale)
        return (f"about {words.duration(expected)}" if expected else BY_DESIGN[scale]), False

    @property
    def anchor(self) -> str:
        """An id for the page that no other claim has."""
        return f"claim-{self.paper.slug}-{self.facts.id}"


def finding_of(row: RunRow, facts: ClaimFacts | None) -> Finding | None:
    """A decided run of the store; None for one without a verdict."""
    if row.verdict is None:
        return None
    origin: Literal["here", "imported"] = "here" if row.origin == "here" else "imported"
    return Finding(origin, row.run_id, row.verdict, row.reason, row.note, row.scale, row.seconds, row.ended_at, row.environment or {},
                   row.code_hash, check_views((c.body for c in row.checks), facts), row.is_yours, row.files)


def finding_of_document(document: Mapping[str, Any], facts: ClaimFacts) -> Finding | None:
    """An entry of a paper's `reference.json`."""
    if document.get("verdict") not in VERDICTS:
        return None
    return Finding("reference", str(document.get("run_id") or ""), document["verdict"], document.get("reason") or "",
                   document.get("note") or "", str(document.get("scale") or ""), finite(document.get("seconds")), document.get("ended_at"),
                   document.get("environment") or {}, str(document.get("code_hash") or ""),
                   check_views(document.get("checks") or [], facts), bool(document.get("is_yours")))


def check_views(bodies: Iterable[Mapping[str, Any]], facts: ClaimFacts | None) -> tuple[CheckView, ...]:
    """Checks with the unit of their metric; the headline carries the paper's own figure."""
    listed = list(bodies)
    headline = next((i for i, b in enumerate(listed) if b.get("headline")), 0)
    reported = facts.reported.value if facts is not None and facts.reported is not None else None
    return tuple(CheckView({**b, "headline": i == headline}, unit_of(b, facts), reported if i == headline else None)
                 for i, b in enumerate(listed))


def unit_of(body: Mapping[str, Any], facts: ClaimFacts | None) -> str:
    """The unit of a check's estimate: `×` for ratios, none for slopes, else the metric's."""
    if body.get("kind") == "slope":
        return ""
    if body.get("scale") == "log":
        return "×"
    metric = facts.metric_facts(str(body.get("metric") or "")) if facts is not None else None
    return metric.unit if metric is not None else ""


def current_code(paper: Paper) -> str:
    """Hash of the code that would run this paper's claims now."""
    return code_of(f"{paper.module}.claims").hash if paper.status == "runs" else ""


def is_older(finding: Finding, now: str) -> bool:
    """Whether a finding was made with another version of the code than this."""
    return bool(now and finding.code_hash and finding.code_hash != now)


def finite(value: Any) -> float | None:
    """A finite float, or None for anything else that a document may hold."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def pair(value: Any, *, finite_only: bool = True) -> tuple[float, float] | None:
    """Two floats, or None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    try:
        lo, hi = float(value[0]), float(value[1])
    except (TypeError, ValueError):
        return None
    return None if math.isnan(lo) or math.isnan(hi) or (finite_only and not (math.isfinite(lo) and math.isfinite(hi))) else (lo, hi)
