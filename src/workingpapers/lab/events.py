"""What live pages are told of a run: numbered events, written in the transaction of what they tell."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from .store import EventRow


def tell(session: Session, run_pk: int, kind: str, payload: dict[str, Any]) -> None:
    """Add the next event of a run."""
    last = session.scalar(select(func.max(EventRow.seq)).where(EventRow.run_pk == run_pk)) or 0
    session.add(EventRow(run_pk=run_pk, seq=last + 1, kind=kind, payload=payload))
    session.flush()
