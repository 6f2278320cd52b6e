"""From a name in an address to the paper, and back."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..ingest import identity
from ..tables import PaperAliasRow, PaperRow
from .keys import short

LONGEST_NAME = 600


def find(session: Session, name: str, *, hidden: bool = False) -> PaperRow | None:
    """The paper of a public id, a slug, any spelling of an arXiv id or a DOI, or a name that it had before.

    Args:
        hidden: find papers that an editor has hidden, too.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or "\x00" in name:
        return None
    row = _row(session, name)
    return row if row is None or hidden or not row.hidden else None


def _row(session: Session, name: str) -> PaperRow | None:
    public_id = short(name)
    row = session.scalar(select(PaperRow).where(PaperRow.public_id == public_id))
    if row is None:
        row = session.scalar(select(PaperRow).where(PaperRow.slug == name))
    if row is None and (found := identity.arxiv_id(name)) is not None and found.id != name:
        row = session.scalar(select(PaperRow).where(PaperRow.public_id == found.id))
    if row is None:
        row = session.scalar(select(PaperRow).join(PaperAliasRow, PaperAliasRow.paper_id == PaperRow.id)
                             .where(PaperAliasRow.public_id == public_id))
    if row is None and (doi := identity.doi(name)) is not None:
        row = session.scalar(select(PaperRow).where(PaperRow.doi == doi).order_by(PaperRow.id).limit(1))
    return row


def address(row: PaperRow) -> str:
    """Path of the paper's page: its slug where it has one, else its public id.

    >>> address(PaperRow(public_id="math/9410209")), address(PaperRow(public_id="2201.12909", slug="mini_gp"))
    ('/papers/math/9410209', '/papers/mini_gp')
    """
    return f"/papers/{quote(row.slug or row.public_id, safe='/:')}"
