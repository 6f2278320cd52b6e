"""First start: the claims that were never tried here are queued at smoke scale, at low priority."""

from __future__ import annotations

from sqlalchemy import select

from workingpapers.lab import Lab
from workingpapers.lab.store import RunRow

from .site import WARMUP, WARMUP_PRIORITY


def queue_untried(lab: Lab) -> int:
    """Queue a smoke run for each claim of a running paper that has no run here, whatever its state. Returns how many."""
    with lab.store.reading() as session:
        known = set(session.execute(select(RunRow.slug, RunRow.claim_id).where(RunRow.origin == "here").distinct()).tuples())
    queued = 0
    for paper in lab.catalogue:
        untried = [c.id for c in paper.facts.claims if "smoke" in c.scales and (paper.slug, c.id) not in known]
        if paper.status == "runs" and untried:
            queued += len(lab.enqueue(paper.slug, untried, scale="smoke", priority=WARMUP_PRIORITY, requested_by=WARMUP))
    return queued
