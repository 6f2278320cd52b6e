"""What people's forms do: sign in and out, vote, save, tag, rate, comment, claim authorship, change or delete one's account."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ..forms import has_token
from ..mail import MailError
from ..problems import Problem
from ..rendering import local_path, page, wants_fragment
from ..row_ids import MOST_ID, RowId
from ..site import Site, SiteOf
from ..tables import CommentRow, PaperRow, SigninRow, UserRow
from ..tokens import SESSION_COOKIE, VISITOR_COOKIE, cookie_of, drop_cookie, keep_cookie, new_visitor, visitor_of
from . import signin
from .accounts import AccountError, account_address, checked_handle, checked_scopes, delete_account
from .acts import acts_of
from .authorship import claim_authorship
from .comments import add_comment, delete_comment, edit_comment, thread
from .keys import digest, is_secret
from .limits import MAILS, VOTES, spend
from .pages import NO_STORE
from .papers import address as address_of
from .papers import paper_named
from .viewer import Viewer, ViewerOf, may
from .votes import SAVED, set_rating, set_tag, set_vote

log = logging.getLogger("workingpapers.hub.people")
router = APIRouter(include_in_schema=False, dependencies=[Depends(has_token)])

Word = Annotated[str, Form(max_length=200)]
Address = Annotated[str, Form(max_length=2000)]
Text = Annotated[str, Form(max_length=20_000)]
Paper = Annotated[str, Form(max_length=500)]
Flag = Annotated[bool, Form()]
VoterOf = Annotated[Viewer, Depends(may("vote"))]
CommenterOf = Annotated[Viewer, Depends(may("comment"))]
SelfOf = Annotated[Viewer, Depends(may("self"))]


# ---- sign-in ----


@router.post("/signin")
def ask_for_link(request: Request, site: SiteOf, viewer: ViewerOf, tasks: BackgroundTasks, email: Word, next: Address = "/") -> Response:
    """Send a link. The answer is the same whether or not the address has an account."""
    address = account_address(email)
    if address is None:
        raise Problem(422, "That is no mail address", "Write it as name@example.org.")
    with site.lab.store.writing() as session:
        spend(session, MAILS, viewer, f"email:{digest(address)}")
        known = session.scalar(select(UserRow.id).where(UserRow.email == address)) is not None
        secret = signin.new_link(session, signin.BY_MAIL, email=address, browser=visitor_of(request) or "", back=local_path(next))
        signin.forget_old(session)
    if known or site.settings.signup:
        url = f"{(site.settings.base_url or str(request.base_url)).rstrip('/')}/signin/{secret}"
        tasks.add_task(_send, site, address, url)
    answer = page(request, "people/signin.html", next=local_path(next), sent=True, has_smtp=bool(site.settings.smtp_host))
    answer.background = tasks
    return answer


def _send(site: Site, address: str, url: str) -> None:
    try:
        signin.send_link(site.lab.store, site.settings, address, url)
    except MailError as error:
        log.warning("a sign-in mail was not taken: %s", error)


@router.post("/signin/{secret}")
def spend_link(request: Request, site: SiteOf, secret: str, handle: Word = "", email: Word = "") -> Response:
    """Spend a link: the browser gets a new cookie, and loses those it had."""
    browser = visitor_of(request)
    try:
        with site.lab.store.writing() as session:
            user, back = signin.spend_link(session, secret, browser, handle=handle.strip(), email=email.strip())
            _end_own(session, request)
            cookie = signin.begin_signin(session, user, request.headers.get("user-agent", ""))
    except AccountError as error:
        with site.lab.store.reading() as session:
            link = signin.look_at(session, secret, browser)
        if link is None:
            raise signin.REFUSED from error
        return page(request, "people/link.html", 422, NO_STORE, link=link, secret=secret, problem=str(error), handle=handle, email=email)
    answer = RedirectResponse(local_path(back), 303, NO_STORE)
    keep_cookie(answer, request, SESSION_COOKIE, cookie, int(signin.SIGNIN_LIFE.total_seconds()))
    keep_cookie(answer, request, VISITOR_COOKIE, new_visitor())
    return answer


@router.post("/signout")
def sign_out(request: Request, site: SiteOf) -> Response:
    """Sign this browser out."""
    with site.lab.store.writing() as session:
        _end_own(session, request)
    answer = RedirectResponse("/", 303)
    drop_cookie(answer, request, SESSION_COOKIE)
    keep_cookie(answer, request, VISITOR_COOKIE, new_visitor())
    return answer


def _end_own(session: Session, request: Request) -> None:
    secret = cookie_of(request, SESSION_COOKIE)
    if secret is not None and is_secret(secret):
        session.execute(delete(SigninRow).where(SigninRow.token_hash == digest(secret)))


# ---- papers ----


@router.post("/votes")
def vote(request: Request, site: SiteOf, viewer: VoterOf, paper: Paper, on: Flag = True, back: Address = "") -> Response:
    """Vote for a paper, or take the vote back."""
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_vote(session, viewer.account(), row, on)
    return _acted(request, site, viewer, row.id, back, "people/vote.html")


@router.post("/tags")
def tag(request: Request, site: SiteOf, viewer: VoterOf, paper: Paper, name: Word = SAVED, on: Flag = True, back: Address = "") -> Response:
    """Save or tag a paper, or take it off."""
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_tag(session, viewer.account(), row, name, on)
    return _acted(request, site, viewer, row.id, back, "people/save.html" if name == SAVED else "people/tags.html")


@router.post("/ratings")
def rate(request: Request, site: SiteOf, viewer: VoterOf, paper: Paper, value: Annotated[int, Form(ge=-1, le=1)],
         back: Address = "") -> Response:
    """More or less like this, for one's recommendations."""
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_rating(session, viewer.account(), row, value)
    return _acted(request, site, viewer, row.id, back, "people/rating.html")


@router.post("/authorships")
def authorship(request: Request, site: SiteOf, viewer: VoterOf, paper: Paper, back: Address = "") -> Response:
    """Say that one wrote this paper; an admin checks it."""
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        claim_authorship(session, viewer.account(), row)
    return RedirectResponse(local_path(back) if back else address_of(row), 303)


def _acted(request: Request, site: Site, viewer: Viewer, paper_id: int, back: str, part: str) -> Response:
    with site.lab.store.reading() as session:
        row = session.get(PaperRow, paper_id)
        if row is None:
            raise Problem(404, "No such paper", "It has gone meanwhile.")
        if not wants_fragment(request):
            return RedirectResponse(local_path(back) if back else address_of(row), 303)
        return page(request, part, paper=row, acts=acts_of(session, viewer, [row.id])[row.id], back=local_path(back))


# ---- comments ----


@router.post("/comments")
def comment(request: Request, site: SiteOf, viewer: CommenterOf, paper: Paper, markdown: Text,
            parent: Annotated[int | None, Form(ge=1, le=MOST_ID)] = None) -> Response:
    """Add a comment, or an answer to one."""
    with site.lab.store.writing() as session:
        row = add_comment(session, viewer, paper_named(session, paper), markdown, parent)
    return _discussed(request, site, viewer, row)


@router.post("/comments/{comment_id}")
def change_comment(request: Request, site: SiteOf, viewer: CommenterOf, comment_id: RowId, markdown: Text) -> Response:
    """Change the text of one's own comment."""
    with site.lab.store.writing() as session:
        row = edit_comment(session, viewer, comment_id, markdown)
    return _discussed(request, site, viewer, row)


@router.post("/comments/{comment_id}/delete")
def remove_comment(request: Request, site: SiteOf, viewer: CommenterOf, comment_id: RowId) -> Response:
    """Delete a comment; its place stays."""
    with site.lab.store.writing() as session:
        row = delete_comment(session, viewer, comment_id)
    return _discussed(request, site, viewer, row)


def _discussed(request: Request, site: Site, viewer: Viewer, comment: CommentRow) -> Response:
    with site.lab.store.reading() as session:
        paper = session.get(PaperRow, comment.paper_id)
        if paper is None:
            raise Problem(404, "No such paper", "It has gone meanwhile.")
        if not wants_fragment(request):
            return RedirectResponse(f"{address_of(paper)}#comment-{comment.id}", 303)
        return page(request, "people/comments.html", paper=paper, comments=thread(session, viewer, paper))


# ---- one's own account ----


@router.post("/me/profile")
def profile(request: Request, site: SiteOf, viewer: SelfOf, handle: Word, display_name: Annotated[str, Form(max_length=120)] = "",
            tz: Annotated[str, Form(max_length=60)] = "UTC") -> Response:
    """Change one's name."""
    from zoneinfo import available_timezones

    if tz not in available_timezones():
        raise Problem(422, "No such time zone", "Write it as Europe/Berlin.")
    try:
        with site.lab.store.writing() as session:
            user = viewer.account()
            name = " ".join("".join(c if c.isprintable() else " " for c in display_name).split())
            session.execute(update(UserRow).where(UserRow.id == user.id).values(
                handle=checked_handle(session, handle, but=user.id), display_name=name, tz=tz))
    except AccountError as error:
        raise Problem(422, "That name cannot be had", str(error)) from error
    return RedirectResponse("/me#account", 303)


@router.post("/me/signins/{signin_id}/end")
def end_signin(request: Request, site: SiteOf, viewer: SelfOf, signin_id: RowId) -> Response:
    """Sign one of one's browsers out."""
    with site.lab.store.writing() as session:
        signin.end_signin(session, viewer.account(), signin_id)
    answer = RedirectResponse("/me#signins" if signin_id != viewer.key_id else "/", 303)
    if signin_id == viewer.key_id:
        drop_cookie(answer, request, SESSION_COOKIE)
    return answer


@router.post("/me/tokens")
def make_token(request: Request, site: SiteOf, viewer: SelfOf, name: Annotated[str, Form(max_length=80)] = "",
               scopes: Annotated[list[str] | None, Form()] = None, days: Annotated[int, Form(ge=0, le=3650)] = 90) -> Response:
    """Make an API token and show it once."""
    try:
        wanted = checked_scopes(scopes or [])
    except AccountError as error:
        raise Problem(422, "No such scope", str(error)) from error
    with site.lab.store.writing() as session:
        secret = signin.new_token(session, viewer.account(), name, wanted, days or None)
    return page(request, "people/token.html", headers=NO_STORE, secret=secret, scopes=wanted, days=days)


@router.post("/me/tokens/{token_id}/revoke")
def revoke_token(site: SiteOf, viewer: SelfOf, token_id: RowId) -> Response:
    """Revoke one of one's API tokens."""
    with site.lab.store.writing() as session:
        signin.revoke_token(session, viewer.account(), token_id)
    return RedirectResponse("/me#tokens", 303)


@router.post("/me/delete")
def delete_me(request: Request, site: SiteOf, viewer: SelfOf, confirm: Word = "") -> Response:
    """Delete one's account, once its name was typed."""
    if confirm.strip().lower().removeprefix("@") != viewer.account().handle:
        raise Problem(422, "Nothing was deleted", "Type your name exactly to delete your account.")
    try:
        with site.lab.store.writing() as session:
            user = session.get(UserRow, viewer.account().id)
            if user is not None:
                delete_account(session, user, actor=viewer.name)
    except AccountError as error:
        raise Problem(409, "Nothing was deleted", str(error)) from error
    answer = RedirectResponse("/", 303)
    drop_cookie(answer, request, SESSION_COOKIE)
    keep_cookie(answer, request, VISITOR_COOKIE, new_visitor())
    return answer


