"""A Daily Papers page saved as text: title, abstract and footer of each paper, parted by blank lines.

The page names no ids, and its mathematics has lost its backslashes: any other source's abstract replaces these.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from . import identity
from .problems import Problems, SourceError
from .record import Record, Signal
from .text import MAX_ABSTRACT, MAX_TITLE, Draft, clean

MAX_LINE = 1 << 17
MAX_PAGE = 16 << 20
MAX_BLOCK = 200  # lines

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = rf"(?P<month>{'|'.join(_MONTH_NAMES)})[a-z]*\.?\s+(?P<day>[0-9]{{1,2}})(?:,\s*(?P<year>[0-9]{{4}}))?"
_DAY_LINE = re.compile(_DAY, re.IGNORECASE)
_DATE_LINE = re.compile(rf"{_DAY}(?:\s+(?P<comments>[0-9]{{1,6}}))?", re.IGNORECASE)
_COUNT_LINE = re.compile(r"(?:[-*+•◦‣▪·]\s*)?(?P<count>[0-9]{1,6})\s+authors?", re.IGNORECASE)
_ONE_LINE = re.compile(rf"{_COUNT_LINE.pattern}\s*[·•∙⋅]", re.IGNORECASE)
_DOTS = frozenset("·•∙⋅")


@dataclass(frozen=True)
class _Day:
    """A day as the page writes it: the year may be missing."""

    month: int
    day: int
    year: int | None


@dataclass
class _Entry:
    """A paper as it stands on the page."""

    line: int
    title: str
    abstract: list[str] = field(default_factory=list)
    authors: int | None = None
    published: _Day | None = None
    comments: int | None = None
    listed: _Day | None = None
    footer: bool = False


def iter_page(
    stream: BinaryIO, problems: Problems, *, saved_on: dt.date | None = None, fetched: dt.datetime | None = None
) -> Iterator[Record]:
    """Records of a saved page.

    Dates without a year belong to the year of `saved_on`; without it, to the newest year named on the page plus one, and
    every record says so. The whole page is read first (at most 16 MiB), since that year may stand on its last line.

    Raises:
        SourceError: no day line such as `Mar 3`, without which the site's own lines cannot be told from the first title.
    """
    entries = list(_entries(_blocks(stream, problems), problems))
    named = [d.year for e in entries for d in (e.published, e.listed) if d and d.year]
    year = saved_on.year if saved_on else max(named) + 1 if named else None
    for entry in entries:
        yield _record(entry, year, saved_on, fetched)


def _blocks(stream: BinaryIO, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """`(line number, lines)` of what stands between blank lines; a day line is a block of its own."""
    number, size, block, first = 0, 0, list[str](), 0
    for raw in iter(lambda: stream.readline(MAX_LINE), b""):
        number += 1
        size += len(raw)
        if size > MAX_PAGE:
            raise SourceError(f"more than {MAX_PAGE:,} bytes: a saved page is far smaller")
        line = clean(raw.decode("utf-8", errors="replace"))
        if line and not _DAY_LINE.fullmatch(line):
            first = first or number
            if len(block) < MAX_BLOCK:
                block.append(line)
            continue
        if line and block and (_is_footer(block) or line[-1:] in _DOTS or block[-1] in _DOTS or _COUNT_LINE.fullmatch(block[-1])):
            block.append(line)  # the date of a footer, not a day line
            continue
        if block:
            yield first, block
            block, first = [], 0
        if line:
            yield number, [line]
    if block:
        yield first, block


def _is_footer(block: list[str]) -> bool:
    return _COUNT_LINE.fullmatch(block[0]) is not None or _ONE_LINE.match(block[0]) is not None


def _entries(blocks: Iterator[tuple[int, list[str]]], problems: Problems) -> Iterator[_Entry]:
    listed: _Day | None = None
    entry: _Entry | None = None
    footer: list[str] = []
    for line, block in blocks:
        text = " ".join(block)
        if footer or _is_footer(block):
            footer += block
            if entry is not None and _close(entry, footer):
                yield from _whole(entry, problems)
                entry, footer = None, []
                continue
            if len(" ".join(footer)) < 60 and (block[-1] in _DOTS or _COUNT_LINE.fullmatch(text)):
                continue  # a footer torn apart by blank lines: its next part follows
            problems.add(f"line {line}", f"a footer that cannot be read: {' '.join(footer)[:60]!r}")
            footer = []
            continue
        day = _DAY_LINE.fullmatch(text)
        if day is not None:
            if entry is not None:
                yield from _whole(entry, problems)
                entry = None
            listed = _day(day)
        elif listed is None:
            continue  # the site's own lines above the first day
        elif entry is None:
            entry = _Entry(line, text, listed=listed)
        elif entry.abstract and _like_title(text):
            yield from _whole(entry, problems)  # no footer: the next block is the next title
            entry = _Entry(line, text, listed=listed)
        else:
            entry.abstract.append(text)
    if listed is None:
        raise SourceError("no day line such as `Mar 3`: is this a Daily Papers page saved as text?")
    if entry is not None:
        yield from _whole(entry, problems)


def _like_title(text: str) -> bool:
    """Whether a block behind an abstract is a title rather than one more paragraph."""
    return len(text) <= 300 and text[-1] not in ".,;"


def _whole(entry: _Entry, problems: Problems) -> Iterator[_Entry]:
    """The entry, unless it is a stray line of the site: a title alone."""
    if entry.abstract or entry.footer:
        yield entry
    else:
        problems.add(f"line {entry.line}", f"a line without abstract and footer: {entry.title[:60]!r}")


def _close(entry: _Entry, footer: list[str]) -> bool:
    """Read the footer into the entry: authors, a dot, a date and perhaps a number of comments."""
    text = " ".join(footer)
    match = re.fullmatch(rf"{_COUNT_LINE.pattern}\s*[·•∙⋅]\s*{_DATE_LINE.pattern}", text, re.IGNORECASE)
    if match is None:
        return False
    entry.footer = True
    entry.authors = int(match["count"]) or None
    entry.published = _day(match)
    entry.comments = int(match["comments"]) if match["comments"] else None
    return True


def _day(match: re.Match[str]) -> _Day:
    return _Day(_MONTH_NAMES.index(match["month"].lower()) + 1, int(match["day"]), int(match["year"]) if match["year"] else None)


def _record(entry: _Entry, year: int | None, saved_on: dt.date | None, fetched: dt.datetime | None) -> Record:
    draft = Draft()
    guessed = any(d and d.year is None for d in (entry.published, entry.listed)) and saved_on is None
    if guessed:
        taken = f"taken as {year}" if year else "left out"
        draft.warn(f"dates without a year were {taken}; give --saved-on")
    if not entry.footer:
        draft.warn("no footer: authors, date and comments unknown")
    published, listed = (_resolve(day, year, saved_on, draft) for day in (entry.published, entry.listed))
    title = draft.text(entry.title, "title", MAX_TITLE)
    abstract = draft.text(" ".join(entry.abstract), "abstract", MAX_ABSTRACT)
    payload = "\n\n".join([entry.title, *entry.abstract, repr((entry.authors, entry.published, entry.comments, entry.listed))]).encode()
    identity_text = f"{identity.title_key(title)}|{published}|{entry.authors}"
    return Record(
        source="page",
        source_key=hashlib.sha256(identity_text.encode()).hexdigest()[:24],
        title=title,
        abstract=abstract,
        author_count=entry.authors,
        published=published,
        listed=listed,
        signals=(Signal("comments", entry.comments),) if entry.comments is not None else (),
        fetched=fetched,
        warnings=tuple(draft.warnings),
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )


def _resolve(day: _Day | None, year: int | None, saved_on: dt.date | None, draft: Draft) -> dt.date | None:
    if day is None or (day.year is None and year is None):
        return None
    try:
        found = dt.date(day.year or year or 0, day.month, day.day)
    except ValueError:
        draft.warn(f"{day.year or year}-{day.month}-{day.day} does not exist")
        return None
    if saved_on is not None and found > saved_on:
        draft.warn(f"{found} lies behind the day of saving, {saved_on}")
    return found
