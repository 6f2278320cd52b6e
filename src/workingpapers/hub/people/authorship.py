"""Authorship: somebody says that they wrote a paper, and an admin who has checked it approves."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..problems import Problem
from ..tables import AuthorshipRow, PaperRow, UserRow
from .audit import audit
from .votes import insert_once

ASKED, APPROVED, REFUSED = "asked", "approved", "refused"


def claim_authorship(session: Session, user: UserRow, paper: PaperRow) -> bool:
    """Say that one wrote this paper; False when that was said before, whatever came of it."""
    return insert_once(session, AuthorshipRow, user_id=user.id, paper_id=paper.id, state=ASKED)


def settle_authorship(session: Session, claim_id: int, state: str, *, actor: str) -> AuthorshipRow:
    """Approve or refuse.

    Raises:
        Problem: 404 there is no such claim; 422 there is no such answer.
    """
    if state not in (APPROVED, REFUSED):
        raise Problem(422, "No such answer", f"Choose {APPROVED} or {REFUSED}.")
    row = session.get(AuthorshipRow, claim_id)
    if row is None:
        raise Problem(404, "No such claim of authorship", "It may have gone with its account.")
    row.state = state
    audit(session, actor, f"authorship {state}", f"user:{row.user_id}", paper=row.paper_id)
    return row


def authors_here(session: Session, paper: PaperRow) -> list[UserRow]:
    """Accounts that were approved as authors of a paper."""
    return list(session.scalars(select(UserRow).join(AuthorshipRow, AuthorshipRow.user_id == UserRow.id).where(
        AuthorshipRow.paper_id == paper.id, AuthorshipRow.state == APPROVED).order_by(AuthorshipRow.id)))


def claims_open(session: Session, limit: int = 200) -> list[tuple[AuthorshipRow, UserRow, PaperRow]]:
    """Claims that wait for an admin, oldest first."""
    query = (select(AuthorshipRow, UserRow, PaperRow).join(UserRow, UserRow.id == AuthorshipRow.user_id)
             .join(PaperRow, PaperRow.id == AuthorshipRow.paper_id)
             .where(AuthorshipRow.state == ASKED).order_by(AuthorshipRow.id).limit(limit))
    return list(session.execute(query).tuples())
