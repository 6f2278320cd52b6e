"""What went wrong, in words for people and for programs (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """A request that cannot be answered as asked: status, a short title and a sentence that says what would help."""

    def __init__(self, status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status, self.title, self.detail, self.headers = status, title, detail, dict(headers or {})

    def document(self, instance: str) -> dict[str, Any]:
        """The problem as RFC 9457 wants it."""
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, "instance": instance}

    def to_json(self, instance: str) -> JSONResponse:
        """An answer of type `application/problem+json`."""
        return JSONResponse(self.document(instance), self.status, self.headers, PROBLEM_JSON)
