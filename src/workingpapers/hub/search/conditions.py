"""Conditions of a question as SQL: applied before anything is ranked."""

from __future__ import annotations

import datetime as dt
import functools

from sqlalchemy import ColumnElement, and_, false, not_, or_, select
from sqlalchemy.orm import Session

from workingpapers.lab import read

from ..ingest import identity
from ..ingest.categories import CODES
from ..tables import PaperAliasRow, PaperCategoryRow, PaperLinkRow, PaperRow
from .grammar import Fact, Part, Query, Text
from .words import WordIndex


def condition(session: Session, index: WordIndex, query: Query) -> ColumnElement[bool] | None:
    """What a paper must meet, hidden ones left out; None when the question has no conditions."""
    if not query.must and not query.never:
        return None
    meets = [or_(*(_part(session, index, part) for part in group)) for group in query.must]
    return and_(PaperRow.hidden.is_(False), *meets, *(not_(_part(session, index, part)) for part in query.never))


def _part(session: Session, index: WordIndex, part: Part) -> ColumnElement[bool]:
    if isinstance(part, Text):
        return index.holds(part)
    return _FACTS[part.field](session, part)


def _category(_: Session, part: Fact) -> ColumnElement[bool]:
    """A category, or an archive with all that lies below it. `cs.lg` is `cs.LG`."""
    wanted = part.value.rstrip("*").rstrip(".")
    code = _codes().get(wanted.lower(), wanted)
    below = [c for c in CODES if c.startswith(f"{code}.")]
    return PaperRow.id.in_(select(PaperCategoryRow.paper_id).where(PaperCategoryRow.category.in_([code, *sorted(below)])))


@functools.cache
def _codes() -> dict[str, str]:
    return {name.lower(): name for code in CODES for name in (code, code.partition(".")[0])}


def _id(_: Session, part: Fact) -> ColumnElement[bool]:
    found = identity.arxiv_id(part.value)
    names = {part.value, found.id if found else part.value}
    if (doi := identity.doi(part.value.removeprefix("doi:"))) is not None:
        names.add(f"doi:{doi}")
    return or_(PaperRow.public_id.in_(names), PaperRow.arxiv_id.in_(names),
               PaperRow.id.in_(select(PaperAliasRow.paper_id).where(PaperAliasRow.public_id.in_(names))))


def _after(_: Session, part: Fact) -> ColumnElement[bool]:
    return _day(part, True)


def _before(_: Session, part: Fact) -> ColumnElement[bool]:
    return _day(part, False)


def _day(part: Fact, after: bool) -> ColumnElement[bool]:
    """The day of the first version; where only the day of listing is known, that."""
    day = part.day or dt.date.min
    first, listed = PaperRow.published_on, PaperRow.listed_on
    if after:
        return or_(first >= day, and_(first.is_(None), listed >= day))
    return or_(first < day, and_(first.is_(None), listed < day))


def _has(_: Session, part: Fact) -> ColumnElement[bool]:
    if part.value == "claim":
        return PaperRow.slug.is_not(None)
    return PaperRow.id.in_(select(PaperLinkRow.paper_id).where(PaperLinkRow.kind == part.value))


def _slug(_: Session, part: Fact) -> ColumnElement[bool]:
    return PaperRow.slug == part.value


def _verdict(session: Session, part: Fact) -> ColumnElement[bool]:
    """Papers with a claim whose newest verdict on this machine is this one."""
    slugs = {slug for (slug, _), run in read.newest(session).items() if run.verdict == part.value}
    return PaperRow.slug.in_(slugs) if slugs else false()


_FACTS = {"cat": _category, "id": _id, "after": _after, "before": _before, "has": _has, "slug": _slug, "verdict": _verdict}
