"""Recurring work of the shelf: finished claim runs into the trend."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab.store import RunRow

from .. import trending
from ..jobs import Job, every, handler
from ..tables import PaperRow, TrendEventRow, UserRow

LOOKED_BACK = 500  # runs; the newest ones, since each is counted soon after it ended


def count_runs(session: Session) -> int:
    """Count finished runs at small and full scale, one a person and paper, whatever the verdict; how many are new.

    Runs on a user's own workload and imported ones are not counted.
    """
    newest = select(RunRow.id).order_by(RunRow.id.desc()).limit(LOOKED_BACK).subquery()
    query = select(RunRow).where(RunRow.id.in_(select(newest.c.id)), RunRow.state == "done", RunRow.verdict.is_not(None),
                                 RunRow.scale.in_(("small", "full")), RunRow.origin == "here", RunRow.is_yours.is_(False))
    runs = session.scalars(query.order_by(RunRow.id)).all()
    papers = dict(session.execute(select(PaperRow.slug, PaperRow.id).where(PaperRow.slug.in_({r.slug for r in runs}))).tuples().all())
    counted = set(session.execute(select(TrendEventRow.paper_id, TrendEventRow.key)
                                  .where(TrendEventRow.kind == "run", TrendEventRow.paper_id.in_(papers.values()))).tuples())
    new = 0
    for run in runs:
        paper_id, key = papers.get(run.slug), run.requested_by or "here"
        if paper_id is None or run.ended_at is None or (paper_id, key) in counted:
            continue
        counted.add((paper_id, key))
        user = session.get(UserRow, int(key.removeprefix("user:"))) if key.removeprefix("user:").isdecimal() else None
        weight = trending.weight_of("run", user.created_at if user else None, run.ended_at)
        new += trending.record(session, paper_id, "run", key, weight, run.ended_at)
    return new


@handler("trend-runs")
def _count(job: Job) -> None:
    with job.store.writing() as session:
        count_runs(session)


every("trend-runs", seconds=15)
