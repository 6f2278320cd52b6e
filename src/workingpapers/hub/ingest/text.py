"""Cleaning of what strangers wrote: text, names, dates, links."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from .record import Link, LinkKind

MAX_TITLE = 2_000
MAX_ABSTRACT = 50_000
MAX_TEXT = 4_000
MAX_NAME = 200
MAX_ITEMS = 10_000  # authors, categories, links of one paper

# Whole ranges that have no place in a line of text: controls, bidirectional overrides, byte order marks, surrogates.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]+")


def clean(text: str) -> str:
    """One line of text: single spaces, no control characters, no lone surrogates.

    >>> clean("  Two\\n\\tlines\\x00 ")
    'Two lines'
    """
    if text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join(_UNWANTED.sub("", text).split())


class Draft:
    """Takes fields of unknown type and shape; whatever is wrong becomes a warning on the record rather than an error.

    >>> draft = Draft()
    >>> draft.text({"no": "text"}, "title"), draft.warnings
    ('', ['title: a text was expected, not dict'])
    """

    __slots__ = ("warnings",)

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        """Note what is wrong with the record; a record keeps the first twenty notes."""
        if len(self.warnings) < 20:
            self.warnings.append(message)

    def text(self, value: Any, name: str, limit: int = MAX_TEXT) -> str:
        """Cleaned text; empty when there is none or it is no text; cut at `limit` characters."""
        if not isinstance(value, str):
            if value is not None:
                self.warn(f"{name}: a text was expected, not {type(value).__name__}")
            return ""
        text = clean(value)
        if len(text) > limit:
            self.warn(f"{name}: cut to {limit:,} characters")
            text = text[:limit].rstrip()
        return text

    def optional(self, value: Any, name: str) -> str | None:
        """Cleaned text, or None."""
        return self.text(value, name) or None

    def texts(self, value: Any, name: str, limit: int = MAX_NAME) -> tuple[str, ...]:
        """Cleaned texts of a list, without empty ones."""
        return tuple([text for item in self.items(value, name) if (text := self.text(item, name, limit))])

    def items(self, value: Any, name: str) -> list[Any]:
        """The list itself, cut at 10,000 items; empty when there is none or it is no list."""
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.warn(f"{name}: a list was expected, not {type(value).__name__}")
            return []
        if len(value) > MAX_ITEMS:
            self.warn(f"{name}: cut to {MAX_ITEMS:,} items")
        return list(value[:MAX_ITEMS])

    def mapping(self, value: Any, name: str) -> dict[str, Any]:
        """The mapping itself; empty when there is none or it is no mapping."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.warn(f"{name}: an object was expected, not {type(value).__name__}")
            return {}
        return value

    def count(self, value: Any, name: str) -> int | None:
        """A whole number from 0 to a thousand million, or None."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000_000:
            self.warn(f"{name}: not a count: {shown(value)}")
            return None
        return value

    def day(self, value: Any, name: str) -> dt.date | None:
        """A day from ISO or RFC 822 text, in UTC; None when there is none or it cannot be one."""
        if value is None or value == "":
            return None
        if isinstance(value, str):
            found = parse_day(value)
            if found is not None:
                return found
        self.warn(f"{name}: not a date: {shown(value)}")
        return None

    def link(self, kind: LinkKind, value: Any, title: str = "", official: bool | None = None) -> tuple[Link, ...]:
        """The link as a tuple of one, empty when there is none or it is not a plain http(s) address."""
        url = self.text(value, f"{kind} link", 2_000)
        if not url:
            return ()
        if not is_web_address(url):
            self.warn(f"{kind} link: not an http(s) address: {url[:60]}")
            return ()
        return (Link(kind, url, title, official),)


def shown(value: Any, limit: int = 40) -> str:
    """The beginning of a value for a message; the type of anything that could be large or deep.

    >>> shown("x" * 100, 3), shown([[[]]]), shown(None)
    ('xxx', 'list', 'None')
    """
    return str(value)[:limit] if value is None or isinstance(value, str | int | float) else type(value).__name__


def is_web_address(url: str) -> bool:
    """Whether it is an absolute http(s) address with a host and without blanks or credentials.

    >>> is_web_address("https://example.org/x"), is_web_address("javascript:alert(1)"), is_web_address("https://a@b/")
    (True, False, False)
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and not re.search(r'[\s<>"\\]', url)


def parse_day(text: str) -> dt.date | None:
    """The UTC day of an ISO date, an ISO time or an RFC 822 time; None for anything else or outside 1900-2100.

    >>> parse_day("2026-03-03T23:59:00-05:00"), parse_day("Mon, 2 Apr 2007 19:18:42 GMT"), parse_day("2026-02-30")
    (datetime.date(2026, 3, 4), datetime.date(2007, 4, 2), None)
    """
    text = text.strip()[:64]
    day: dt.date
    try:
        if len(text) == 10:
            day = dt.date.fromisoformat(text)
        elif text[:4].isdigit():
            time = dt.datetime.fromisoformat(text)
            day = (time.astimezone(dt.UTC) if time.tzinfo else time).date()
        else:
            time = email.utils.parsedate_to_datetime(text)
            day = (time.astimezone(dt.UTC) if time.tzinfo else time).date()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return day if 1900 <= day.year <= 2100 else None


def given_first(last: str, first: str = "", suffix: str = "") -> str:
    """A name in reading order.

    >>> given_first("Lovelace", "Ada"), given_first("King", "Martin", "Jr.")
    ('Ada Lovelace', 'Martin King Jr.')
    """
    return " ".join(part for part in (first.strip(), last.strip(), suffix.strip()) if part)


def unlatex(text: str) -> str:
    """Text with LaTeX accents and braces turned into Unicode; as it was when it cannot be read.

    >>> unlatex(r'Ernst M{\\"u}cke')
    'Ernst Mücke'
    """
    if "\\" not in text and "{" not in text:
        return text
    from pylatexenc.latex2text import LatexNodes2Text  # 60 ms to import, needed by few records

    if len(text) > MAX_NAME or text.count("{") > 40:
        return text
    try:
        return clean(str(LatexNodes2Text(math_mode="verbatim", keep_comments=True).latex_to_text(text)))
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError):
        return text


def unique(items: Iterable[Any]) -> tuple[Any, ...]:
    """Items in their order, each once."""
    return tuple(dict.fromkeys(items))
