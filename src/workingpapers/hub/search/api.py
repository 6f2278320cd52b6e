"""Search under /api/v1."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from ..api import Model, problems
from ..people.limits import allow_search
from ..people.viewer import ViewerOf
from ..problems import Problem
from ..shelf import address
from ..site import SiteOf
from .find import Answer, Hit, searcher
from .grammar import MAX_LENGTH, QueryError
from .reasons import Reason, reasons

HOW_TO_ASK = (f"words, \"phrases\", -not, OR, `title:` `author:` `abstract:` `cat:` `id:` `after:` `before:` `has:` `verdict:` `slug:`; "
              f"at most {MAX_LENGTH:,} characters")
router = APIRouter(prefix="/api/v1", tags=["search"])


class FoundOut(Model):
    """A paper that answers a question."""

    id: str = Field(description="public id: an arXiv id, `doi:...` or `wp:...`")
    slug: str | None = Field(description="its name in the catalogue, when its claims are there")
    url: str = Field(description="path of its page on this site")
    title: str
    abstract: str
    authors: list[str]
    author_count: int | None
    published_on: dt.date | None
    listed_on: dt.date | None
    categories: list[str]
    score: float = Field(description="tells the order of this answer only")
    exact: bool = Field(description="the question is its id, its address or its title")
    why: str = Field(description="why it answers, in words; empty where conditions alone decided")


class AnswerOut(Model):
    """A page of papers for a question."""

    query: str
    how: Literal["meaning and words", "words", "conditions", "nothing"] = Field(description="what ordered the papers")
    by_words_only_because: str = Field(description="why meaning played no part; empty where it did or could not")
    papers: list[FoundOut]
    next: str | None = Field(description="`after` of the next page; null on the last")


def asked(site: SiteOf, q: str, limit: int, after: str | None) -> Answer:
    """The answer, or a 400 that says how to ask."""
    try:
        return searcher(site.lab.store).find(q, limit, after or None)
    except QueryError as error:
        raise Problem(400, "This question cannot be read", f"{error}.") from error


@router.get("/search", response_model=AnswerOut, responses=problems(422, 429))
def search(site: SiteOf, viewer: ViewerOf,
           q: Annotated[str, Query(description=HOW_TO_ASK)] = "",
           limit: Annotated[int, Query(ge=1, le=100)] = 20,
           after: Annotated[str, Query(max_length=200, description="`next` of the page before")] = "") -> AnswerOut:
    """Papers for a question, best first: by meaning and words together where a model is installed, else by words."""
    allow_search(viewer)
    answer = asked(site, q, limit, after)
    with site.lab.store.reading() as session:
        why = reasons(session, searcher(site.lab.store), answer)
    return AnswerOut(query=answer.query.text, how=answer.how, by_words_only_because=answer.by_words_only_because, next=answer.after,
                     papers=[found_out(hit, why) for hit in answer.hits])


def found_out(hit: Hit, why: Mapping[int, Reason]) -> FoundOut:
    """A line of an answer."""
    row = hit.paper
    return FoundOut(id=row.public_id, slug=row.slug, url=address(row), title=row.title, abstract=row.abstract,
                    authors=[str(a) for a in row.authors], author_count=row.author_count, published_on=row.published_on,
                    listed_on=row.listed_on, categories=[str(c) for c in row.categories], score=round(hit.score, 6), exact=hit.exact,
                    why=str(why.get(row.id, "")))
