"""A whole file or harvest into the database: with progress, and resumable after a crash where the format allows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab.store import Store, now

from ..ingest import Fetcher, Format, Problems, Record, harvest_arxiv, harvest_hf, harvest_oai, iter_records
from ..ingest.identity import arxiv_id
from ..tables import ImportRow
from .intake import BATCH, Counts, take_in
from .keys import digest

RESUMABLE: tuple[Format, ...] = ("kaggle", "jsonl")
WIRE = ("arxiv", "oai", "hf")

OnProgress = Callable[[int, Counts], None]


@dataclass
class Report:
    """What an import did. `resumed_at` is the byte it went on from."""

    counts: Counts
    problems: Problems
    seconds: float
    resumed_at: int = 0
    warnings: int = 0
    first_warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.counts), "left_out": self.problems.count, "warnings": self.warnings, "resumed_at": self.resumed_at,
                "seconds": round(self.seconds, 3),
                "problems": [asdict(p) for p in self.problems.first[:20]], "first_warnings": self.first_warnings}


class _Warned:
    """Passes records on, counts their warnings and keeps the first few."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[str]()

    def __call__(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self.count += len(record.warnings)
            for words in record.warnings:
                if len(self.first) < 20:
                    self.first.append(f"{record.title[:60] or record.source_key}: {words}")
            yield record


def import_file(store: Store, format: Format, path: Path, *, saved_on: dt.date | None = None, batch: int = BATCH,
                max_bytes: int | None = None, on_progress: OnProgress | None = None) -> Report:
    """Take in a file. One that was broken off goes on where its last batch was committed, if the format tells bytes.

    Args:
        on_progress: called after each batch with the bytes (unpacked) taken so far, 0 where unknown, and the counts.

    Raises:
        ValueError, SourceError: see `ingest.iter_records`.
    """
    began = time.monotonic()
    key = _file_key(format, path)
    offset = _resume(store, format, key) if format in RESUMABLE else 0
    problems, warned = Problems(), _Warned()
    records = warned(iter_records(format, path, problems, saved_on=saved_on, offset=offset, max_bytes=max_bytes))

    def keep(session: Session, part: Sequence[Record], counts: Counts) -> None:
        at = part[-1].resume_at or 0
        _keep(session, format, path, key, at, counts, done=False)
        if on_progress is not None:
            on_progress(at, counts)

    counts = take_in(store, records, batch=batch, after_batch=keep)
    with store.writing() as session:
        _keep(session, format, path, key, 0, counts, done=True)
    return Report(counts, problems, time.monotonic() - began, offset, warned.count, warned.first)


def import_query(store: Store, source: str, query: str, *, limit: int = 1_000, fetcher: Fetcher | None = None,
                 on_progress: OnProgress | None = None) -> Report:
    """Take in an arXiv query or ids (`arxiv`), an OAI-PMH harvest since a day (`oai`), or a day of Daily Papers (`hf`).

    Raises:
        ValueError: an unknown source, or a query that it cannot mean.
        SourceError: the host does not answer, or refuses.
    """
    began = time.monotonic()
    problems, warned, fetcher = Problems(), _Warned(), fetcher or Fetcher()
    if source == "arxiv":
        names = query.replace(",", " ").split()
        ids = names if all(arxiv_id(n) for n in names) else []
        records = harvest_arxiv(fetcher, problems, id_list=ids, limit=limit) if ids else harvest_arxiv(
            fetcher, problems, search_query=query, limit=limit, page_size=min(500, limit))
    elif source in ("oai", "hf"):
        try:
            day = dt.date.fromisoformat(query)
        except ValueError:
            raise ValueError(f"{source}: a day such as 2025-12-26 is expected, not {query!r}") from None
        records = harvest_oai(fetcher, problems, since=day) if source == "oai" else harvest_hf(fetcher, problems, day)
    else:
        raise ValueError(f"source: one of {', '.join(WIRE)} has queries, not {source!r}")

    def keep(_: Session, part: Sequence[Record], counts: Counts) -> None:
        if on_progress is not None:
            on_progress(0, counts)

    counts = take_in(store, warned(records), batch=200, after_batch=keep)
    return Report(counts, problems, time.monotonic() - began, 0, warned.count, warned.first)


def _file_key(format: str, path: Path) -> str:
    if not path.is_file():
        return digest(format, str(path))
    facts = path.stat()
    return digest(format, str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns))


def _resume(store: Store, format: str, key: str) -> int:
    with store.reading() as session:
        row = session.scalar(select(ImportRow).where(ImportRow.file_key == key))
        return 0 if row is None or row.is_done else row.offset


def _keep(session: Session, format: str, path: Path, key: str, offset: int, counts: Counts, *, done: bool) -> None:
    row = session.scalar(select(ImportRow).where(ImportRow.file_key == key))
    if row is None:
        row = ImportRow(file_key=key, format=format, path=str(path))
        session.add(row)
    row.offset, row.counts, row.is_done, row.changed_at = offset, asdict(counts), done, now()
