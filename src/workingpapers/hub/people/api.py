"""The API of people: one's own account, votes, tags, comments. Programs send an API token as `Authorization: Bearer`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from pydantic import Field

from ..api import V1, Model, problems
from ..row_ids import MOST_ID, RowId
from ..site import Site, SiteOf
from ..tables import PaperRow
from .accounts import export_account
from .acts import acts_of
from .comments import MAX_COMMENT, Comment, add_comment, delete_comment, edit_comment, thread
from .limits import VOTES, spend
from .papers import paper_named
from .viewer import WITH_TOKEN, Viewer, ViewerOf, may
from .votes import MAX_TAG, set_rating, set_tag, set_vote

router = APIRouter(tags=["people"])

PaperName = Annotated[str, Path(description="arXiv id, `doi:...`, `wp:...` or slug", max_length=600, examples=["2201.12909"])]
TagName = Annotated[str, Path(description="a tag; `saved` is the bookmark", min_length=1, max_length=MAX_TAG)]
VoterOf = Annotated[Viewer, Depends(may("vote"))]
CommenterOf = Annotated[Viewer, Depends(may("comment"))]


class Me(Model):
    """The account that a token belongs to, and what may be done with it."""

    name: str
    fullname: str
    role: Literal["reader", "runner", "editor", "admin"]
    actions: list[str]


class ActsOut(Model):
    """What the account keeps about a paper, and the paper's counters."""

    paper: str
    votes: int
    comments: int
    voted: bool
    saved: bool
    tags: list[str]
    rating: int


class CommentOut(Model):
    """A comment. `html` went through an allow-list; a deleted comment has neither text nor name."""

    id: int
    parent: int | None
    depth: int
    author: str | None
    is_author_of_paper: bool
    markdown: str
    html: str
    created_at: dt.datetime
    edited_at: dt.datetime | None
    deleted: bool


class Comments(Model):
    """The discussion of a paper in reading order."""

    items: list[CommentOut]


class NewComment(Model):
    """What to say, in Markdown."""

    paper: str = Field(min_length=1, max_length=600, examples=["2201.12909"])
    markdown: str = Field(min_length=1, max_length=MAX_COMMENT)
    parent: int | None = Field(None, ge=1, le=MOST_ID, description="the comment that this answers")


class NewText(Model):
    """The changed text."""

    markdown: str = Field(min_length=1, max_length=MAX_COMMENT)


class Rating(Model):
    """More (1) or less (-1) like this, or no opinion (0)."""

    value: int = Field(ge=-1, le=1)


@router.get(f"{V1}/me", responses=problems(401), dependencies=WITH_TOKEN)
def me(viewer: ViewerOf) -> Me:
    """Who the token belongs to, and what may be done with it."""
    user = viewer.account()
    return Me(name=user.handle, fullname=user.display_name, role=user.role, actions=sorted(viewer.actions))


@router.get(f"{V1}/me/export", responses=problems(401), dependencies=WITH_TOKEN)
def export(site: SiteOf, viewer: ViewerOf) -> dict[str, Any]:
    """Everything the site keeps about the account."""
    user = viewer.account()
    with site.lab.store.reading() as session:
        return export_account(session, user)


@router.get(f"{V1}/acts/{{paper:path}}", responses=problems(401, 404, 422), dependencies=WITH_TOKEN)
def get_acts(site: SiteOf, viewer: ViewerOf, paper: PaperName) -> ActsOut:
    """What the account keeps about a paper."""
    viewer.account()
    with site.lab.store.reading() as session:
        return _acts(site, viewer, paper_named(session, paper).id)


@router.put(f"{V1}/votes/{{paper:path}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def vote(site: SiteOf, viewer: VoterOf, paper: PaperName) -> ActsOut:
    """Vote for a paper; a second time changes nothing."""
    return _voted(site, viewer, paper, True)


@router.delete(f"{V1}/votes/{{paper:path}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def take_vote_back(site: SiteOf, viewer: VoterOf, paper: PaperName) -> ActsOut:
    """Take the vote back; a second time changes nothing."""
    return _voted(site, viewer, paper, False)


@router.put(f"{V1}/tags/{{name}}/{{paper:path}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def tag(site: SiteOf, viewer: VoterOf, name: TagName, paper: PaperName) -> ActsOut:
    """Tag a paper for oneself; `saved` is the bookmark."""
    return _tagged(site, viewer, name, paper, True)


@router.delete(f"{V1}/tags/{{name}}/{{paper:path}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def untag(site: SiteOf, viewer: VoterOf, name: TagName, paper: PaperName) -> ActsOut:
    """Take a tag off."""
    return _tagged(site, viewer, name, paper, False)


@router.put(f"{V1}/ratings/{{paper:path}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def rate(site: SiteOf, viewer: VoterOf, paper: PaperName, rating: Annotated[Rating, Body()]) -> ActsOut:
    """More or less like this, for one's recommendations."""
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_rating(session, viewer.account(), row, rating.value)
    return _acts(site, viewer, row.id)


@router.get(f"{V1}/comments", responses=problems(404, 422))
def list_comments(site: SiteOf, viewer: ViewerOf, paper: Annotated[str, Query(min_length=1, max_length=600)]) -> Comments:
    """The discussion of a paper: each comment is followed by its answers."""
    with site.lab.store.reading() as session:
        return Comments(items=[_comment(c) for c in thread(session, viewer, paper_named(session, paper))])


@router.post(f"{V1}/comments", status_code=201, responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def comment(site: SiteOf, viewer: CommenterOf, new: Annotated[NewComment, Body()]) -> CommentOut:
    """Add a comment, or an answer to one."""
    with site.lab.store.writing() as session:
        paper = paper_named(session, new.paper)
        row = add_comment(session, viewer, paper, new.markdown, new.parent)
        return _one(thread(session, viewer, paper), row.id)


@router.patch(f"{V1}/comments/{{comment_id}}", responses=problems(401, 403, 404, 413, 422, 429), dependencies=WITH_TOKEN)
def change_comment(site: SiteOf, viewer: CommenterOf, comment_id: RowId, new: Annotated[NewText, Body()]) -> CommentOut:
    """Change the text of one's own comment."""
    with site.lab.store.writing() as session:
        row = edit_comment(session, viewer, comment_id, new.markdown)
        paper = session.get_one(PaperRow, row.paper_id)
        return _one(thread(session, viewer, paper), row.id)


@router.delete(f"{V1}/comments/{{comment_id}}", status_code=204, responses=problems(401, 403, 404, 413, 422), dependencies=WITH_TOKEN,
               response_class=Response)
def remove_comment(site: SiteOf, viewer: CommenterOf, comment_id: RowId) -> None:
    """Delete one's own comment, or any as an editor; its place stays."""
    with site.lab.store.writing() as session:
        delete_comment(session, viewer, comment_id)


def _voted(site: Site, viewer: Viewer, paper: str, on: bool) -> ActsOut:
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_vote(session, viewer.account(), row, on)
    return _acts(site, viewer, row.id)


def _tagged(site: Site, viewer: Viewer, name: str, paper: str, on: bool) -> ActsOut:
    with site.lab.store.writing() as session:
        spend(session, VOTES, viewer)
        row = paper_named(session, paper)
        set_tag(session, viewer.account(), row, name, on)
    return _acts(site, viewer, row.id)


def _acts(site: Site, viewer: Viewer, paper_id: int) -> ActsOut:
    with site.lab.store.reading() as session:
        row = session.get_one(PaperRow, paper_id)
        acts = acts_of(session, viewer, [paper_id])[paper_id]
    return ActsOut(paper=row.public_id, votes=row.votes, comments=row.comments, voted=acts.voted, saved=acts.saved, tags=acts.words,
                   rating=acts.rating)


def _one(comments: list[Comment], comment_id: int) -> CommentOut:
    return next(_comment(c) for c in comments if c.id == comment_id)


def _comment(c: Comment) -> CommentOut:
    return CommentOut(id=c.id, parent=c.row.parent_id, depth=c.depth, author=c.handle or None, is_author_of_paper=c.is_author,
                      markdown=c.row.markdown, html=str(c.html), created_at=c.row.created_at, edited_at=c.row.edited_at,
                      deleted=c.is_deleted)
