"""The queue of the site's own work (embedding, imports, digests): leases, retries, recurring jobs. Claims have their own, in the lab.

    @handler("embed")
    def embed(job: Job) -> None: ...

    every("digests", seconds=30)
    with store.writing() as session:
        enqueue(session, "embed", unique_key="embed")
    work(store, stop)
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from workingpapers.lab import Store
from workingpapers.lab.leases import is_alive, owner
from workingpapers.lab.store import now

from .tables import JobRow

log = logging.getLogger("workingpapers.hub.jobs")

LEASE = dt.timedelta(seconds=30)
HEARTBEAT = 5.0
MAX_ATTEMPTS = 5
FIRST_PAUSE = 10.0
KEEP = dt.timedelta(days=7)

HANDLERS: dict[str, Callable[[Job], None]] = {}
RECURRING: dict[str, float] = {}


class Later(Exception):
    """Raised by a handler that wants to be called again after some seconds, as when it was asked to end; it counts as no failure."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds:g} s")
        self.seconds = seconds


@dataclass
class Job:
    """What a handler is given. It must be able to be run again after a crash half way."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    store: Store
    attempts: int
    stop: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)

    @property
    def should_end(self) -> bool:
        """Whether the worker is stopping or another took this job over: long handlers ask now and then, and raise `Later`."""
        return self.stop.is_set() or self.lost.is_set()

    def progress(self, **facts: Any) -> None:
        """Tell pages how far it is."""
        with self.store.writing() as session:
            row = session.get(JobRow, self.id)
            if row is not None and row.lease_owner == owner():
                row.progress = facts


def handler(kind: str) -> Callable[[Callable[[Job], None]], Callable[[Job], None]]:
    """Register the function that does jobs of this kind."""

    def keep(function: Callable[[Job], None]) -> Callable[[Job], None]:
        HANDLERS[kind] = function
        return function

    return keep


def every(kind: str, *, seconds: float) -> None:
    """Have a job of this kind queued again and again; only one waits or runs at a time, however many workers there are."""
    RECURRING[kind] = seconds


def enqueue(session: Session, kind: str, payload: Mapping[str, Any] | None = None, *, unique_key: str | None = None,
            run_at: dt.datetime | None = None) -> JobRow | None:
    """Queue a job in this transaction; None when one with its `unique_key` waits or runs already."""
    row = JobRow(kind=kind, payload=dict(payload or {}), unique_key=unique_key, run_at=run_at or now())
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return None
    return row


def take(store: Store) -> JobRow | None:
    """Take the job that is due longest, or one whose worker is gone; None when nothing is due."""
    moment = now()
    with store.writing() as session:
        for row in session.scalars(select(JobRow).where(JobRow.state == "running").with_for_update(skip_locked=True)):
            alive = is_alive(row.lease_owner) if row.lease_owner else False
            if alive is False or (alive is None and row.lease_until is not None and row.lease_until < moment):
                _again(row, "its worker is gone")
        session.flush()
        query = (select(JobRow).where(JobRow.state == "queued", JobRow.run_at <= moment, JobRow.kind.in_(list(HANDLERS)))
                 .order_by(JobRow.run_at, JobRow.id).limit(1).with_for_update(skip_locked=True))
        row_or_none = session.scalar(query)
        if row_or_none is None:
            return None
        row_or_none.state, row_or_none.lease_owner, row_or_none.lease_until = "running", owner(), moment + LEASE
        row_or_none.attempts += 1
        session.flush()
        session.expunge(row_or_none)
        return row_or_none


def run_one(store: Store, stop: threading.Event | None = None) -> bool:
    """Take a job that is due and do it; False when none is."""
    row = take(store)
    if row is None:
        return False
    job = Job(row.id, row.kind, row.payload, store, row.attempts, stop or threading.Event())
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(job, ended), name="job-lease", daemon=True)
    heart.start()
    error, later = "", None
    try:
        HANDLERS[row.kind](job)
    except Later as wish:
        later = wish.seconds
    except Exception:
        error = traceback.format_exc(limit=20)
        log.exception("job %s (%s) failed", row.id, row.kind)
    finally:
        ended.set()
        heart.join()
    with store.writing() as session:
        kept = session.get(JobRow, row.id)
        if kept is not None and kept.lease_owner == owner() and kept.state == "running":
            if error:
                _again(kept, error)
            elif later is not None:
                kept.state, kept.lease_owner, kept.lease_until = "queued", None, None
                kept.run_at, kept.attempts = now() + dt.timedelta(seconds=later), kept.attempts - 1
            else:
                _end(kept, "done")
    return True


def schedule(store: Store) -> None:
    """Queue recurring jobs that are due, and forget what ended long ago."""
    moment = now()
    with store.writing() as session:
        for kind, seconds in RECURRING.items():
            last = session.scalar(select(JobRow.created_at).where(JobRow.kind == kind).order_by(JobRow.id.desc()).limit(1))
            if last is None or last + dt.timedelta(seconds=seconds) <= moment:
                enqueue(session, kind, unique_key=f"every:{kind}")
        old = select(JobRow).where(JobRow.state.in_(("done", "failed")), JobRow.ended_at < moment - KEEP).limit(500)
        for row in session.scalars(old):
            session.delete(row)
        for kind in RECURRING:  # a job every half minute would leave thousands of rows a day: the newest few tell enough
            stale = select(JobRow).where(JobRow.kind == kind, JobRow.state == "done").order_by(JobRow.id.desc()).offset(20).limit(500)
            for row in session.scalars(stale):
                session.delete(row)


def work(store: Store, stop: threading.Event, pause: float = 1.0) -> None:
    """Do jobs until told to stop."""
    while not stop.is_set():
        try:
            schedule(store)
            while not stop.is_set() and run_one(store, stop):
                pass
        except Exception:  # such as a database that is away for a moment: the worker outlives it
            log.exception("the job worker stumbled")
            time.sleep(min(5.0, pause))
        stop.wait(pause)


def _beat(job: Job, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        try:
            with job.store.writing() as session:
                row = session.get(JobRow, job.id)
                if row is None or row.state != "running" or row.lease_owner != owner():
                    job.lost.set()
                    return
                row.lease_until = now() + LEASE
        except Exception:  # the next beat comes before the lease ends
            log.exception("the lease of job %s could not be renewed", job.id)


def _again(row: JobRow, error: str) -> None:
    row.error, row.lease_owner, row.lease_until = error[-4000:], None, None
    if row.attempts >= MAX_ATTEMPTS:
        _end(row, "failed")
    else:
        row.state, row.run_at = "queued", now() + dt.timedelta(seconds=FIRST_PAUSE * 4 ** (row.attempts - 1))


def _end(row: JobRow, state: str) -> None:
    row.state, row.ended_at, row.unique_key, row.lease_owner, row.lease_until = state, now(), None, None, None


def waiting(session: Session) -> int:
    """How many jobs wait or run."""
    return len(session.scalars(select(JobRow.id).where(or_(JobRow.state == "queued", JobRow.state == "running"))).all())
