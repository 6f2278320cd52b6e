"""Comments: threads of Markdown under a paper. A deleted one keeps its place, so that what answers it still makes sense."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from markupsafe import Markup
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from ..markup import clean, comment_html
from ..problems import Problem
from ..tables import CommentRow, PaperRow, UserRow
from .audit import audit
from .limits import COMMENTS, spend
from .viewer import Viewer
from .votes import comment_counts, lock_papers

MAX_COMMENT = 10_000
MAX_SHOWN = 2_000
DEEPEST = 4  # answers below that stand at the same depth


@dataclass(frozen=True)
class Comment:
    """A comment as pages show it. `html` went through the allow-list; name and text of a deleted one are empty."""

    id: int
    depth: int
    row: CommentRow
    handle: str
    display_name: str
    html: Markup
    is_own: bool
    is_author: bool

    @property
    def is_deleted(self) -> bool:
        return self.row.deleted_at is not None


def add_comment(session: Session, viewer: Viewer, paper: PaperRow, markdown: str, parent_id: int | None = None) -> CommentRow:
    """Add a comment in this transaction.

    Raises:
        Problem: 401 or 403 who may not; 422 an empty or too long text, or a parent on another paper; 429 too many at once.
    """
    viewer.require("comment")
    user = viewer.account()
    text = checked_text(markdown)
    if parent_id is not None:
        parent = session.get(CommentRow, parent_id)
        if parent is None or parent.paper_id != paper.id or parent.deleted_at is not None:
            raise Problem(422, "No such comment", "The comment that this answers is not on this paper, or was deleted.")
    spend(session, COMMENTS, viewer)
    lock_papers(session, [paper.id])
    row = CommentRow(paper_id=paper.id, user_id=user.id, parent_id=parent_id, markdown=text, html=str(comment_html(text)))
    session.add(row)
    session.flush()
    session.execute(update(PaperRow).where(PaperRow.id == paper.id).values(comments=PaperRow.comments + 1))
    comment_counts(session, user, paper.id)
    return row


def edit_comment(session: Session, viewer: Viewer, comment_id: int, markdown: str) -> CommentRow:
    """Change the text of one's own comment.

    Raises:
        Problem: 403 it is somebody else's; 404 there is none, or it was deleted; 422 and 429 as for a new one.
    """
    viewer.require("comment")
    row = _alive(session, comment_id)
    if row.user_id != viewer.account().id:
        raise Problem(403, "Not your comment", "Only who wrote a comment can change it.")
    text = checked_text(markdown)
    if text != row.markdown:
        spend(session, COMMENTS, viewer)
        row.markdown, row.html, row.edited_at = text, str(comment_html(text)), now()
        session.flush()
    return row


def delete_comment(session: Session, viewer: Viewer, comment_id: int) -> CommentRow:
    """Delete a comment: one's own, or any for an editor. Text and name go, the place stays.

    Raises:
        Problem: 403 it is somebody else's; 404 there is none, or it was deleted.
    """
    viewer.require("comment")
    row = _alive(session, comment_id)
    if row.user_id != viewer.account().id:
        viewer.require("edit")
    author = session.get(UserRow, row.user_id) if row.user_id else None
    lock_papers(session, [row.paper_id])
    row.markdown, row.html, row.deleted_at = "", "", now()
    session.flush()
    session.execute(update(PaperRow).where(PaperRow.id == row.paper_id).values(comments=PaperRow.comments - 1))
    if author is not None:
        comment_counts(session, author, row.paper_id)
    if row.user_id != viewer.account().id:
        audit(session, viewer.name, "delete comment", f"comment:{row.id}", author=f"user:{row.user_id}")
    return row


def checked_text(markdown: str) -> str:
    """The text as it is kept.

    Raises:
        Problem: 422, it is empty or too long.
    """
    text = markdown.replace("\r\n", "\n").replace("\x00", "").encode("utf-8", "ignore").decode().strip()
    if not 0 < len(text) <= MAX_COMMENT:
        raise Problem(422, "Nothing to add" if not text else "Too long", f"A comment has 1 to {MAX_COMMENT:,} characters.")
    return text


def thread(session: Session, viewer: Viewer, paper: PaperRow) -> list[Comment]:
    """The comments of a paper in reading order: each followed by its answers, oldest first; the newest 2,000.

    An answer to one that is not among them stands at the beginning of a thread.
    """
    from .authorship import authors_here

    query = (select(CommentRow, UserRow.handle, UserRow.display_name).outerjoin(UserRow, UserRow.id == CommentRow.user_id)
             .where(CommentRow.paper_id == paper.id).order_by(CommentRow.id.desc()).limit(MAX_SHOWN))
    authors = {user.id for user in authors_here(session, paper)}
    own = viewer.user.id if viewer.user else None
    below: defaultdict[int | None, list[tuple[CommentRow, str, str]]] = defaultdict(list)
    found = list(session.execute(query).tuples())[::-1]
    shown = {row.id for row, _, _ in found}
    for row, handle, name in found:
        below[row.parent_id if row.parent_id in shown else None].append((row, handle or "", name or ""))
    out: list[Comment] = []
    waiting = [(0, item) for item in reversed(below.get(None, []))]
    while waiting:
        depth, (row, handle, name) = waiting.pop()
        gone = row.deleted_at is not None
        out.append(Comment(row.id, min(depth, DEEPEST), row, "" if gone else handle, "" if gone else name, _with_keys(clean(row.html)),
                           not gone and row.user_id is not None and row.user_id == own, not gone and row.user_id in authors))
        waiting += [(depth + 1, item) for item in reversed(below.get(row.id, []))]
    return out


def _with_keys(html: Markup) -> Markup:
    """Wide code scrolls by itself: by keyboard too. Text holds no such tag: it is escaped."""
    return Markup(html.replace(Markup("<pre>"), Markup('<pre tabindex="0">')))


def _alive(session: Session, comment_id: int) -> CommentRow:
    row = session.get(CommentRow, comment_id)
    if row is None or row.deleted_at is not None:
        raise Problem(404, "No such comment", "There is no such comment, or it was deleted.")
    return row
