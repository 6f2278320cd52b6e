"""Pages about claims: lists of them, one claim, tasks, what is being tried now."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab import read
from workingpapers.lab.store import RunRow, now
from workingpapers.papers import Paper

from . import forms
from .findings import UNDER_WAY, VERDICTS, ClaimView, finding_of
from .problems import Problem
from .rendering import page
from .site import Site, SiteOf, tally

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]
PER_PAGE = 50

Words = Annotated[str, Query(max_length=200)]


@router.api_route("/now", methods=READ)
def what_is_tried(request: Request, site: SiteOf, since: Words = "") -> Response:
    """Part of the feed: what is being tried at this moment, and the claims that have news since the last question."""
    try:
        moment = dt.datetime.fromisoformat(since)
    except ValueError:
        moment = now()
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    asked_at = now()
    with site.lab.store.reading() as session:
        views = site.views()
        news = (RunRow.ended_at >= moment) | (RunRow.state == "running")
        concerned = set(session.execute(select(RunRow.slug, RunRow.claim_id).where(news).distinct()).tuples())
        every = [v for vs in views.values() for v in vs]
        changed = [v for v in every if (v.paper.slug, v.facts.id) in concerned]
        return page(request, "now.html", trying=trying_now(site, session, views), tally=tally(every), changed=changed,
                    since=asked_at.isoformat())


@router.api_route("/claims", methods=READ)
def claims(request: Request, site: SiteOf, verdict: Words = "", task: Words = "") -> Response:
    """Claims in one list, by how they stand on this machine."""
    known = (*VERDICTS, "untried", *UNDER_WAY, "listed")
    if verdict and verdict not in known:
        raise Problem(422, "No such verdict", f"Choose one of: {', '.join(known)}.")
    every = [v for vs in site.views().values() for v in vs]
    wanted = {"untried": ("untried", *UNDER_WAY), "": known}.get(verdict, (verdict,))
    shown = [v for v in every if v.state in wanted and (not task or v.paper.facts.task == task)]
    shown.sort(key=lambda v: not v.runs)  # what can be tried stands first; the order of the feed is kept otherwise
    groups = [(group[0].paper, group) for _, found in itertools.groupby(shown, key=lambda v: v.paper.slug) if (group := list(found))]
    return page(request, "claims.html", groups=groups, verdict=verdict, tally=tally(every), task=task)


@router.api_route("/claims/{slug}/{claim_id}", methods=READ)
def one_claim(request: Request, site: SiteOf, slug: str, claim_id: str) -> Response:
    """A claim: rule, newest verdict with every check and its plot, and all runs of it."""
    paper, facts = site.claim(slug, claim_id)
    with site.lab.store.reading() as session:
        view = site.claim_view(session, paper, claim_id)
        progress = site.progress(session, view.active) if view.active else None
        runs = read.runs(session, slug=slug, claim_id=claim_id, limit=100)
        return page(request, "claim.html", paper=paper, facts=facts, view=view, progress=progress, runs=runs,
                    findings={r.run_id: finding_of(r, facts) for r in runs}, code=site.current_code(paper))


@router.api_route("/claims/{slug}/{claim_id}/panel", methods=READ)
def claim_panel(request: Request, site: SiteOf, slug: str, claim_id: str) -> Response:
    """Part of a page: how a claim stands, with its buttons."""
    return forms.panel(request, site, slug, claim_id)


@router.api_route("/tasks", methods=READ)
def tasks(request: Request, site: SiteOf) -> Response:
    """Jobs that papers do, each with its papers and how their claims stand here."""
    by_task: dict[str, list[Paper]] = {}
    for paper in site.lab.catalogue:
        by_task.setdefault(paper.facts.task, []).append(paper)
    views = site.views()
    rows = [(task, papers, tally(v for p in papers for v in views[p.slug])) for task, papers in sorted(by_task.items())]
    return page(request, "tasks.html", rows=rows)


def matches(paper: Paper, q: str) -> bool:
    """Whether every word of the filter stands in the paper's title, summary, task, tags or claims."""
    facts = paper.facts
    text = " ".join([paper.slug, facts.title, facts.summary, facts.task, *facts.tags, *facts.authors,
                     *(f"{c.short} {c.statement}" for c in facts.claims)]).casefold()
    return all(word in text for word in q.casefold().split())


def trying_now(site: Site, session: Session, views: Mapping[str, list[ClaimView]]) -> dict[str, object] | None:
    """What the worker does at this moment, and how many runs wait; None when nothing does."""
    active: Sequence[ClaimView] = [v for vs in views.values() for v in vs if v.active]
    if not active:
        return None
    running = next((v for v in active if v.active and v.active.state == "running"), None)
    progress = site.progress(session, running.active) if running and running.active else None
    return {"view": running, "progress": progress, "waiting": sum(1 for v in active if v.active and v.active.state == "queued")}
