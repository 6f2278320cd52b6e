"""The paper that a form names."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ..problems import Problem
from ..shelf import address, find
from ..tables import PaperRow

__all__ = ["address", "paper_named"]


def paper_named(session: Session, name: str, *, hidden: bool = False) -> PaperRow:
    """The paper of any of its names; a 404 otherwise, and for hidden ones unless they are asked for."""
    row = find(session, name, hidden=hidden)
    if row is None:
        raise Problem(404, "No such paper", f"There is no paper {name[:60]!r} here.")
    return row
