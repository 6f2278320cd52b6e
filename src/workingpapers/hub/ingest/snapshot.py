"""JSON lines: the metadata snapshot of arXiv that Kaggle distributes, and plain lists of papers."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from . import identity
from .categories import only_codes
from .problems import Problems
from .record import Record, Source, Version
from .streams import iter_lines, parse_json
from .text import MAX_ABSTRACT, MAX_NAME, MAX_TITLE, Draft, given_first, shown, unlatex

Reader = Callable[[dict[str, Any], identity.ArxivId, Draft], dict[str, Any]]  # fields of the record


def iter_kaggle(stream: BinaryIO, problems: Problems, *, offset: int = 0, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of a Kaggle-style snapshot; resumes at `offset`, the `resume_at` of the last record that was kept."""
    return _iter(stream, problems, offset, fetched, _kaggle)


def iter_plain(stream: BinaryIO, problems: Problems, *, offset: int = 0, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of JSON lines with id, title, abstract, authors (a list), date, date_kind, categories (a list), source.

    `date_kind` tells whether `date` is the day of the first version (`submitted`) or the day of a list (`listed`).
    """
    return _iter(stream, problems, offset, fetched, _plain)


def _iter(stream: BinaryIO, problems: Problems, offset: int, fetched: dt.datetime | None, read: Reader) -> Iterator[Record]:
    for start, end, line in iter_lines(stream, problems, offset):
        where = f"byte {start:,}"
        line = line.strip()
        try:
            row, warnings = parse_json(line)
        except ValueError as error:
            problems.add(where, f"no JSON ({str(error)[:80]})")
            continue
        if not isinstance(row, dict):
            problems.add(where, f"an object was expected, not {type(row).__name__}")
            continue
        draft = Draft()
        draft.warnings += warnings
        raw_id = row.get("id")
        found = identity.arxiv_id(raw_id) if isinstance(raw_id, str) else None
        if found is None:
            problems.add(where, f"no arXiv id: {shown(raw_id, 60)!r}")
            continue
        fields = read(row, found, draft)
        if not fields["title"]:
            problems.add(where, f"no title ({found.id})")
            continue
        yield Record(
            **fields,
            source_key=found.id,
            arxiv_id=found.id,
            fetched=fetched,
            warnings=tuple(draft.warnings),
            payload=line,
            payload_hash=hashlib.sha256(line).hexdigest(),
            resume_at=end,
        )


def _kaggle(row: dict[str, Any], found: identity.ArxivId, draft: Draft) -> dict[str, Any]:
    versions = tuple(filter(None, (_version(v, draft) for v in draft.items(row.get("versions"), "versions"))))
    categories = only_codes(draft.text(row.get("categories"), "categories").split())
    authors = _kaggle_authors(row, draft)
    revised = draft.day(row.get("update_date"), "update_date")
    return {
        "source": "kaggle",
        "title": draft.text(row.get("title"), "title", MAX_TITLE),
        "abstract": draft.text(row.get("abstract"), "abstract", MAX_ABSTRACT),
        "authors": authors,
        "author_count": len(authors) or None,
        "doi": identity.doi(draft.text(row.get("doi"), "doi")),
        "journal_ref": draft.optional(row.get("journal-ref"), "journal-ref"),
        "comment": draft.optional(row.get("comments"), "comments"),
        "licence": draft.optional(row.get("license"), "license"),
        "published": versions[0].date if versions else None,
        "updated": versions[-1].date if versions else revised,
        "categories": categories,
        "primary_category": categories[0] if categories else None,
        "versions": versions,
        "revised": revised,
    }


def _version(value: Any, draft: Draft) -> Version | None:
    row = draft.mapping(value, "version")
    name = row.get("version")
    if not isinstance(name, str) or not re.fullmatch(r"v[1-9][0-9]{0,2}", name):
        draft.warn(f"versions: not a version: {shown(name, 20)}")
        return None
    return Version(int(name[1:]), draft.day(row.get("created"), "version date"))


def _kaggle_authors(row: dict[str, Any], draft: Draft) -> tuple[str, ...]:
    """Names from `authors_parsed` (last, first, suffix, affiliations); from the one string `authors` where that is missing."""
    names = []
    for parts in draft.items(row.get("authors_parsed"), "authors_parsed"):
        words = [draft.text(part, "author", MAX_NAME) for part in draft.items(parts, "author")[:3]]
        names.append(given_first(*words) if words else "")
    if not any(names):
        text = re.sub(r"\([^()]*\)", "", draft.text(row.get("authors"), "authors", 100_000))
        names = re.split(r",\s+and\s+|,\s*|\s+and\s+", text)
    return tuple(unlatex(name.strip()) for name in names if name.strip())


_PLAIN_SOURCES: dict[Any, Source] = {"arxiv-api": "arxiv", "arxiv-oai-dc": "oai"}


def _plain(row: dict[str, Any], found: identity.ArxivId, draft: Draft) -> dict[str, Any]:
    origin = row.get("source")
    source = _PLAIN_SOURCES.get(origin) if isinstance(origin, str) else None
    if source is None:
        draft.warn(f"source: taken as typed by hand, since it is not one of {', '.join(_PLAIN_SOURCES)}: {shown(origin)}")
    day = draft.day(row.get("date"), "date")
    kind = row.get("date_kind")
    if kind not in ("submitted", "listed"):
        draft.warn(f"date_kind: neither submitted nor listed: {shown(kind)}")
    authors = tuple(unlatex(name) for name in draft.texts(row.get("authors"), "authors"))
    categories = only_codes(draft.items(row.get("categories"), "categories"))
    return {
        "source": source or "manual",
        "title": draft.text(row.get("title"), "title", MAX_TITLE),
        "abstract": draft.text(row.get("abstract"), "abstract", MAX_ABSTRACT),
        "authors": authors,
        "author_count": len(authors) or None,
        "doi": identity.doi(draft.text(row.get("doi"), "doi")) if row.get("doi") else None,
        "published": day if kind == "submitted" else None,
        "listed": day if kind == "listed" else None,
        "updated": draft.day(row.get("updated"), "updated"),
        "categories": categories,
        "primary_category": categories[0] if source == "arxiv" and categories else None,
    }
