"""What went wrong while reading a source."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

log = logging.getLogger("workingpapers.hub.ingest")


class SourceError(Exception):
    """The source as a whole cannot be read (further): the message says what is wrong and, where it can, what to do.

    Records yielded before it stay good.
    """


@dataclass(frozen=True)
class Problem:
    """One record that was left out: where it stands in the source, and why."""

    where: str
    message: str


@dataclass
class Problems:
    """Counts the records that could not be read and keeps the first few, so that memory stays flat.

    >>> problems = Problems(keep=1)
    >>> problems.add("line 3", "not an object"); problems.add("line 9", "not an object")
    >>> problems.count, problems.first
    (2, [Problem(where='line 3', message='not an object')])
    """

    keep: int = 100
    count: int = 0
    first: list[Problem] = field(default_factory=list)

    def add(self, where: str, message: str) -> None:
        """Note that the record at `where` was left out."""
        self.count += 1
        if len(self.first) < self.keep:
            self.first.append(Problem(where, message))
            log.warning("%s left out: %s", where, message)
