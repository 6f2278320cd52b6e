"""Conditions of a question: each part as the ids of the papers that meet it, put together before anything is ranked."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import ColumnElement, Select, String, and_, cast, false, func, not_, or_, select
from sqlalchemy.orm import Session

from workingpapers.lab import read

from ..ingest import identity
from ..ingest.categories import CODES
from ..tables import PaperAliasRow, PaperCategoryRow, PaperLinkRow, PaperRow
from .grammar import Fact, Part, Query, Text
from .vectors import NO_IDS, Ids
from .words import WordIndex


@dataclass(frozen=True)
class Allowed:
    """Which papers may answer: those of `only`, or all when it is None, without those of `never`. Sorted ids."""

    only: Ids | None = None
    never: Ids = field(default_factory=lambda: NO_IDS)

    def keep(self, ids: Ids) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of these ids may answer."""
        kept = np.ones(len(ids), bool) if self.only is None else np.isin(ids, self.only)
        return kept & ~np.isin(ids, self.never) if len(self.never) else kept


EVERYTHING = Allowed()


def allowed(session: Session, index: WordIndex, query: Query, besides: ColumnElement[bool] | None = None) -> Allowed:
    """The papers that meet the conditions of a question, and one on `PaperRow` besides; hidden ones never do."""
    def ids(asked: Select[int]) -> Ids:
        # As one text: a category may have tens of thousands of papers, and a row costs more than its number.
        some = asked.subquery().c[0]
        joined = func.group_concat(some) if index.is_sqlite else func.string_agg(cast(some, String), ",")
        return np.fromstring(session.scalar(select(joined)) or "", np.int64, sep=",")

    def of(part: Part) -> Ids:
        if index.is_sqlite and isinstance(part, Text):
            return index.papers(session, part).papers
        return ids(ids_of(session, index, part))

    def both(only: Ids | None, meet: Ids) -> Ids:
        return np.unique(meet) if only is None else only[np.isin(only, meet)]

    span, groups = _one_span(dict.fromkeys(query.must))
    only: Ids | None = None if besides is None else np.unique(ids(select(PaperRow.id).where(besides)))
    if span:
        only = both(only, ids(select(PaperRow.id).where(*map(_on_days, span))))
    for group in groups:
        if only is not None and not len(only):
            break
        only = both(only, of(group[0]) if len(group) == 1 else np.concatenate([of(part) for part in group]))
    hidden = ids(select(PaperRow.id).where(PaperRow.hidden))
    if only is None:
        return Allowed(None, np.unique(np.concatenate([hidden, *(of(part) for part in query.never)])))
    only = only[~np.isin(only, hidden)]
    for part in query.never:
        if not len(only):
            break
        only = only[~np.isin(only, of(part))]
    return Allowed(only)


def _one_span(groups: Iterable[tuple[Part, ...]]) -> tuple[list[Fact], list[tuple[Part, ...]]]:
    """Of days that must all be met only the latest `after` and the earliest `before` say anything; and the other groups."""
    days: dict[str, Fact] = {}
    others = []
    for group in groups:
        part = group[0]
        if len(group) > 1 or not isinstance(part, Fact) or part.day is None:
            others.append(group)
        elif (known := days.get(part.field)) is None or known.day is None or (
                part.day > known.day if part.field == "after" else part.day < known.day):
            days[part.field] = part
    return list(days.values()), others


def condition(session: Session, index: WordIndex, query: Query, besides: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """The same as SQL, for lists that the database orders."""
    def meets(part: Part) -> ColumnElement[bool]:
        return PaperRow.id.in_(ids_of(session, index, part))

    span, others = _one_span(dict.fromkeys(query.must))
    groups = [or_(*map(meets, group)) for group in others]
    return and_(PaperRow.hidden.is_(False), *([] if besides is None else [besides]), *map(_on_days, span), *groups,
                *(not_(meets(p)) for p in query.never))


def ids_of(session: Session, index: WordIndex, part: Part) -> Select[int]:
    """The papers that meet one part."""
    return index.holding(part) if isinstance(part, Text) else _FACTS[part.field](session, part)


def _category(_: Session, part: Fact) -> Select[int]:
    """A category, or an archive with all that lies below it. `cs.lg` is `cs.LG`."""
    wanted = part.value.rstrip("*").rstrip(".")
    code = _codes().get(wanted.lower(), wanted)
    below = [c for c in CODES if c.startswith(f"{code}.")]
    return select(PaperCategoryRow.paper_id).where(PaperCategoryRow.category.in_([code, *sorted(below)]))


@functools.cache
def _codes() -> dict[str, str]:
    return {name.lower(): name for code in CODES for name in (code, code.partition(".")[0])}


def _id(_: Session, part: Fact) -> Select[int]:
    found = identity.arxiv_id(part.value)
    names = {part.value, found.id if found else part.value}
    if (doi := identity.doi(part.value.removeprefix("doi:"))) is not None:
        names.add(f"doi:{doi}")
    of_alias = select(PaperAliasRow.paper_id).where(PaperAliasRow.public_id.in_(names))
    return select(PaperRow.id).where(or_(PaperRow.public_id.in_(names), PaperRow.arxiv_id.in_(names), PaperRow.id.in_(of_alias)))


def _on_days(part: Fact) -> ColumnElement[bool]:
    """By the day of the first version; where only the day of listing is known, by that."""
    first, listed = PaperRow.published_on, PaperRow.listed_on
    if part.field == "after":
        day = part.day or dt.date.min
        return or_(first >= day, and_(first.is_(None), listed >= day))
    day = part.day or dt.date.max
    return or_(first < day, and_(first.is_(None), listed < day))


def _days(_: Session, part: Fact) -> Select[int]:
    return select(PaperRow.id).where(_on_days(part))


def _has(_: Session, part: Fact) -> Select[int]:
    if part.value == "claim":
        return select(PaperRow.id).where(PaperRow.slug.is_not(None))
    return select(PaperLinkRow.paper_id).where(PaperLinkRow.kind == part.value)


def _slug(_: Session, part: Fact) -> Select[int]:
    return select(PaperRow.id).where(PaperRow.slug == part.value)


def _verdict(session: Session, part: Fact) -> Select[int]:
    """Papers with a claim whose newest verdict on this machine is this one."""
    slugs = {slug for (slug, _), run in read.newest(session).items() if run.verdict == part.value}
    return select(PaperRow.id).where(PaperRow.slug.in_(slugs) if slugs else false())


_FACTS = {"cat": _category, "id": _id, "after": _days, "before": _days, "has": _has, "slug": _slug, "verdict": _verdict}
