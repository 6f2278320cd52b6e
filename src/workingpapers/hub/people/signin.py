"""Signing in: links that are sent by mail or printed on the server's terminal, spent once, and the cookie they are changed for.

A mail link holds 256 bits, of which only the hash is stored. It lives 15 minutes, works once, and only in the browser that
asked for it: opening it changes nothing (mail scanners open links), a button does. Links printed on the terminal are bound
to no browser, since whoever reads the terminal owns the site.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from workingpapers.lab import Store
from workingpapers.lab.store import now

from ..mail import new_message, send
from ..problems import Problem
from ..settings import HubSettings
from ..tables import ApiTokenRow, MailLinkRow, SigninRow, UserRow
from .accounts import create_user
from .keys import SHOWN, digest, is_secret, new_api_token, new_secret

LINK_LIFE = dt.timedelta(minutes=15)
FIRST_LINK_LIFE = dt.timedelta(hours=12)
SIGNIN_LIFE = dt.timedelta(days=30)
BY_MAIL, FIRST, CONSOLE = "signin", "first", "console"
REFUSED = Problem(403, "This link does not work", "It was used before, is older than 15 minutes, or was asked for in another browser. "
                  "Ask for a new one, and open it in the browser in which you ask.")


@dataclass(frozen=True)
class Link:
    """A link that can be spent: what for, for whom, and where to go afterwards."""

    purpose: Literal["signin", "first", "console"]
    email: str
    is_new: bool
    next: str


def new_link(session: Session, purpose: str, *, email: str = "", browser: str = "", life: dt.timedelta = LINK_LIFE,
             user_id: int | None = None, back: str = "/") -> str:
    """Store a link; its secret, which is kept nowhere."""
    secret = new_secret()
    session.add(MailLinkRow(token_hash=digest(secret), purpose=purpose, email=email, browser_hash=digest(browser) if browser else "",
                            body={"user": user_id, "next": back}, expires_at=now() + life))
    return secret


def send_link(store: Store, hub: HubSettings, address: str, url: str) -> None:
    """Mail the link; called after the answer was given, so that its time says nothing about the address."""
    text = (f"Somebody, probably you, wants to sign in to Working Papers with this address.\n\n{url}\n\n"
            "Open it within 15 minutes, in the browser in which you asked, and press the button there.\n"
            "If it was not you, do nothing: without this link nobody gets in.\n")
    send(store.settings, new_message(hub, address, "Sign in to Working Papers", text), hub)


def first_link(store: Store, address: str) -> str | None:
    """Where the first admin of a site is made: an address that works once, for twelve hours; None once there is an account.

    `serve` prints it on its terminal, as Jupyter does. Links of earlier starts end.

    Args:
        store: of the site.
        address: of the site, such as `http://127.0.0.1:8000`.
    """
    with store.writing() as session:
        if session.scalar(select(UserRow.id).limit(1)) is not None:
            return None
        session.execute(delete(MailLinkRow).where(MailLinkRow.purpose == FIRST))
        return f"{address}/signin/{new_link(session, FIRST, life=FIRST_LINK_LIFE)}"


def look_at(session: Session, secret: str, browser: str | None) -> Link | None:
    """What a link would do, without spending it; None when it does nothing for this browser."""
    if not is_secret(secret):
        return None
    row = session.scalar(select(MailLinkRow).where(*_alive(secret, browser)))
    if row is None or (row.purpose == FIRST and session.scalar(select(UserRow.id).limit(1)) is not None):
        return None
    known = row.purpose == CONSOLE or session.scalar(select(UserRow.id).where(UserRow.email == row.email)) is not None
    purpose: Literal["signin", "first", "console"] = "first" if row.purpose == FIRST else "console" if row.purpose == CONSOLE else "signin"
    return Link(purpose, row.email, not known, str(row.body.get("next") or "/"))


def spend_link(session: Session, secret: str, browser: str | None, *, handle: str = "", email: str = "") -> tuple[UserRow, str]:
    """Change a link for an account, which is made where there was none; (account, where to go).

    Of several that try at once, one gets in.

    Raises:
        Problem: 403, the link does not work; the text is the same for every reason.
        AccountError: the wanted name or address cannot be had; the link is not spent then.
    """
    link = look_at(session, secret, browser)
    if link is None:
        raise REFUSED
    done = session.execute(update(MailLinkRow).where(*_alive(secret, browser)).values(used_at=now())
                           .returning(MailLinkRow.body)).scalar_one_or_none()
    if done is None:
        raise REFUSED
    if link.purpose == CONSOLE:
        user = session.get(UserRow, done.get("user"))
    elif link.purpose == FIRST:
        user = create_user(session, email=email or None, handle=handle or "owner", role="admin", created_by="first link")
    else:
        user = session.scalar(select(UserRow).where(UserRow.email == link.email))
        user = user or create_user(session, email=link.email, handle=handle, created_by="mail link")
    if user is None:
        raise REFUSED
    return user, link.next


def begin_signin(session: Session, user: UserRow, agent: str) -> str:
    """A new sign-in; the value of its cookie, which is kept nowhere."""
    secret = new_secret()
    session.add(SigninRow(user_id=user.id, token_hash=digest(secret), agent="".join(c for c in agent if c.isprintable())[:200],
                          expires_at=now() + SIGNIN_LIFE))
    return secret


def end_signin(session: Session, user: UserRow, signin_id: int) -> bool:
    """Sign one browser of this account out; False when there is no such sign-in."""
    query = delete(SigninRow).where(SigninRow.id == signin_id, SigninRow.user_id == user.id).returning(SigninRow.id)
    return session.execute(query).first() is not None


def new_token(session: Session, user: UserRow, name: str, scopes: list[str], days: int | None = None) -> str:
    """A new API token, shown once and kept as a hash."""
    secret = new_api_token()
    session.add(ApiTokenRow(user_id=user.id, name=name.strip()[:80], prefix=secret[:SHOWN], token_hash=digest(secret), scopes=scopes,
                            expires_at=now() + dt.timedelta(days=days) if days else None))
    return secret


def revoke_token(session: Session, user: UserRow, token_id: int) -> bool:
    """Revoke one token of this account; False when there is no such token."""
    query = delete(ApiTokenRow).where(ApiTokenRow.id == token_id, ApiTokenRow.user_id == user.id).returning(ApiTokenRow.id)
    return session.execute(query).first() is not None


def forget_old(session: Session) -> None:
    """Delete links and sign-ins that are over."""
    moment = now()
    session.execute(delete(MailLinkRow).where(MailLinkRow.expires_at < moment - dt.timedelta(days=1)))
    session.execute(delete(SigninRow).where(SigninRow.expires_at < moment))


def _alive(secret: str, browser: str | None) -> tuple[ColumnElement[bool], ...]:
    bound = (MailLinkRow.browser_hash == "") & MailLinkRow.purpose.in_((FIRST, CONSOLE))
    if browser:
        bound |= (MailLinkRow.browser_hash == digest(browser)) & (MailLinkRow.purpose == BY_MAIL)
    return (MailLinkRow.token_hash == digest(secret), MailLinkRow.purpose.in_((BY_MAIL, FIRST, CONSOLE)), MailLinkRow.used_at.is_(None),
            MailLinkRow.expires_at > now(), bound)
