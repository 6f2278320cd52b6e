"""Nearest vectors: a memory-mapped float32 file beside the database, or pgvector. The table `paper_vectors` is the truth for both."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from ..tables import PaperVectorRow

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
NO_IDS: Ids = np.empty(0, np.int64)

MAGIC = b"workingpapers vectors 1\n"
AT_ONCE = 2_000
LOOK_AGAIN = 1.0  # seconds between two looks at the file and the table
MANY_DEAD = 0.2


class Vectors(Protocol):
    """Where the vectors of one model are asked for."""

    def refresh(self, session: Session) -> int:
        """Take in what the table has gained; gives the number of vectors taken in."""
        ...

    def catch_up(self, session: Session) -> bool:
        """Close a small gap to the table at once; whether a large one is left, which wants `refresh`."""
        ...

    def size(self, session: Session) -> int:
        """How many papers have a vector here."""
        ...

    def nearest(self, session: Session, vector: Floats, limit: int, among: Ids | None = None,
                barred: Ids = NO_IDS) -> tuple[Ids, Floats]:
        """Papers by falling cosine to a unit vector: of these alone, or of all, and none of `barred`."""
        ...

    def cosines(self, session: Session, vector: Floats, ids: Ids) -> Floats:
        """Cosine of each of these papers, NaN where it has no vector."""
        ...


@dataclass(frozen=True)
class _View:
    """What a file holds at one moment. `rows[i]` is the place of the i-th of the sorted `ids`, `seen` the row ids of the table."""

    matrix: Floats  # (n, d), one row a record, superseded ones included
    ids: Ids
    rows: Ids
    last: int
    dead: int
    stamp: tuple[int, int, int]


class VectorFile:
    """The vectors of one model in a file of records: paper (int64), row of `paper_vectors` (int64), d float32.

    One process at a time appends, under a lock; any number read. A record counts once it is whole, so a crash while writing
    loses nothing that was there; the next writer cuts the torn end off. A new vector of a paper is one more record; when a
    fifth of them is superseded, the file is written anew and swapped in at once. Deleted with its folder, it is made again.

    Cost: exact search reads the file once, 1.5 kB a paper at d = 384.
    """

    def __init__(self, folder: Path, model_id: str, dimension: int) -> None:
        self.model_id, self.dimension = model_id, dimension
        self.path = folder / (re.sub(r"[^A-Za-z0-9.-]+", "_", model_id) + ".vectors")
        self._record = 16 + 4 * dimension
        self._view: _View | None = None
        self._looked = 0.0
        self._lock = threading.Lock()

    def refresh(self, session: Session) -> int:
        """Append what the table has gained since, in one pass; waits for another process that does so."""
        with self._writing():
            if not self._is_of_this_table(session):
                self._rewrite(session)
                return len(self._load().ids)
            view = self._load()
            added = self._append(session, view.last)
            view = self._load()
            if view.dead > MANY_DEAD * (len(view.ids) + view.dead):
                self._rewrite(session)
            return added

    def catch_up(self, session: Session) -> bool:
        """Whether the file lags behind the table; small gaps are closed here, at most once a second."""
        if time.monotonic() - self._looked < LOOK_AGAIN:
            return False
        self._looked = time.monotonic()
        newest = session.scalar(select(func.max(PaperVectorRow.id)).where(PaperVectorRow.model_id == self.model_id)) or 0
        view = self._load()
        if newest == view.last:
            return False
        if 0 < newest - view.last <= AT_ONCE:
            self.refresh(session)
            return False
        return True

    def size(self, session: Session) -> int:
        """How many papers have a vector in the file."""
        return len(self._load().ids)

    def nearest(self, session: Session, vector: Floats, limit: int, among: Ids | None = None,
                barred: Ids = NO_IDS) -> tuple[Ids, Floats]:
        """Exact: by the product of the whole file, or of the rows of few papers."""
        view = self._load()
        ids, rows = view.ids, view.rows
        if among is not None:
            keep = np.isin(ids, among)
            ids, rows = ids[keep], rows[keep]
        if len(barred):
            keep = ~np.isin(ids, barred)
            ids, rows = ids[keep], rows[keep]
        if not len(ids):
            return NO_IDS, np.empty(0, np.float32)
        few = len(rows) < len(view.matrix) // 8
        scores = view.matrix[rows] @ vector if few else (view.matrix @ vector)[rows]
        count = min(limit, len(scores))
        top = np.argpartition(-scores, count - 1)[:count]
        top = top[np.lexsort((ids[top], -scores[top]))]
        return ids[top], scores[top]

    def cosines(self, session: Session, vector: Floats, ids: Ids) -> Floats:
        """Cosine of each of these papers, NaN where it has no vector."""
        view = self._load()
        out = np.full(len(ids), np.nan, np.float32)
        if len(view.ids) and len(ids):
            place = np.searchsorted(view.ids, ids).clip(max=len(view.ids) - 1)
            there = view.ids[place] == ids
            out[there] = view.matrix[view.rows[place[there]]] @ vector
        return out

    def vector(self, paper_id: int) -> Floats | None:
        """The vector of a paper, if it has one."""
        view = self._load()
        place = int(np.searchsorted(view.ids, paper_id))
        return np.array(view.matrix[view.rows[place]]) if place < len(view.ids) and view.ids[place] == paper_id else None

    def _load(self) -> _View:
        """The newest state of the file; mapped anew only when it has changed."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            stamp = (0, 0, 0)
        view = self._view
        if view is None or view.stamp != stamp:
            view = self._view = self._map(stamp)
        return view

    def _map(self, stamp: tuple[int, int, int]) -> _View:
        count = (stamp[1] - len(MAGIC)) // self._record
        if count <= 0:
            return _View(np.empty((0, self.dimension), np.float32), NO_IDS, NO_IDS, 0, 0, stamp)
        whole = np.memmap(self.path, np.uint8, "r", len(MAGIC), (count, self._record))
        keys = np.ascontiguousarray(whole[:, :16]).view("<i8")  # (n, 2): paper, row
        good = count
        if np.any(bad := np.diff(keys[:, 1], prepend=0) <= 0):  # blocks that a power cut left empty
            good = int(np.argmax(bad))
        papers = keys[:good, 0]
        ids, from_behind = np.unique(papers[::-1], return_index=True)
        matrix = whole.view("<f4")[:good, 4:]
        last = int(keys[good - 1, 1]) if good else 0
        return _View(matrix, ids, good - 1 - from_behind, last, good - len(ids), stamp)

    def _append(self, session: Session, after: int) -> int:
        """Records of the table's rows after this one."""
        added = 0
        view = self._load()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            if file.seek(0, os.SEEK_END) < len(MAGIC):
                file.truncate(0)
                file.write(MAGIC)
            file.truncate(len(MAGIC) + len(view.matrix) * self._record)
            file.seek(0, os.SEEK_END)
            for block in self._blocks(session, after):
                file.write(block)
                added += len(block) // self._record
            file.flush()
            os.fsync(file.fileno())
        return added

    def _blocks(self, session: Session, after: int) -> Iterator[bytes]:
        while True:
            rows = session.execute(_rows_after(self.model_id, after)).tuples().all()
            if not rows:
                return
            after = rows[-1][0]
            yield b"".join(np.array((paper, row), "<i8").tobytes() + vector
                           for row, paper, vector in rows if len(vector) == 4 * self.dimension)

    def _rewrite(self, session: Session) -> None:
        """All of the table into a new file, which then takes the old one's place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with open(fresh, "wb") as file:
            file.write(MAGIC)
            for block in self._blocks(session, 0):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    def _is_of_this_table(self, session: Session) -> bool:
        """Whether the file was made from this very table: another one may have been restored beside it."""
        try:
            with open(self.path, "rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    return False
        except FileNotFoundError:
            return False
        view = self._load()
        if not len(view.ids):
            return True
        some = np.unique(np.linspace(0, len(view.ids) - 1, 8).astype(int))
        papers = [int(i) for i in view.ids[some]]
        query = select(PaperVectorRow.paper_id, PaperVectorRow.vector).where(
            PaperVectorRow.model_id == self.model_id, PaperVectorRow.paper_id.in_(papers), PaperVectorRow.id <= view.last)
        kept = {paper: view.matrix[view.rows[place]].tobytes() for paper, place in zip(papers, some)}
        newest = session.scalar(select(func.max(PaperVectorRow.id)).where(PaperVectorRow.model_id == self.model_id)) or 0
        found = session.execute(query).tuples().all()
        return newest >= view.last and all(kept[paper] == vector for paper, vector in found)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, open(self.path.with_suffix(".lock"), "a") as file:
            with contextlib.suppress(ImportError):  # systems without it have one writer: the worker
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield


class PgVectors:
    """The vectors of one model in a table of its own with an HNSW index: PostgreSQL with pgvector.

    Without conditions the index answers (m 16, ef_construction 64; ef_search follows the number asked for, at least 100);
    with conditions the papers that meet them are compared one by one, so that no page starves.
    """

    def __init__(self, model_id: str, dimension: int) -> None:
        self.model_id, self.dimension = model_id, dimension
        self.table = "vectors_" + re.sub(r"[^a-z0-9]+", "_", model_id.lower())[:40]
        self._ready = False

    @staticmethod
    def is_there(session: Session) -> bool:
        """Whether this server offers pgvector."""
        return bool(session.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")))

    def refresh(self, session: Session) -> int:
        """Take rows of `paper_vectors` that are not in the table of the index yet; needs a session that writes."""
        self._prepare(session)
        before = session.scalar(text(f"SELECT coalesce(max(row_id), 0) FROM {self.table}")) or 0
        added = 0
        while True:
            rows = session.execute(_rows_after(self.model_id, before)).tuples().all()
            if not rows:
                break
            before = rows[-1][0]
            session.execute(
                text(f"INSERT INTO {self.table} (paper_id, row_id, embedding) VALUES (:paper, :row, CAST(:vector AS vector)) "
                     "ON CONFLICT (paper_id) DO UPDATE SET row_id = excluded.row_id, embedding = excluded.embedding"),
                [{"paper": p, "row": i, "vector": _literal(np.frombuffer(v, "<f4"))} for i, p, v in rows if len(v) == 4 * self.dimension])
            added += len(rows)
        return added

    def catch_up(self, session: Session) -> bool:
        """Nothing to do: the job that makes vectors keeps the index in the same transaction."""
        return False

    def size(self, session: Session) -> int:
        """How many papers have a vector, by the server's own estimate once there are many."""
        if not self._exists(session):
            return 0
        some = session.scalar(text(f"SELECT count(*) FROM (SELECT 1 FROM {self.table} LIMIT 1000) AS kept")) or 0
        estimate = session.scalar(text("SELECT reltuples FROM pg_class WHERE relname = :name"), {"name": self.table}) or 0
        return max(int(some), int(estimate))

    def nearest(self, session: Session, vector: Floats, limit: int, among: Ids | None = None,
                barred: Ids = NO_IDS) -> tuple[Ids, Floats]:
        """By the index, or exactly among the papers given."""
        if not self._exists(session):
            return NO_IDS, np.empty(0, np.float32)
        count = min(limit + len(barred), 1000)
        facts = {"vector": _literal(vector), "count": count}
        if among is None:
            session.execute(text(f"SET LOCAL hnsw.ef_search = {max(100, count)}"))
            query = text(f"SELECT paper_id, 1 - (embedding <=> CAST(:vector AS vector)) FROM {self.table} "
                         "ORDER BY embedding <=> CAST(:vector AS vector) LIMIT :count")
            rows = session.execute(query, facts).tuples().all()
        else:
            query = text(f"SELECT paper_id, cosine FROM (SELECT paper_id, 1 - (embedding <=> CAST(:vector AS vector)) AS cosine "
                         f"FROM {self.table} WHERE paper_id = ANY(:allowed)) AS near ORDER BY cosine DESC, paper_id LIMIT :count")
            rows = session.execute(query, facts | {"allowed": among.tolist()}).tuples().all()
        ids = np.array([r[0] for r in rows], np.int64)
        keep = ~np.isin(ids, barred)
        return ids[keep][:limit], np.array([r[1] for r in rows], np.float32)[keep][:limit]

    def cosines(self, session: Session, vector: Floats, ids: Ids) -> Floats:
        """Cosine of each of these papers, NaN where it has no vector."""
        out = np.full(len(ids), np.nan, np.float32)
        if len(ids) and self._exists(session):
            query = text(f"SELECT paper_id, 1 - (embedding <=> CAST(:vector AS vector)) FROM {self.table} WHERE paper_id = ANY(:ids)")
            rows = session.execute(query, {"vector": _literal(vector), "ids": ids.tolist()}).all()
            found: dict[int, float] = {row[0]: row[1] for row in rows}
            out[:] = [found.get(int(i), np.nan) for i in ids]
        return out

    def _exists(self, session: Session) -> bool:
        self._ready = self._ready or session.scalar(text("SELECT to_regclass(:name)"), {"name": self.table}) is not None
        return self._ready

    def _prepare(self, session: Session) -> None:
        if self._exists(session):
            return
        session.execute(text("SELECT pg_advisory_xact_lock(7262436)"))
        session.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        session.execute(text(f"CREATE TABLE IF NOT EXISTS {self.table} (paper_id integer PRIMARY KEY, row_id integer NOT NULL, "
                             f"embedding vector({self.dimension}) NOT NULL)"))
        session.execute(text(f"CREATE INDEX IF NOT EXISTS {self.table}_row ON {self.table} (row_id)"))
        session.execute(text(f"CREATE INDEX IF NOT EXISTS {self.table}_near ON {self.table} USING hnsw (embedding vector_cosine_ops) "
                             "WITH (m = 16, ef_construction = 64)"))
        session.flush()


def _rows_after(model_id: str, after: int) -> Select[int, int, bytes]:
    """The next rows of the table: row, paper, vector."""
    row = PaperVectorRow
    return select(row.id, row.paper_id, row.vector).where(row.model_id == model_id, row.id > after).order_by(row.id).limit(AT_ONCE)


def _literal(vector: Floats) -> str:
    return "[" + ",".join(f"{x:.8g}" for x in vector.tolist()) + "]"
