"""Subscriptions: asked for by a form, started by a button on the page that a mail leads to, ended by one click."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from hashlib import sha256
from typing import Any, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from ..search import QueryError, parse
from ..settings import HubSettings
from ..tables import MailLinkRow, SubscriptionRow, SuppressedEmailRow
from .calendar import Period, clock, next_issue, zone
from .edition import KINDS, describe
from .writing import new_message, normal_address, one_line

PURPOSE = "subscribe"
LINK_LIVES = dt.timedelta(days=3)
MAILS_A_DAY = 3
MOST_OF_ONE_ADDRESS = 50
NEEDS: Mapping[str, str] = {"query": "q", "tag": "tag", "category": "category"}


@dataclass(frozen=True)
class Wish:
    """A digest that somebody asks for, checked.

    Raises:
        ValueError: a field is wrong; the text names it.
    """

    email: str
    kind: str = "trending"
    params: Mapping[str, str] | None = None
    period: Period = "daily"
    send_at: str = "07:00"
    tz: str = "UTC"

    def __post_init__(self) -> None:
        found = normal_address(self.email)
        if found is None:
            raise ValueError("email: this is no mail address that can be written to")
        object.__setattr__(self, "email", found)
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind[:40]!r}: one of {', '.join(KINDS)} is needed")
        if self.period not in get_args(Period):
            raise ValueError("period: daily or weekly is needed")
        clock(self.send_at)
        zone(self.tz)
        given = {k: one_line(v)[:200] for k, v in (self.params or {}).items() if k in ("q", "tag", "category", "slug") and v.strip()}
        needed = NEEDS.get(self.kind)
        if needed and needed not in given:
            raise ValueError(f"{needed}: say which {'words' if needed == 'q' else needed} the papers should have")
        if self.kind == "query":
            try:
                parse(given["q"])
            except QueryError as error:
                raise ValueError(f"q: {error}") from error
        kept = {needed} if needed else {"slug"} if self.kind == "verdicts" else set()
        object.__setattr__(self, "params", {k: v for k, v in given.items() if k in kept})


def hashed(token: str) -> str:
    """How secrets are stored."""
    return sha256(token.encode()).hexdigest()


def ask(session: Session, wish: Wish, hub: HubSettings, address: str, *, user_id: int | None = None) -> EmailMessage | None:
    """Write down a wish, and give the mail that lets its address confirm it; None when no mail may go there now.

    An address gets at most three such mails a day, none once it is suppressed. What the asker sees must not depend on it.
    """
    moment = now()
    if session.scalar(select(SuppressedEmailRow.id).where(SuppressedEmailRow.email == wish.email)):
        return None
    lately = select(func.count()).select_from(MailLinkRow).where(
        MailLinkRow.email == wish.email, MailLinkRow.purpose == PURPOSE, MailLinkRow.created_at > moment - dt.timedelta(days=1))
    if (session.scalar(lately) or 0) >= MAILS_A_DAY:
        return None
    rows = session.scalars(select(SubscriptionRow).where(SubscriptionRow.email == wish.email).order_by(SubscriptionRow.id)).all()
    same = [r for r in rows if (r.kind, r.params, r.period) == (wish.kind, dict(wish.params or {}), wish.period)]
    row = next((r for r in same if r.state in ("active", "pending")), None)
    if row is None:
        if len(rows) >= MOST_OF_ONE_ADDRESS:
            return None
        token = secrets.token_urlsafe(32)
        row = SubscriptionRow(email=wish.email, user_id=user_id, kind=wish.kind, params=dict(wish.params or {}), period=wish.period,
                              send_at=wish.send_at, tz=wish.tz, token=token, token_hash=hashed(token))
        session.add(row)
        session.flush()
    secret = secrets.token_urlsafe(32)
    session.add(MailLinkRow(token_hash=hashed(secret), purpose=PURPOSE, email=wish.email, expires_at=moment + LINK_LIVES,
                            body={"subscription": row.id, "send_at": wish.send_at, "tz": wish.tz}))
    what = describe(row.kind, row.params)
    text = (f"Someone, probably you, asked for a {wish.period} digest of {what} at this address.\n\n"
            f"To start it, open this page and press its button:\n\n{address}/subscribe/{secret}\n\n"
            "The link works for three days. If it was not you, do nothing: no digest will come.\n")
    return new_message(hub, wish.email, "Start your Working Papers digest?", text)


def pending(session: Session, secret: str) -> tuple[MailLinkRow, SubscriptionRow] | None:
    """Link and subscription that a secret stands for; None when it is unknown or too old. Changes nothing."""
    link = session.scalar(select(MailLinkRow).where(MailLinkRow.token_hash == hashed(secret), MailLinkRow.purpose == PURPOSE))
    if link is None or link.expires_at < now():
        return None
    row = session.get(SubscriptionRow, link.body.get("subscription"))
    return None if row is None else (link, row)


def activate(session: Session, secret: str) -> SubscriptionRow | None:
    """Start the subscription of this secret; None when it is unknown, too old, or was used and ended since."""
    found = pending(session, secret)
    if found is None:
        return None
    link, row = found
    if link.used_at is not None:
        return row if row.state == "active" else None
    link.used_at = moment = now()
    row.send_at, row.tz = link.body.get("send_at", row.send_at), link.body.get("tz", row.tz)
    if row.state != "active":
        row.state, row.activated_at, row.ended_at = "active", moment, None
    row.next_due = next_issue(moment, _period(row), row.send_at, row.tz).due
    return row


def of_token(session: Session, token: str) -> SubscriptionRow | None:
    """The subscription that the token in its mails stands for."""
    return session.scalar(select(SubscriptionRow).where(SubscriptionRow.token_hash == hashed(token)))


def end(session: Session, token: str) -> SubscriptionRow | None:
    """End a subscription; ending it twice is fine. None when there is none of this token."""
    row = of_token(session, token)
    if row is not None and row.state != "ended":
        row.state, row.ended_at, row.next_due = "ended", now(), None
    return row


def suppress(session: Session, email: str, reason: str) -> None:
    """Never write to an address again; its subscriptions end."""
    if session.scalar(select(SuppressedEmailRow.id).where(SuppressedEmailRow.email == email)) is None:
        session.add(SuppressedEmailRow(email=email, reason=reason[:1000]))
    for row in session.scalars(select(SubscriptionRow).where(SubscriptionRow.email == email, SubscriptionRow.state != "ended")):
        row.state, row.ended_at, row.next_due = "ended", now(), None


def summary(row: SubscriptionRow) -> dict[str, Any]:
    """A subscription in words."""
    return {"what": describe(row.kind, row.params), "period": row.period, "send_at": row.send_at, "tz": row.tz, "state": row.state,
            "next": row.next_due}


def _period(row: SubscriptionRow) -> Period:
    return "weekly" if row.period == "weekly" else "daily"
