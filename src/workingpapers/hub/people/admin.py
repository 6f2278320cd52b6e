"""What editors and admins see and do: people, doubts, hidden papers, jobs, claims of authorship, the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from ..forms import has_token
from ..problems import Problem
from ..rendering import page
from ..row_ids import MOST_ID, RowId
from ..shelf import settling
from ..site import SiteOf
from ..tables import AuditRow, DoubtRow, JobRow, PaperRow, UserRow
from .accounts import AccountError, set_role, sign_out_everywhere
from .audit import audit
from .authorship import claims_open, settle_authorship
from .papers import address, paper_named
from .roles import ROLES
from .viewer import Viewer, ViewerOf, may, sign_in_address

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
forms = APIRouter(include_in_schema=False, dependencies=[Depends(has_token)])
READ = ["GET", "HEAD"]
PER_PAGE = 50

EditorOf = Annotated[Viewer, Depends(may("edit"))]
AdminOf = Annotated[Viewer, Depends(may("admin"))]
Word = Annotated[str, Form(max_length=200)]


@router.api_route("/admin", methods=READ)
def admin(request: Request, site: SiteOf, viewer: ViewerOf, q: Annotated[str, Query(max_length=120)] = "",
          after: Annotated[int, Query(ge=0, le=MOST_ID)] = 0) -> Response:
    """What waits for an editor or admin."""
    if viewer.user is None and viewer.via == "nothing":
        return RedirectResponse(sign_in_address("/admin"), 303)
    viewer.require("edit")
    with site.lab.store.reading() as session:
        doubts = settling.questions(session, limit=21)
        settled = settling.questions(session, state="settled", limit=20)
        hidden = list(session.scalars(select(PaperRow).where(PaperRow.hidden.is_(True)).order_by(PaperRow.id).limit(200)))
        jobs = list(session.scalars(select(JobRow).where(JobRow.state != "done").order_by(JobRow.id.desc()).limit(PER_PAGE)))
        counts = dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).tuples().all())
        people: list[UserRow] = []
        if viewer.can("admin"):
            query = select(UserRow).where(UserRow.id > after).order_by(UserRow.id).limit(PER_PAGE + 1)
            if q:
                words = func.lower(UserRow.handle + " " + func.coalesce(UserRow.email, "") + " " + UserRow.display_name)
                query = query.where(words.contains(q.lower(), autoescape=True))
            people = list(session.scalars(query))
        claims = claims_open(session) if viewer.can("admin") else []
        log = list(session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(PER_PAGE))) if viewer.can("admin") else []
        names = _names(session, [*(a.actor for a in log), *(a.subject for a in log), *(f"user:{q.row.settled_by}" for q in settled)])
    return page(request, "people/admin.html", doubts=doubts, settled=settled, hidden=hidden, jobs=jobs, counts=counts,
                people=people[:PER_PAGE], more=people[PER_PAGE - 1].id if len(people) > PER_PAGE else None, claims=claims,
                log=log, names=names, roles=ROLES, q=q, address=address, now=now())


@forms.post("/admin/users/{user_id}/role")
def change_role(site: SiteOf, viewer: AdminOf, user_id: RowId, role: Word) -> Response:
    """Give somebody another role."""
    try:
        with site.lab.store.writing() as session:
            set_role(session, _user(session, user_id), role, actor=viewer.name)
    except AccountError as error:
        raise Problem(422, "The role stays as it is", str(error)) from error
    return RedirectResponse("/admin#people", 303)


@forms.post("/admin/users/{user_id}/signout")
def sign_somebody_out(site: SiteOf, viewer: AdminOf, user_id: RowId) -> Response:
    """End every sign-in and token of somebody, as after a theft."""
    with site.lab.store.writing() as session:
        sign_out_everywhere(session, _user(session, user_id), actor=viewer.name)
    return RedirectResponse("/admin#people", 303)


@forms.post("/admin/authorships/{claim_id}")
def settle(site: SiteOf, viewer: AdminOf, claim_id: RowId, answer: Word) -> Response:
    """Approve or refuse a claim of authorship."""
    with site.lab.store.writing() as session:
        settle_authorship(session, claim_id, answer, actor=viewer.name)
    return RedirectResponse("/admin#authorships", 303)


@forms.post("/admin/doubts/{doubt_id}")
def settle_doubt(site: SiteOf, viewer: EditorOf, doubt_id: RowId, answer: Word,
                 paper: Annotated[str, Form(max_length=500)] = "") -> Response:
    """Say that it is the same paper, or not."""
    try:
        with site.lab.store.writing() as session:
            row = _doubt(session, doubt_id)
            about = row.body.get("record") or row.body.get("papers")
            merged = settling.settle(session, row, answer, paper, by=viewer.account().id)
            audit(session, viewer.name, "same paper" if answer == settling.SAME else "different papers",
                  merged.public_id if merged is not None else row.title, doubt=doubt_id, about=about)
    except settling.CannotSettle as error:
        raise Problem(422, "Nothing was changed", str(error)) from error
    return RedirectResponse("/admin#doubts", 303)


@forms.post("/admin/doubts/{doubt_id}/reopen")
def reopen_doubt(site: SiteOf, viewer: EditorOf, doubt_id: RowId) -> Response:
    """Take the answer back."""
    try:
        with site.lab.store.writing() as session:
            row = _doubt(session, doubt_id)
            audit(session, viewer.name, "doubt reopened", row.title, doubt=doubt_id, was=row.state)
            settling.reopen(session, row)
    except settling.CannotSettle as error:
        raise Problem(422, "Nothing was changed", str(error)) from error
    return RedirectResponse("/admin#doubts", 303)


@forms.post("/admin/papers/hide")
def hide(site: SiteOf, viewer: EditorOf, paper: Annotated[str, Form(max_length=500)], hidden: Annotated[bool, Form()] = True) -> Response:
    """Take a paper out of lists and pages, or show it again."""
    with site.lab.store.writing() as session:
        row = paper_named(session, paper, hidden=True)
        if row.hidden != hidden:
            row.hidden = hidden
            audit(session, viewer.name, "hide paper" if hidden else "show paper", row.public_id)
    return RedirectResponse("/admin#hidden", 303)


def _doubt(session: Session, doubt_id: int) -> DoubtRow:
    row = session.get(DoubtRow, doubt_id)
    if row is None:
        raise Problem(404, "No such doubt", "What the records say has changed meanwhile: it no longer stands.")
    return row


def _user(session: Session, user_id: int) -> UserRow:
    user = session.get(UserRow, user_id)
    if user is None:
        raise Problem(404, "No such account", "It may have been deleted.")
    return user


def _names(session: Session, subjects: list[str]) -> dict[str, str]:
    """Handles for `user:7` in the log; accounts that are gone keep their number."""
    ids = {int(s.removeprefix("user:")) for s in subjects if s.startswith("user:") and s.removeprefix("user:").isdecimal()}
    return {f"user:{i}": handle for i, handle in session.execute(select(UserRow.id, UserRow.handle).where(UserRow.id.in_(ids))).tuples()}
