"""Forgetting what is over: links, sign-ins, counters of limits."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete

from workingpapers.lab.store import now

from ..jobs import Job, every, handler
from ..tables import RateCounterRow
from .signin import forget_old


@handler("forget")
def forget(job: Job) -> None:
    """Delete links, sign-ins and counters that are over."""
    with job.store.writing() as session:
        forget_old(session)
        session.execute(delete(RateCounterRow).where(RateCounterRow.window_start < now() - dt.timedelta(days=2)))


every("forget", seconds=3600)
