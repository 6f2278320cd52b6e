"""What the viewer keeps about papers: asked once for all papers of a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..tables import RatingRow, TagRow, VoteRow
from .viewer import Viewer
from .votes import SAVED


@dataclass
class Acts:
    """One person's vote, tags and rating of one paper."""

    voted: bool = False
    tags: list[str] = field(default_factory=list)
    rating: int = 0

    @property
    def saved(self) -> bool:
        return SAVED in self.tags

    @property
    def words(self) -> list[str]:
        """Tags without the plain bookmark."""
        return [t for t in self.tags if t != SAVED]


def acts_of(session: Session, viewer: Viewer, paper_ids: Iterable[int]) -> dict[int, Acts]:
    """Acts by paper, one for each id; three queries for an account, none for a visitor.

        acts = acts_of(session, viewer, [row.id for row in rows])
        page(request, "feed.html", ..., acts=acts)        # {{ people.card(row, acts[row.id], viewer, token) }}
    """
    out = {i: Acts() for i in paper_ids}
    if viewer.user is None or not out:
        return out
    ids, user = list(out), viewer.user.id
    for paper_id in session.scalars(select(VoteRow.paper_id).where(VoteRow.user_id == user, VoteRow.paper_id.in_(ids))):
        out[paper_id].voted = True
    for paper_id, name in session.execute(select(TagRow.paper_id, TagRow.name).where(TagRow.user_id == user, TagRow.paper_id.in_(ids))
                                          .order_by(TagRow.name)).tuples():
        out[paper_id].tags.append(name)
    for paper_id, value in session.execute(select(RatingRow.paper_id, RatingRow.value).where(
            RatingRow.user_id == user, RatingRow.paper_id.in_(ids))).tuples():
        out[paper_id].rating = value
    return out
