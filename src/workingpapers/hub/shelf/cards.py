"""A paper as lists show it, with its claims where it has some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.papers import Paper

from ..findings import ClaimView
from ..people.acts import Acts, acts_of
from ..people.viewer import Viewer
from ..site import Site
from ..tables import PaperLinkRow, PaperRow
from .finding import address

SHOWN_AUTHORS = 12


@dataclass(frozen=True)
class Card:
    """A row of `papers` and what stands beside it.

    Attributes:
        paper: its entry in the catalogue, where it has claims.
        views: those claims, and how they stand here.
        acts: what the viewer keeps about it.
        links: code, models, data sets and the like.
        why: why it stands in this list.
    """

    row: PaperRow
    paper: Paper | None = None
    views: Sequence[ClaimView] = ()
    acts: Acts = field(default_factory=Acts)
    links: Sequence[PaperLinkRow] = ()
    why: str = ""

    @property
    def address(self) -> str:
        return address(self.row)

    @property
    def anchor(self) -> str:
        return f"paper-{self.row.id}"

    @property
    def authors(self) -> tuple[list[str], int]:
        """The first twelve names, and how many more there are."""
        names = list(self.row.authors[:SHOWN_AUTHORS])
        return names, max(self.row.author_count or 0, len(self.row.authors)) - len(names)


def cards(site: Site, session: Session, viewer: Viewer, rows: Sequence[PaperRow], why: Mapping[int, str] | None = None) -> list[Card]:
    """Cards of these papers, in their order, in a fixed number of queries."""
    return of_viewer(session, viewer, cards_for_all(site, session, rows, why, site.views()))


def of_viewer(session: Session, viewer: Viewer, shown: list[Card]) -> list[Card]:
    """The same cards with what the viewer keeps about their papers."""
    if viewer.user is None:
        return shown
    acts = acts_of(session, viewer, [card.row.id for card in shown])
    return [replace(card, acts=acts[card.row.id]) for card in shown]


def cards_for_all(site: Site, session: Session, rows: Sequence[PaperRow], why: Mapping[int, str] | None,
                  views: Mapping[str, Sequence[ClaimView]]) -> list[Card]:
    """Cards as everybody sees them, with nothing of a viewer; `views` as of `Site.views`."""
    ids = [row.id for row in rows]
    known = {row.id: site.lab.catalogue.papers[row.slug] for row in rows if row.slug and row.slug in site.lab.catalogue.papers}
    links: dict[int, list[PaperLinkRow]] = {}
    for link in session.scalars(select(PaperLinkRow).where(PaperLinkRow.paper_id.in_(ids)).order_by(PaperLinkRow.id)):
        links.setdefault(link.paper_id, []).append(link)
    return [Card(row, known.get(row.id), views[known[row.id].slug] if row.id in known else (), links=links.get(row.id, ())[:4],
                 why=(why or {}).get(row.id, "")) for row in rows]
