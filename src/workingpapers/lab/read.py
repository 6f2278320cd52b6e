"""Questions that pages and commands ask of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from workingpapers.papers.catalogue import Paper

from .leases import is_alive
from .store import EventRow, RunRow, TrialRow

Key = tuple[str, str]


def run(session: Session, run_id: str) -> RunRow | None:
    """A run with its trials, measurements, checks and files."""
    return session.scalar(
        select(RunRow).where(RunRow.run_id == run_id).options(
            selectinload(RunRow.trials).selectinload(TrialRow.measurements), selectinload(RunRow.checks), selectinload(RunRow.files)))


def newest(session: Session, slug: str | None = None) -> dict[Key, RunRow]:
    """The newest decided run of each claim on this machine, with its checks: runs on a user's own workload left out."""
    counted = [RunRow.origin == "here", RunRow.is_yours.is_(False), RunRow.state == "done", RunRow.verdict.is_not(None)]
    if slug is not None:
        counted.append(RunRow.slug == slug)
    last = select(RunRow.slug, RunRow.claim_id, func.max(RunRow.ended_at).label("ended")).where(*counted)
    last_of = last.group_by(RunRow.slug, RunRow.claim_id).subquery()
    same = (RunRow.slug == last_of.c.slug) & (RunRow.claim_id == last_of.c.claim_id) & (RunRow.ended_at == last_of.c.ended)
    query = (select(RunRow).join(last_of, same).where(*counted).order_by(RunRow.id)
             .options(selectinload(RunRow.checks), selectinload(RunRow.files)))
    return {(r.slug, r.claim_id): r for r in session.scalars(query)}


def active(session: Session, slug: str | None = None) -> dict[Key, RunRow]:
    """Runs that wait or are under way, by claim; not those whose process is gone, which nothing moves until a worker takes them up."""
    query = select(RunRow).where(RunRow.state.in_(("queued", "running"))).order_by(RunRow.id.desc())
    if slug is not None:
        query = query.where(RunRow.slug == slug)
    return {(r.slug, r.claim_id): r for r in session.scalars(query) if not (r.lease_owner and is_alive(r.lease_owner) is False)}


def runs(session: Session, *, slug: str | None = None, claim_id: str | None = None, verdict: str | None = None, state: str | None = None,
         origin: str | None = None, before: int | None = None, limit: int = 50) -> Sequence[RunRow]:
    """Runs, newest first; `before` is the integer key of the last one of the page before."""
    query = select(RunRow).options(selectinload(RunRow.checks)).order_by(RunRow.id.desc()).limit(limit)
    wanted = {RunRow.slug: slug, RunRow.claim_id: claim_id, RunRow.verdict: verdict, RunRow.state: state, RunRow.origin: origin}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(RunRow.id < before)
    return session.scalars(query).all()


def events(session: Session, run_pk: int, after: int = 0, limit: int = 500) -> Sequence[EventRow]:
    """What happened in a run after event number `after`."""
    return session.scalars(
        select(EventRow).where(EventRow.run_pk == run_pk, EventRow.seq > after).order_by(EventRow.seq).limit(limit)).all()


def queued(session: Session) -> int:
    """How many runs wait."""
    return len(session.scalars(select(RunRow.id).where(RunRow.state == "queued")).all())


def reference(paper: Paper) -> dict[str, dict[str, Any]]:
    """Claims of the paper's reference run, by id, each with its `environment`, `code_hash` and `measured_on` day."""
    document = paper.reference()
    if document is None:
        return {}
    return {r["claim"]: r for r in document.get("runs", [])}
