"""Pages about people: sign-in, one's own account, the export of everything that is kept about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy import select

from ..problems import Problem
from ..rendering import local_path, page
from ..row_ids import MOST_ID
from ..site import SiteOf
from ..tables import ApiTokenRow, AuthorshipRow, CommentRow, PaperRow, SigninRow, TagRow
from ..tokens import visitor_of
from .accounts import export_account
from .papers import address
from .roles import GRANTS, ROLES, SCOPES
from .signin import REFUSED, look_at
from .viewer import ViewerOf, sign_in_address

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]
NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
PER_PAGE = 50

Words = Annotated[str, Query(max_length=2000)]


@router.api_route("/signin", methods=READ)
def sign_in(request: Request, site: SiteOf, viewer: ViewerOf, next: Words = "/") -> Response:
    """Where one asks for a link by mail."""
    if viewer.user is not None:
        return RedirectResponse(local_path(next), 303)
    return page(request, "people/signin.html", next=local_path(next), sent=False, has_smtp=bool(site.settings.smtp_host))


@router.api_route("/signin/{secret}", methods=READ)
def open_link(request: Request, site: SiteOf, secret: str) -> Response:
    """What a link leads to: a button. Looking at it spends nothing, since mail scanners look."""
    with site.lab.store.reading() as session:
        link = look_at(session, secret, visitor_of(request))
    if link is None:
        raise REFUSED
    return page(request, "people/link.html", headers=NO_STORE, link=link, secret=secret, problem="", handle="", email="")


@router.api_route("/me", methods=READ)
def me(request: Request, site: SiteOf, viewer: ViewerOf, tag: Annotated[str, Query(max_length=60)] = "",
       before: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None) -> Response:
    """One's own account: what was saved and said, where one is signed in, tokens, export, deletion."""
    if viewer.user is None:
        return RedirectResponse(sign_in_address("/me"), 303)
    if viewer.via != "cookie":
        raise Problem(403, "This page is for people", "A program finds the same under /api/v1/me.")
    user = viewer.user
    with site.lab.store.reading() as session:
        tags = list(session.scalars(select(TagRow.name).where(TagRow.user_id == user.id).distinct().order_by(TagRow.name)))
        query = select(TagRow, PaperRow).join(PaperRow, PaperRow.id == TagRow.paper_id).where(TagRow.user_id == user.id)
        query = query.where(TagRow.name == tag) if tag else query
        query = query.where(TagRow.id < before) if before else query
        kept = list(session.execute(query.order_by(TagRow.id.desc()).limit(PER_PAGE + 1)).tuples())
        said = list(session.execute(select(CommentRow, PaperRow).join(PaperRow, PaperRow.id == CommentRow.paper_id).where(
            CommentRow.user_id == user.id, CommentRow.deleted_at.is_(None)).order_by(CommentRow.id.desc()).limit(20)).tuples())
        signins = list(session.scalars(select(SigninRow).where(SigninRow.user_id == user.id).order_by(SigninRow.id.desc())))
        keys = list(session.scalars(select(ApiTokenRow).where(ApiTokenRow.user_id == user.id).order_by(ApiTokenRow.id.desc())))
        wrote = list(session.execute(select(AuthorshipRow, PaperRow).join(PaperRow, PaperRow.id == AuthorshipRow.paper_id).where(
            AuthorshipRow.user_id == user.id)).tuples())
    return page(request, "people/me.html", user=user, tags=tags, tag=tag, kept=kept[:PER_PAGE], said=said, signins=signins, keys=keys,
                wrote=wrote, older=kept[PER_PAGE - 1][0].id if len(kept) > PER_PAGE else None, scopes=SCOPES, roles=ROLES,
                actions=GRANTS[user.role], address=address)


@router.api_route("/me/export.json", methods=READ)
def export(site: SiteOf, viewer: ViewerOf) -> Response:
    """Everything the site keeps about one's account."""
    viewer.require("self")
    with site.lab.store.reading() as session:
        document = export_account(session, viewer.account())
    return JSONResponse(document, headers={"Content-Disposition": 'attachment; filename="working-papers-account.json"',
                                           "Cache-Control": "no-store"})
