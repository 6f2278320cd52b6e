"""arXiv's OAI-PMH: `ListRecords` and `GetRecord` answers in the formats `oai_dc` and `arXiv`."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from . import identity
from .categories import category_code, only_codes
from .problems import Problems, SourceError
from .record import Record
from .streams import iter_xml
from .text import MAX_ABSTRACT, MAX_NAME, MAX_TITLE, Draft, given_first, unique, unlatex

if TYPE_CHECKING:
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

OAI = "{http://www.openarchives.org/OAI/2.0/}"
DC = "{http://purl.org/dc/elements/1.1/}"
OAI_DC = "{http://www.openarchives.org/OAI/2.0/oai_dc/}dc"
ARXIV = "{http://arxiv.org/OAI/arXiv/}"


class TokenExpired(SourceError):
    """The resumption token is no longer good: ask again with `from` = the newest datestamp you hold."""


@dataclass
class OaiPage:
    """What an answer says of itself: the token of the next page, None at the end; how many records in all, where told."""

    token: str | None = None
    total: int | None = None
    records: int = 0


def iter_oai(stream: BinaryIO, problems: Problems, *, page: OaiPage | None = None, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of an OAI-PMH answer, deleted ones included (`deleted`, without title); `page` is filled in on the way.

    Raises:
        TokenExpired: the server no longer knows the resumption token.
        SourceError: malformed XML or another OAI error. "No records match" is no error: there are none.
    """
    page = page or OaiPage()
    for element in iter_xml(stream, (f"{OAI}record", f"{OAI}resumptionToken", f"{OAI}error")):
        if element.tag == f"{OAI}error":
            _refuse(element)
        elif element.tag == f"{OAI}resumptionToken":
            page.token = (element.text or "").strip() or None
            size = element.get("completeListSize", "")
            page.total = int(size) if size.isascii() and size.isdigit() and len(size) < 10 else None
        else:
            page.records += 1
            record = _record(element, f"record {page.records}", problems)
            if record is not None:
                yield replace(record, fetched=fetched) if fetched else record


def _refuse(error: etree._Element) -> None:
    code, message = error.get("code", ""), " ".join((error.text or "").split())[:300]
    if code == "badResumptionToken":
        raise TokenExpired(f"the resumption token is no longer good ({message}); ask again from the newest datestamp held")
    if code != "noRecordsMatch":
        raise SourceError(f"OAI error {code or 'without code'}: {message}")


def _record(element: etree._Element, where: str, problems: Problems) -> Record | None:
    draft = Draft()
    header = element.find(f"{OAI}header")
    identifier = (header.findtext(f"{OAI}identifier") or "").strip() if header is not None else ""
    found = identity.arxiv_id(identifier)
    if header is None or found is None:
        problems.add(where, f"no arXiv identifier in its header: {identifier[:80]!r}")
        return None
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

    payload = etree.tostring(element, encoding="utf-8", with_tail=False)
    frame = Record(
        source="oai",
        source_key=found.id,
        arxiv_id=found.id,
        revised=draft.day(header.findtext(f"{OAI}datestamp"), "datestamp"),
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )
    if header.get("status") == "deleted":
        return replace(frame, deleted=True, warnings=tuple(draft.warnings))
    metadata = element.find(f"{OAI}metadata")
    body = metadata[0] if metadata is not None and len(metadata) else None
    if body is None or body.tag not in (OAI_DC, f"{ARXIV}arXiv"):
        problems.add(where, f"metadata in a format other than oai_dc and arXiv: {body.tag if body is not None else 'none'}")
        return None
    record = _dublin_core(body, frame, draft) if body.tag == OAI_DC else _arxiv(body, frame, draft)
    if not record.title:
        problems.add(where, f"no title ({found.id})")
        return None
    return replace(record, warnings=tuple(draft.warnings))


_COMMENT = re.compile(r"\s*comments?:\s*", re.IGNORECASE)


def _dublin_core(body: etree._Element, frame: Record, draft: Draft) -> Record:
    """`oai_dc`: subject names for codes, `Last, First` creators, one date a version, comments among the descriptions."""

    def values(name: str, limit: int) -> list[str]:
        found = (draft.text(e.text, name, limit) for e in body.iterfind(f"{DC}{name}"))
        return [text for text in found if text]

    descriptions = values("description", MAX_ABSTRACT)
    comments = [d for d in descriptions if _COMMENT.match(d)]
    abstracts = [d for d in descriptions if not _COMMENT.match(d)]
    days = sorted(day for day in (draft.day(text, "date") for text in values("date", 64)) if day)
    authors = tuple(unlatex(_reading_order(name)) for name in values("creator", MAX_NAME))
    identifiers = values("identifier", 2_000)
    dois = [d for d in map(identity.doi, identifiers) if d]
    references = [i for i in identifiers if not i.lower().startswith(("http:", "https:", "doi:", "10.")) and identity.arxiv_id(i) is None]
    return replace(
        frame,
        title=next(iter(values("title", MAX_TITLE)), ""),
        abstract=max(abstracts, key=len, default=""),
        authors=authors,
        author_count=len(authors) or None,
        doi=dois[0] if dois else None,
        journal_ref=references[0] if references else None,
        comment=_COMMENT.sub("", comments[0], count=1) or None if comments else None,
        published=days[0] if days else None,
        updated=days[-1] if days else None,
        categories=unique(filter(None, map(category_code, values("subject", 200)))),
        licence=next((r for r in values("rights", 500)), None),
    )


def _reading_order(name: str) -> str:
    last, comma, first = name.partition(", ")
    return given_first(last, first) if comma else name


def _arxiv(body: etree._Element, frame: Record, draft: Draft) -> Record:
    """The `arXiv` format: codes parted by blanks, names in parts, licence."""

    def value(name: str, limit: int = 4_000) -> str:
        return draft.text(body.findtext(f"{ARXIV}{name}"), name, limit)

    authors = tuple(
        unlatex(given_first(*(draft.text(a.findtext(f"{ARXIV}{part}"), "author", MAX_NAME) for part in ("keyname", "forenames", "suffix"))))
        for a in body.iterfind(f"{ARXIV}authors/{ARXIV}author")
    )
    authors = tuple(filter(None, authors))
    categories = only_codes(value("categories").split())
    published = draft.day(value("created"), "created")
    return replace(
        frame,
        title=value("title", MAX_TITLE),
        abstract=value("abstract", MAX_ABSTRACT),
        authors=authors,
        author_count=len(authors) or None,
        doi=identity.doi(value("doi")),
        journal_ref=value("journal-ref") or None,
        comment=value("comments") or None,
        licence=value("license") or None,
        published=published,
        updated=draft.day(value("updated"), "updated") or published,
        categories=categories,
        primary_category=categories[0] if categories else None,
    )
