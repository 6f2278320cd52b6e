"""Nearest vectors: in memory (`matrix.py`), or by pgvector. The table `paper_vectors` is the truth for both."""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session

from ..tables import PaperVectorRow

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
NO_IDS: Ids = np.empty(0, np.int64)

AT_ONCE = 2_000


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
