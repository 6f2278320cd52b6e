"""Papers under /api/v1: all of them by day, by publication or by trend, and one with its claims."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from workingpapers.papers import Paper

from .api import V1, ClaimOut, Limit, Model, claim_out, problems
from .findings import ClaimView
from .pages import matches
from .problems import Problem
from .shelf import address, find, lists
from .shelf.lists import Span
from .site import Site, SiteOf, tally
from .tables import PaperRow
from .usage import usage_of

router = APIRouter(tags=["papers"])

Order = Literal["listed", "published", "trending"]
PaperName = Annotated[str, Path(description="a slug, an arXiv id, `doi:...` or `wp:...`", max_length=600)]


class PaperOut(Model):
    """A paper in lists. What only the catalogue knows (slug, task, tags, summary) is empty for papers without claims here."""

    id: str = Field(description="public id: an arXiv id, `doi:...` or `wp:...`")
    slug: str | None = Field(description="its name in the catalogue")
    url: str = Field(description="path of its page on this site")
    title: str
    date: dt.date | None = Field(description="day of the first version")
    listed: dt.date | None = Field(description="day it was listed here or at its source")
    authors: int | None = Field(description="how many; null where no source says")
    author_names: list[str] = Field(description="may be shorter than `authors`")
    abstract: str
    categories: list[str]
    task: str
    tags: list[str]
    summary: str
    arxiv: str | None
    doi: str | None
    status: Literal["runs", "listed", "no claims"] = Field(description="its claims can be tried here, are only listed, or unknown")
    verdicts: dict[str, int] = Field(description="how many of its claims stand how on this machine")
    votes: int
    comments: int


class CodeOut(Model):
    """Where the authors' code lives."""

    url: str
    licence: str


class PaperDetail(PaperOut):
    """A paper with its claims and how to use it."""

    venue: str | None
    code: CodeOut | None
    runs_on: str
    not_verified: list[str]
    example: str
    claims: list[ClaimOut]


class Papers(Model):
    """A page of papers; `next` is the cursor of the page that follows."""

    items: list[PaperOut]
    next: str | None


@router.get(f"{V1}/papers", responses=problems(422))
def list_papers(site: SiteOf, sort: Annotated[Order, Query(description="`listed` leaves out papers that were never listed")] = "listed",
                day: Annotated[dt.date | None, Query(description="listed on this day")] = None,
                since: Annotated[dt.date | None, Query(description="listed on this day or later")] = None,
                until: Annotated[dt.date | None, Query(description="listed on this day or earlier")] = None,
                task: Annotated[str, Query(max_length=200, description="papers with claims, of this task")] = "",
                q: Annotated[str, Query(max_length=200, description="papers with claims that hold all these words; see also /search")] = "",
                after: Annotated[str, Query(max_length=300, description="cursor: `next` of the page before")] = "",
                limit: Limit = 50) -> Papers:
    """Papers, newest first: by the day they were listed, by publication, or by trend. Days, task and words narrow the first order."""
    narrowed = bool(task or q or day or since or until)
    if narrowed and sort != "listed":
        raise Problem(400, "These do not go together", f"Days, task and words narrow the order `listed`; leave them out, or sort={sort}.")
    span = Span("date", "", day or since or dt.date.min, day or until or dt.date.max) if day or since or until else None
    slugs = [p.slug for p in site.lab.catalogue if (not task or p.facts.task == task) and matches(p, q)] if task or q else None
    with site.lab.store.reading() as session:
        try:
            if sort == "trending":
                found = lists.trending(session, after=after, limit=limit)
            elif sort == "published":
                found = lists.published(session, after=after, limit=limit)
            else:
                found = lists.listed(session, span, slugs=slugs, after=after, limit=limit)
        except ValueError:
            raise Problem(400, "No such page", "`after` is no cursor of this list. Take `next` of the page before.") from None
        known = _catalogued(site, found.papers)
        views = site.views() if known else {}
        return Papers(items=[PaperOut(**_paper(row, known.get(row.id), views)) for row in found.papers], next=found.after)


@router.get(f"{V1}/papers/{{name:path}}", responses=problems(404, 422))
def get_paper(site: SiteOf, name: PaperName) -> PaperDetail:
    """A paper with its claims, verdicts and an example of use."""
    with site.lab.store.reading() as session:
        row = find(session, name)
        if row is None:
            site.paper(name)  # names what is near
            raise Problem(404, "No such paper", f"{name[:60]!r} is hidden here.")
        paper = site.lab.catalogue.papers.get(name) or _catalogued(site, [row]).get(row.id)
        views = site.claim_views(session, [paper], paper.slug) if paper else {}
        facts = _paper(row, paper, views)
    if paper is None:
        return PaperDetail(**facts, venue=row.venue, code=None, runs_on="", not_verified=[], example="", claims=[])
    told, usage, code = paper.facts, usage_of(paper), site.current_code(paper)
    return PaperDetail(
        **facts, venue=told.venue, code=CodeOut(url=str(told.code.url), licence=told.code.licence) if told.code else None,
        runs_on=told.runs_on, not_verified=list(told.not_verified), example=usage.code if usage else "",
        claims=[claim_out(v, code) for v in views[paper.slug]])


def _catalogued(site: Site, rows: Sequence[PaperRow]) -> dict[int, Paper]:
    papers = site.lab.catalogue.papers
    return {row.id: papers[row.slug] for row in rows if row.slug and row.slug in papers}


def _paper(row: PaperRow, paper: Paper | None, views: Mapping[str, list[ClaimView]]) -> dict[str, Any]:
    facts = paper.facts if paper else None
    return {
        "id": row.public_id, "slug": paper.slug if paper else None, "url": address(row), "title": facts.title if facts else row.title,
        "date": facts.published if facts else row.published_on, "listed": facts.listed if facts else row.listed_on,
        "authors": facts.author_count if facts else row.author_count or len(row.authors) or None,
        "author_names": [str(a) for a in row.authors], "abstract": row.abstract, "categories": [str(c) for c in row.categories],
        "task": facts.task if facts else "", "tags": list(facts.tags) if facts else [], "summary": facts.summary if facts else "",
        "arxiv": row.arxiv_id, "doi": row.doi, "status": paper.status if paper else "no claims",
        "verdicts": dict(tally(views[paper.slug]).counts) if paper else {}, "votes": row.votes, "comments": row.comments}
