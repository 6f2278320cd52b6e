"""BibTeX files, an entry at a time: one broken entry harms no other and memory stays flat."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from . import identity
from .categories import only_codes
from .problems import Problems
from .record import Record
from .streams import iter_lines
from .text import MAX_ABSTRACT, MAX_NAME, MAX_TITLE, Draft, given_first, unlatex

MAX_ENTRY = 1 << 18
MAX_STRINGS = 2_000
_START = re.compile(rb"\s*@\s*([A-Za-z]+)\s*[{(]")


def iter_bibtex(stream: BinaryIO, problems: Problems, *, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of a BibTeX file. `@string` abbreviations hold for the entries behind them.

    Titles keep their LaTeX without the braces that only protect case; names are turned into Unicode.
    A list that ends in `and others` has no author count.
    """
    reader = _Reader(problems)
    for where, kind, raw in _entries(stream, problems):
        record = reader.read(where, kind, raw)
        if record is not None:
            yield replace(record, fetched=fetched)


def _entries(stream: BinaryIO, problems: Problems) -> Iterator[tuple[str, str, bytes]]:
    """`(where, kind, bytes)` of what starts with `@kind{` at the beginning of a line."""
    where, kind, size = "", "", 0
    lines: list[bytes] = []

    def finished() -> Iterator[tuple[str, str, bytes]]:
        if size > MAX_ENTRY:
            problems.add(where, f"an entry of more than {MAX_ENTRY:,} bytes")
        elif lines and kind not in ("comment", "preamble"):
            yield where, kind, b"".join(lines)

    for start, _, line in iter_lines(stream, problems):
        match = _START.match(line)
        if match is not None:
            yield from finished()
            where, kind, lines, size = f"byte {start:,}", match[1].decode().lower(), [], 0
        elif not kind:
            continue  # free text before the first entry is a comment in BibTeX
        size += len(line)
        if size <= MAX_ENTRY:
            lines.append(line)
    yield from finished()


@dataclass
class _Reader:
    problems: Problems
    strings: dict[str, str] = field(default_factory=dict)

    def read(self, where: str, kind: str, raw: bytes) -> Record | None:
        from bibtexparser.entrypoint import parse_string

        logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)  # what it would say is said by `problems`
        draft = Draft()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("utf-8", errors="replace")
            draft.warn("invalid UTF-8 was replaced")
        if text.count("{") > 5_000:
            self.problems.add(where, "more than 5,000 braces in one entry")
            return None
        try:
            library = parse_string(text, append_middleware=[])
        except Exception as error:  # a parser of free text: whatever it trips over is this entry's fault
            self.problems.add(where, f"cannot be read as BibTeX ({type(error).__name__}: {str(error)[:80]})")
            return None
        if kind == "string":
            for string in library.strings[:1]:
                if len(self.strings) < MAX_STRINGS and isinstance(string.value, str):
                    self.strings[string.key.lower()] = string.value[:MAX_TITLE]
            return None
        if len(library.entries) != 1:
            self.problems.add(where, "cannot be read as one BibTeX entry: look for a missing brace, quote or comma")
            return None
        entry = library.entries[0]
        values = {f.key.lower(): self._value(f.value) for f in entry.fields}
        record = _record(values, draft, raw.strip())
        if record is None:
            self.problems.add(where, f"no title ({str(entry.key)[:60]})")
        return record

    def _value(self, value: Any) -> str:
        """A field's text; a bare word that is a known abbreviation stands for its text."""
        text = str(value).strip()
        return self.strings.get(text.lower(), text)


_MONTHS = {name: i for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}


def _record(values: dict[str, str], draft: Draft, payload: bytes) -> Record | None:
    title = _without_braces(draft.text(values.get("title"), "title", MAX_TITLE))
    if not title:
        return None
    found = _arxiv(values)
    doi = identity.doi(values.get("doi", "")) or identity.doi(values.get("url", ""))
    authors, complete = _authors(draft.text(values.get("author"), "author", 200_000))
    day, exact = _date(values, draft)
    year = str(day.year) if day else ""
    first = identity.first_author_key(authors)
    digest = hashlib.sha256(f"{identity.title_key(title)}|{first}|{year}".encode()).hexdigest()[:24]
    links = draft.link("pdf", values["pdf"]) if values.get("pdf", "").startswith("http") else ()
    journal = draft.text(values.get("journal"), "journal")
    return Record(
        source="bibtex",
        source_key=found.id if found else f"doi:{doi}" if doi else digest,  # citation keys repeat between files
        title=title,
        arxiv_id=found.id if found else None,
        doi=doi,
        abstract=draft.text(values.get("abstract"), "abstract", MAX_ABSTRACT),
        authors=authors,
        author_count=len(authors) or None if complete else None,
        published=day if exact else None,
        around=None if exact else day,
        categories=only_codes([values.get("primaryclass")]),
        journal_ref=_journal_ref(values, journal, year) if found is None or "arxiv" not in journal.lower() else None,
        venue=draft.optional(values.get("booktitle"), "booktitle"),
        comment=draft.optional(values.get("note"), "note"),
        links=links,
        warnings=tuple(draft.warnings),
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )


def _arxiv(values: dict[str, str]) -> identity.ArxivId | None:
    """The id in `eprint`, the arXiv DOI or address, or the `journal = {arXiv preprint arXiv:...}` of many tools."""
    if values.get("archiveprefix", values.get("eprinttype", "arxiv")).lower() == "arxiv":
        found = identity.arxiv_id(values.get("eprint", ""))
        if found is not None:
            return found
    for name in ("doi", "url"):
        found = identity.arxiv_id(values.get(name, "")) if "arxiv" in values.get(name, "").lower() else None
        if found is not None:
            return found
    match = re.search(r"arXiv:\s*([a-z.-]+/[0-9]{7}|[0-9]{4}\.[0-9]{4,5})", values.get("journal", "")[:300], re.IGNORECASE)
    return identity.arxiv_id(match[1]) if match else None


def _authors(text: str) -> tuple[tuple[str, ...], bool]:
    """Names in reading order, and whether the list is whole."""
    from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names

    names: list[str] = []
    try:
        people = split_multiple_persons_names(text) if text else []
    except (ValueError, IndexError):
        people = re.split(r"\s+and\s+", text)
    complete = True
    for person in people[:10_000]:
        if person.strip().lower() == "others":
            complete = False
            continue
        if person.startswith("{") and person.endswith("}"):
            names.append(_without_braces(person))  # a corporate name
            continue
        try:
            parts = parse_single_name_into_parts(person, strict=False)
            name = given_first(" ".join(parts.von + parts.last), " ".join(parts.first), " ".join(parts.jr))
        except (ValueError, IndexError, RecursionError):
            name = person
        names.append(unlatex(name)[:MAX_NAME])
    return tuple(filter(None, names)), complete


def _date(values: dict[str, str], draft: Draft) -> tuple[dt.date | None, bool]:
    """Day of publication as far as it is told, missing parts being 1; and whether none is missing."""
    match = re.fullmatch(r"([0-9]{4})(?:-([0-9]{2}))?(?:-([0-9]{2}))?", values.get("date", "").strip())
    if match:
        year, month, day = match[1], match[2] or "1", match[3] or "1"
    else:
        year, month, day = values.get("year", "").strip(), values.get("month", "").strip(), "1"
    if not re.fullmatch(r"[0-9]{4}", year):
        if year:
            draft.warn(f"year: not a year: {year[:20]}")
        return None, False
    number = int(month) if re.fullmatch(r"[0-9]{1,2}", month) else _MONTHS.get(month.lower()[:3], 1)
    try:
        return dt.date(int(year), number, int(day)), bool(match and match[3])
    except ValueError:
        draft.warn(f"date: {year}-{month[:10]}-{day} does not exist")
        return None, False


def _journal_ref(values: dict[str, str], journal: str, year: str) -> str | None:
    if not journal:
        return None
    volume, pages = values.get("volume", "")[:40], values.get("pages", "")[:40].replace("--", "-")
    return ", ".join(part for part in (f"{journal} {volume}".strip(), pages, year) if part)


def _without_braces(text: str) -> str:
    """Without braces that only protect case: all outside mathematics that no command owns."""
    if "{" not in text:
        return text
    parts = re.split(r"(\$[^$]*\$)", text)
    parts[::2] = map(_plain, parts[::2])
    return "".join(parts)


def _plain(text: str) -> str:
    if "\\" not in text:
        return text.replace("{", "").replace("}", "")
    while (shorter := re.sub(r"(?<![\\A-Za-z\"'`^~=.])\{([^{}\\]*)\}", r"\1", text)) != text:
        text = shorter
    return text
