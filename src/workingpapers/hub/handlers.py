"""Everything that a job worker can do: importing these modules registers their handlers and recurring jobs."""

from __future__ import annotations


def load() -> None:
    """Register all handlers."""
    from .mail import sending  # noqa: F401
    from .people import housekeeping  # noqa: F401
    from .search import embedding  # noqa: F401
    from .shelf import tasks  # noqa: F401
