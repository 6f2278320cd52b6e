"""Lists of papers: by the day, week or month they were listed, and by trend. Paged by cursor: cost does not grow with the shelf."""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from .. import words
from ..tables import PaperRow

PER_PAGE = 32  # with real abstracts a page, its script and its style stay under 60 kB on the wire
Kind = Literal["date", "week", "month"]


@dataclass(frozen=True)
class Span:
    """A day, an ISO week or a month of the feed. `name` is how addresses write it."""

    kind: Kind
    name: str
    first: dt.date
    last: dt.date

    @property
    def path(self) -> str:
        return f"/papers/{self.kind}/{self.name}"

    @property
    def words(self) -> str:
        """As a heading says it.

        >>> span_of("week", "2025-W52").words, span_of("month", "2025-12").words
        ('22 Dec to 28 Dec 2025', 'December 2025')
        """
        if self.kind == "date":
            return words.weekday(self.first)
        if self.kind == "month":
            return f"{self.first:%B %Y}"
        return f"{self.first.day} {self.first:%b} to {words.day(self.last)}"


def span_of(kind: Kind, name: str) -> Span:
    """The span of `2025-12-26`, `2025-W52` or `2025-12`.

    >>> span_of("week", "2025-W52").first, span_of("month", "2025-12").last
    (datetime.date(2025, 12, 22), datetime.date(2025, 12, 31))

    Raises:
        ValueError: it is no such day, week or month.
    """
    with contextlib.suppress(ValueError, OverflowError):  # of the right shape, but not in the calendar
        if kind == "date" and re.fullmatch(r"\d{4}-\d\d-\d\d", name, re.ASCII):
            day = dt.date.fromisoformat(name)
            return Span("date", name, day, day)
        if kind == "week" and (found := re.fullmatch(r"(\d{4})-W(\d\d)", name, re.ASCII)):
            first = dt.date.fromisocalendar(int(found[1]), int(found[2]), 1)
            return Span("week", name, first, first + dt.timedelta(days=6))
        if kind == "month" and (found := re.fullmatch(r"(\d{4})-(\d\d)", name, re.ASCII)):
            first = dt.date(int(found[1]), int(found[2]), 1)
            return Span("month", name, first, first.replace(day=calendar.monthrange(first.year, first.month)[1]))
    example = {"date": "2025-12-26", "week": "2025-W52", "month": "2025-12"}[kind]
    raise ValueError(f"{kind}: written as {example}, not {name[:40]!r}")


def span_around(kind: Kind, day: dt.date) -> Span:
    """The span of this kind that a day lies in."""
    if kind == "date":
        return span_of(kind, day.isoformat())
    year, week, _ = day.isocalendar()
    return span_of(kind, f"{year:04}-W{week:02}" if kind == "week" else f"{day:%Y-%m}")


@dataclass(frozen=True)
class Page:
    """Papers in order, and the cursor of what follows; None at the end."""

    papers: Sequence[PaperRow]
    after: str | None


VISIBLE = PaperRow.hidden.is_(False)


def listed(session: Session, span: Span | None = None, *, slugs: Collection[str] | None = None, after: str = "",
           limit: int = PER_PAGE) -> Page:
    """Papers by the day they were listed, newest first, and newest publication first within a day.

    Args:
        slugs: of the catalogue, to which the list is narrowed.

    Raises:
        ValueError: `after` is no cursor of this list.
    """
    query = select(PaperRow).where(VISIBLE, PaperRow.listed_on.is_not(None))
    if span is not None:
        query = query.where(PaperRow.listed_on >= span.first, PaperRow.listed_on <= span.last)
    if slugs is not None:
        query = query.where(PaperRow.slug.in_(slugs))
    if after:
        day, published, name = _parts(after)
        listed_on = dt.date.fromisoformat(day)
        within = or_(PaperRow.published_key < published, and_(PaperRow.published_key == published, PaperRow.public_id < name))
        query = query.where(PaperRow.listed_on <= listed_on, or_(PaperRow.listed_on < listed_on, within))
    query = query.order_by(PaperRow.listed_on.desc(), PaperRow.published_key.desc(), PaperRow.public_id.desc())
    return _page(session, query, limit, lambda row: f"{row.listed_on}~{row.published_key}~{row.public_id}")


def published(session: Session, *, after: str = "", limit: int = PER_PAGE) -> Page:
    """Every paper by the day it was published, newest first; those of unknown day follow.

    Raises:
        ValueError: `after` is no cursor of this list.
    """
    day, _, name = _parts(after) if after else ("", "", "")
    papers: list[PaperRow] = []
    if day or not after:
        query = select(PaperRow).where(VISIBLE, PaperRow.published_on.is_not(None))
        if day:
            on = dt.date.fromisoformat(day)
            query = query.where(PaperRow.published_on <= on, or_(PaperRow.published_on < on, PaperRow.public_id < name))
        query = query.order_by(PaperRow.published_on.desc(), PaperRow.public_id.desc())
        page = _page(session, query, limit, lambda row: f"{row.published_on}~~{row.public_id}")
        if page.after is not None:
            return page
        papers, name = list(page.papers), ""
    undated = select(PaperRow).where(VISIBLE, PaperRow.published_on.is_(None))
    undated = undated.where(PaperRow.public_id < name) if name else undated
    if limit == len(papers):
        follows = session.scalar(undated.limit(1)) is not None
        return Page(papers, f"{papers[-1].published_on}~~{papers[-1].public_id}" if follows else None)
    rest = _page(session, undated.order_by(PaperRow.public_id.desc()), limit - len(papers), lambda row: f"~~{row.public_id}")
    return Page([*papers, *rest.papers], rest.after)


def trending(session: Session, *, after: str = "", limit: int = PER_PAGE) -> Page:
    """Papers by trend; those without any event follow by the day they were listed.

    Raises:
        ValueError: `after` is no cursor of this list.
    """
    papers: list[PaperRow] = []
    cold = after.startswith("cold")
    if not cold:
        where: list[ColumnElement[bool]] = [VISIBLE, PaperRow.trend_log.is_not(None)]
        if after:
            log, day, name = _parts(after)
            value = float.fromhex(log)
            listed_on = dt.date.fromisoformat(day) if day else None
            where += [PaperRow.trend_log <= value, or_(PaperRow.trend_log < value, _tie(listed_on, name))]
        query = select(PaperRow).where(*where).order_by(PaperRow.trend_log.desc(), PaperRow.listed_on.desc().nulls_last(),
                                                        PaperRow.public_id.desc())
        page = _page(session, query, limit, lambda row: f"{float(row.trend_log).hex()}~{row.listed_on or ''}~{row.public_id}")
        if page.after is not None:
            return page
        papers = list(page.papers)
    rest = listed_without_events(session, after=after.removeprefix("cold").removeprefix("~") if cold else "", limit=limit - len(papers))
    return Page([*papers, *rest.papers], f"cold~{rest.after}" if rest.after else None)


def listed_without_events(session: Session, *, after: str, limit: int) -> Page:
    """Papers that nothing has happened to, by the day they were listed."""
    if limit <= 0:
        return Page([], "9999-12-31~~")
    query = select(PaperRow).where(VISIBLE, PaperRow.trend_log.is_(None), PaperRow.listed_on.is_not(None))
    if after:
        day, _, name = _parts(after)
        listed_on = dt.date.fromisoformat(day)
        query = query.where(PaperRow.listed_on <= listed_on, or_(PaperRow.listed_on < listed_on, PaperRow.public_id < name))
    query = query.order_by(PaperRow.listed_on.desc(), PaperRow.public_id.desc())
    return _page(session, query, limit, lambda row: f"{row.listed_on}~~{row.public_id}")


def neighbours(session: Session, span: Span | None) -> tuple[Span | None, Span | None]:
    """The nearest earlier and later spans of this kind that have papers."""
    if span is None:
        return None, None
    earlier = session.scalar(select(func.max(PaperRow.listed_on)).where(PaperRow.listed_on < span.first, VISIBLE))
    later = session.scalar(select(func.min(PaperRow.listed_on)).where(PaperRow.listed_on > span.last, VISIBLE))
    return span_around(span.kind, earlier) if earlier else None, span_around(span.kind, later) if later else None


def counts(session: Session, days: Sequence[dt.date]) -> dict[dt.date, int]:
    """How many papers each of these days has."""
    query = select(PaperRow.listed_on, func.count()).where(PaperRow.listed_on.in_(set(days)), VISIBLE).group_by(PaperRow.listed_on)
    return {day: n for day, n in session.execute(query).tuples() if day is not None}


def _tie(listed_on: dt.date | None, name: str) -> ColumnElement[bool]:
    """What follows among papers of one trend."""
    if listed_on is None:
        return and_(PaperRow.listed_on.is_(None), PaperRow.public_id < name)
    return or_(PaperRow.listed_on < listed_on, PaperRow.listed_on.is_(None),
               and_(PaperRow.listed_on == listed_on, PaperRow.public_id < name))


def _parts(cursor: str) -> tuple[str, str, str]:
    first, second, rest = (*cursor.split("~", 2), "", "")[:3]
    if not cursor.isprintable() or len(cursor) > 300 or cursor.count("~") < 2:
        raise ValueError("after: not a cursor of this list")
    return first, second, rest


def _page(session: Session, query: Select[PaperRow], limit: int, cursor: Any) -> Page:
    papers = session.scalars(query.limit(limit + 1)).all()
    return Page(papers[:limit], cursor(papers[limit - 1]) if len(papers) > limit else None)
