"""A merged paper as rows of the database."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import operator
from typing import Any

from ..ingest import Paper
from .keys import short

LONGEST_LINK = 2_000  # bytes; a longer address could not be indexed

_NOT_HASHED = frozenset({"signals", "sources"})
_hashed = operator.attrgetter(*(field.name for field in dataclasses.fields(Paper) if field.name not in _NOT_HASHED))
NOON = dt.time(12, tzinfo=dt.UTC)


def facts_hash(paper: Paper) -> str:
    """Changes when, and only when, a merged field does; counts made elsewhere are no facts of the paper."""
    return hashlib.blake2b(repr(_hashed(paper)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def public_id(paper: Paper) -> str:
    """The paper's name in addresses."""
    return short(paper.public_id)


def paper_values(paper: Paper) -> dict[str, Any]:
    """Columns of `papers` that the sources decide."""
    return {
        "public_id": public_id(paper), "slug": paper.slug, "arxiv_id": paper.arxiv_id, "doi": paper.doi,
        "title": paper.title, "title_key": paper.title_key, "abstract": paper.abstract,
        "abstract_source": paper.abstract_source, "authors": list(paper.authors), "author_count": paper.author_count,
        "first_author_key": short(paper.first_author_key), "published_on": paper.published_on,
        "published_key": paper.published_on.isoformat() if paper.published_on else "", "updated_on": paper.updated_on,
        "listed_on": paper.listed_on, "categories": list(paper.categories), "primary_category": paper.primary_category,
        "licence": paper.licence, "comment": paper.comment, "journal_ref": paper.journal_ref, "venue": paper.venue,
        "plain_summary": paper.plain_summary, "tasks": list(paper.tasks), "methods": list(paper.methods), "tags": list(paper.tags),
        "withdrawn": paper.deleted, "facts_hash": facts_hash(paper),
    }


def category_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Rows of `paper_categories`."""
    return [{"paper_id": paper_id, "category": category} for category in dict.fromkeys(paper.categories)]


def version_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Rows of `paper_versions`."""
    return [{"paper_id": paper_id, "version": v.number, "date": v.date, "source": source, "title": v.title, "abstract": v.abstract}
            for source, v in paper.versions]


def link_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Rows of `paper_links`."""
    return [{"paper_id": paper_id, "kind": link.kind, "url": link.url, "title": link.title, "official": link.official, "source": source}
            for source, link in paper.links if len(link.url.encode()) <= LONGEST_LINK]


def result_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Rows of `leaderboard_rows`: what the paper reports, as Papers with Code kept it."""
    return [{"paper_id": paper_id, "task": r.task, "dataset": r.dataset, "metric": r.metric, "model": r.model, "value": r.value,
             "source": "pwc"} for r in paper.results]


def signal_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Rows of `paper_signals`."""
    return [{"paper_id": paper_id, "source": source, "name": name, "value": value} for source, name, value in paper.signals]


def trend_rows(paper_id: int, paper: Paper) -> list[dict[str, Any]]:
    """Events that the sources bring: the appearance on a list, and the capped up-votes of another site as of that day."""
    from ..trending import EXTERNAL_CAP, WEIGHTS

    day = paper.listed_on or paper.published_on
    if day is None:
        return []
    at = dt.datetime.combine(day, NOON)
    rows = []
    if paper.listed_on:
        rows.append({"paper_id": paper_id, "kind": "listed", "key": "", "weight": WEIGHTS["listed"], "at": at})
    votes = max((value for _, name, value in paper.signals if name == "upvotes"), default=0)
    if votes:
        weight = min(EXTERNAL_CAP, WEIGHTS["external"] * votes)
        rows.append({"paper_id": paper_id, "kind": "external", "key": "upvotes", "weight": weight, "at": at})
    return rows
