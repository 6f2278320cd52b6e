"""Accounts: names, roles, and what their owners may take along or wipe out."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from ..mail import normal_address
from ..tables import (
    ApiTokenRow,
    AuthorshipRow,
    CommentRow,
    MailLinkRow,
    PaperRow,
    RatingRow,
    SigninRow,
    SubscriptionRow,
    TagRow,
    TrendEventRow,
    UserRow,
    VoteRow,
)
from .audit import audit
from .roles import ROLES, SCOPES

HANDLE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?")
RESERVED = frozenset({"admin", "me", "hub", "system", "deleted", "editor", "nobody", "anonymous", "root", "warm-up", "api"})
FAREWELL = "deleted with the account"


class AccountError(ValueError):
    """A name, role or scope that cannot be had; the text says which would do."""


def account_address(text: str) -> str | None:
    """A mail address as accounts keep it: normal, and all in lower case; None for anything else.

    >>> account_address(" Ada@Example.ORG "), account_address("nobody")
    ('ada@example.org', None)
    """
    found = normal_address(text)
    return None if found is None else found.lower()


def checked_handle(session: Session, wanted: str, *, but: int | None = None) -> str:
    """The name as it is kept, if it is free.

    Raises:
        AccountError: it is taken, or no name.
    """
    handle = wanted.strip().lower().removeprefix("@")
    if HANDLE.fullmatch(handle) is None or handle in RESERVED:
        raise AccountError("A name has 1 to 40 letters a-z, digits, hyphens and underscores, and begins and ends with a letter or digit.")
    if session.scalar(select(UserRow.id).where(UserRow.handle == handle, UserRow.id != (but or 0))) is not None:
        raise AccountError(f"The name {handle} is taken: choose another.")
    return handle


def create_user(session: Session, *, email: str | None = None, handle: str = "", role: str = "reader", created_by: str) -> UserRow:
    """A new account; without a name it gets a random one, which says nothing about its address.

    Raises:
        AccountError: the name is taken, the address is none or has an account, or there is no such role.
    """
    address = None
    if email:
        address = account_address(email)
        if address is None:
            raise AccountError(f"{email!r} is no mail address.")
        if session.scalar(select(UserRow.id).where(UserRow.email == address)) is not None:
            raise AccountError(f"{address} has an account already.")
    user = UserRow(handle=checked_handle(session, handle or f"reader-{secrets.token_hex(4)}"), email=address, role=checked_role(role),
                   created_by=created_by)
    session.add(user)
    session.flush()
    if role != "reader":
        audit(session, created_by, "role", f"user:{user.id}", role=role)
    return user


def checked_role(role: str) -> str:
    """The role, if there is such a one."""
    if role not in ROLES:
        raise AccountError(f"There is no role {role!r}: choose one of {', '.join(ROLES)}.")
    return role


def checked_scopes(scopes: list[str]) -> list[str]:
    """Scopes in their order, each once."""
    for scope in scopes:
        if scope not in SCOPES:
            raise AccountError(f"There is no scope {scope!r}: choose among {', '.join(SCOPES)}.")
    return [s for s in SCOPES if s in scopes or s == "read"]


def find_user(session: Session, name: str) -> UserRow | None:
    """An account by handle or address."""
    wanted = name.strip().lower().removeprefix("@")
    return session.scalar(select(UserRow).where((UserRow.handle == wanted) | (UserRow.email == wanted)))


def set_role(session: Session, user: UserRow, role: str, *, actor: str) -> None:
    """Give an account another role. The site keeps at least one admin.

    Raises:
        AccountError: there is no such role, or this is the last admin.
    """
    before, user.role = user.role, checked_role(role)
    session.flush()
    if before == "admin" and role != "admin":
        _keep_an_admin(session)
    if before != role:
        audit(session, actor, "role", f"user:{user.id}", before=before, role=role)


def _keep_an_admin(session: Session) -> None:
    if session.scalar(select(UserRow.id).where(UserRow.role == "admin").limit(1)) is None:
        raise AccountError("This is the only admin: make another one first.")


def sign_out_everywhere(session: Session, user: UserRow, *, actor: str) -> None:
    """End every sign-in and revoke every token of an account."""
    session.execute(delete(SigninRow).where(SigninRow.user_id == user.id))
    session.execute(delete(ApiTokenRow).where(ApiTokenRow.user_id == user.id))
    audit(session, actor, "sign out everywhere", f"user:{user.id}")


def delete_account(session: Session, user: UserRow, *, actor: str) -> None:
    """Delete an account with everything it kept. Comments keep their place, without text or name.

    Votes are taken out of the counters and, with their events, out of the trend; digests to its address end.

    Raises:
        AccountError: it is the last admin of a site with other accounts.
    """
    from .votes import withdraw_everything

    others = session.scalar(select(UserRow.id).where(UserRow.id != user.id).limit(1)) is not None
    withdraw_everything(session, user)
    spoken = CommentRow.user_id == user.id
    for paper_id, n in session.execute(select(CommentRow.paper_id, func.count()).where(spoken, CommentRow.deleted_at.is_(None))
                                       .group_by(CommentRow.paper_id)).tuples().all():
        session.execute(update(PaperRow).where(PaperRow.id == paper_id).values(comments=PaperRow.comments - n))
    session.execute(update(CommentRow).where(spoken).values(markdown="", html="", deleted_at=func.coalesce(CommentRow.deleted_at, now())))
    if user.email:
        session.execute(delete(MailLinkRow).where(MailLinkRow.email == user.email))
        session.execute(update(SubscriptionRow).where(SubscriptionRow.email == user.email).values(state="ended", ended_at=now()))
    session.execute(update(SubscriptionRow).where(SubscriptionRow.user_id == user.id).values(state="ended", ended_at=now()))
    audit(session, actor, "delete account", f"user:{user.id}")
    session.delete(user)
    session.flush()
    if user.role == "admin" and others:
        _keep_an_admin(session)


def export_account(session: Session, user: UserRow) -> dict[str, Any]:
    """Everything the site keeps about an account, for its owner. Secrets are not among it: they are kept as hashes."""
    name = PaperRow.public_id

    def rows(table: Any, *columns: Any) -> list[dict[str, Any]]:
        query = select(name.label("paper"), *columns).join(PaperRow, PaperRow.id == table.paper_id).where(table.user_id == user.id)
        return [{k: _plain(v) for k, v in row._mapping.items()} for row in session.execute(query.order_by(table.id))]

    def own(table: Any, *columns: Any) -> list[dict[str, Any]]:
        query = select(*columns).where(table.user_id == user.id).order_by(table.id)
        return [{k: _plain(v) for k, v in row._mapping.items()} for row in session.execute(query)]

    events = select(name.label("paper"), TrendEventRow.kind, TrendEventRow.at).join(PaperRow, PaperRow.id == TrendEventRow.paper_id).where(
        TrendEventRow.key == f"user:{user.id}").order_by(TrendEventRow.id)
    digests = select(SubscriptionRow.email, SubscriptionRow.kind, SubscriptionRow.params, SubscriptionRow.period, SubscriptionRow.state,
                     SubscriptionRow.created_at).where((SubscriptionRow.user_id == user.id) | (SubscriptionRow.email == user.email))
    return {
        "made_at": now().isoformat(),
        "account": {k: _plain(getattr(user, k)) for k in ("handle", "email", "display_name", "role", "tz", "settings", "created_at")},
        "votes": rows(VoteRow, VoteRow.created_at), "tags": rows(TagRow, TagRow.name, TagRow.created_at),
        "ratings": rows(RatingRow, RatingRow.value, RatingRow.created_at),
        "comments": rows(CommentRow, CommentRow.id, CommentRow.parent_id, CommentRow.markdown, CommentRow.created_at,
                         CommentRow.edited_at, CommentRow.deleted_at),
        "authorships": rows(AuthorshipRow, AuthorshipRow.state, AuthorshipRow.created_at),
        "trend_events": [{k: _plain(v) for k, v in row._mapping.items()} for row in session.execute(events)],
        "sign_ins": own(SigninRow, SigninRow.agent, SigninRow.created_at, SigninRow.last_seen, SigninRow.expires_at),
        "api_tokens": own(ApiTokenRow, ApiTokenRow.name, ApiTokenRow.prefix, ApiTokenRow.scopes, ApiTokenRow.created_at,
                          ApiTokenRow.expires_at),
        "subscriptions": [{k: _plain(v) for k, v in row._mapping.items()} for row in session.execute(digests)],
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value
