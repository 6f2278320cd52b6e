"""What an editor says about a doubt: the same paper, or not. It holds for good: later records are matched by it.

An answer is kept as a key of the records that it concerns. Records with one tie are the same paper, as if they shared a DOI; a
record that stands apart founds a paper of its own whatever its title. So the rule "any order gives the same papers" stays true,
and taking the answer back gives the papers as they were. Only what people said about a paper that went stays where it went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from ..tables import AnswerRow, DoubtRow, PaperRow, PaperSourceRow
from .closure import APART, TIE
from .finding import find
from .intake import reconsider

OPEN, SAME, DIFFERENT = "open", "same", "different"


class CannotSettle(ValueError):
    """The answer does not fit the doubt; the text says what would."""


@dataclass(frozen=True)
class Question:
    """A doubt as an editor sees it: the record in doubt, where there is one, and the papers that it may be."""

    row: DoubtRow
    papers: Sequence[PaperRow]
    record: PaperSourceRow | None = None

    @property
    def is_pair(self) -> bool:
        return self.row.kind == "alike"

    @property
    def can_be_same(self) -> bool:
        """Whether they may be merged: two arXiv ids are two papers."""
        return sum(1 for p in self.papers if p.arxiv_id) < 2 if self.is_pair else self.record is not None


def questions(session: Session, *, state: str = OPEN, limit: int = 20) -> list[Question]:
    """Doubts in this state: open ones oldest first, settled ones newest first."""
    wanted = DoubtRow.state == OPEN if state == OPEN else DoubtRow.state != OPEN
    order = DoubtRow.id if state == OPEN else DoubtRow.id.desc()
    return [_question(session, row) for row in session.scalars(select(DoubtRow).where(wanted).order_by(order).limit(limit))]


def settle(session: Session, row: DoubtRow, answer: str, paper: str = "", *, by: int | None) -> PaperRow | None:
    """Keep the answer and follow it.

    Args:
        answer: `same`, or `different`: two papers, or for a record one of its own.
        paper: public id of the paper that a record belongs to, where several may be it.
        by: id of the editor's account.

    Returns:
        The paper that came of `same`.

    Raises:
        CannotSettle: it was settled before, two papers have arXiv ids of their own, or the paper is none of those in doubt.
    """
    if row.state != OPEN:
        raise CannotSettle("It has been settled meanwhile.")
    if answer not in (SAME, DIFFERENT):
        raise CannotSettle(f"Answer {SAME} or {DIFFERENT}.")
    question = _question(session, row)
    sources: list[int] = []
    if answer == SAME:
        sources = _tie(session, question, paper)
    elif question.record is not None:
        sources = [question.record.id]
        session.execute(insert(AnswerRow), [{"source_id": question.record.id, "kind": APART, "value": row.key}])
    row.state, row.settled_by = answer, by
    session.flush()
    if sources:
        reconsider(session, sources)
    home = session.scalar(select(PaperSourceRow.paper_id).where(PaperSourceRow.id == sources[0])) if answer == SAME else None
    return session.get(PaperRow, home, populate_existing=True) if home is not None else None


def reopen(session: Session, row: DoubtRow) -> None:
    """Take an answer back: what was merged by it parts again, and the question is asked anew where it still stands.

    Raises:
        CannotSettle: it is open.
    """
    if row.state == OPEN:
        raise CannotSettle("It is open already.")
    mine = (AnswerRow.value == row.key) & AnswerRow.kind.in_((TIE, APART))
    sources = list(session.scalars(select(AnswerRow.source_id).where(mine)))
    session.execute(delete(AnswerRow).where(mine))
    row.state, row.settled_by = OPEN, None
    session.flush()
    if sources:
        reconsider(session, sources)


def _question(session: Session, row: DoubtRow) -> Question:
    papers = [p for name in row.body.get("papers") or () if (p := find(session, name, hidden=True)) is not None]
    record = None
    if row.body.get("record"):
        source, key = row.body["record"]
        record = session.scalar(select(PaperSourceRow).where(PaperSourceRow.source == source, PaperSourceRow.source_key == key))
    return Question(row, list({p.id: p for p in papers}.values()), record)


def _tie(session: Session, question: Question, paper: str) -> list[int]:
    """Tie the records of a pair, or a record to those of the chosen paper; ids of the rows."""
    if question.is_pair:
        chosen = list(question.papers)
        if len(chosen) < 2:
            raise CannotSettle("One of the two is gone: there is nothing left to merge.")
        if not question.can_be_same:
            raise CannotSettle("Both have an arXiv id of their own: that settles that they are two.")
    else:
        chosen = [p for p in question.papers if p.public_id == paper]
        if question.record is None or not chosen:
            raise CannotSettle("Choose one of the papers that it may be.")
    found = list(session.scalars(select(PaperSourceRow.id).where(PaperSourceRow.paper_id.in_([p.id for p in chosen]))))
    sources = [*([question.record.id] if question.record else []), *found]
    session.execute(insert(AnswerRow), [{"source_id": i, "kind": TIE, "value": question.row.key} for i in dict.fromkeys(sources)])
    return sources
