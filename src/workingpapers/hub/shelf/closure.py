"""Stored records that a set of new ones may belong with: all that share a key, directly or through others."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..ingest import Record, from_json, record_keys
from ..tables import AnswerRow, PaperSourceRow, SourceKeyRow
from ..tables.types import hash64
from .bulk import among
from .packing import unpack

CHUNK = 1_000
TIE, APART = "tie", "apart"
T = TypeVar("T")
Key = tuple[str, str]


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Items in lists of at most `size`."""
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `paper_sources`."""

    id: int
    paper_id: int | None
    source: str
    source_key: str
    packed: bytes
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The record as JSON."""
        return unpack(self.packed)

    @property
    def record(self) -> Record:
        return self.answered(from_json(self.text))

    def answered(self, record: Record) -> Record:
        """A state of this row's record, with what editors have said of it."""
        ties = tuple(sorted(value for kind, value in self.answers if kind == TIE))
        return dataclasses.replace(record, ties=ties, apart=any(kind == APART for kind, _ in self.answers)) if self.answers else record


def keys_of(record: Record) -> set[int]:
    """`record_keys` as the store holds them."""
    return {hash64(*key) for key in record_keys(record)}


def stored(session: Session, keys: Iterable[Key]) -> dict[Key, Stored]:
    """Rows by `(source, source_key)`."""
    wanted: dict[str, list[str]] = {}
    for source, key in keys:
        wanted.setdefault(source, []).append(key)
    columns = (PaperSourceRow.id, PaperSourceRow.paper_id, PaperSourceRow.source, PaperSourceRow.source_key, PaperSourceRow.packed)
    found = {}
    for source, names in wanted.items():
        query = select(*columns).where(PaperSourceRow.source == source, among(session, PaperSourceRow.source_key, names))
        for row in _with_answers(session, session.execute(query).tuples()):
            found[row.source, row.source_key] = row
    return found


def related(session: Session, keys: Iterable[int]) -> list[Stored]:
    """All rows that share one of these keys or are tied to such a one, and those that share a key with them, and so on."""
    seen: set[int] = set()
    ids: set[int] = set()
    frontier = set(keys)
    while frontier:
        seen |= frontier
        fresh = _with_keys(session, frontier) - ids
        if not fresh:
            break
        fresh |= tied(session, fresh)
        ids |= fresh
        frontier = keys_of_rows(session, fresh) - seen
    found = []
    for part in chunks(sorted(ids)):
        columns = (PaperSourceRow.id, PaperSourceRow.paper_id, PaperSourceRow.source, PaperSourceRow.source_key, PaperSourceRow.packed)
        query = select(*columns).where(among(session, PaperSourceRow.id, part))
        found += _with_answers(session, session.execute(query).tuples())
    return found


def tied(session: Session, ids: Iterable[int]) -> set[int]:
    """Rows that an editor has said to be of one paper with these."""
    values = select(AnswerRow.value).where(among(session, AnswerRow.source_id, sorted(ids)), AnswerRow.kind == TIE)
    return set(session.scalars(select(AnswerRow.source_id).where(AnswerRow.value.in_(values), AnswerRow.kind == TIE)))


def _with_answers(session: Session, found: Iterable[Any]) -> list[Stored]:
    rows, answers = [Stored(*row) for row in found], dict[int, list[tuple[str, str]]]()
    for part in chunks([row.id for row in rows]):
        query = select(AnswerRow.source_id, AnswerRow.kind, AnswerRow.value).where(among(session, AnswerRow.source_id, part))
        for source_id, kind, value in session.execute(query).tuples():
            answers.setdefault(source_id, []).append((kind, value))
    return [dataclasses.replace(row, answers=tuple(answers[row.id])) if row.id in answers else row for row in rows]


def keys_of_rows(session: Session, ids: Iterable[int]) -> set[int]:
    """The stored keys of these rows."""
    listed = sorted(ids)
    return set(session.scalars(select(SourceKeyRow.key).where(among(session, SourceKeyRow.source_id, listed)))) if listed else set()


def _with_keys(session: Session, keys: Iterable[int]) -> set[int]:
    return set(session.scalars(select(SourceKeyRow.source_id).where(among(session, SourceKeyRow.key, sorted(keys)))))
