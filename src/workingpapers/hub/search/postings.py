"""Which papers hold a word, kept in memory as long as SQLite's index of words stays as it is."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

Ids = NDArray[np.int64]

MOST_BYTES = 6 << 20
# FTS5 keeps the sizes of all texts together in row 1 and the list of its segments in row 10: each commit of words writes a
# segment, and the list counts what was ever written.
_STATE = "SELECT block FROM papers_fts_data WHERE id IN (1, 10) ORDER BY id"
_HOLDING = "SELECT group_concat(rowid) FROM papers_fts WHERE papers_fts MATCH ?"  # a number costs a third of a row


def holding(session: Session, match: str) -> Ids:
    """The papers that match an expression of FTS5, sorted."""
    found = session.connection().exec_driver_sql(_HOLDING, (match,)).scalar()
    return np.sort(np.fromstring(found or "", np.int64, sep=","))


def among(posting: NDArray[np.int32] | Ids, ids: Ids) -> NDArray[np.bool_]:
    """Which of these papers stand in a posting.

    >>> among(np.array([2, 5]), np.array([5, 1, 9]))
    array([ True, False, False])
    """
    if not len(posting):
        return np.zeros(len(ids), bool)
    place = np.searchsorted(posting, ids.astype(posting.dtype)).clip(max=len(posting) - 1)
    found: NDArray[np.bool_] = posting[place] == ids
    return found


class Snapshot:
    """Postings of one state of the index: those used last, `most` bytes of them."""

    def __init__(self, state: bytes, most: int) -> None:
        self.state, self.most, self.size = state, most, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, NDArray[np.int32] | Ids] = OrderedDict()

    def known(self, word: str) -> NDArray[np.int32] | Ids | None:
        """What is kept of a word."""
        with self._lock:
            if (found := self._kept.get(word)) is not None:
                self._kept.move_to_end(word)
            return found

    def papers(self, session: Session, word: str, match: str) -> NDArray[np.int32] | Ids:
        """The papers that hold a word, sorted; `match` asks the index for it."""
        if (found := self.known(word)) is not None:
            return found
        ids = holding(session, match)
        posting = ids.astype(np.int32) if not len(ids) or ids[-1] < 1 << 31 else ids
        with self._lock:
            if word not in self._kept:
                self.size += posting.nbytes
            self._kept[word] = posting
            while self.size > self.most:
                self.size -= self._kept.popitem(last=False)[1].nbytes
        return posting


class Postings:
    """The postings of an index in memory, in step with it whoever changes it."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._now = Snapshot(b"", most)

    def at(self, session: Session) -> Snapshot:
        """Those of the index as this session's transaction sees it: nothing is kept beyond a commit that changes words."""
        state = b"".join(row[0] for row in session.connection().exec_driver_sql(_STATE))
        now = self._now
        if now.state != state:
            now = self._now = Snapshot(state, self.most)
        return now
