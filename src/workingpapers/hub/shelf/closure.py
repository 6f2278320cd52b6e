"""Stored records that a set of new ones may belong with: all that share a key, directly or through others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..ingest import Record, from_json, record_keys
from ..tables import PaperSourceRow, SourceKeyRow
from ..tables.types import hash64
from .bulk import among
from .packing import unpack

CHUNK = 1_000
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

    @property
    def text(self) -> str:
        """The record as JSON."""
        return unpack(self.packed)

    @property
    def record(self) -> Record:
        return from_json(self.text)


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
        for row in session.execute(query).tuples():
            found[row[2], row[3]] = Stored(*row)
    return found


def related(session: Session, keys: Iterable[int]) -> list[Stored]:
    """All rows that share one of these keys, and those that share a key with them, and so on."""
    seen: set[int] = set()
    ids: set[int] = set()
    frontier = set(keys)
    while frontier:
        seen |= frontier
        fresh = _with_keys(session, frontier) - ids
        if not fresh:
            break
        ids |= fresh
        frontier = keys_of_rows(session, fresh) - seen
    found = []
    for part in chunks(sorted(ids)):
        columns = (PaperSourceRow.id, PaperSourceRow.paper_id, PaperSourceRow.source, PaperSourceRow.source_key, PaperSourceRow.packed)
        found += [Stored(*row) for row in session.execute(select(*columns).where(among(session, PaperSourceRow.id, part))).tuples()]
    return found


def keys_of_rows(session: Session, ids: Iterable[int]) -> set[int]:
    """The stored keys of these rows."""
    listed = sorted(ids)
    return set(session.scalars(select(SourceKeyRow.key).where(among(session, SourceKeyRow.source_id, listed)))) if listed else set()


def _with_keys(session: Session, keys: Iterable[int]) -> set[int]:
    return set(session.scalars(select(SourceKeyRow.source_id).where(among(session, SourceKeyRow.key, sorted(keys)))))
