"""The page that finds papers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select

from ..markup import abstract_html
from ..people.limits import allow_search
from ..people.viewer import ViewerOf
from ..problems import Problem
from ..rendering import page
from ..shelf import address
from ..site import SiteOf
from ..tables import PaperRow
from .api import asked
from .find import Answer
from .grammar import parse

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
PER_PAGE = 20


@router.api_route("/search", methods=["GET", "HEAD"])
def search(request: Request, site: SiteOf, viewer: ViewerOf, q: str = "", after: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Papers for a question, with what ordered them; without one, what may be asked."""
    wrong, status = "", 200
    answer = Answer(parse(""), (), "nothing")
    if q.strip():
        allow_search(viewer)
        try:
            answer = asked(site, q, PER_PAGE, after)
        except Problem as problem:
            wrong, status = problem.detail, problem.status
    with site.lab.store.reading() as session:
        slugs = {hit.paper.slug for hit in answer.hits if hit.paper.slug}
        papers = [paper for paper in site.lab.catalogue if paper.slug in slugs]
        views = site.claim_views(session, papers) if papers else {}
        papers_here = session.scalar(select(func.max(PaperRow.id))) or 0
    return page(request, "search.html", status, q=q[:4_000], answer=answer, wrong=wrong, first=not after, views=views, address=address,
                abstract_html=abstract_html, is_empty_here=not papers_here)
