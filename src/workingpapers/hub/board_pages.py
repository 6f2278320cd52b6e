"""Leaderboards by task: claims with the reported figure and the measured one side by side, and tables of reported figures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from .ingest.pwc import ATTRIBUTION
from .problems import Problem
from .rendering import page
from .shelf import boards
from .shelf.finding import address
from .site import SiteOf, tally

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]


@router.api_route("/leaderboards", methods=READ)
def leaderboards(request: Request, site: SiteOf, after: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Tasks: those of papers whose claims run here, and those with figures that papers report."""
    here: dict[str, list[Any]] = {}
    for paper in site.lab.catalogue:
        here.setdefault(paper.facts.task, []).append(paper)
    with site.lab.store.reading() as session:
        views = site.views() if not after else {}
        rows = [(task, found, tally(v for p in found for v in views[p.slug])) for task, found in sorted(here.items())] if not after else []
        reported, following = boards.tasks(session, after)
        return page(request, "boards.html", rows=rows, reported=reported, after=following, is_start=not after, attribution=ATTRIBUTION)


@router.api_route("/leaderboards.json", methods=READ)
def as_json(site: SiteOf) -> Response:
    """All reported figures as Papers with Code wrote them."""

    def pieces() -> Any:
        with site.lab.store.reading() as session:
            yield from boards.export(session)

    return StreamingResponse(pieces(), media_type="application/json",
                             headers={"Content-Disposition": 'attachment; filename="leaderboards.json"', "Cache-Control": "no-cache"})


@router.api_route("/leaderboards/{task:path}", methods=READ)
def leaderboard(request: Request, site: SiteOf, task: str) -> Response:
    """One task."""
    papers = [p for p in site.lab.catalogue if p.facts.task == task]
    with site.lab.store.reading() as session:
        found = boards.boards(session, task)
        if not papers and not found:
            raise Problem(404, "No such task", f"No paper here has results on {task[:60]!r}.")
        views = site.views()
        return page(request, "board.html", task=task, papers=papers, views=views, boards=found, address=address, attribution=ATTRIBUTION,
                    cut=sum(len(b.lines) for b in found) >= boards.MAX_ROWS)
