"""The audit log: who changed a role, deleted, hid or merged something. Rows are added, never edited."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from ..tables import AuditRow


def audit(session: Session, actor: str, action: str, subject: str, **body: Any) -> None:
    """Write down what `actor` (`Viewer.name`, or `cli`) did, in the same transaction as the deed itself."""
    session.add(AuditRow(actor=actor[:60], action=action[:60], subject=subject[:200], body=body))
