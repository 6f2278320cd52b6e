"""The running site: what every handler needs, and the questions that several pages ask."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workingpapers.lab import Lab, read
from workingpapers.lab.leases import is_alive
from workingpapers.lab.store import RunRow, now
from workingpapers.papers import ClaimFacts, Paper

from .findings import UNDER_WAY, VERDICTS, ClaimView, Finding, current_code, finding_of, finding_of_document, finite
from .guard import LOCAL_HOSTS, is_allowed_host
from .kept import Kept
from .news import News
from .problems import Problem
from .settings import HubSettings
from .tables import UserRow

MAX_QUEUED = 5
WARMUP = "warm-up"
WARMUP_PRIORITY = -10


@dataclass
class Site:
    """What a request needs: the lab with its store and catalogue, the site's secret and its settings.

    `local` says that the server listens on this machine only. `stopping` is set when the server goes down, so that live
    streams end.
    """

    lab: Lab
    key: bytes
    settings: HubSettings = field(default_factory=HubSettings)
    local: bool = False
    has_accounts: bool = False
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    asking: threading.Lock = field(default_factory=threading.Lock)
    news: News = field(init=False)
    kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        self.news = News(self.lab.store)
        self.kept = Kept(self.lab.store)

    def is_open(self, request: Request) -> bool:
        """Whether this is one person's own site on their own machine: local, without accounts, and no proxy in between."""
        if not self.local or self.has_accounts or self.settings.hosts or self.settings.proxies:
            return False
        if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
            return False
        if not is_allowed_host(request.headers.get("host", ""), frozenset(LOCAL_HOSTS)):
            return False
        with self.lab.store.reading() as session:  # once there is an account, it is not asked again
            self.has_accounts = session.scalar(select(UserRow.id).limit(1)) is not None
        return not self.has_accounts

    def paper(self, slug: str) -> Paper:
        """The paper of this slug; a 404 that names near slugs otherwise."""
        try:
            return self.lab.catalogue.find(slug)
        except KeyError as error:
            raise Problem(404, "No such paper", str(error)) from error

    def claim(self, slug: str, claim_id: str) -> tuple[Paper, ClaimFacts]:
        """Paper and claim; a 404 that names the paper's claims otherwise."""
        paper = self.paper(slug)
        try:
            return paper, paper.facts.claim(claim_id)
        except KeyError as error:
            raise Problem(404, "No such claim", str(error.args[0])) from error

    def run(self, session: Session, run_id: str) -> RunRow:
        """A run with trials, checks and files; a 404 otherwise."""
        row = read.run(session, run_id)
        if row is None:
            raise Problem(404, "No such run", f"There is no run {run_id[:60]!r} here.")
        return row

    def run_head(self, session: Session, run_id: str) -> RunRow:
        """The row of a run alone; a 404 otherwise."""
        row = session.scalar(select(RunRow).where(RunRow.run_id == run_id))
        if row is None:
            raise Problem(404, "No such run", f"There is no run {run_id[:60]!r} here.")
        return row

    def views(self) -> Mapping[str, list[ClaimView]]:
        """`claim_views` of the whole catalogue, kept: the same objects until something changes. Not to be changed by those who ask."""
        marks = tuple(map(_marks, self.lab.catalogue))

        def make(session: Session) -> _Views:
            views = self.claim_views(session, self.lab.catalogue)
            owners = {v.active.lease_owner for vs in views.values() for v in vs if v.active is not None}
            return _Views(views, marks, tuple(filter(None, owners)))

        def still(known: _Views) -> bool:  # a process that dies commits nothing
            return known.marks == marks and all(is_alive(owner) is not False for owner in known.owners)

        return self.kept.get("views", make, still).by_slug

    def claim_views(self, session: Session, papers: Iterable[Paper], slug: str | None = None) -> dict[str, list[ClaimView]]:
        """Every claim of these papers with what is known about it, by slug; `slug` narrows the questions to one paper."""
        newest, active = read.newest(session, slug), read.active(session, slug)
        took, broken = self.took(session, slug), self.broken(session, slug)
        out = {}
        for paper in papers:
            shipped, runs = self.reference(paper), paper.status == "runs"
            out[paper.slug] = [
                ClaimView(paper, facts, _finding(newest.get((paper.slug, facts.id)), facts), shipped.get(facts.id),
                          active.get((paper.slug, facts.id)), broken.get((paper.slug, facts.id)), took.get((paper.slug, facts.id), {}),
                          _CODES.get(paper.folder, (0.0, ""))[1], runs)
                for facts in paper.facts.claims
            ]
        return out

    def claim_view(self, session: Session, paper: Paper, claim_id: str) -> ClaimView:
        """One claim with what is known about it."""
        return next(v for v in self.claim_views(session, [paper], paper.slug)[paper.slug] if v.facts.id == claim_id)

    def reference(self, paper: Paper) -> dict[str, Finding]:
        """Findings of the reference run that the paper ships, by claim."""
        path = paper.folder / "reference.json"
        if not path.is_file():
            return {}
        changed = path.stat().st_mtime_ns
        known = _REFERENCES.get(path)
        if known is None or known[0] != changed:
            documents = read.reference(paper)
            made = {f.id: finding_of_document(documents[f.id], f) for f in paper.facts.claims if f.id in documents}
            known = _REFERENCES[path] = (changed, {i: f for i, f in made.items() if f is not None})
        return known[1]

    def current_code(self, paper: Paper) -> str:
        """Hash of the code that would run the paper's claims now; looked up at most once in five seconds."""
        known = _CODES.get(paper.folder)
        if known is None or time.monotonic() - known[0] > 5:
            known = _CODES[paper.folder] = (time.monotonic(), current_code(paper))
        return known[1]

    def learn_codes(self) -> None:
        """Look up the code of every running paper once, so that lists can mark older verdicts; tens of milliseconds a paper."""
        for paper in self.lab.catalogue:
            if paper.status == "runs" and not self.stopping.is_set():
                self.current_code(paper)

    def took(self, session: Session, slug: str | None = None) -> dict[tuple[str, str], dict[str, float]]:
        """Seconds of the longest finished run here, by claim and scale: a run on reused trials is short and says nothing."""
        query = (select(RunRow.slug, RunRow.claim_id, RunRow.scale, func.max(RunRow.seconds))
                 .where(RunRow.origin == "here", RunRow.is_yours.is_(False), RunRow.state == "done",
                        RunRow.verdict.is_not(None), RunRow.verdict != "untested")
                 .group_by(RunRow.slug, RunRow.claim_id, RunRow.scale))
        if slug is not None:
            query = query.where(RunRow.slug == slug)
        out: dict[tuple[str, str], dict[str, float]] = {}
        for row_slug, claim_id, scale, seconds in session.execute(query).tuples():
            out.setdefault((row_slug, claim_id), {})[scale] = seconds
        return out

    def broken(self, session: Session, slug: str | None = None) -> dict[tuple[str, str], RunRow]:
        """Runs that ended without a verdict and were not followed by one that did, by claim."""
        last = (select(func.max(RunRow.id)).where(RunRow.origin == "here", RunRow.is_yours.is_(False),
                                                  RunRow.state.in_(("done", "failed", "lost"))).group_by(RunRow.slug, RunRow.claim_id))
        query = select(RunRow).where(RunRow.id.in_(last), RunRow.state != "done")
        if slug is not None:
            query = query.where(RunRow.slug == slug)
        return {(row.slug, row.claim_id): row for row in session.scalars(query)}

    def progress(self, session: Session, row: RunRow) -> Mapping[str, Any]:
        """What was last told of a run under way: share, done, total, seconds_left, words, and `ahead` in the queue."""
        from workingpapers.lab.store import EventRow

        payload = session.scalar(select(EventRow.payload).where(EventRow.run_pk == row.id, EventRow.kind == "progress")
                                 .order_by(EventRow.seq.desc()).limit(1)) or {}
        last = session.scalar(select(func.max(EventRow.seq)).where(EventRow.run_pk == row.id)) or 0
        ahead = self.ahead(session, row) if row.state == "queued" else 0
        share = finite(payload.get("share"))
        return {"share": min(1.0, max(0.0, share or 0.0)), "done": payload.get("done") or 0, "total": payload.get("total") or 0,
                "seconds_left": finite(payload.get("seconds_left")), "words": str(payload.get("words") or ""), "ahead": ahead, "seq": last}

    def ahead(self, session: Session, row: RunRow) -> int:
        """How many runs a queued run waits for, the one under way included."""
        before = (RunRow.priority > row.priority) | ((RunRow.priority == row.priority) & (RunRow.id < row.id))
        waiting = select(func.count()).where(RunRow.id != row.id, (RunRow.state == "running") | ((RunRow.state == "queued") & before))
        return session.scalar(waiting) or 0

    def ask(self, slug: str, claim_id: str, scale: str, seeds: int | None = None, *, requested_by: str = "hub") -> tuple[RunRow, bool]:
        """Queue a run of a registered claim; (run, whether it is new).

        A run that waits or is under way for the same claim, scale and seeds is given back in place of a second one; if
        it was queued by the warm-up it moves to the front. At most five runs of `requested_by` wait: 429 otherwise.
        """
        paper, facts = self.claim(slug, claim_id)
        if paper.status != "runs":
            raise Problem(409, "This paper does not run yet", f"{paper.facts.title} is listed; its claims cannot be tried here yet.")
        if scale not in facts.scales:
            raise Problem(422, "No such scale", f"{claim_id} can be tried at: {', '.join(facts.scales)}.")
        with self.asking:
            with self.lab.store.writing() as session:
                same = [r for r in session.scalars(select(RunRow).where(
                    RunRow.slug == slug, RunRow.claim_id == claim_id, RunRow.scale == scale, RunRow.state.in_(UNDER_WAY),
                    RunRow.is_yours.is_(False), RunRow.cancel_requested.is_(False)).order_by(RunRow.id))
                    if (r.options or {}).get("seeds") == seeds and not (r.options or {}).get("fresh")]
                if same:
                    row = same[0]
                    row.priority = max(row.priority, 0) if row.state == "queued" and row.requested_by == WARMUP else row.priority
                    session.flush()
                    session.expunge(row)
                    return row, False
                waiting = session.scalar(select(func.count()).where(
                    RunRow.state == "queued", RunRow.requested_by == requested_by, RunRow.priority >= WARMUP_PRIORITY)) or 0
            if waiting >= MAX_QUEUED:
                raise Problem(429, "Too many runs are waiting",
                              f"{MAX_QUEUED} runs of yours are in the queue already. Wait until one has finished, or cancel one.",
                              {"Retry-After": "30"})
            return self.lab.enqueue(slug, [claim_id], scale=scale, seeds=seeds, priority=0, requested_by=requested_by)[0], True


@dataclass(frozen=True)
class _Views:
    """Views, and what they were made from besides the database: files and code of the papers, processes that run their claims."""

    by_slug: dict[str, list[ClaimView]]
    marks: tuple[Any, ...]
    owners: tuple[str, ...]


def _marks(paper: Paper) -> tuple[Any, ...]:
    """What outside the database decides how a paper's claims are shown."""
    try:
        reference = os.stat(f"{paper.folder}/reference.json").st_mtime_ns
    except OSError:
        reference = 0
    return os.access(f"{paper.folder}/claims.py", os.F_OK), reference, _CODES.get(paper.folder, (0.0, ""))[1]


@dataclass(frozen=True)
class Tally:
    """How the verdicts stand on this machine; `counts` holds every state of a claim (see ClaimView.state)."""

    counts: Mapping[str, int]

    @property
    def tried(self) -> int:
        return sum(self.counts.get(v, 0) for v in VERDICTS)

    @property
    def untried(self) -> int:
        """Claims that can be tried here and were not yet."""
        return sum(self.counts.get(s, 0) for s in (*UNDER_WAY, "untried"))

    @property
    def bar(self) -> tuple[tuple[str, int, float, float], ...]:
        """Parts of the bar: state, count, start and width in percent."""
        parts = [(v, self.counts.get(v, 0)) for v in VERDICTS] + [("untried", self.untried)]
        total, start, out = sum(n for _, n in parts), 0.0, []
        for state, n in parts:
            if n:
                out.append((state, n, round(start, 3), round(100 * n / total, 3)))
                start += 100 * n / total
        return tuple(out)


def tally(views: Iterable[ClaimView]) -> Tally:
    """Count claims by state."""
    counts: dict[str, int] = {}
    for view in views:
        counts[view.state] = counts.get(view.state, 0) + 1
    return Tally(counts)


def _finding(row: RunRow | None, facts: ClaimFacts) -> Finding | None:
    return None if row is None else finding_of(row, facts)


def today(site: Site) -> dt.date:
    """The present day in the site's zone."""
    return now().astimezone(ZoneInfo(site.settings.zone)).date()


def get_site(request: Request) -> Site:
    """The site that serves this request."""
    return cast(Site, request.app.state.site)


async def _site_of(request: Request) -> Site:
    """The same without a hop to a thread, which every plain function costs that FastAPI depends on."""
    return get_site(request)


SiteOf = Annotated[Site, Depends(_site_of)]
_REFERENCES: dict[Path, tuple[int, dict[str, Finding]]] = {}
_CODES: dict[Path, tuple[float, str]] = {}
