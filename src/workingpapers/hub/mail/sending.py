"""Sending what is due: each issue once, whatever crashes, and one bad address never stops the rest.

An issue is written down as `pending` with its window when it falls due, `sending` before it is handed over, `sent` after. A
crash between the server's 250 and that last commit may repeat one mail, under the same Message-ID.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from workingpapers.lab import Store
from workingpapers.lab.store import now
from workingpapers.papers import Catalogue, load_catalogue

from ..jobs import Job, every, handler
from ..settings import HubSettings
from ..tables import DigestRow, SubscriptionRow
from .calendar import Period, length, newest_issue, next_issue
from .edition import Edition, make_edition
from .outbox import MailError, Outbox
from .rendering import as_mail
from .subscriptions import suppress

log = logging.getLogger("workingpapers.hub.mail")

EVERY = 30.0
GIVE_UP = dt.timedelta(hours=24)
FIRST_PAUSE = dt.timedelta(minutes=5)
LONGEST_WINDOW = dt.timedelta(days=31)
BATCH = 100


@dataclass
class Tally:
    """What one pass did."""

    sent: int = 0
    empty: int = 0
    later: int = 0
    failed: int = 0
    halted: str = ""


def plan(store: Store, moment: dt.datetime | None = None) -> int:
    """Write down the issues that are due; how many.

    After days without a worker only the newest issue of each subscription comes, for the whole time.
    """
    moment, planned = moment or now(), 0
    while True:
        with store.writing() as session:
            waiting = select(SubscriptionRow).where(SubscriptionRow.state == "active", SubscriptionRow.next_due <= moment)
            due = session.scalars(waiting.order_by(SubscriptionRow.next_due, SubscriptionRow.id).limit(BATCH)
                                  .with_for_update(skip_locked=True)).all()
            for row in due:
                period: Period = "weekly" if row.period == "weekly" else "daily"
                issue = newest_issue(moment, period, row.send_at, row.tz)
                row.next_due = next_issue(moment, period, row.send_at, row.tz).due
                last = session.scalar(select(DigestRow.window_end).where(DigestRow.subscription_id == row.id)
                                      .order_by(DigestRow.window_end.desc()).limit(1))
                known = session.scalar(select(DigestRow.id).where(DigestRow.subscription_id == row.id, DigestRow.period_key == issue.key))
                if known is None and (last is None or last < issue.due):
                    since = max(last or issue.due - length(period), issue.due - LONGEST_WINDOW)
                    session.add(DigestRow(subscription_id=row.id, period_key=issue.key, window_start=since, window_end=issue.due))
                    planned += 1
            if len(due) < BATCH:
                return planned


def deliver(store: Store, catalogue: Catalogue, hub: HubSettings, job: Job | None = None, moment: dt.datetime | None = None) -> Tally:
    """Send every issue that waits. Only one process may do so at a time: the job's lease sees to it."""
    tally, after = Tally(), 0
    moment = moment or now()

    @functools.lru_cache(maxsize=512)
    def edition(kind: str, params: tuple[tuple[str, Any], ...], since: dt.datetime, until: dt.datetime) -> Edition:
        return make_edition(store, catalogue, kind, dict(params), since, until)

    with Outbox(store.settings, hub) as outbox:
        while True:
            with store.reading() as session:
                waiting = session.scalars(
                    select(DigestRow.id).where(DigestRow.id > after, DigestRow.state.in_(("pending", "sending")),
                                               or_(DigestRow.retry_at.is_(None), DigestRow.retry_at <= moment))
                    .order_by(DigestRow.id).limit(BATCH)).all()
            if not waiting:
                return tally
            after = waiting[-1]
            for digest_id in waiting:
                if job is not None and job.should_end:
                    tally.halted = "asked to end"
                    return tally
                if not _deliver_one(store, hub, outbox, edition, digest_id, tally):
                    return tally


def _deliver_one(store: Store, hub: HubSettings, outbox: Outbox, edition: Any, digest_id: int, tally: Tally) -> bool:
    """Send one issue; False when the server takes none at the moment."""
    with store.writing() as session:
        digest = session.get_one(DigestRow, digest_id)
        row = session.get_one(SubscriptionRow, digest.subscription_id)
        if row.state != "active":
            digest.state = "dropped"
            return True
        digest.state, digest.attempts = "sending", digest.attempts + 1
        session.flush()
        session.expunge_all()
    try:
        found: Edition = edition(row.kind, tuple(sorted(row.params.items())), digest.window_start, digest.window_end)
        if found.is_empty:
            _close(store, digest_id, "empty")
            tally.empty += 1
            return True
        message = as_mail(found, row, digest.period_key, digest.window_end, hub, hub.address)
        outbox.send(message)
    except MailError as error:
        if error.is_about_connection:
            log.warning("digests wait: %s", error)
            with store.writing() as session:
                kept = session.get_one(DigestRow, digest_id)
                kept.state, kept.attempts, kept.error = "pending", kept.attempts - 1, str(error)[:1000]
            tally.halted = str(error)
            return False
        _refused(store, digest_id, row.email, error, tally)
        return True
    except Exception as error:  # an issue that cannot be made must not stop those of others
        log.exception("digest %s could not be made", digest_id)
        _refused(store, digest_id, row.email, MailError(f"{type(error).__name__}: {error}"), tally)
        return True
    _close(store, digest_id, "sent", message_id=str(message["Message-ID"]))
    tally.sent += 1
    return True


def _close(store: Store, digest_id: int, state: str, message_id: str = "") -> None:
    with store.writing() as session:
        digest = session.get_one(DigestRow, digest_id)
        digest.state, digest.message_id, digest.error, digest.retry_at = state, message_id, "", None
        digest.sent_at = now() if state == "sent" else None


def _refused(store: Store, digest_id: int, email: str, error: MailError, tally: Tally) -> None:
    with store.writing() as session:
        digest = session.get_one(DigestRow, digest_id)
        digest.error = str(error)[:1000]
        if error.is_bad_address:
            suppress(session, email, str(error))
        if error.is_permanent or now() - digest.created_at > GIVE_UP:
            digest.state = "failed"
            tally.failed += 1
        else:
            digest.state, digest.retry_at = "pending", now() + FIRST_PAUSE * min(3 ** (digest.attempts - 1), 100)
            tally.later += 1


@handler("digests")
def digests(job: Job) -> None:
    """The recurring job: write down what is due, and send it."""
    plan(job.store)
    tally = deliver(job.store, _catalogue(), HubSettings(), job)
    if tally.sent or tally.failed or tally.later:
        log.info("digests: %s", tally)


@functools.cache
def _catalogue() -> Catalogue:
    return load_catalogue()


every("digests", seconds=EVERY)
