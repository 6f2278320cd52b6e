"""One paper from all that its sources say: a pure function of the set of records."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import identity
from .record import PRECEDENCE, Link, Record, Result, Source, Version
from .text import unique


@dataclass(frozen=True, slots=True)
class Paper:
    """The fields of a paper's row and of the rows below it.

    `public_id`: the arXiv id, or `doi:...`, or `wp:<slug>`; a paper with none of these gets `wp:` and words of its title.
    `author_count` may exceed the list, or stand without one. `versions`, `links` and `signals` name their source.
    """

    public_id: str
    title: str
    title_key: str
    arxiv_id: str | None
    doi: str | None
    slug: str | None
    abstract: str
    abstract_source: Source | None
    authors: tuple[str, ...]
    author_count: int | None
    first_author_key: str
    published_on: dt.date | None
    updated_on: dt.date | None
    listed_on: dt.date | None
    categories: tuple[str, ...]
    primary_category: str | None
    licence: str | None
    comment: str | None
    journal_ref: str | None
    venue: str | None
    plain_summary: str | None
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    tags: tuple[str, ...]
    versions: tuple[tuple[Source, Version], ...]
    links: tuple[tuple[Source, Link], ...]
    signals: tuple[tuple[Source, str, int], ...]
    results: tuple[Result, ...]
    deleted: bool
    sources: tuple[tuple[Source, str, str], ...]

    def apart(self) -> Paper:
        """The same paper under an id that no other paper of this title has."""
        mark = hashlib.sha256(repr(self.sources[0][:2]).encode()).hexdigest()[:6]
        return dataclasses.replace(self, public_id=f"{self.public_id}-{mark}")


def _age(record: Record) -> tuple[Any, ...]:
    """Orders the states of one row of one source, oldest first; the hash decides between states of one age."""
    return (
        record.revised or record.updated or dt.date.min,
        record.version,
        record.fetched.timestamp() if record.fetched else 0.0,
        record.payload_hash,
    )


def _newer(a: Record, b: Record) -> bool:
    ages = _age(a), _age(b)
    return ages[0] > ages[1] or (ages[0] == ages[1] and a != b and repr(a) > repr(b))


def newest_rows(records: Iterable[Record]) -> list[Record]:
    """The newest state of each `(source, source_key)`; what a store keeps."""
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        held = newest.get(record.key)
        if held is None or _newer(record, held):
            newest[record.key] = record
    return list(newest.values())


def _trust(record: Record) -> tuple[Any, ...]:
    """Orders records by precedence, most trusted first; within a source the newest state comes first."""
    age = _age(record)
    return PRECEDENCE[record.source], -age[0].toordinal(), -age[1], -age[2], record.source_key


def merge(records: Iterable[Record]) -> Paper | None:
    """The paper that records of one paper make together; None when none of them has a title.

    Each field comes from the most trusted source that has it; a complete author list is never replaced by a cut one or by a
    count; links, signals, versions and results of all sources are kept. Order and repeats do not matter.
    """
    rows = list(records)
    if len(rows) > 1:  # most papers have one record
        rows = sorted(newest_rows(rows), key=_trust)
    title = next((r.title for r in rows if r.title), "")
    if not title:
        return None
    arxiv_id, doi, slug = (_first(rows, name) for name in ("arxiv_id", "doi", "slug"))
    authors, author_count = _authors(rows)
    abstract = next((r for r in rows if r.abstract), None)
    categories, primary = _categories(rows)
    key = identity.title_key(title)
    return Paper(
        public_id=arxiv_id or (f"doi:{doi}" if doi else f"wp:{slug}" if slug else _made_id(title, key)),
        title=title,
        title_key=key,
        arxiv_id=arxiv_id,
        doi=doi,
        slug=slug,
        abstract=abstract.abstract if abstract else "",
        abstract_source=abstract.source if abstract else None,
        authors=authors,
        author_count=author_count,
        first_author_key=identity.first_author_key(authors),
        published_on=_first(rows, "published") or _first(rows, "around"),
        updated_on=_first(rows, "updated"),
        listed_on=_first(rows, "listed"),
        categories=categories,
        primary_category=primary,
        licence=_first(rows, "licence"),
        comment=_first(rows, "comment"),
        journal_ref=_first(rows, "journal_ref"),
        venue=_first(rows, "venue"),
        plain_summary=_first(rows, "plain_summary"),
        tasks=_every(rows, "tasks"),
        methods=_every(rows, "methods"),
        tags=_every(rows, "tags"),
        versions=_versions(rows),
        links=_links(rows),
        signals=_signals(rows),
        results=_every(rows, "results"),
        deleted=any(r.deleted for r in rows),
        sources=tuple(sorted((r.source, r.source_key, r.payload_hash) for r in rows)),
    )


def _first(rows: list[Record], name: str) -> Any:
    for row in rows:
        value = getattr(row, name)
        if value:
            return value
    return None


def _every(rows: list[Record], name: str) -> tuple[Any, ...]:
    """What any row lists, each once."""
    found: list[Any] = []
    for row in rows:
        found += getattr(row, name)
    return unique(found) if found else ()


def _authors(rows: list[Record]) -> tuple[tuple[str, ...], int | None]:
    """The first whole list, else the longest cut one; the count by precedence, but never below the list."""
    authors = next((r.authors for r in rows if r.authors and r.author_count is not None and r.author_count <= len(r.authors)), ())
    if not authors:
        authors = max((r.authors for r in rows), key=len, default=())
    count = next((r.author_count for r in rows if r.author_count), None)
    return authors, max(count, len(authors)) if count else None


def _categories(rows: list[Record]) -> tuple[tuple[str, ...], str | None]:
    categories: tuple[str, ...] = _first(rows, "categories") or ()
    primary: str | None = _first(rows, "primary_category")
    return (unique((primary, *categories)) if primary else categories), primary


def _versions(rows: list[Record]) -> tuple[tuple[Source, Version], ...]:
    """One entry a version number, each of its fields from the most trusted row that has it."""
    found: dict[int, tuple[Source, Version]] = {}
    for row in rows:
        for new in row.versions:
            source, old = found.get(new.number, (row.source, new))
            merged = Version(new.number, old.date or new.date, old.title or new.title, old.abstract or new.abstract)
            found[new.number] = (source, merged)
    return tuple(found[number] for number in sorted(found))


def _links(rows: list[Record]) -> tuple[tuple[Source, Link], ...]:
    """One entry a kind and address; official when any source says so."""
    found: dict[tuple[str, str], tuple[Source, Link]] = {}
    for row in rows:
        for link in row.links:
            source, old = found.get((link.kind, link.url), (row.source, link))
            official = True if old.official or link.official else old.official if old.official is not None else link.official
            found[link.kind, link.url] = (source, Link(link.kind, link.url, old.title or link.title, official))
    return tuple(found[key] for key in sorted(found))


def _signals(rows: list[Record]) -> tuple[tuple[Source, str, int], ...]:
    """The newest count of each name from each source."""
    found: dict[tuple[Source, str], int] = {}
    for row in rows:
        for signal in row.signals:
            found.setdefault((row.source, signal.name), signal.value)
    return tuple((source, name, value) for (source, name), value in sorted(found.items()))


def _made_id(title: str, key: str) -> str:
    """An id for a paper that has none, from its title alone, so that it stays when more becomes known."""
    words = re.findall(r"[a-z0-9]+", title.lower())[:6]
    return f"wp:{'-'.join(words)[:60] or 'paper'}-{hashlib.sha256((key or title).encode()).hexdigest()[:8]}"
