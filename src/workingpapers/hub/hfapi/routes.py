"""Addresses of the Hugging Face API that the client asks. Errors are `{"error": "..."}`, as it reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..people.comments import add_comment
from ..people.limits import allow_search
from ..people.viewer import ViewerOf
from ..problems import Problem
from ..search import QueryError, find_papers
from ..shelf import lists
from ..shelf.finding import find
from ..shelf.lists import Span
from ..site import Site, SiteOf, today
from ..tables import PaperRow, UserRow
from .rows import daily_rows, flat_paper

router = APIRouter(prefix="/api", include_in_schema=False)
LIMIT = 50
MAX_LIMIT = 100
MAX_PAGE = 10_000
NO_HARNESSES = JSONResponse({"error": "This site knows of no agent harnesses."}, 404)


def says_error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as the client reads it."""
    return JSONResponse({"error": message}, status, {**(headers or {}), "X-Error-Message": message.encode("ascii", "replace").decode()})


def hf_errors(handler: Callable[..., Response]) -> Callable[..., Response]:
    """Problems of the site in the client's own words."""

    @wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Response:
        try:
            return handler(*args, **kwargs)
        except Problem as problem:
            return says_error(problem.status, problem.detail or problem.title, problem.headers)

    return call


@router.get("/daily_papers")
@hf_errors
def daily_papers(site: SiteOf, date: str | None = None, week: str | None = None, month: str | None = None, submitter: str | None = None,
                 sort: str = "publishedAt", p: str = "0", limit: str = str(LIMIT)) -> Response:
    """Papers by the day they were listed, or by trend."""
    span = _span(site, date, week, month)
    if sort not in ("publishedAt", "trending"):
        raise Problem(400, "", f"sort: publishedAt or trending, not {sort[:40]!r}")
    number, size = _number("p", p, 0, MAX_PAGE), _number("limit", limit, 1, MAX_LIMIT)
    query = select(PaperRow).where(lists.VISIBLE, PaperRow.listed_on.is_not(None))
    if span is not None:
        query = query.where(PaperRow.listed_on >= span.first, PaperRow.listed_on <= span.last)
    if submitter:
        query = query.where(PaperRow.submitted_by.in_(select(UserRow.id).where(UserRow.handle == submitter)))
    if sort == "trending":
        query = query.where(PaperRow.trend_log.is_not(None)).order_by(PaperRow.trend_log.desc(), PaperRow.listed_on.desc(),
                                                                      PaperRow.public_id.desc())
    else:
        query = query.order_by(PaperRow.listed_on.desc(), PaperRow.published_key.desc(), PaperRow.public_id.desc())
    with site.lab.store.reading() as session:
        return JSONResponse(daily_rows(session, session.scalars(query.offset(number * size).limit(size)).all()))


@router.get("/papers/search")
@hf_errors
def search(site: SiteOf, viewer: ViewerOf, q: str = "", limit: str = "20") -> Response:
    """Papers for a question, best first; the newest ones without a question."""
    size = _number("limit", limit, 1, MAX_LIMIT)
    with site.lab.store.reading() as session:
        if not q.strip():
            return JSONResponse(daily_rows(session, lists.listed(session, limit=size).papers))
        allow_search(viewer)
        try:
            found = find_papers(site.lab.store, q, size)
        except QueryError as error:
            raise Problem(400, "", f"q: {error}") from error
        return JSONResponse(daily_rows(session, found))


@router.post("/papers/{name:path}/comment")
@hf_errors
def comment(request: Request, site: SiteOf, viewer: ViewerOf, name: str, body: Annotated[Any, Body()] = None) -> Response:
    """Comment on a paper. Only for an API token: a browser's cookie opens nothing here."""
    if viewer.via != "token":
        raise Problem(401, "", "Send a token of this site, with the scope to comment, as a Bearer token.", {"WWW-Authenticate": "Bearer"})
    text = body.get("comment") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise Problem(400, "", 'A JSON object {"comment": "..."} is expected.')
    with site.lab.store.writing() as session:
        row = add_comment(session, viewer, _paper(session, name), text)
        answer = {"id": f"{row.id:024x}", "author": viewer.account().handle, "createdAt": f"{row.created_at:%Y-%m-%dT%H:%M:%S.000Z}",
                  "data": {"latest": {"raw": row.markdown}}}
    return JSONResponse(answer, 201)


@router.get("/papers/{name:path}")
@hf_errors
def paper(site: SiteOf, name: str) -> Response:
    """One paper."""
    with site.lab.store.reading() as session:
        return JSONResponse(flat_paper(session, _paper(session, name)))


@router.get("/agent-harnesses")
def agent_harnesses() -> Response:
    """The client asks for this once a day; there are none."""
    return NO_HARNESSES


def _paper(session: Session, name: str) -> PaperRow:
    row = find(session, name)
    if row is None:
        raise Problem(404, "", f"Paper not found: {name[:60]}")
    return row


def _span(site: Site, date: str | None, week: str | None, month: str | None) -> Span | None:
    """The one span that is asked for. One that has not begun is refused, as the client's own site does."""
    given: list[tuple[lists.Kind, str]] = [(kind, text) for kind, text in (("date", date), ("week", week), ("month", month)) if text]  # type: ignore[misc]
    if len(given) > 1:
        raise Problem(400, "", f"{given[0][0]} and {given[1][0]} cannot both be given")
    if not given:
        return None
    try:
        span = lists.span_of(*given[0])
    except ValueError as error:
        raise Problem(400, "", f"Invalid {error}") from None
    if span.first > today(site):
        raise Problem(400, "", f"{given[0][0]}: {given[0][1]} has not begun yet")
    return span


def _number(name: str, text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise Problem(400, "", f"{name}: a whole number from {low} to {high}, not {text[:40]!r}")
    return int(text)


