"""The pages that find papers: for a question, and for a reader; questions as feeds."""

from __future__ import annotations

import datetime as dt
import importlib.util
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from ..people.limits import allow_search
from ..people.viewer import ViewerOf
from ..problems import Problem
from ..rendering import page
from ..shelf.cards import cards
from ..shelf.syndication import MAX_ENTRIES, syndicate
from ..site import SiteOf
from .api import asked
from .encoding import REMEDY
from .find import Answer, searcher
from .grammar import parse
from .reasons import reasons
from .recommend import LIKED, ForReader, for_reader

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]
PER_PAGE = 20
DAYS = {"": None, "week": 7, "month": 31}

Cursor = Annotated[str, Query(max_length=200)]


@router.api_route("/search", methods=READ)
def search(request: Request, site: SiteOf, viewer: ViewerOf, q: str = "", after: Cursor = "") -> Response:
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
        why = {paper: str(reason) for paper, reason in reasons(session, searcher(site.lab.store), answer).items()}
        found = cards(site, session, viewer, [hit.paper for hit in answer.hits], why)
    return page(request, "search.html", status, q=q[:4_000], answer=answer, found=found, wrong=wrong, first=not after)


@router.api_route("/search.{ending}", methods=READ)
def search_feed(request: Request, site: SiteOf, viewer: ViewerOf, ending: Literal["atom", "rss", "json"], q: str = "") -> Response:
    """The best papers for a question as a feed, the newest of them first."""
    allow_search(viewer)
    rows = [hit.paper for hit in asked(site, q, MAX_ENTRIES, "").hits] if q.strip() else []
    rows.sort(key=lambda row: row.listed_on or row.published_on or dt.date.min, reverse=True)
    return syndicate(request, site, rows, ending, title=f"Search: {q[:200]}", path=f"/search?q={quote(q)}")


@router.api_route("/for-you", methods=READ)
def for_you(request: Request, site: SiteOf, viewer: ViewerOf, span: Annotated[str, Query(max_length=10)] = "") -> Response:
    """New papers that fit what the viewer tagged, saved and rated."""
    if span not in DAYS:
        raise Problem(400, "No such span", f"Choose one of: {', '.join(filter(None, DAYS))}, or leave it out.")
    picked, absent = ForReader((), "nothing", ()), ""
    if viewer.user is not None:
        if importlib.util.find_spec("sklearn") is None:
            absent = f"Recommendations need scikit-learn: {REMEDY}."
        else:
            picked = for_reader(site.lab.store, viewer.user.id, PER_PAGE, DAYS[span])
    why = {p.paper.id: "Like what you liked." if p.because == LIKED else
           "Like what you saved." if p.because == "saved" else f"Like what you tagged {p.because}." for p in picked.picks}
    with site.lab.store.reading() as session:
        found = cards(site, session, viewer, [p.paper for p in picked.picks], why)
    return page(request, "for_you.html", found=found, how=picked.how, tags=picked.tags, span=span, absent=absent)
