"""Lists as Atom, RSS 2.0 and JSON Feed, by a small writer of our own.

    return syndicate(request, site, rows, "atom", title="Search: coreset", path="/search?q=coreset")

Entries keep their id for good, and `updated` moves only when a paper's facts do. A repeated request costs a 304.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape, quoteattr

from fastapi import Request
from fastapi.responses import Response

from ..markup import plain_text
from ..site import Site
from ..tables import PaperRow
from .finding import address

Format = Literal["atom", "rss", "json"]
FORMATS: tuple[Format, ...] = ("atom", "rss", "json")
TYPES: dict[Format, str] = {"atom": "application/atom+xml", "rss": "application/rss+xml", "json": "application/feed+json"}
MAX_ENTRIES = 50
NOON = dt.time(12, tzinfo=dt.UTC)
NEVER = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Entry:
    """One paper of a feed."""

    id: str
    title: str
    url: str
    text: str
    authors: Sequence[str]
    categories: Sequence[str]
    published: dt.datetime
    updated: dt.datetime


@dataclass(frozen=True)
class Feed:
    """A list ready to be written. `url` is its page, `own` its own address."""

    id: str
    title: str
    url: str
    own: str
    entries: Sequence[Entry]

    @property
    def updated(self) -> dt.datetime:
        return max((e.updated for e in self.entries), default=NEVER)


def syndicate(request: Request, site: Site, rows: Iterable[PaperRow], format: str, *, title: str, path: str) -> Response:
    """The list as a feed, or 304 when the reader has it already.

    Args:
        rows: papers in the list's order; the first 50 are told.
        format: `atom`, `rss` or `json`.
        title: what the list is, for people.
        path: the list's page on this site, with its query.
    """
    kind: Format = "rss" if format == "rss" else "json" if format == "json" else "atom"
    base = base_address(request, site)
    entries = [entry_of(row, base) for row in list(rows)[:MAX_ENTRIES]]
    own = f"{base}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
    feed = Feed(f"{tag_authority(base)}:list:{quote(path, safe='/')}", title, base + path, own, entries)
    body = {"atom": to_atom, "rss": to_rss, "json": to_json}[kind](feed).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Last-Modified": email.utils.format_datetime(feed.updated.astimezone(dt.UTC), usegmt=True),
               "Cache-Control": "public, max-age=300"}
    if _has_it(request, etag, feed.updated):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=f"{TYPES[kind]}; charset=utf-8", headers=headers)


def entry_of(row: PaperRow, base: str) -> Entry:
    """A paper as an entry."""
    day = row.listed_on or row.published_on
    published = dt.datetime.combine(day, NOON) if day else row.created_at
    parts = [row.plain_summary or "", plain_text(row.abstract)]
    return Entry(f"{tag_authority(base)}:paper:{quote(row.public_id, safe='')}", plain_text(row.title) or row.public_id,
                 base + address(row), "\n\n".join(filter(None, parts)), row.authors[:100],
                 tuple(dict.fromkeys([*row.categories, *row.tasks])), published, row.changed_at)


def base_address(request: Request, site: Site) -> str:
    """Scheme and host under which the site is known."""
    return (site.settings.base_url or str(request.base_url)).rstrip("/")


def tag_authority(base: str) -> str:
    """The head of permanent ids (RFC 4151).

    >>> tag_authority("https://papers.example.org"), tag_authority("http://127.0.0.1:8400")
    ('tag:papers.example.org,2025', 'tag:workingpapers.localhost,2025')
    """
    host = urlsplit(base).hostname or ""
    is_name = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", host) is not None
    return f"tag:{host if is_name else 'workingpapers.localhost'},2025"


def legal(text: str) -> str:
    """Text without the characters that XML 1.0 forbids.

    >>> legal("a\\x00b\\x1fc"), legal("\\ud800x😀")
    ('abc', 'x😀')
    """
    return _ILLEGAL.sub("", text)


def _element(name: str, text: str, **attributes: str) -> str:
    marks = "".join(f" {key}={quoteattr(legal(value))}" for key, value in attributes.items())
    return f"<{name}{marks}>{escape(legal(text))}</{name}>" if text else f"<{name}{marks}/>"


def to_atom(feed: Feed) -> str:
    """RFC 4287."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<feed xmlns="http://www.w3.org/2005/Atom">', _element("id", feed.id),
             _element("title", feed.title), _element("updated", _iso(feed.updated)),
             _element("link", "", rel="self", type=TYPES["atom"], href=feed.own),
             _element("link", "", rel="alternate", type="text/html", href=feed.url), _element("generator", "Working Papers"),
             "<author><name>Working Papers</name></author>"]
    for e in feed.entries:
        lines += ["<entry>", _element("id", e.id), _element("title", e.title), _element("updated", _iso(e.updated)),
                  _element("published", _iso(e.published)), _element("link", "", rel="alternate", type="text/html", href=e.url),
                  *(f"<author>{_element('name', name)}</author>" for name in e.authors if legal(name).strip()),
                  *(_element("category", "", term=c) for c in e.categories),
                  _element("summary", e.text or e.title, type="text"), "</entry>"]
    return "\n".join([*lines, "</feed>", ""])


def to_rss(feed: Feed) -> str:
    """RSS 2.0; descriptions are HTML there, so the text is escaped once more."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>',
             '<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" xmlns:dc="http://purl.org/dc/elements/1.1/">', "<channel>",
             _element("title", feed.title), _element("link", feed.url), _element("description", feed.title),
             _element("lastBuildDate", email.utils.format_datetime(feed.updated)),
             _element("atom:link", "", rel="self", type=TYPES["rss"], href=feed.own)]
    for e in feed.entries:
        lines += ["<item>", _element("title", e.title), _element("link", e.url), _element("guid", e.id, isPermaLink="false"),
                  _element("pubDate", email.utils.format_datetime(e.published)),
                  *(_element("dc:creator", name) for name in e.authors if legal(name).strip()),
                  *(_element("category", c) for c in e.categories), _element("description", escape(e.text or e.title)), "</item>"]
    return "\n".join([*lines, "</channel>", "</rss>", ""])


def to_json(feed: Feed) -> str:
    """JSON Feed 1.1."""
    items: list[dict[str, Any]] = [
        {"id": e.id, "url": e.url, "title": e.title, "content_text": e.text or e.title, "date_published": _iso(e.published),
         "date_modified": _iso(e.updated), "authors": [{"name": name} for name in e.authors], "tags": list(e.categories)}
        for e in feed.entries]
    document = {"version": "https://jsonfeed.org/version/1.1", "title": feed.title, "home_page_url": feed.url, "feed_url": feed.own,
                "items": items}
    return json.dumps(document, ensure_ascii=False, indent=1)


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_it(request: Request, etag: str, updated: dt.datetime) -> bool:
    """Whether the reader's copy is this one: by its tag, or, where it sends none, by its date."""
    sent = request.headers.get("if-none-match")
    if sent is not None:
        return etag in set(_tags(sent)) or sent.strip() == "*"
    since = request.headers.get("if-modified-since")
    if not since:
        return False
    try:
        moment = email.utils.parsedate_to_datetime(since)
    except ValueError:
        return False
    return updated.replace(microsecond=0) <= (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC))


def _tags(header: str) -> Iterator[str]:
    for tag in header.split(","):
        yield tag.strip().removeprefix("W/")
