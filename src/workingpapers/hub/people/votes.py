"""Votes, tags, bookmarks, ratings: what one person keeps about one paper. Counters and trend change in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from .. import trending
from ..problems import Problem
from ..tables import CommentRow, PaperRow, RatingRow, TagRow, UserRow, VoteRow

SAVED = "saved"
MAX_TAG = 60
MAX_TAGS = 5_000  # of one account


def insert_once(session: Session, table: Any, **values: Any) -> bool:
    """Add a row unless one like it is there; whether it was added. Two that try at once never both succeed, nor fail."""
    insert = (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(table)
    return session.execute(insert.values(**values).on_conflict_do_nothing().returning(table.id)).first() is not None


def lock_papers(session: Session, paper_ids: Iterable[int]) -> None:
    """Make these papers' counters and trends ours until the transaction ends.

    Before anything else is written that points to them: on PostgreSQL a vote that is added first holds a weak lock of its
    paper, and two such transactions would wait for each other. SQLite has one writer anyway.
    """
    ids = sorted(set(paper_ids))
    if ids:
        session.execute(select(PaperRow.id).where(PaperRow.id.in_(ids)).order_by(PaperRow.id).with_for_update()).all()


def set_vote(session: Session, user: UserRow, paper: PaperRow, on: bool) -> bool:
    """Vote for a paper, or take the vote back; whether that changed anything."""
    lock_papers(session, [paper.id])
    if on:
        changed = insert_once(session, VoteRow, user_id=user.id, paper_id=paper.id)
    else:
        query = delete(VoteRow).where(VoteRow.user_id == user.id, VoteRow.paper_id == paper.id).returning(VoteRow.id)
        changed = session.execute(query).first() is not None
    if changed:
        session.execute(update(PaperRow).where(PaperRow.id == paper.id).values(votes=PaperRow.votes + (1 if on else -1)))
        _trend(session, user, paper.id, "vote", on)
    return changed


def set_tag(session: Session, user: UserRow, paper: PaperRow, name: str, on: bool) -> bool:
    """Put a tag on a paper for oneself, or take it off; `saved` is the plain bookmark.

    Raises:
        Problem: 422, the name is no tag.
    """
    name = tag_name(name)
    lock_papers(session, [paper.id])
    if on:
        if session.scalar(select(TagRow.id).where(TagRow.user_id == user.id).offset(MAX_TAGS).limit(1)) is not None:
            raise Problem(422, "Too many tags", f"An account keeps at most {MAX_TAGS:,}.")
        changed = insert_once(session, TagRow, user_id=user.id, paper_id=paper.id, name=name)
    else:
        query = delete(TagRow).where(TagRow.user_id == user.id, TagRow.paper_id == paper.id, TagRow.name == name).returning(TagRow.id)
        changed = session.execute(query).first() is not None
    if changed:  # however many tags, one person's interest counts once
        left = session.scalar(select(TagRow.id).where(TagRow.user_id == user.id, TagRow.paper_id == paper.id).limit(1))
        if on or left is None:
            _trend(session, user, paper.id, "tag", on)
    return changed


def tag_name(text: str) -> str:
    """A tag as it is kept: lower case, single spaces.

    >>> tag_name("  To  Read ")
    'to read'
    """
    name = " ".join("".join(c if c.isprintable() else " " for c in text).casefold().split())
    if not 0 < len(name) <= MAX_TAG:
        raise Problem(422, "No such tag", f"A tag has 1 to {MAX_TAG} characters.")
    return name


def set_rating(session: Session, user: UserRow, paper: PaperRow, value: int) -> bool:
    """More (+1) or less (-1) like this for one's recommendations, or no opinion (0); whether that changed anything."""
    if value not in (-1, 0, 1):
        raise Problem(422, "No such rating", "A rating is -1, 0 or 1.")
    where = (RatingRow.user_id == user.id, RatingRow.paper_id == paper.id)
    if value == 0:
        return session.execute(delete(RatingRow).where(*where).returning(RatingRow.id)).first() is not None
    if insert_once(session, RatingRow, user_id=user.id, paper_id=paper.id, value=value):
        return True
    return session.execute(update(RatingRow).where(*where, RatingRow.value != value).values(value=value)
                           .returning(RatingRow.id)).first() is not None


def comment_counts(session: Session, user: UserRow, paper_id: int) -> None:
    """Keep the trend in step after a comment came or went: a person's first one on a paper counts, while any is left."""
    left = session.scalar(select(CommentRow.id).where(CommentRow.user_id == user.id, CommentRow.paper_id == paper_id,
                                                      CommentRow.deleted_at.is_(None)).limit(1))
    _trend(session, user, paper_id, "comment", left is not None)


def withdraw_everything(session: Session, user: UserRow) -> None:
    """Take all of an account out of counters and trends, before it is deleted."""
    voted = session.scalars(select(VoteRow.paper_id).where(VoteRow.user_id == user.id)).all()
    kept = [session.scalars(select(t.paper_id).where(t.user_id == user.id)).all() for t in (TagRow, CommentRow)]
    lock_papers(session, [*voted, *kept[0], *kept[1]])
    for paper_id in voted:
        session.execute(update(PaperRow).where(PaperRow.id == paper_id).values(votes=PaperRow.votes - 1))
        _trend(session, user, paper_id, "vote", False)
    for paper_id in set(kept[0]):
        _trend(session, user, paper_id, "tag", False)
    for paper_id in set(kept[1]):
        _trend(session, user, paper_id, "comment", False)


def _trend(session: Session, user: UserRow, paper_id: int, kind: trending.Kind, on: bool) -> None:
    key, moment = f"user:{user.id}", now()
    if on:
        trending.record(session, paper_id, kind, key, trending.weight_of(kind, user.created_at, moment), moment)
    else:
        trending.withdraw(session, paper_id, kind, key)
