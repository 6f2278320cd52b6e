"""Questions for an editor, kept in step with what the records say now. What an editor has settled stays settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, delete, insert, select
from sqlalchemy.orm import Session

from ..ingest import Doubt, Paper, alike
from ..ingest.matching import SHOWN
from ..tables import DoubtRow, PaperRow
from .bulk import among
from .keys import digest, short


class _Known:
    """As much of a stored paper as `ingest.alike` asks for."""

    __slots__ = ("arxiv_id", "first_author_key", "public_id", "title")

    def __init__(self, public_id: str, arxiv_id: str | None, title: str, first_author_key: str) -> None:
        self.public_id, self.arxiv_id, self.title, self.first_author_key = public_id, arxiv_id, title, first_author_key


def look_alike(session: Session, papers: Sequence[Paper]) -> list[Doubt]:
    """Pairs of one of these and any paper of the store with nearly one title. Call it once the papers are written.

    A pair of two arXiv ids is settled: a paper with one is held only against those without.
    """
    mine = [_Known(short(p.public_id), p.arxiv_id, p.title, short(p.first_author_key)) for p in papers if p.first_author_key]
    known: list[_Known] = []
    columns = (PaperRow.public_id, PaperRow.arxiv_id, PaperRow.title, PaperRow.first_author_key)
    everyone = {p.first_author_key for p in mine}
    without_id = {p.first_author_key for p in mine if p.arxiv_id is None}
    for names, condition in ((everyone, PaperRow.arxiv_id.is_(None)), (without_id, PaperRow.arxiv_id.is_not(None))):
        if names:
            query = select(*columns).where(among(session, PaperRow.first_author_key, names), condition)
            known += [_Known(*row) for row in session.execute(query).tuples()]
    return alike(mine, known)  # type: ignore[arg-type]


def refresh(session: Session, doubts: Iterable[Doubt], *, records: Iterable[tuple[str, str]], public_ids: Iterable[str]) -> None:
    """Replace the open doubts about these records and papers by those found now."""
    outdated = [and_(DoubtRow.kind == "several", among(session, DoubtRow.key, [_record_key(r) for r in records]))]
    names = sorted(public_ids)
    outdated += [and_(DoubtRow.kind == "alike", among(session, column, names)) for column in (DoubtRow.first, DoubtRow.second)]
    for about in outdated:
        session.execute(delete(DoubtRow).where(about, DoubtRow.state == "open"), execution_options={"synchronize_session": False})
    rows = {(row["kind"], row["key"]): row for row in map(_row, doubts)}
    if rows:
        listed = among(session, DoubtRow.key, [key for _, key in rows])
        kept = set(session.execute(select(DoubtRow.kind, DoubtRow.key).where(listed)).tuples())
        if fresh := [row for key, row in rows.items() if key not in kept]:
            session.execute(insert(DoubtRow), fresh)


def follow(session: Session, renamed: dict[str, str]) -> None:
    """Let settled pairs follow papers that have another address now, so that they are not asked about again."""
    if not renamed:
        return
    about = among(session, DoubtRow.first, list(renamed)) | among(session, DoubtRow.second, list(renamed))
    for row in session.scalars(select(DoubtRow).where(DoubtRow.kind == "alike", DoubtRow.state != "open", about)).all():
        first, second = sorted(renamed.get(name, name) for name in (row.first or "", row.second or ""))
        key = digest("pair", first, second)
        for other in session.scalars(select(DoubtRow).where(DoubtRow.kind == "alike", DoubtRow.key == key, DoubtRow.id != row.id)):
            session.delete(other)
        session.flush()
        row.first, row.second, row.body = first, second, {**row.body, "papers": [first, second]}
        if row.state == "different":  # the key of a merged pair is the value of its tie
            row.key = key
    session.flush()


def _record_key(record: tuple[str, str]) -> str:
    return digest("record", *record)


def _row(doubt: Doubt) -> dict[str, Any]:
    papers = [short(name) for name in doubt.papers][:SHOWN]
    body = {"record": list(doubt.record) if doubt.record else None, "papers": papers}
    row = {"kind": doubt.kind, "title": doubt.title, "body": body, "first": None, "second": None}
    if doubt.record is not None:
        return {**row, "key": _record_key(doubt.record)}
    first, second = sorted(papers)
    return {**row, "key": digest("pair", first, second), "first": first, "second": second}
