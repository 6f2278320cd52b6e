"""Pages about runs: the list, one run with everything that was measured, and its plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from workingpapers.lab import read
from workingpapers.lab.report import arms_table, run_document
from workingpapers.lab.store import FileRow

from .findings import UNDER_WAY, VERDICTS, check_views, finding_of, is_older
from .guard import PICTURE_POLICY
from .problems import Problem
from .rendering import page
from .row_ids import MOST_ID
from .site import SiteOf

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]
PER_PAGE = 50
MAX_ROWS = 500
PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
STATES = ("queued", "running", "done", "failed", "cancelled", "lost")

Words = Annotated[str, Query(max_length=120)]


@router.api_route("/runs", methods=READ)
def runs(request: Request, site: SiteOf, paper: Words = "", verdict: Words = "", state: Words = "",
         before: Annotated[int | None, Query(ge=1, le=MOST_ID)] = None) -> Response:
    """Every run of this store, newest first."""
    if verdict and verdict not in VERDICTS:
        raise Problem(422, "No such verdict", f"Choose one of: {', '.join(VERDICTS)}.")
    if state and state not in STATES:
        raise Problem(422, "No such state", f"Choose one of: {', '.join(STATES)}.")
    with site.lab.store.reading() as session:
        rows = read.runs(session, slug=paper or None, verdict=verdict or None, state=state or None, before=before, limit=PER_PAGE + 1)
        more = len(rows) > PER_PAGE
        shown = rows[:PER_PAGE]
        facts = {r.run_id: site.lab.facts_of(r.slug, r.claim_id) for r in shown}
        return page(request, "runs.html", runs=shown, facts=facts, findings={r.run_id: finding_of(r, facts[r.run_id]) for r in shown},
                    papers=list(site.lab.catalogue), paper=paper, verdict=verdict, state=state, verdicts=VERDICTS, states=STATES,
                    before=before, older=shown[-1].id if more else None)


@router.api_route("/runs/{run_id}", methods=READ)
def one_run(request: Request, site: SiteOf, run_id: str) -> Response:
    """A run: progress while it goes, then verdict, checks, arms, plots, trials and environment."""
    with site.lab.store.reading() as session:
        row = site.run(session, run_id)
        paper, facts = site.lab.catalogue.papers.get(row.slug), site.lab.facts_of(row.slug, row.claim_id)
        finding = finding_of(row, facts)
        code = site.current_code(paper) if paper else ""
        trials = [t for t in row.trials if t.state != "pending"]
        roles = (row.plan or {}).get("arms")
        return page(
            request, "run.html", run=row, paper=paper, facts=facts, finding=finding, is_older=bool(finding and is_older(finding, code)),
            checks=check_views((c.body for c in row.checks), facts), arms=arms_table(row), metrics=_metrics(arms_table(row), facts),
            document=run_document(row, facts), roles=roles if isinstance(roles, Mapping) else {},
            progress=site.progress(session, row) if row.state in UNDER_WAY else None,
            failed=[t for t in trials if t.state == "failed"], trials=trials[:MAX_ROWS], left_out=max(0, len(trials) - MAX_ROWS),
            tables={f.name: table_of(f.spec) for f in row.files}, environment=flat(row.environment or {}))


@router.api_route("/runs/{run_id}/plots/{name}.{ending}", methods=READ)
def plot(site: SiteOf, run_id: str, name: str, ending: str) -> Response:
    """A plot: `NAME.light.svg`, `NAME.dark.svg`, `NAME.light.png`, or `NAME.json` for its Vega-Lite specification."""
    with site.lab.store.reading() as session:
        row = site.run(session, run_id)
        found = next((f for f in row.files if name in (f.name, f"{f.name}.light", f"{f.name}.dark")), None)
    if found is None:
        raise Problem(404, "No such plot", "This run has: " + (", ".join(f.name for f in row.files) or "no plots") + ".")
    file_name = f"{run_id}-{name}.{ending}"
    if ending == "json" and name == found.name:
        return JSONResponse(found.spec, headers={"Content-Disposition": f'attachment; filename="{file_name}"'})
    path = _path(site.lab.store.settings.artefacts, found, f"{name.removeprefix(found.name).removeprefix('.')}.{ending}")
    return FileResponse(path, media_type=PICTURES[ending], headers={"Content-Security-Policy": PICTURE_POLICY},
                        filename=file_name, content_disposition_type="inline")


def _path(artefacts: Path, found: FileRow, variant: str) -> Path:
    """The file of a plot, which must lie among the artefacts."""
    relative = (found.paths or {}).get(variant)
    path: Path | None = (artefacts / str(relative)).resolve() if relative and variant.rpartition(".")[2] in PICTURES else None
    if path is None or not path.is_relative_to(artefacts.resolve()) or not path.is_file():
        raise Problem(404, "No such plot", f"{found.name} has: {', '.join(sorted(found.paths or {}))}.")
    return path


def table_of(spec: Mapping[str, Any]) -> list[tuple[list[str], list[list[Any]]]]:
    """The data of a Vega-Lite specification as tables (columns, rows), each different one once.

    >>> table_of({"data": {"values": [{"arm": "a", "mean": 1}]}, "layer": [{"data": {"values": [{"x": 2}]}}]})
    [(['arm', 'mean'], [['a', 1]]), (['x'], [[2]])]
    """
    tables: list[tuple[list[str], list[list[Any]]]] = []
    for rows in _values(spec):
        named = [r for r in rows if isinstance(r, Mapping)]
        columns = list(dict.fromkeys(str(key) for r in named for key in r))
        table = (columns, [[r.get(c) for c in columns] for r in named[:MAX_ROWS]])
        if columns and table not in tables:
            tables.append(table)
    return tables


def _values(part: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    if isinstance(part, Mapping):
        data, sets = part.get("data"), part.get("datasets")
        if isinstance(data, Mapping) and isinstance(data.get("values"), list):
            found.append(data["values"])
        if isinstance(sets, Mapping):
            found += [rows for rows in sets.values() if isinstance(rows, list)]
        for key, inner in part.items():
            if key not in ("data", "datasets"):
                found += _values(inner)
    elif isinstance(part, list):
        for inner in part:
            found += _values(inner)
    return found


def flat(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts of a machine as lines; packages as one line."""
    lines = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            lines.append((key, ", ".join(f"{k} {v}" for k, v in value.items()) or "none"))
        elif value is not None:
            lines.append((key.replace("_", " "), str(value)))
    return lines


def _metrics(arms: Mapping[str, Mapping[str, Any]], facts: Any) -> list[tuple[str, str, str]]:
    """Metrics that any arm has: name, heading with unit, direction."""
    out = []
    for name in dict.fromkeys(m for metrics in arms.values() for m in metrics):
        described = facts.metric_facts(name) if facts else None
        title = (described.title or name) if described else name
        unit = f" ({described.unit})" if described and described.unit else ""
        better = described.better if described else ""
        out.append((name, f"{title}{unit}", {"lower": "lower is better", "higher": "higher is better"}.get(better, "")))
    return out
