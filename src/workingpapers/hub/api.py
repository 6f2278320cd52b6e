"""The API under /api/v1: claims, runs, live events, export. Papers are in `paper_api`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from workingpapers.lab import read
from workingpapers.lab.exchange import export_runs
from workingpapers.lab.report import run_document
from workingpapers.lab.store import RunRow
from workingpapers.papers import ClaimFacts, Reported

from . import live
from .findings import UNDER_WAY, ClaimView, Finding, is_older
from .people import ViewerOf
from .people.viewer import WITH_TOKEN
from .problems import PROBLEM_JSON
from .row_ids import MOST_ID
from .site import SiteOf

DESCRIPTION = "Papers, what they claim, and what was measured here. Errors are problem documents (RFC 9457)."

VerdictWord = Literal["holds", "partly", "fails", "inconclusive", "untested"]
StateWord = Literal["queued", "running", "done", "failed", "cancelled", "lost"]
ScaleWord = Literal["smoke", "small", "full"]
Slug = Annotated[str, Path(description="name of a paper, as in /papers", max_length=80)]
ClaimId = Annotated[str, Path(description="id of a claim of that paper", max_length=120)]
RunId = Annotated[str, Path(description="name of a run", max_length=40)]
Limit = Annotated[int, Query(ge=1, le=100)]

PROBLEM_SCHEMA = {
    "title": "Problem", "type": "object", "required": ["type", "title", "status", "detail", "instance"],
    "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
                   "instance": {"type": "string"}},
}
MEANINGS = {
    400: "The Host header names another site, or the request cannot be parsed.",
    401: "An account is needed: send an API token as `Authorization: Bearer`.",
    403: "A browser asked on behalf of another site, or the account's role or the token's scopes do not reach.",
    404: "There is no such thing.", 405: "This address does not take that method.", 409: "The paper is listed, but does not run yet.",
    413: "The request is too large.", 422: "A parameter is wrong; `detail` names it.",
    429: "Too much at once; `Retry-After` says when to ask again.", 500: "A fault of this site.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How errors of a route are described."""
    return {s: {"description": MEANINGS[s], "content": {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}}} for s in (400, *statuses, 500)}


class Model(BaseModel):
    """Base of what the API says."""

    model_config = ConfigDict(extra="forbid")


class CheckOut(Model):
    """One leaf of a claim's rule."""

    name: str
    rule: str
    kind: str
    verdict: str
    estimate: float | None
    interval: tuple[float, float] | None = Field(description="95 % interval; null under 3 seeds and for checks that hold trial by trial")
    threshold: float | tuple[float, float] | None
    better: Literal["lower", "higher", "inside"]
    unit: str
    n_seeds: int
    headline: bool
    reason: str


class FindingOut(Model):
    """A verdict with where and how it was reached."""

    origin: Literal["here", "imported", "reference"]
    run_id: str
    verdict: VerdictWord
    reason: str
    note: str
    scale: str
    seconds: float | None
    ended_at: dt.datetime | None
    earlier_version: bool = Field(description="the code has changed since")
    checks: list[CheckOut]


class ActiveOut(Model):
    """A run that waits or is under way."""

    run_id: str
    state: StateWord


class ClaimOut(Model):
    """A claim, what its paper reports, and how it stands."""

    paper: str
    id: str
    short: str
    statement: str
    reported: Reported | None
    metric: str
    unit: str
    better: Literal["lower", "higher", "equal"]
    baseline: str
    rule: str
    scales: dict[str, str]
    state: str = Field(description="the newest verdict here, else queued, running, untried, or listed")
    here: FindingOut | None
    reference: FindingOut | None
    active: ActiveOut | None


class Claims(Model):
    """A list of claims."""

    items: list[ClaimOut]


class RunOut(Model):
    """A run in lists."""

    run_id: str
    batch_id: str
    paper: str
    claim: str
    scale: str
    state: StateWord
    verdict: VerdictWord | None
    reason: str
    origin: str
    is_yours: bool
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    seconds: float


class Runs(Model):
    """A page of runs, newest first; `next` is the cursor of the page that follows."""

    items: list[RunOut]
    next: int | None


class RunDetail(BaseModel):
    """A run with every check and every arm: an entry of `workingpapers run --json`, and more."""

    model_config = ConfigDict(extra="allow")

    run_id: str
    id: str
    paper: str
    state: StateWord
    verdict: VerdictWord | None
    checks: list[dict[str, Any]]
    arms: dict[str, Any]
    environment: dict[str, Any]


class RunRequest(Model):
    """What to try: a registered claim at one of its scales. Nothing here names code, files or modules."""

    paper: str = Field(max_length=80, examples=["mini_gp"])
    claim: str = Field(max_length=120, examples=["regret-preserved"])
    scale: ScaleWord = "smoke"
    seeds: int | None = Field(None, ge=1, le=1000, description="in place of the claim's own number; fewer than 3 are inconclusive")


class Health(Model):
    """The site answers and its store can be read."""

    status: Literal["ok"]
    papers: int
    queued: int


router = APIRouter()
V1 = "/api/v1"


@router.get("/healthz", responses=problems(), tags=["site"])
def health(site: SiteOf) -> Health:
    """Whether the site answers and its store can be read."""
    with site.lab.store.reading() as session:
        return Health(status="ok", papers=len(site.lab.catalogue), queued=read.queued(session))


@router.get(f"{V1}/claims", responses=problems(404, 422), tags=["claims"])
def list_claims(site: SiteOf, paper: Annotated[str, Query(max_length=80)] = "",
                state: Annotated[str, Query(max_length=20, description="a verdict, or queued, running, untried, listed")] = "") -> Claims:
    """Claims and how they stand here."""
    papers = [site.paper(paper)] if paper else list(site.lab.catalogue)
    with site.lab.store.reading() as session:
        views = site.claim_views(session, papers, paper or None)
    return Claims(items=[claim_out(v, site.current_code(v.paper)) for vs in views.values() for v in vs if state in ("", v.state)])


@router.get(f"{V1}/claims/{{slug}}/{{claim_id}}", responses=problems(404, 422), tags=["claims"])
def get_claim(site: SiteOf, slug: Slug, claim_id: ClaimId) -> ClaimOut:
    """One claim and how it stands here."""
    paper, _ = site.claim(slug, claim_id)
    with site.lab.store.reading() as session:
        return claim_out(site.claim_view(session, paper, claim_id), site.current_code(paper))


@router.get(f"{V1}/runs", responses=problems(422), tags=["runs"])
def list_runs(site: SiteOf, paper: Annotated[str | None, Query(max_length=80)] = None,
              claim: Annotated[str | None, Query(max_length=120)] = None,
              verdict: VerdictWord | None = None, state: StateWord | None = None,
              before: Annotated[int | None, Query(ge=1, le=MOST_ID, description="cursor: `next` of the page before")] = None,
              limit: Limit = 50) -> Runs:
    """Runs of this store, newest first."""
    with site.lab.store.reading() as session:
        rows = read.runs(session, slug=paper, claim_id=claim, verdict=verdict, state=state, before=before, limit=limit + 1)
        return Runs(items=[_run(r) for r in rows[:limit]], next=rows[limit - 1].id if len(rows) > limit else None)


@router.post(f"{V1}/runs", status_code=202, responses=problems(401, 403, 404, 409, 413, 422, 429), dependencies=WITH_TOKEN, tags=["runs"])
def start_run(site: SiteOf, viewer: ViewerOf, asked: Annotated[RunRequest, Body()], response: Response) -> RunOut:
    """Queue a run of a registered claim. `Location` names it; an identical run that waits or goes on is given back."""
    viewer.require("smoke" if asked.scale == "smoke" else "run")
    row, _ = site.ask(asked.paper, asked.claim, asked.scale, asked.seeds, requested_by=viewer.name)
    response.headers["Location"] = f"{V1}/runs/{row.run_id}"
    return _run(row)


@router.get(f"{V1}/runs/{{run_id}}", responses=problems(404, 422), tags=["runs"])
def get_run(site: SiteOf, run_id: RunId) -> RunDetail:
    """One run: verdict, checks, arms, environment."""
    with site.lab.store.reading() as session:
        row = site.run(session, run_id)
        document = run_document(row, site.lab.facts_of(row.slug, row.claim_id))
        return RunDetail(**{**document, "environment": row.environment or {}})


@router.post(f"{V1}/runs/{{run_id}}/cancel", status_code=202, responses=problems(401, 403, 404, 413, 422), dependencies=WITH_TOKEN,
             tags=["runs"])
def cancel_run(site: SiteOf, viewer: ViewerOf, run_id: RunId) -> RunOut:
    """Ask a run to stop; a queued one is cancelled at once. A run that is over stays as it is."""
    viewer.require("smoke")
    with site.lab.store.reading() as session:
        row = site.run_head(session, run_id)
    if row.requested_by != viewer.name:
        viewer.require("run")
    site.lab.cancel(run_id)
    with site.lab.store.reading() as session:
        return _run(site.run_head(session, run_id))


@router.get(f"{V1}/runs/{{run_id}}/events", tags=["runs"], response_class=Response, responses={
    **problems(404, 422), 204: {"description": "The run is over and nothing happened after that event."},
    200: {"description": "Events `state`, `progress`, `trial`, `warning`, `verdict`, `queue`; the last one is `done`.",
          "content": {"text/event-stream": {"schema": {"type": "string"}}}}})
async def run_events(site: SiteOf, request: Request, run_id: RunId,
                     after: Annotated[int | None, Query(ge=0, le=MOST_ID, description="in place of the header Last-Event-ID")] = None,
                     ) -> Response:
    """Server-sent events of a run; ids are the event numbers, `Last-Event-ID` resumes."""
    return await live.respond(site, request, run_id, after)


@router.get(f"{V1}/runs/{{run_id}}/export", responses=problems(404, 422), tags=["runs"])
def export_run(site: SiteOf, run_id: RunId, response: Response) -> dict[str, Any]:
    """The run with every trial as one document, for `workingpapers runs import`."""
    with site.lab.store.reading() as session:
        row = site.run_head(session, run_id)
    response.headers["Content-Disposition"] = f'attachment; filename="{row.slug}-{row.claim_id}-{row.run_id}.json"'
    return export_runs(site.lab, [row.run_id])


def claim_out(view: ClaimView, code: str) -> ClaimOut:
    facts: ClaimFacts = view.facts
    return ClaimOut(
        paper=view.paper.slug, id=facts.id, short=facts.short, statement=facts.statement, reported=facts.reported, metric=facts.metric,
        unit=facts.unit, better=facts.better, baseline=facts.baseline, rule=facts.rule, scales={str(k): v for k, v in facts.scales.items()},
        state=view.state, here=_finding(view.here, code), reference=_finding(view.reference, code),
        active=ActiveOut(run_id=view.active.run_id, state=_state(view.active)) if view.active else None)


def _finding(finding: Finding | None, code: str) -> FindingOut | None:
    if finding is None:
        return None
    checks = [CheckOut(name=c.name, rule=c.rule, kind=c.kind, verdict=c.verdict, estimate=c.estimate, interval=c.interval,
                       threshold=_json(c.threshold), better=c.better, unit=c.unit, n_seeds=c.n_seeds, headline=c.is_headline,
                       reason=c.reason)
              for c in finding.checks]
    ended = dt.datetime.fromisoformat(finding.ended_at) if isinstance(finding.ended_at, str) else finding.ended_at
    return FindingOut.model_validate({
        "origin": finding.origin, "run_id": finding.run_id, "verdict": finding.verdict, "reason": finding.reason,
        "note": finding.note, "scale": finding.scale, "seconds": finding.seconds, "ended_at": ended,
        "earlier_version": is_older(finding, code), "checks": checks})


def _json(threshold: float | tuple[float, float] | None) -> float | tuple[float, float] | None:
    """A band that is open on one side has no JSON number for that side: the largest double stands for it."""
    if not isinstance(threshold, tuple):
        return threshold
    largest = 1.7976931348623157e308
    return max(-largest, threshold[0]), min(largest, threshold[1])


def _state(row: RunRow) -> Any:
    return row.state if row.state in UNDER_WAY else "done"


def _run(row: RunRow) -> RunOut:
    return RunOut.model_validate({name: getattr(row, name) for name in _SAME} | {"paper": row.slug, "claim": row.claim_id})


_SAME = ("run_id", "batch_id", "scale", "state", "verdict", "reason", "origin", "is_yours", "created_at", "started_at", "ended_at",
         "seconds")
