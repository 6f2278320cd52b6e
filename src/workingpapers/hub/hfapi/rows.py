"""A paper in the shapes that Hugging Face's API gives it.

The client reads title, code, project and organisation from the outer row alone, and a nested `upvotes` of 0 becomes None
unless the outer row repeats it: so the outer row repeats whatever it may look for.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..markup import plain_text
from ..tables import PaperLinkRow, PaperRow, UserRow

Json = dict[str, Any]
HF = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(datasets/|spaces/)?([\w.-]+/[\w.-]+)/?", re.ASCII)
SITE_USER: Json = {"_id": "0" * 24, "user": "workingpapers", "fullname": "Working Papers", "avatarUrl": "/static/mark.svg", "isPro": False,
                   "type": "user", "name": "workingpapers"}


def daily_rows(session: Session, papers: Sequence[PaperRow]) -> list[Json]:
    """Rows of a list, in the papers' order; two queries."""
    links = _links(session, papers)
    people = _people(session, papers)
    return [_outer(row, links.get(row.id, ()), people) for row in papers]


def flat_paper(session: Session, row: PaperRow) -> Json:
    """One paper with what is linked to it."""
    links = _links(session, [row]).get(row.id, ())
    linked = {kind: [{"id": _name(link)} for link in links if link.kind == kind] for kind in ("model", "dataset", "demo")}
    outer = _outer(row, links, _people(session, [row]))
    nested: Json = outer.pop("paper")
    return {**{k: v for k, v in outer.items() if k not in ("publishedAt", "submittedBy")}, **nested,
            "submittedOnDailyBy": outer["submittedBy"],
            "linkedModels": linked["model"], "numTotalModels": len(linked["model"]), "linkedDatasets": linked["dataset"],
            "numTotalDatasets": len(linked["dataset"]), "linkedSpaces": linked["demo"], "numTotalSpaces": len(linked["demo"])}


def noon(day: dt.date | None) -> str | None:
    """A day as a moment that is the same day in every time zone.

    >>> noon(dt.date(2025, 12, 26))
    '2025-12-26T12:00:00.000Z'
    """
    return f"{day.isoformat()}T12:00:00.000Z" if day else None


def _outer(row: PaperRow, links: Sequence[PaperLinkRow], people: Mapping[int, UserRow]) -> Json:
    day = noon(row.listed_on or row.published_on or row.created_at.date())
    title, summary = plain_text(row.title), plain_text(row.abstract) or (row.plain_summary or "")
    user = people.get(row.submitted_by or 0)
    code = next((link.url for link in sorted(links, key=lambda link: not link.official) if link.kind == "code"), None)
    project = next((link.url for link in links if link.kind == "project"), None)
    published = noon(row.published_on) or day
    paper = {"id": row.public_id, "title": title, "summary": summary,
             "authors": [{"_id": _author_id(row, i, name), "name": name, "hidden": False} for i, name in enumerate(row.authors)],
             "publishedAt": published, "submittedOnDailyAt": day, "upvotes": row.votes, "discussionId": f"{row.id:024x}"}
    if code:
        paper["githubRepo"] = code
    if project:
        paper["projectPage"] = project
    return {"paper": paper, "title": title, "summary": summary, "publishedAt": day, "submittedOnDailyAt": day, "thumbnail": None,
            "numComments": row.comments, "upvotes": row.votes, "submittedBy": _user(user) if user else SITE_USER, "githubRepo": code,
            "githubStars": None, "projectPage": project, "organization": None, "ai_summary": None, "ai_keywords": None,
            "isAuthorParticipating": False}


def _user(user: UserRow) -> Json:
    return {**SITE_USER, "_id": f"{user.id:024x}", "user": user.handle, "name": user.handle, "fullname": user.display_name or user.handle}


def _author_id(row: PaperRow, place: int, name: str) -> str:
    return hashlib.sha256(f"{row.public_id}|{place}|{name}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _links(session: Session, papers: Iterable[PaperRow]) -> dict[int, list[PaperLinkRow]]:
    found: dict[int, list[PaperLinkRow]] = {}
    query = select(PaperLinkRow).where(PaperLinkRow.paper_id.in_([p.id for p in papers])).order_by(PaperLinkRow.id)
    for link in session.scalars(query):
        found.setdefault(link.paper_id, []).append(link)
    return found


def _people(session: Session, papers: Iterable[PaperRow]) -> dict[int, UserRow]:
    ids = {p.submitted_by for p in papers if p.submitted_by is not None}
    return {user.id: user for user in session.scalars(select(UserRow).where(UserRow.id.in_(ids)))} if ids else {}


def _name(link: PaperLinkRow) -> str:
    """`owner/name` for addresses on the Hugging Face hub, else the link's title or address."""
    found = HF.fullmatch(link.url)
    return found[2] if found else link.title or link.url
