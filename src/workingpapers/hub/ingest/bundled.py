"""`papers/*/paper.toml`: what this project itself says of the papers that run here."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path

from ...papers import BrokenPaper, PaperFacts, read_facts
from .problems import Problems, SourceError
from .record import Link, Record


def iter_bundled(folder: Path, problems: Problems, *, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of the `paper.toml` of each folder in `folder`, by name; folders that start with `_` are no papers.

    Raises:
        SourceError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    for path in sorted(folder.glob("[!_.]*/paper.toml")):
        slug = path.parent.name
        try:
            facts, payload = read_facts(path), path.read_bytes()
        except (BrokenPaper, OSError) as error:
            problems.add(slug, str(error))
            continue
        yield bundled_record(slug, facts, payload, fetched)


def bundled_record(slug: str, facts: PaperFacts, payload: bytes, fetched: dt.datetime | None = None) -> Record:
    """The record of one `paper.toml`, whose bytes are `payload`."""
    return Record(
        source="toml",
        source_key=slug,
        title=facts.title,
        arxiv_id=facts.arxiv,
        slug=slug,
        alias=f"wp:{slug}",
        authors=facts.authors,
        author_count=facts.author_count,
        published=facts.published,
        listed=facts.listed,
        venue=facts.venue,
        plain_summary=" ".join(facts.summary.split()),
        tasks=(facts.task,),
        tags=facts.tags,
        links=(Link("code", str(facts.code.url), official=True),) if facts.code else (),
        fetched=fetched,
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )
