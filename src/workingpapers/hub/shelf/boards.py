"""Leaderboards: what papers report of themselves, as Papers with Code kept it, and its JSON in and out.

A reported figure is a row of `leaderboard_rows`. A measured one is a finding of a claim run and is never stored here: pages
show the two side by side, in columns of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..ingest import from_json
from ..tables import PaperLinkRow, PaperRow, PaperSourceRow, ResultRow
from .citing import source_address
from .packing import unpack

PER_PAGE = 100
MAX_ROWS = 3_000
Json = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A model on one data set: its figures by metric, all of them reported."""

    model: str
    paper: PaperRow | None
    values: dict[str, str]


@dataclass(frozen=True)
class Board:
    """A data set of a task."""

    dataset: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]


def tasks(session: Session, after: str = "", limit: int = PER_PAGE) -> tuple[list[tuple[str, int]], str | None]:
    """Tasks with reported results, by name, with their number of rows; and the cursor of what follows."""
    query = (select(ResultRow.task, func.count()).where(ResultRow.task > after).group_by(ResultRow.task).order_by(ResultRow.task)
             .limit(limit + 1))
    found = list(session.execute(query).tuples())
    return found[:limit], found[limit - 1][0] if len(found) > limit else None


def boards(session: Session, task: str) -> list[Board]:
    """The boards of a task, by data set. Rows stand in the order of their source: metrics do not tell which way is better."""
    query = (select(ResultRow).where(ResultRow.task == task).order_by(ResultRow.dataset, ResultRow.id).limit(MAX_ROWS))
    rows = session.scalars(query).all()
    visible = select(PaperRow).where(PaperRow.id.in_({r.paper_id for r in rows}), PaperRow.hidden.is_(False))
    papers = {p.id: p for p in session.scalars(visible)}
    grouped: dict[str, list[ResultRow]] = {}
    for row in rows:
        grouped.setdefault(row.dataset, []).append(row)
    return [Board(dataset, tuple(dict.fromkeys(r.metric for r in found)), tuple(_lines(found, papers)))
            for dataset, found in grouped.items()]


def _lines(rows: Sequence[ResultRow], papers: dict[int, PaperRow]) -> Iterator[Line]:
    """Rows of one model and paper together; a second figure for the same metric makes a second line."""
    lines: list[Line] = []
    for row in rows:
        paper = papers.get(row.paper_id or 0)
        fit = next((line for line in lines if line.model == row.model and line.paper is paper and row.metric not in line.values), None)
        if fit is None:
            fit = Line(row.model, paper, {})
            lines.append(fit)
        fit.values[row.metric] = row.value
    yield from lines


def export(session: Session) -> Iterator[str]:
    """All reported results as the evaluation tables of Papers with Code: a JSON array in pieces, one task at a time.

    Only what papers report: `ingest pwc` on it gives the same rows again.
    """
    yield "["
    after, comma = "", ""
    while True:
        found, following = tasks(session, after)
        for task, _ in found:
            yield f"{comma}\n{json.dumps(_task(session, task), ensure_ascii=False)}"
            comma = ","
        if following is None:
            break
        after = following
    yield "\n]\n"


def _task(session: Session, task: str) -> Json:
    rows = session.scalars(select(ResultRow).where(ResultRow.task == task).order_by(ResultRow.dataset, ResultRow.id)).all()
    ids = {row.paper_id for row in rows if row.paper_id is not None}
    papers = {p.id: p for p in session.scalars(select(PaperRow).where(PaperRow.id.in_(ids)))}
    addresses, code = _addresses(session, papers), _code(session, ids)
    grouped: dict[str, list[ResultRow]] = {}
    for row in rows:
        grouped.setdefault(row.dataset, []).append(row)
    datasets = []
    for dataset, found in grouped.items():
        lines = [{"model_name": line.model, "metrics": line.values, "paper_title": line.paper.title if line.paper else "",
                  "paper_url": addresses.get(line.paper.id) if line.paper else None,
                  "paper_date": line.paper.published_on.isoformat() if line.paper and line.paper.published_on else None,
                  "code_links": [{"title": "", "url": url} for url in (code.get(line.paper.id, []) if line.paper else [])],
                  "model_links": [], "uses_additional_data": False} for line in _lines(found, papers)]
        metrics = list(dict.fromkeys(row.metric for row in found))
        datasets.append({"dataset": dataset, "dataset_citations": [], "dataset_links": [], "description": "", "subdatasets": [],
                         "sota": {"metrics": metrics, "rows": lines}})
    return {"task": task, "categories": [], "description": "", "source_link": None, "subtasks": [], "synonyms": [], "datasets": datasets}


def _addresses(session: Session, papers: dict[int, PaperRow]) -> dict[int, str | None]:
    """How that format names papers: an arXiv address, else the one they had on the closed site."""
    out = {i: source_address(p) if p.arxiv_id else None for i, p in papers.items()}
    unnamed = [i for i, address in out.items() if address is None]
    query = select(PaperSourceRow.paper_id, PaperSourceRow.packed).where(PaperSourceRow.paper_id.in_(unnamed),
                                                                         PaperSourceRow.source == "pwc")
    for paper_id, packed in session.execute(query).tuples():
        alias = from_json(unpack(packed)).alias
        if alias and paper_id is not None:
            out[paper_id] = f"https://paperswithcode.com/paper/{alias.removeprefix('pwc:')}"
    return out


def _code(session: Session, ids: Iterable[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    query = select(PaperLinkRow.paper_id, PaperLinkRow.url).where(PaperLinkRow.paper_id.in_(list(ids)), PaperLinkRow.kind == "code",
                                                                 PaperLinkRow.source == "pwc").order_by(PaperLinkRow.id)
    for paper_id, url in session.execute(query).tuples():
        found.setdefault(paper_id, []).append(url)
    return found
