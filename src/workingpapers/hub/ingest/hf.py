"""Hugging Face's Daily Papers as JSON: `/api/daily_papers`, `/api/papers/search` and `/api/papers/ID`."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from . import identity
from .problems import Problems
from .record import Link, LinkKind, Record, Signal
from .streams import iter_json_items, parse_json
from .text import MAX_ABSTRACT, MAX_NAME, MAX_TITLE, Draft, shown, unique


def iter_hf(stream: BinaryIO, problems: Problems, *, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of a list of rows, or of the one flat paper of `/api/papers/ID`.

    Up-votes, comments and stars become signals. Machine-written summaries and keywords are not read.
    """
    for where, raw in iter_json_items(stream, problems):
        try:
            row, warnings = parse_json(raw)
        except ValueError as error:
            problems.add(where, f"no JSON ({str(error)[:80]})")
            continue
        draft = Draft()
        draft.warnings += warnings
        outer = row if isinstance(row, dict) else {}
        paper = draft.mapping(outer.get("paper"), "paper") if "paper" in outer else outer
        name = paper.get("id")
        found = identity.arxiv_id(name) if isinstance(name, str) else None
        title = draft.text(paper.get("title") or outer.get("title"), "title", MAX_TITLE)
        if found is None or not title:
            problems.add(where, f"no arXiv id: {shown(name, 60)!r}" if found is None else "no title")
            continue
        nested = outer is not paper
        authors = _authors(paper, draft)
        listed = paper.get("submittedOnDailyAt") or (outer.get("publishedAt") if nested else None)
        yield Record(
            source="hf",
            source_key=found.id,
            title=title,
            arxiv_id=found.id,
            abstract=draft.text(paper.get("summary") or outer.get("summary"), "summary", MAX_ABSTRACT),
            authors=authors,
            author_count=len(authors) or None,
            published=draft.day(paper.get("publishedAt"), "publishedAt"),
            listed=draft.day(listed, "listed"),
            links=_links(outer, paper, draft),
            signals=_signals(outer, paper, draft),
            fetched=fetched,
            warnings=tuple(draft.warnings),
            payload=raw,
            payload_hash=hashlib.sha256(raw).hexdigest(),
        )


def _authors(paper: dict[str, Any], draft: Draft) -> tuple[str, ...]:
    names = []
    for item in draft.items(paper.get("authors"), "authors"):
        author = draft.mapping(item, "author")
        if author.get("hidden") is not True:  # hidden: a wrong author, as reported to the site
            names.append(draft.text(author.get("name"), "author", MAX_NAME))
    return tuple(filter(None, names))


def _signals(outer: dict[str, Any], paper: dict[str, Any], draft: Draft) -> tuple[Signal, ...]:
    """Up-votes stand on the paper, comments on the row, stars on either."""
    found = {
        "upvotes": paper.get("upvotes", outer.get("upvotes")),
        "comments": outer.get("numComments", paper.get("numComments")),
        "stars": outer.get("githubStars", paper.get("githubStars")),
    }
    counts = ((name, draft.count(value, name)) for name, value in found.items())
    return tuple(Signal(name, count) for name, count in counts if count is not None)


_HUB_LINKS: tuple[tuple[str, LinkKind, str], ...] = (
    ("linkedModels", "model", "https://huggingface.co/"),
    ("linkedDatasets", "dataset", "https://huggingface.co/datasets/"),
    ("linkedSpaces", "demo", "https://huggingface.co/spaces/"),
)


def _links(outer: dict[str, Any], paper: dict[str, Any], draft: Draft) -> tuple[Link, ...]:
    links = [
        *draft.link("code", paper.get("githubRepo") or outer.get("githubRepo")),
        *draft.link("project", paper.get("projectPage") or outer.get("projectPage")),
    ]
    for field, kind, base in _HUB_LINKS:
        for item in draft.items(paper.get(field), field):
            name = draft.text(draft.mapping(item, field).get("id"), field, 200)
            if name:
                links += draft.link(kind, base + name, title=name)
    return unique(links)
