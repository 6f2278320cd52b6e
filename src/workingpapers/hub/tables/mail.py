"""Digests by mail: who asked for what, what was sent, and who must not be written to."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from workingpapers.lab.store import Base, now


class SubscriptionRow(Base):
    """One digest that an address asked for; it needs no account.

    `kind` is trending, query, tag, category or verdicts; `send_at` is local time in `tz`, as `HH:MM`. `token` ends it: it
    stands in every mail that is sent, so it is kept as it is; `token_hash` finds it.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (Index("ix_subscriptions_due", "state", "next_due"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    kind: Mapped[str] = mapped_column(String(12))
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    period: Mapped[str] = mapped_column(String(8), default="daily")
    send_at: Mapped[str] = mapped_column(String(5), default="07:00")
    tz: Mapped[str] = mapped_column(String(60), default="UTC")
    state: Mapped[str] = mapped_column(String(8), default="pending")
    token: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    next_due: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    activated_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]


class DigestRow(Base):
    """One issue: pending, sending, then sent, empty, dropped or failed. The rule of uniqueness makes it go out once.

    It speaks of what happened after `window_start` and up to `window_end`, when it fell due.
    """

    __tablename__ = "digests"
    __table_args__ = (UniqueConstraint("subscription_id", "period_key"), Index("ix_digests_state", "state", "retry_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id", ondelete="CASCADE"))
    period_key: Mapped[str] = mapped_column(String(20))
    window_start: Mapped[dt.datetime]
    window_end: Mapped[dt.datetime]
    state: Mapped[str] = mapped_column(String(8), default="pending")
    message_id: Mapped[str] = mapped_column(String(200), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[dt.datetime | None]
    sent_at: Mapped[dt.datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class SuppressedEmailRow(Base):
    """An address that a mail server refused for good, or whose owner asked to be left alone."""

    __tablename__ = "suppressed_emails"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
