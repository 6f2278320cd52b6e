"""What stands in a digest: a pure reading of the store for one window of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Select, and_, exists, or_, select
from sqlalchemy.orm import Session, defer, selectinload

from workingpapers.lab import Store
from workingpapers.lab.store import RunRow
from workingpapers.papers import Catalogue

from .. import words
from ..findings import CheckView, finding_of
from ..ruler import Ruler
from ..search import find_papers
from ..tables import PaperCategoryRow, PaperRow, TrendEventRow
from .plain import plain, shortened

Kind = Literal["trending", "query", "tag", "category", "verdicts"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOP = 10
MOST_VERDICTS = 30
GIST = 320
SCANNED = 5_000
MATCHING = 200
SIGNS = {"holds": "●", "partly": "◐", "fails": "✕", "inconclusive": "○", "untested": "–"}
WIDTH = 27


@dataclass(frozen=True)
class VerdictLine:
    """A verdict reached in the window, or the newest of a paper's claims."""

    paper: str
    claim: str
    verdict: str
    measured: str
    needs: str
    drawing: str
    scale: str
    path: str

    @property
    def sign(self) -> str:
        return SIGNS[self.verdict]


@dataclass(frozen=True)
class Entry:
    """A paper: title in plain Unicode, a line of facts, a few sentences, its claims as they stand here."""

    title: str
    facts: str
    gist: str
    path: str
    verdicts: tuple[VerdictLine, ...] = ()


@dataclass(frozen=True)
class Edition:
    """The content of one mail; addresses are paths of the site."""

    subject: str
    intro: str
    entries: tuple[Entry, ...]
    verdicts: tuple[VerdictLine, ...]

    @property
    def is_empty(self) -> bool:
        return not self.entries and not self.verdicts


def describe(kind: str, params: Mapping[str, Any]) -> str:
    """What a subscription is about, in words.

    >>> describe("query", {"q": "causal discovery"}), describe("verdicts", {})
    ('papers on “causal discovery”', 'new verdicts')
    """
    if kind == "query":
        return f"papers on “{params.get('q', '')}”"
    if kind == "tag":
        return f"papers tagged {params.get('tag', '')}"
    if kind == "category":
        return f"papers in {params.get('category', '')}"
    if kind == "verdicts":
        return f"new verdicts on {params['slug']}" if params.get("slug") else "new verdicts"
    return "trending papers and new verdicts"


def make_edition(store: Store, catalogue: Catalogue, kind: str, params: Mapping[str, Any], since: dt.datetime,
                 until: dt.datetime) -> Edition:
    """What is new for a subscription in (since, until]. The same data give the same edition.

    Papers count as new when this site learnt of them in the window; trending ones also when something happened to them in it.
    """
    with store.reading() as session:
        rows = _papers(session, store, kind, params, since, until) if kind != "verdicts" else []
        entries = tuple(_entry(session, catalogue, row) for row in rows)
        verdicts = _new_verdicts(session, catalogue, params, since, until) if kind in ("trending", "verdicts") else ()
    news = [words.count(len(entries), "paper") if entries else "", words.count(len(verdicts), "new verdict") if verdicts else ""]
    what = describe(kind, params)
    told = " and ".join(n for n in news if n) if kind in ("trending", "verdicts") else what
    subject = f"Working Papers: {told or what}"
    return Edition(subject, f"You asked for {what}.", entries, verdicts)


def draw(ruler: Ruler) -> str:
    """The ruler in characters: axis, interval ━, point ●, threshold │, the paper's figure ◇; better is to the right.

    >>> from ..ruler import draw as lay
    >>> draw(lay(verdict="holds", estimate=0.5, interval=(0.45, 0.6), threshold=1.0, log=True))
    '·············│······━━●━━··'
    """
    cells = ["·"] * WIDTH

    def place(x: float) -> int:
        return min(WIDTH - 1, max(0, round(x / 100 * (WIDTH - 1))))

    if ruler.interval:
        for i in range(place(ruler.interval[0]), place(ruler.interval[1]) + 1):
            cells[i] = "━"
    for x in ruler.thresholds:
        cells[place(x)] = "│"
    if ruler.reported is not None:
        cells[place(ruler.reported)] = "◇"
    cells[place(ruler.point)] = "●"
    return "".join(cells)


def _papers(session: Session, store: Store, kind: str, params: Mapping[str, Any], since: dt.datetime,
            until: dt.datetime) -> Sequence[PaperRow]:
    new = and_(PaperRow.created_at > since, PaperRow.created_at <= until)
    visible = select(PaperRow).where(PaperRow.hidden.is_(False), PaperRow.withdrawn.is_(False)).options(defer(PaperRow.comment))
    if kind == "trending":
        stirred = exists().where(TrendEventRow.paper_id == PaperRow.id, TrendEventRow.at > since, TrendEventRow.at <= until)
        return session.scalars(_ordered(visible.where(or_(new, stirred)), by_trend=True)).all()
    if kind == "category":
        inside = exists().where(PaperCategoryRow.paper_id == PaperRow.id, PaperCategoryRow.category == params.get("category", ""))
        return session.scalars(_ordered(visible.where(new, inside))).all()
    if kind == "tag":
        wanted = str(params.get("tag", "")).casefold()
        recent = session.scalars(_ordered(visible.where(new), limit=SCANNED))
        return [row for row in recent if wanted in {str(t).casefold() for t in (*row.tags, *row.tasks)}][:TOP]
    if kind == "query":
        # The best of all papers that are new, rather than the best of the new: by meaning something is always nearest.
        ids = [found.id for found in find_papers(store, str(params.get("q", "")), limit=MATCHING)]
        rows = {row.id: row for row in session.scalars(visible.where(new, PaperRow.id.in_(ids)))}
        return [rows[i] for i in ids if i in rows][:TOP]
    return []


def _ordered(query: Select[PaperRow], *, by_trend: bool = False, limit: int = TOP) -> Select[PaperRow]:
    trend = (PaperRow.trend_log.is_(None), PaperRow.trend_log.desc()) if by_trend else ()
    return query.order_by(*trend, PaperRow.listed_on.is_(None), PaperRow.listed_on.desc(), PaperRow.published_on.is_(None),
                          PaperRow.published_on.desc(), PaperRow.public_id.desc()).limit(limit)


def _entry(session: Session, catalogue: Catalogue, row: PaperRow) -> Entry:
    authors = [str(a) for a in row.authors]
    named = ", ".join(authors[:3]) + (f" and {len(authors) - 3} more" if len(authors) > 3 else "")
    by = named or (words.count(row.author_count, "author") if row.author_count else "")
    day = words.day(row.published_on) if row.published_on else ""
    where = row.tasks[0] if row.tasks else row.primary_category or ""
    gist = row.plain_summary or plain(row.abstract)
    return Entry(plain(row.title), " · ".join(part for part in (by, day, str(where)) if part), shortened(gist, GIST),
                 f"/papers/{row.slug or row.public_id}", _standing(session, catalogue, row.slug))


def _standing(session: Session, catalogue: Catalogue, slug: str | None) -> tuple[VerdictLine, ...]:
    """The newest verdict of each claim of a catalogue paper."""
    from workingpapers.lab import read

    if slug is None:
        return ()
    return tuple(line for run in read.newest(session, slug).values() if (line := _line(catalogue, run)) is not None)


def _new_verdicts(session: Session, catalogue: Catalogue, params: Mapping[str, Any], since: dt.datetime,
                  until: dt.datetime) -> tuple[VerdictLine, ...]:
    query = (select(RunRow).options(selectinload(RunRow.checks))
             .where(RunRow.origin == "here", RunRow.is_yours.is_(False), RunRow.state == "done", RunRow.verdict.is_not(None),
                    RunRow.ended_at > since, RunRow.ended_at <= until).order_by(RunRow.ended_at.desc(), RunRow.id.desc()))
    if params.get("slug"):
        query = query.where(RunRow.slug == params["slug"])
    return tuple(_one_a_claim(catalogue, session.scalars(query.limit(10 * MOST_VERDICTS))))[:MOST_VERDICTS]


def _one_a_claim(catalogue: Catalogue, runs: Iterable[RunRow]) -> Iterable[VerdictLine]:
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if (run.slug, run.claim_id) not in seen and (line := _line(catalogue, run)) is not None:
            seen.add((run.slug, run.claim_id))
            yield line


def _line(catalogue: Catalogue, run: RunRow) -> VerdictLine | None:
    try:
        paper = catalogue.find(run.slug)
        facts = paper.facts.claim(run.claim_id)
    except KeyError:
        return None
    found = finding_of(run, facts)
    if found is None:
        return None
    head: CheckView | None = found.headline
    return VerdictLine(paper.facts.title, facts.short, found.verdict, head.measured if head else "", head.needs if head else "",
                       draw(head.ruler) if head and head.ruler else "", found.scale, f"/claims/{run.slug}/{run.claim_id}")
