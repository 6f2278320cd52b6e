"""Nearest vectors without pgvector: all of one model in memory, as 16-bit numbers, compared with a question exactly."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, func, select, type_coerce
from sqlalchemy.orm import Session

from ..tables import PaperVectorRow
from .vectors import AT_ONCE, NO_IDS, Floats, Ids

LOOK_AGAIN = 1.0  # seconds between two looks at the table
MANY_DEAD = 0.2
BLOCK = 1_024  # rows made float32 at once: they stay in the processor's cache
GROWTH = 1.25


@dataclass(frozen=True)
class _View:
    """What is known at one moment. `rows[i]` is the place of the i-th of the sorted `ids`, `last` the newest row of the table."""

    numbers: NDArray[np.int16]  # (n, d), superseded ones included
    scales: Floats  # (n,); row i of the matrix is numbers[i] * scales[i]
    papers: Ids  # (n,)
    ids: Ids
    rows: Ids
    last: int

    @property
    def dead(self) -> int:
        """Rows that a newer one of the same paper has superseded."""
        return len(self.papers) - len(self.ids)

    def dot(self, vector: Floats) -> Floats:
        """The product of every row with a vector, (n,)."""
        out, block = np.empty(len(self.numbers), np.float32), np.empty((BLOCK, self.numbers.shape[1]), np.float32)
        for start in range(0, len(out), BLOCK):
            part = self.numbers[start : start + BLOCK]
            floats = block[: len(part)]
            np.copyto(floats, part)
            np.dot(floats, vector, out=out[start : start + BLOCK])
        out *= self.scales
        return out

    def dot_of(self, rows: Ids, vector: Floats) -> Floats:
        """The product of these rows with a vector."""
        return np.asarray((self.numbers[rows].astype(np.float32) @ vector) * self.scales[rows], np.float32)


class VectorMatrix:
    """The vectors of one model, read from `paper_vectors` when first asked for and kept in step with it.

    The table holds 16-bit numbers with a common exponent a vector (`tables.types.Halved`); so does the memory, 770 bytes a paper
    at d = 384. A product goes over it in blocks of float32 and costs no more than with float32 throughout, since half the bytes
    are read. Cosines differ from those of float32 vectors by some 2e-6. Reading 100,000 vectors takes half a second, once a process.

    Any number of threads ask at once; one at a time reads the table.
    """

    _view: _View

    def __init__(self, model_id: str, dimension: int) -> None:
        self.model_id, self.dimension = model_id, dimension
        self._looked = -LOOK_AGAIN
        self._lock = threading.Lock()
        self._empty()

    def refresh(self, session: Session) -> int:
        """Take in what the table has gained since; waits for another thread that does so."""
        with self._lock:
            newest = self._newest(session)
            if newest < self._view.last:  # another database took the place of the one that was read
                self._empty()
            added = self._extend(session)
            if self._view.dead > MANY_DEAD * len(self._view.papers):
                self._empty()
                self._extend(session)
            self._is_read = True
            return added

    def catch_up(self, session: Session) -> bool:
        """Whether much is missing; what is little is taken in here, and everything when nothing was read before."""
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return False
        self._looked = time.monotonic()
        gap = self._newest(session) - self._view.last
        if gap > AT_ONCE and self._is_read:
            return True
        if gap:
            self.refresh(session)
        return False

    def size(self, session: Session) -> int:
        """How many papers have a vector here."""
        return len(self._current(session).ids)

    def nearest(self, session: Session, vector: Floats, limit: int, among: Ids | None = None,
                barred: Ids = NO_IDS) -> tuple[Ids, Floats]:
        """Exact: by the product of everything, or of the rows of few papers."""
        view = self._current(session)
        ids, rows = view.ids, view.rows
        if among is not None:
            keep = np.isin(ids, among)
            ids, rows = ids[keep], rows[keep]
        if len(barred):
            keep = ~np.isin(ids, barred)
            ids, rows = ids[keep], rows[keep]
        if not len(ids):
            return NO_IDS, np.empty(0, np.float32)
        scores = view.dot_of(rows, vector) if len(rows) < len(view.papers) // 8 else view.dot(vector)[rows]
        count = min(limit, len(scores))
        top = np.argpartition(-scores, count - 1)[:count]
        top = top[np.lexsort((ids[top], -scores[top]))]
        return ids[top], scores[top]

    def cosines(self, session: Session, vector: Floats, ids: Ids) -> Floats:
        """Cosine of each of these papers, NaN where it has no vector."""
        view = self._current(session)
        out = np.full(len(ids), np.nan, np.float32)
        if len(view.ids) and len(ids):
            place = np.searchsorted(view.ids, ids).clip(max=len(view.ids) - 1)
            there = view.ids[place] == ids
            out[there] = view.dot_of(view.rows[place[there]], vector)
        return out

    def _current(self, session: Session) -> _View:
        if not self._is_read:
            self.refresh(session)
        return self._view

    def _newest(self, session: Session) -> int:
        return session.scalar(select(func.max(PaperVectorRow.id)).where(PaperVectorRow.model_id == self.model_id)) or 0

    def _empty(self) -> None:
        self._numbers, self._scales = np.empty((0, self.dimension), np.int16), np.empty(0, np.float32)
        self._papers, self._is_read = np.empty(0, np.int64), False
        self._view = _View(self._numbers, self._scales, self._papers, NO_IDS, NO_IDS, 0)

    def _extend(self, session: Session) -> int:
        """Append the table's rows after the last one that was read. Views that others hold stay as they are."""
        count, last = len(self._view.papers), self._view.last
        before = count
        row = PaperVectorRow
        new = select(func.count()).select_from(row).where(row.model_id == self.model_id, row.id > last)
        self._make_room(count + (session.scalar(new) or 0))
        stored = type_coerce(row.vector, LargeBinary)  # as it lies there, not as float32
        while True:
            query = select(row.id, row.paper_id, stored).where(row.model_id == self.model_id, row.id > last, row.dim == self.dimension)
            found = session.execute(query.order_by(row.id).limit(AT_ONCE)).tuples().all()
            if not found:
                break
            self._make_room(count + len(found))
            whole = np.frombuffer(b"".join(blob for _, _, blob in found), "<i2").reshape(len(found), 1 + self.dimension)
            end = count + len(found)
            self._numbers[count:end] = whole[:, 1:]
            self._scales[count:end] = np.ldexp(np.float32(1), whole[:, 0].astype(np.int32))
            self._papers[count:end] = [paper for _, paper, _ in found]
            count, last = end, found[-1][0]
        if count > before:
            papers = self._papers[:count]
            ids, from_behind = np.unique(papers[::-1], return_index=True)
            self._view = _View(self._numbers[:count], self._scales[:count], papers, ids, count - 1 - from_behind, last)
        return count - before

    def _make_room(self, count: int) -> None:
        if count > len(self._papers):
            size = max(count, int(GROWTH * len(self._papers)), AT_ONCE)
            for name in ("_numbers", "_scales", "_papers"):
                old = getattr(self, name)
                new = np.empty((size, *old.shape[1:]), old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
