"""Whole harvests over the wire: pages of arXiv's API, of its OAI-PMH, and days of Daily Papers."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlencode

from . import identity
from .atom import AtomPage, iter_atom
from .hf import iter_hf
from .oai import OaiPage, TokenExpired, iter_oai
from .problems import Problems, SourceError
from .record import Record
from .wire import ARXIV_API, ARXIV_OAI, HF_API, Fetcher

PAGE = 2_000  # arXiv's limits: records an answer, and records a query
QUERY = 30_000


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def harvest_arxiv(
    fetcher: Fetcher,
    problems: Problems,
    *,
    search_query: str = "",
    id_list: Sequence[str] = (),
    start: int = 0,
    limit: int = QUERY,
    page_size: int = 500,
    now: Callable[[], dt.datetime] = _utc_now,
) -> Iterator[Record]:
    """Records of an arXiv query or of ids, newest first, page by page.

    An empty page before the announced end, which arXiv sends under load, is asked for again twice and then an error.

    Raises:
        ValueError: neither query nor ids, an id that is none, or numbers beyond arXiv's limits.
        SourceError: see `Fetcher.get` and `iter_atom`.
    """
    if not search_query and not id_list:
        raise ValueError("search_query or id_list is needed")
    if not 1 <= page_size <= PAGE:
        raise ValueError(f"page_size: 1 to {PAGE:,}, not {page_size}")
    if start < 0 or limit < 1 or start + limit > QUERY:
        raise ValueError(f"start + limit: at most {QUERY:,}; split the query by submittedDate")
    wrong = [text for text in id_list if identity.arxiv_id(text) is None]
    if wrong:
        raise ValueError(f"id_list: {wrong[0]!r} is no arXiv id")
    ids = list(id_list)
    end = start + limit
    while start < end:
        size = min(page_size, end - start)
        facts = {"search_query": search_query} if search_query else {}
        if ids:
            facts["id_list"] = ",".join(ids[start : start + size])
        paging = {"start": 0 if ids else start, "max_results": size}
        order = {} if ids else {"sortBy": "submittedDate", "sortOrder": "descending"}
        url = f"{ARXIV_API}?{urlencode({**facts, **paging, **order})}"
        for _ in range(3):
            page = AtomPage()
            yield from iter_atom(io.BytesIO(fetcher.get(url)), problems, page=page, fetched=now())
            if page.entries or ids or page.total is None or start >= page.total:
                break
        else:
            raise SourceError(f"arXiv keeps answering without records at {start:,} of {page.total:,}; start again there later")
        start += size if ids else page.entries
        if (ids and start >= len(ids)) or (not ids and (not page.entries or (page.total is not None and start >= page.total))):
            return


def harvest_oai(
    fetcher: Fetcher,
    problems: Problems,
    *,
    prefix: str = "arXiv",
    since: dt.date | None = None,
    until: dt.date | None = None,
    subset: str | None = None,
    token: str | None = None,
    on_page: Callable[[str | None], None] | None = None,
    now: Callable[[], dt.datetime] = _utc_now,
) -> Iterator[Record]:
    """Records changed between two days, over all pages.

    `on_page` is told the next resumption token after each page, to go on from after a crash. Should a token expire, the
    harvest starts again from the newest datestamp it has seen: records of that day come twice, which merging does not mind.

    Raises:
        ValueError: a prefix other than `arXiv` and `oai_dc`.
        SourceError: see `Fetcher.get` and `iter_oai`; also a token that expires twice without progress.
    """
    if prefix not in ("arXiv", "oai_dc"):
        raise ValueError(f"prefix: arXiv or oai_dc, not {prefix!r}")
    newest, restarted_at = since, None
    while True:
        if token:
            query = {"verb": "ListRecords", "resumptionToken": token}
        else:
            days = {"from": newest.isoformat() if newest else None, "until": until.isoformat() if until else None}
            query = {"verb": "ListRecords", "metadataPrefix": prefix, **{k: v for k, v in days.items() if v}}
            if subset:
                query["set"] = subset
        page = OaiPage()
        try:
            for record in iter_oai(io.BytesIO(fetcher.get(f"{ARXIV_OAI}?{urlencode(query)}")), problems, page=page, fetched=now()):
                if record.revised and (newest is None or record.revised > newest):
                    newest = record.revised
                yield record
        except TokenExpired:
            if not token or (restarted_at is not None and restarted_at == newest):
                raise
            token, restarted_at = None, newest
            continue
        token = page.token
        if on_page is not None:
            on_page(token)
        if token is None:
            return


def harvest_hf(
    fetcher: Fetcher, problems: Problems, day: dt.date, *, page_size: int = 100, now: Callable[[], dt.datetime] = _utc_now
) -> Iterator[Record]:
    """Records of one day of Daily Papers, page by page until a page brings nothing new."""
    if not 1 <= page_size <= 100:
        raise ValueError(f"page_size: 1 to 100, not {page_size}")
    seen: set[str] = set()
    for number in range(50):
        query = urlencode({"date": day.isoformat(), "p": number, "limit": page_size})
        rows = list(iter_hf(io.BytesIO(fetcher.get(f"{HF_API}/daily_papers?{query}")), problems, fetched=now()))
        fresh = [row for row in rows if row.source_key not in seen]
        yield from fresh
        seen.update(row.source_key for row in fresh)
        if len(rows) < page_size or not fresh:
            return
