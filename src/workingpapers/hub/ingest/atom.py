"""arXiv's Atom API: answers of `/api/query`."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from . import identity
from .categories import only_codes
from .problems import Problems, SourceError
from .record import Link, Record, Version
from .streams import iter_xml
from .text import MAX_ABSTRACT, MAX_NAME, MAX_TITLE, Draft, unlatex

if TYPE_CHECKING:
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

ATOM = "{http://www.w3.org/2005/Atom}"
ARXIV = "{http://arxiv.org/schemas/atom}"
OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"


@dataclass
class AtomPage:
    """What an answer says of itself: how many records match in all, where this page starts, how many entries it held."""

    total: int | None = None
    start: int | None = None
    entries: int = 0


def iter_atom(
    stream: BinaryIO, problems: Problems, *, page: AtomPage | None = None, fetched: dt.datetime | None = None
) -> Iterator[Record]:
    """Records of an Atom answer; `page` is filled in on the way.

    Raises:
        SourceError: malformed XML, or the API's own error, which comes as an entry titled `Error`.
    """
    page = page or AtomPage()
    for element in iter_xml(stream, (f"{ATOM}entry", f"{OPENSEARCH}totalResults", f"{OPENSEARCH}startIndex")):
        if element.tag == f"{OPENSEARCH}totalResults":
            page.total = _whole(element.text)
        elif element.tag == f"{OPENSEARCH}startIndex":
            page.start = _whole(element.text)
        else:
            page.entries += 1
            record = _entry(element, f"entry {page.entries}", problems, fetched)
            if record is not None:
                yield record


def _entry(entry: etree._Element, where: str, problems: Problems, fetched: dt.datetime | None) -> Record | None:
    draft = Draft()
    address = (entry.findtext(f"{ATOM}id") or "").strip()
    title = draft.text(entry.findtext(f"{ATOM}title"), "title", MAX_TITLE)
    if "/api/errors" in address or (title == "Error" and identity.arxiv_id(address) is None):
        raise SourceError(f"arXiv answers: {draft.text(entry.findtext(f'{ATOM}summary'), 'summary') or 'an error without a message'}")
    found = identity.arxiv_id(address)
    if found is None or not title:
        problems.add(where, f"no arXiv id in {address[:80]!r}" if found is None else "no title")
        return None
    abstract = draft.text(entry.findtext(f"{ATOM}summary"), "abstract", MAX_ABSTRACT)
    published = draft.day(entry.findtext(f"{ATOM}published"), "published")
    updated = draft.day(entry.findtext(f"{ATOM}updated"), "updated")
    names = [draft.text(a.findtext(f"{ATOM}name"), "author", MAX_NAME) for a in entry.iterfind(f"{ATOM}author")]
    authors = tuple(unlatex(name) for name in names if name)
    categories = [c.get("term") for c in entry.iterfind(f"{ATOM}category")][:100]
    primary = entry.find(f"{ARXIV}primary_category")
    main = only_codes([primary.get("term")] if primary is not None else [])
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

    payload = etree.tostring(entry, encoding="utf-8", with_tail=False)
    number = found.version or 1
    versions = [Version(number, updated if number > 1 else published or updated, title, abstract)]
    if number > 1 and published is not None:
        versions.insert(0, Version(1, published))
    return Record(
        source="arxiv",
        source_key=f"{found.id}v{found.version}" if found.version else found.id,
        title=title,
        arxiv_id=found.id,
        doi=identity.doi(entry.findtext(f"{ARXIV}doi") or ""),
        abstract=abstract,
        authors=authors,
        author_count=len(authors) or None,
        published=published,
        updated=updated,
        categories=only_codes((*main, *categories)),
        primary_category=main[0] if main else None,
        comment=draft.optional(entry.findtext(f"{ARXIV}comment"), "comment"),
        journal_ref=draft.optional(entry.findtext(f"{ARXIV}journal_ref"), "journal reference"),
        versions=tuple(versions),
        links=_pdf(entry, draft),
        revised=updated,
        fetched=fetched,
        warnings=tuple(draft.warnings),
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )


def _pdf(entry: etree._Element, draft: Draft) -> tuple[Link, ...]:
    for link in entry.iterfind(f"{ATOM}link"):
        if link.get("title") == "pdf":
            return draft.link("pdf", link.get("href"), official=True)
    return ()


def _whole(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
