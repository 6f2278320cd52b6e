"""When two rows turn out to be one paper: what people said moves along, and the old address leads on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from .. import trending
from ..tables import (
    AuthorshipRow,
    CommentRow,
    PaperAliasRow,
    PaperLinkRow,
    PaperRow,
    RatingRow,
    TagRow,
    TrendEventRow,
    VoteRow,
)

# Tables with one row a paper and these columns: where both papers have one, the target's stands.
_ONE_EACH: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (VoteRow, ("user_id",)), (RatingRow, ("user_id",)), (TagRow, ("user_id", "name")), (AuthorshipRow, ("user_id",)),
    (TrendEventRow, ("kind", "key")),
)


def move(session: Session, source_id: int, target_id: int) -> None:
    """Give everything that people and the site attached to one paper to another; counters and trend are made anew.

    Links that a person added move too; those of sources, and the events that sources bring, come with the sources' records.
    """
    session.flush()
    session.execute(delete(TrendEventRow).where(TrendEventRow.paper_id == source_id, TrendEventRow.kind.in_(trending.FROM_SOURCES)))
    for table, names in _ONE_EACH:
        columns = [getattr(table, name) for name in names]
        taken = set(session.execute(select(*columns).where(table.paper_id == target_id)).tuples())
        for row_id, *key in session.execute(select(table.id, *columns).where(table.paper_id == source_id)).tuples():
            if tuple(key) not in taken:
                session.execute(update(table).where(table.id == row_id).values(paper_id=target_id))
    session.execute(update(CommentRow).where(CommentRow.paper_id == source_id).values(paper_id=target_id))
    session.execute(update(PaperAliasRow).where(PaperAliasRow.paper_id == source_id).values(paper_id=target_id))
    known = set(session.execute(select(PaperLinkRow.kind, PaperLinkRow.url).where(PaperLinkRow.paper_id == target_id)).tuples())
    theirs = select(PaperLinkRow.id, PaperLinkRow.kind, PaperLinkRow.url).where(PaperLinkRow.paper_id == source_id,
                                                                               PaperLinkRow.added_by.is_not(None))
    for row_id, kind, url in session.execute(theirs).tuples():
        if (kind, url) not in known:
            session.execute(update(PaperLinkRow).where(PaperLinkRow.id == row_id).values(paper_id=target_id))
    submitter = session.scalar(select(PaperRow.submitted_by).where(PaperRow.id == source_id))
    if submitter is not None:
        session.execute(update(PaperRow).where(PaperRow.id == target_id, PaperRow.submitted_by.is_(None)).values(submitted_by=submitter))
    recount(session, target_id)


def recount(session: Session, paper_id: int) -> None:
    """Counters and trend of a paper from the rows they stand for."""
    votes = session.scalar(select(func.count()).where(VoteRow.paper_id == paper_id)) or 0
    comments = session.scalar(select(func.count()).where(CommentRow.paper_id == paper_id, CommentRow.deleted_at.is_(None))) or 0
    session.execute(update(PaperRow).where(PaperRow.id == paper_id).values(votes=votes, comments=comments))
    trending.recompute(session, paper_id)


def has_people(session: Session, paper_id: int) -> bool:
    """Whether somebody voted for, rated, tagged, commented, claimed or linked this paper."""
    tables: tuple[Any, ...] = (VoteRow, RatingRow, TagRow, AuthorshipRow, CommentRow)
    if any(session.scalar(select(table.id).where(table.paper_id == paper_id).limit(1)) is not None for table in tables):
        return True
    theirs = select(PaperLinkRow.id).where(PaperLinkRow.paper_id == paper_id, PaperLinkRow.added_by.is_not(None)).limit(1)
    return session.scalar(theirs) is not None


def lead_on(session: Session, old_id: str, paper_id: int) -> None:
    """Let an address that a paper had lead to it."""
    session.execute(delete(PaperAliasRow).where(PaperAliasRow.public_id == old_id))
    session.add(PaperAliasRow(public_id=old_id, paper_id=paper_id))
    session.flush()
